#!/usr/bin/env bash
# Measures permafrost on this machine's GPU, its composed operators (the kernels are the CPU's) beside the same model in plain TorchSharp, both on the libtorch of
# this machine's PyTorch. UNTESTED on a GPU: none was at hand; only with --device cpu, on a folder of the CPU's libtorch.
#   bench/gpu.sh --publish DIR [--libtorch DIR] [--device cuda|cuda:N|cpu] [--output DIR] [arguments of `permafrost bench`]
# --publish: a self-contained program, made on a machine with the .NET SDK:
#   dotnet publish src/Permafrost.Cli -c Release -r linux-x64 --self-contained -p:LibtorchPackage=none -o DIR      (one with the CPU's libtorch will do too)
# --libtorch: the `lib` folder of a CUDA build of libtorch 2.10, as in an installed PyTorch 2.10 (.../site-packages/torch/lib); where it is left out, python3 is asked.
# Before it times a case, `permafrost bench` checks on the GPU that both sides give the same logits. Results go to --output (artifacts/gpu) as CSV, named after date
# and hardware.
set -euo pipefail
root=$(readlink -f "$(dirname "${BASH_SOURCE[0]}")/..")
publish='' libtorch='' device=cuda output=$root/artifacts/gpu arguments=()
while [ $# -gt 0 ]; do
  case $1 in
    --help | -h) sed -n '2,9s/^# //p' "${BASH_SOURCE[0]}"; exit ;;
    --publish) publish=$(readlink -f "$2"); shift ;;
    --libtorch) libtorch=$(readlink -f "$2"); shift ;;
    --device) device=$2; shift ;;
    --output) output=$2; shift ;;
    *) arguments+=("$1") ;;
  esac
  shift
done
fail() { echo "gpu.sh: $*" >&2; exit 1; }
[ -x "$publish/Permafrost.Cli" ] || fail "give a self-contained program with --publish (see --help)"
if [ -z "$libtorch" ]; then
  libtorch=$(python3 -c 'import os, torch; print(os.path.join(os.path.dirname(torch.__file__), "lib"))' 2>/dev/null) || fail "no PyTorch here: give --libtorch"
fi
[ -e "$libtorch/libtorch_cpu.so" ] || fail "$libtorch holds no libtorch_cpu.so"
if [[ $device = cuda* ]] && ! [ -e "$libtorch/libtorch_cuda.so" ]; then fail "$libtorch is a libtorch without CUDA"; fi
mkdir -p "$output"
output=$(readlink -f "$output")

# The program without its own libtorch, which is the CPU's: what it does not find beside itself the loader looks for in LD_LIBRARY_PATH. Links into the other
# folder would not do, since its libraries find those of CUDA relative to where they were loaded from.
rm -rf "$output/program"
cp -r --reflink=auto "$publish" "$output/program"
find "$output/program" \( -name 'libtorch*.so*' -o -name 'libc10*.so*' -o -name 'libshm*.so*' -o -name 'libgomp*.so*' -o -name 'libcaffe2*.so*' \) -delete
export LD_LIBRARY_PATH=$libtorch${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}
program=$output/program/Permafrost.Cli
"$program" env

index=${device#cuda}
index=${index#:}
if [[ $device = cuda* ]]; then
  hardware=$(nvidia-smi --query-gpu=name --format=csv,noheader --id="${index:-0}")
else
  hardware=$(sed -n 's/^model name[^:]*: //p' /proc/cpuinfo | sed 1q)
fi
csv=$output/$(date +%F)-$(tr 'A-Z ' 'a-z-' <<<"$hardware" | tr -cd 'a-z0-9-').csv
"$program" bench --device "$device" --csv "$csv" "${arguments[@]}"
echo "$csv"
