#!/usr/bin/env bash
# Does it cost accuracy to hold frozen weights in bfloat16? Three tasks that neither way saturates, trained both ways with the same five seeds:
#   bench/frozen_dtype.sh [CSV]        (MNIST must be there: ./permafrost data fetch mnist; PERMAFROST names another program than ./permafrost)
# Writes one line a run, and prints for each task the mean difference of test accuracies with its 95 % interval (Student's t, 4 degrees of freedom).
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."
csv=${1:-bench/results/frozen-dtype.csv}
read -ra permafrost <<<"${PERMAFROST:-./permafrost}"
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT

train() {  # task seed dtype options...
  local task=$1 seed=$2 dtype=$3
  shift 3
  "${permafrost[@]}" finetune --task "$task" --backbone gpt2-tiny --init random --init-seed "$seed" --seed "$seed" --frozen-dtype "$dtype" "$@" \
    --eval-steps 0 --no-baselines --output-dir "$scratch/$task-$seed-$dtype" --json 2>"$scratch/log" >"$scratch/out" || { cat "$scratch/log" >&2; exit 1; }
  printf '%s,%s,%s,%s\n' "$task" "$seed" "$dtype" "$(sed -n '/"test"/,/}/s/.*"accuracy": \([0-9.]*\).*/\1/p' "$scratch/out")"
}

{
  echo "# $(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sed 1q), $(nproc) cores, kernels $("${permafrost[@]}" env | awk '$1 == "kernels" { print $2; exit }')"
  echo "task,seed,frozen_dtype,test_accuracy"
} >"$csv"
for seed in 0 1 2 3 4; do
  for dtype in float32 bfloat16; do
    train mnist $seed $dtype --max-steps 1500 --learning-rate 3e-3 --per-device-train-batch-size 16
    train bit-xor $seed $dtype --set task_options.length=10 --max-steps 600 --learning-rate 3e-3 --per-device-train-batch-size 32
    train listops $seed $dtype --set task_options.max_length=25 --set task_options.min_length=4 --max-steps 1500 --learning-rate 1e-2 --per-device-train-batch-size 32
  done
done >>"$csv"

awk -F, '/^[^#]/ && $2 != "seed" { score[$1, $2, $3] = $4; tasks[$1] }
  END { for (task in tasks) {
    n = 5; sum = squares = mean16 = mean32 = 0
    for (seed = 0; seed < n; seed++) {
      low = 100 * score[task, seed, "bfloat16"]; full = 100 * score[task, seed, "float32"]; d = low - full
      sum += d; squares += d * d; mean16 += low / n; mean32 += full / n
    }
    mean = sum / n; half = 2.776 * sqrt((squares - n * mean * mean) / (n - 1) / n)
    printf "%s: float32 %.2f %%, bfloat16 %.2f %%, difference %+.2f points, 95 %% interval %+.2f to %+.2f\n", task, mean32, mean16, mean, mean - half, mean + half } }' "$csv"
