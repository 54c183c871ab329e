#!/usr/bin/env bash
# Measures permafrost on this machine's GPU against its own PyTorch, and checks parity there first:
#   bench/gpu.sh [--fixtures DIR] [--publish DIR] [--device cuda|cpu] [--output DIR] [arguments of `permafrost bench`]
# Needs a Python with PyTorch ($PYTHON, python3 or /usr/bin/python3), cmake and a C++ compiler. Without a .NET SDK give a self-contained program, made elsewhere:
#   dotnet publish src/Permafrost.Cli -c Release -r linux-x64 --self-contained -o DIR
# Native code is built here in any case, against this PyTorch. Results go to --output (artifacts/gpu) as CSV, named after date and hardware.
set -euo pipefail
root=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/..")
fixtures='' publish='' device=cuda output=$root/artifacts/gpu arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) sed -n '2,6s/^# //p' "${BASH_SOURCE[0]}"; exit ;;
    --fixtures) fixtures=$(readlink -f "$2"); shift ;;
    --publish) publish=$(readlink -f "$2"); shift ;;
    --device) device=$2; shift ;;
    --output) output=$2; shift ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
fail() { echo "gpu.sh: $*" >&2; exit 1; }
cd "$root"  # a published program finds the peer from here
mkdir -p "$output"
output=$(readlink -f "$output")

export LIBTORCH_USE_PYTORCH=1
for python in "${PYTHON:-}" python3 /usr/bin/python3 ''; do
  if [ -n "$python" ] && "$python" -c 'import torch' 2>/dev/null; then break; fi
done
[ -n "$python" ] || fail "no Python with PyTorch: set PYTHON"
PYTHON=$(type -P "$python")
export PYTHON
"$PYTHON" - "$device" <<'PYTHON'
import sys, torch
print(f"PyTorch {torch.__version__}, CUDA {torch.version.cuda}")
if sys.argv[1].startswith("cuda"):
    if not torch.cuda.is_available():
        sys.exit("gpu.sh: this PyTorch finds no GPU")
    print(torch.cuda.get_device_name(sys.argv[1]), *torch.cuda.get_device_capability(sys.argv[1]))
PYTHON

if [ -n "$publish" ]; then
  [ -x "$publish/Permafrost.Cli" ] || fail "$publish holds no Permafrost.Cli"
  { cmake -S native -B "$output/native" && cmake --build "$output/native" -j "$(nproc)"; } >"$output/native.log" 2>&1 || { tail -n 20 "$output/native.log" >&2; fail "native/ does not build"; }
  export PERMAFROST_NATIVE=$output/native/libpermafrost_torch.so
  program=("$publish/Permafrost.Cli")
else
  type -P dotnet >/dev/null || [ -x "$HOME/.dotnet/dotnet" ] || fail "there is no .NET here: give a self-contained program with --publish"
  program=("$root/permafrost")
fi
"${program[@]}" env

if [ -n "$fixtures" ]; then
  "$PYTHON" bench/peer/check.py "$fixtures" | tail -n 1
  "$PYTHON" bench/peer/parity.py "$fixtures" "$device" "${program[@]}" >"$output/parity.log" || { grep -v '^ok' "$output/parity.log" >&2; fail "parity is missed (all checks: $output/parity.log)"; }
  tail -n 1 "$output/parity.log"
fi

index=${device#cuda}
index=${index#:}
if [[ $device = cuda* ]]; then hardware=$(nvidia-smi --query-gpu=name --format=csv,noheader --id="${index:-0}"); else hardware=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sed 1q); fi
csv=$output/$(date +%F)-$(tr 'A-Z ' 'a-z-' <<<"$hardware" | tr -cd 'a-z0-9-').csv
"${program[@]}" bench --device "$device" --csv "$csv" "${arguments[@]}"
echo "$csv"
