#!/usr/bin/env bash
# Builds native/ against Debian 13's libtorch and calls one operator through it, in a root of its own:
#   native/check-trixie.sh ROOT [MIRROR]      as root; ROOT is a folder, made once and kept; MIRROR defaults to apt's own
set -euo pipefail
[ $# -ge 1 ] || { sed -n '2,3s/^# //p' "$0"; exit 2; }
here=$(dirname "$(readlink -f "$0")")
root=$1
# shellcheck disable=SC2016
mirror=${2:-$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' | grep '/debian/*$' | sed 1q)}

if [ ! -e "$root/usr/include/ATen/ATen.h" ]; then
  debootstrap --variant=minbase --include=ca-certificates,g++,cmake,make trixie "$root" "$mirror"
  cp -a /etc/apt/apt.conf.d/. "$root/etc/apt/apt.conf.d/"
  chroot "$root" apt-get install -y --no-install-recommends libtorch-dev libopenblas0-pthread
fi
rm -rf "$root/check"
mkdir "$root/check"
cp -a "$here" "$root/check/native"
cat >"$root/check/add.c" <<'C'
#include <stdio.h>
#include "native/permafrost_torch.h"

#define CHECK(call) if (call) { fprintf(stderr, "%s: %s\n", #call, pf_last_error()); return 1; }

int main(void) {
    float x[] = {1, 2, 3}, sum[3];
    int64_t shape[] = {3};
    pf_tensor* tensor;
    pf_operator* add;
    int32_t produced;
    CHECK(pf_tensor_from_host(x, sizeof x, shape, 1, 6, &tensor));
    CHECK(pf_operator_find("aten::add", "Tensor", &add));
    pf_value arguments[] = {{.kind = PF_TENSOR, .as.p = tensor}, {.kind = PF_TENSOR, .as.p = tensor}, {.kind = PF_INT, .as.i = 10}}, result;
    CHECK(pf_operator_call(add, arguments, 3, &result, 1, &produced));
    CHECK(pf_tensor_to_host(result.as.p, sum, sizeof sum));
    printf("libtorch %s: aten::add gives %g %g %g\n", pf_torch_version(), sum[0], sum[1], sum[2]);
    return !(sum[0] == 11 && sum[1] == 22 && sum[2] == 33);
}
C
# shellcheck disable=SC2016
unshare --mount sh -ec 'mount -t proc proc "$1/proc" && exec chroot "$1" sh -ec "$2"' sh "$root" 'cd /check && cmake -S native -B build && cmake --build build -j "$(nproc)"
  gcc add.c -o add -Lbuild -lpermafrost_torch -Wl,-rpath,/check/build && ./add'
