#!/usr/bin/env bash
# Pretrains one of the bodies in assets/backbones again, or goes on where it stopped, and puts it there with its model card.
#   PERMAFROST_DATA=DIR bash assets/make.sh gpt2-tiny|gpt2-mini|conv-mini|t5-mini|bert-mini [RUNS]
# DIR/text holds the texts (docs/pretraining.md says which); RUNS (runs/bodies unless given) the runs and their checkpoints.
set -euo pipefail
cd "$(dirname "$0")/.."
name=$1 runs=${2:-runs/bodies} texts=${PERMAFROST_DATA:?names a folder whose text/ holds the texts}/text
held=(wikitext-2_valid* 'novels_eltec*:8%')
case $name in
  gpt2-tiny) style=gpt2 vocabulary=1024 say="A GPT-2 of 2 layers of 64 that reads 128 tokens: for tests, not for use"
    sizes=(--architecture gpt2 --preset gpt2-tiny --width 64 --heads 2 --context 128 --batch-size 32 --learning-rate 4e-3 --max-steps 2000) ;;
  gpt2-mini) style=gpt2 vocabulary=8192 say="A GPT-2 of 4 layers of 256 that reads 512 tokens"
    sizes=(--architecture gpt2 --preset gpt2-mini --context 512 --batch-size 16 --learning-rate 2e-3 --max-steps 3000) ;;
  conv-mini) style=t5 vocabulary=4096 say="A conv-seq2seq (lightweight convolutions) of 2 + 2 layers of 192 that fills in spans"
    sizes=(--architecture conv-seq2seq --preset conv-seq2seq-mini --layers 2 --width 192 --heads 6 --context 512 --batch-size 16 --learning-rate 2e-3 --max-steps 4000) ;;
  t5-mini) style=t5 vocabulary=4096 say="A T5 of 2 + 2 layers of 192 that fills in spans"
    sizes=(--architecture t5 --preset t5-mini --layers 2 --width 192 --heads 6 --context 512 --batch-size 16 --learning-rate 2e-3 --max-steps 4000) ;;
  bert-mini) style=bert vocabulary=4096 say="A BERT of 4 layers of 224 that reads 512 tokens and fills in masked ones"
    sizes=(--architecture bert --preset bert-mini --width 224 --heads 7 --context 512 --batch-size 16 --learning-rate 2e-3 --max-steps 4000) ;;
  *) sed -n 2,4p "$0"; exit 2 ;;
esac
tokenizer=$runs/tokenizer-$style-$vocabulary run=$runs/$name body=assets/backbones/permafrost-$name
[ -e "$tokenizer/tokenizer.json" ] || ./permafrost tokenizer train --style $style --vocabulary-size $vocabulary --data "$texts" --held-out "${held[@]}" --output-dir "$tokenizer"
if [ ! -e "$run/results.json" ]; then
  if [ -e "$run/config.yaml" ]; then ./permafrost pretrain --resume-from-checkpoint "$run"
  else ./permafrost pretrain "${sizes[@]}" --lr-scheduler-type cosine --warmup-steps 100 --weight-decay 0.1 --data "$texts" --tokenizer "$tokenizer" --held-out "${held[@]}" \
    --eval-steps 500 --eval-tokens 32768 --save-minutes 5 --output-dir "$run"
  fi
fi
rm -rf "$body" && mkdir -p "$body" && cp "$run"/model/* "$body/"
{
  printf '# permafrost-%s\n\n%s, pretrained by this project on English prose and speeches\n\n' "$name" "$say"
  sed -e 1,2d -e "s|$texts|\$PERMAFROST_DATA/text|g; s|$tokenizer|tokenizer-$style-$vocabulary|g; s|$run|$name|g" -e 's|^Made by:|Made by `bash assets/make.sh '"$name"'`, which runs|' "$run/model/README.md"
  cat <<'END'

## Text

Novels in the public domain, up to 1930 (100 English Novels of the Computational Stylistics Group, without two novels after 1930, and the English part of COST-ELTeC, level 1, without those that are in the
first), Tiny Shakespeare, and inaugural and State of the Union addresses. Never trained on, by name: the documents above. The weights are given away under this project's licence; they know old novels and
speeches, with what their authors thought of people, and nothing of today.
END
} > "$body/README.md"
du -ch assets/backbones/*/model.safetensors | tail -1
