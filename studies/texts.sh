#!/usr/bin/env bash
# The README's table of texts: studies/texts.sh [TASK...] (word-kinds, sst2, trec; all without). sst2 and trec lie in $PERMAFROST_DATA.
# Every arm tries its learning rates; the best on validation is chosen, and only that run sees the test split. A run that is in studies/texts.csv is not run again.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
table=studies/texts.csv runs=${RUNS:-runs/texts}
header=task,words_per_kind,policy,init,seed,learning_rate,steps,validation_accuracy,test_accuracy,trained_percent
[ -e "$table" ] || echo $header >"$table"

# number KEY: the first number under that key of the JSON on standard input.
number() { grep -m 1 "\"$1\":" | sed 's/.*: *//; s/,$//'; }

# arm TASK WORDS POLICY INIT SEED STEPS EVAL_STEPS BATCH
arm() {
  local task=$1 words=$2 policy=$3 init=$4 seed=$5 steps=$6 eval=$7 batch=$8 rate folder result validation best='' best_rate='' best_validation=-1
  if grep -q "^$task,$words,$policy,$init,$seed," "$table"; then return; fi
  local options=(--task "$task" --backbone all-MiniLM-L6-v2 --policy "$policy" --init "$init" --init-seed "$seed" --seed "$seed" --readout mean --group-by-length
    --max-steps "$steps" --eval-steps "$eval" --per-device-train-batch-size "$batch" --no-score-test --no-baselines)
  if [ "$words" != - ]; then options+=(--set "task_options.words_per_kind=$words"); fi
  for rate in 0.001 0.003 0.01; do
    folder=$runs/$task-$words-$policy-$init-s$seed-lr$rate
    rm -rf "$folder"
    result=$(./permafrost finetune "${options[@]}" --learning-rate $rate --output-dir "$folder" --json 2>"$runs/log")
    validation=$(grep -A 3 '"validation"' <<<"$result" | number accuracy)
    if awk "BEGIN { exit !($validation > $best_validation) }"; then best=$folder best_rate=$rate best_validation=$validation; fi
  done
  local test trained
  test=$(./permafrost evaluate "$best" --split test --json 2>>"$runs/log" | number accuracy)
  trained=$(number trained_percent <"$best/results.json")
  echo "$task,$words,$policy,$init,$seed,$best_rate,$steps,$best_validation,$test,$trained" | tee -a "$table"
}

mkdir -p "$runs"
for task in "${@:-word-kinds sst2 trec}"; do
  for name in $task; do
    for seed in 0 1 2; do
      for init in pretrained random statistics; do
        if [ "$name" = word-kinds ]; then
          for words in 5 15 30; do
            arm "$name" $words fpt $init $seed 160 40 32
            arm "$name" $words output $init $seed 2000 200 32
          done
        elif [ $seed = 0 ]; then
          arm "$name" - fpt $init $seed 320 80 32
          arm "$name" - output $init $seed 2000 200 32
        fi
      done
    done
  done
done

echo "task, words a kind, policy, init: mean test accuracy, standard error over seeds, seeds"
awk -F, 'NR > 1 { key = $1 ", " $2 ", " $3 ", " $4; n[key]++; sum[key] += $9; squares[key] += $9 * $9 }
  END { for (key in n) { mean = sum[key] / n[key]; error = n[key] > 1 ? sqrt((squares[key] / n[key] - mean * mean) / (n[key] - 1)) : 0
    printf "%s: %.1f %% +- %.1f, %d\n", key, 100 * mean, 100 * (error > 0 ? error : 0), n[key] } }' "$table" | sort
