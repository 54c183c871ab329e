#!/usr/bin/env bash
# Compares ways to learn from few examples (docs/few-examples.md): studies/few-shot.sh [TASK...] (sst2@phrases, ag-news; both without). The data lies in $PERMAFROST_DATA, or `permafrost data fetch` brings it.
# N examples a class are drawn by a seed, ten draws each; everything is chosen by stratified validation among those alone, and the task's validation examples are scored:
# the 872 sentences of SST-2 that SetFit's published score is of. Beside the arms a linear probe of the same body (policy output) and an n-gram model.
# What is in studies/few-shot.csv is not run again. DRAWS, SHOTS and ARMS shorten it, as in: DRAWS="0" SHOTS="8" ARMS="output ngram" studies/few-shot.sh sst2@phrases
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
table=${TABLE:-studies/few-shot.csv} runs=${RUNS:-runs/few-shot}
header=task,shots,arm,draw,learning_rate,steps,cross_validation_accuracy,accuracy,count,trained_percent,seconds
[ -e "$table" ] || echo $header >"$table"

# number KEY: the first number under that key of the JSON on standard input; - where there is none.
number() { grep -m 1 "\"$1\":" | sed 's/.*: *//; s/,$//' || echo -; }

# Policy and options of an arm.
options() {
  case $1 in
    output) echo "--policy output --learning-rate 0.01" ;;
    fpt) echo "--policy fpt" ;;
    fpt-pairs) echo "--policy fpt --pairs --learning-rate 0.01" ;;
    all) echo "--policy * --learning-rate 0.00005" ;;
    all-pairs) echo "--policy * --pairs --learning-rate 0.01" ;;
  esac
}

# arm TASK SHOTS ARM DRAW
arm() {
  local task=$1 shots=$2 arm=$3 draw=$4 folder=$runs/$1-$2-$3-$4 result began=$SECONDS
  if grep -q "^$task,$shots,$arm,$draw," "$table"; then return; fi
  if [ "$arm" = ngram ]; then
    result=$(./permafrost baselines "$task" --strong --train-per-class "$shots" --seed "$draw" --split validation --json 2>"$runs/log")
    echo "$task,$shots,$arm,$draw,-,-,-,$(number ngram-linear <<<"$result"),-,-,$((SECONDS - began))" | tee -a "$table"
    return
  fi
  rm -rf "$folder"
  local more
  IFS=' ' read -ra more <<<"$(options "$arm")"
  result=$(./permafrost finetune --task "$task" --backbone all-MiniLM-L6-v2 --readout mean --train-per-class "$shots" --seed "$draw" "${more[@]}" \
    --no-score-test --no-baselines --output-dir "$folder" --json 2>"$runs/log")
  local held scored
  held=$(grep -A 2 '"cross_validation": {' <<<"$result" | number accuracy)
  scored=$(grep -A 3 '"validation": {' <<<"$result" | head -4)
  echo "$task,$shots,$arm,$draw,$(number learning_rate <<<"$result"),$(number steps <<<"$result"),$held,$(number accuracy <<<"$scored"),$(number count <<<"$scored"),$(number trained_percent <<<"$result"),$((SECONDS - began))" |
    tee -a "$table"
}

mkdir -p "$runs"
for task in "${@:-sst2@phrases ag-news}"; do
  for name in $task; do
    for shots in ${SHOTS:-8 16 32 64}; do
      for draw in ${DRAWS:-0 1 2 3 4 5 6 7 8 9}; do
        for arm in ${ARMS:-output fpt fpt-pairs all all-pairs ngram}; do arm "$name" "$shots" "$arm" "$draw"; done
      done
    done
  done
done

echo "task, examples a class, arm: mean accuracy, standard error over draws, draws"
awk -F, 'NR > 1 { key = $1 ", " $2 ", " $3; n[key]++; sum[key] += $8; squares[key] += $8 * $8 }
  END { for (key in n) { mean = sum[key] / n[key]; error = n[key] > 1 ? sqrt((squares[key] / n[key] - mean * mean) / (n[key] - 1)) : 0
    printf "%s: %.1f %% +- %.1f, %d\n", key, 100 * mean, 100 * (error > 0 ? error : 0), n[key] } }' "$table" | sort
