#!/usr/bin/env bash
# Trains on a JSONL file of 3 GB (GB=3), and fails where the process had more than 500 MB (MOST_MB=500) of memory at its peak, as Linux counts it (VmHWM).
# Usage: bench/large-jsonl.sh [FOLDER]   The folder needs room for the file, which is removed at the end; KEEP=1 keeps it.
set -euo pipefail
root=$(cd "$(dirname "$(readlink -f "$0")")/.." && pwd)
folder=${1:-$(mktemp -d)}
mkdir -p "$folder"
file=$folder/large.jsonl
trap '[ -n "${KEEP:-}" ] || rm -rf "$file" "$folder/run" "$folder/body"' EXIT

# Lines of some 600 bytes: words that tell the label, and others that do not.
awk -v bytes=$((${GB:-3} * 1000000000)) 'BEGIN {
  split("river stone window paper green table music garden winter letter morning bridge", word, " ")
  srand(1)
  for (written = 0; written < bytes; written += length(line) + 1) {
    up = rand() < 0.5
    text = up ? "good" : "bad"
    for (i = 0; i < 90; i++) text = text " " word[1 + int(rand() * 12)]
    line = "{\"text\": \"" text "\", \"label\": \"" (up ? "up" : "down") "\"}"
    print line
  }
}' >"$file"
echo "$(stat -c %s "$file") bytes in $(wc -l <"$file") lines"

# A body of two layers of 32 with a vocabulary of words.
mkdir -p "$folder/body"
printf '%s\n' '[PAD]' '[UNK]' '[CLS]' '[SEP]' '[MASK]' good bad river stone window paper green table music garden winter letter morning bridge >"$folder/body/vocab.txt"
cat >"$folder/body/config.json" <<'JSON'
{"model_type": "bert", "architectures": ["BertModel"], "vocab_size": 19, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64,
 "hidden_act": "gelu", "max_position_embeddings": 64, "type_vocab_size": 2, "layer_norm_eps": 1e-12, "initializer_range": 0.02, "hidden_dropout_prob": 0.1,
 "attention_probs_dropout_prob": 0.1, "pad_token_id": 0}
JSON

# A few lines are enough to choose by and to score.
"$root/permafrost" finetune --task jsonl --data "$file" --backbone "$folder/body" --init random --max-length 32 --max-steps 200 --eval-steps 100 \
  --validation-fraction 0.0002 --test-fraction 0.0002 --output-dir "$folder/run" "${@:2}" &
process=$!
peak=0
while kill -0 $process 2>/dev/null; do
  # The launcher may have started the program as its child.
  for id in $process $(pgrep -P $process || true); do
    now=$(awk '/VmHWM/ {print $2}' "/proc/$id/status" 2>/dev/null || true)
    if [ "${now:-0}" -gt $peak ]; then peak=$now; fi
  done
  sleep 0.2
done
wait $process
echo "peak memory: $((peak / 1000)) MB"
[ $((peak / 1000)) -le "${MOST_MB:-500}" ]
