# Shared by ./permafrost, ./test and .ci/run, which set $root and source this file: finds or installs what is needed, and builds.
# build PROJECT PATH... is the way in. Plain lines go to stderr, the noise of compilers to log files in artifacts/.
# shellcheck shell=bash

artifacts=${root:?is set by the scripts that source this}/artifacts
charts=$artifacts/npm
export DOTNET_NOLOGO=1 DOTNET_CLI_TELEMETRY_OPTOUT=1 DOTNET_SKIP_FIRST_TIME_EXPERIENCE=1 DOTNET_CLI_UI_LANGUAGE=en
# Small systems have no ICU, and nothing here needs it.
export DOTNET_SYSTEM_GLOBALIZATION_INVARIANT=${DOTNET_SYSTEM_GLOBALIZATION_INVARIANT:-1}
# dotnet-install.sh puts the SDK here and leaves PATH alone.
if ! type -P dotnet >/dev/null && [ -x "$HOME/.dotnet/dotnet" ]; then PATH=$PATH:$HOME/.dotnet; fi
# Relative paths would mean another folder to cmake.
case ${LIBTORCH:-/} in /*) ;; *) export LIBTORCH=$PWD/$LIBTORCH ;; esac
case ${PYTHON:-/} in /*) ;; */*) export PYTHON=$PWD/$PYTHON ;; esac

say() { printf 'permafrost: %s\n' "$*" >&2; }
fail() { say "$*"; exit 1; }
fail_with_log() { tail -n 20 "$1" >&2; fail "$2 (full log: $1)"; }
have() { type -P "$1" >/dev/null; }
list() { local text && text=$(printf '%s, ' "$@") && printf '%s' "${text%, }"; }

# ---- what is up to date ----

# Which repository and which libtorch a build belongs to; with another one it starts from scratch.
choice="$root|${LIBTORCH:-}|${LIBTORCH_USE_PYTORCH:-}"
if [ "${LIBTORCH_USE_PYTORCH:-}" = 1 ]; then choice+="|${PYTHON:-}|$(type -P python3 || true)"; fi

# up_to_date STAMP PATH...: nothing changed since the build that left STAMP, neither sources nor the choice of libtorch nor libtorch itself.
up_to_date() {
  local stamp=$1 built libtorch changed
  shift
  { read -r built && read -r libtorch; } 2>/dev/null <"$stamp" || return 1
  [ "$built" = "$choice" ] && [ -d "$charts" ] || return 1
  changed=$(cd "$root" && find -H "$libtorch" Directory.Build.props Directory.Packages.props global.json "$@" -cnewer "$stamp" -print -quit 2>&1) && [ -z "$changed" ]
}

# ---- what is installed ----

dotnet_works() { have dotnet && dotnet --list-sdks | grep -q '^10\.'; }

# Looks where CMake looks: /usr/local, /usr, $CMAKE_PREFIX_PATH and beside the folders of $PATH.
has_system_libtorch() {
  local prefix prefixes
  IFS=: read -ra prefixes <<<"${CMAKE_PREFIX_PATH:-}:$PATH"
  for prefix in /usr/local /usr "${prefixes[@]}" "${prefixes[@]%/bin}"; do
    if [ -e "$prefix/include/ATen/ATen.h" ]; then return 0; fi
  done
  return 1
}

# Debian's libtorch calls whatever libblas.so.3 is; its own reference version is many times slower than OpenBLAS.
has_fast_blas() {
  local library
  if ! compgen -G "/usr/lib/*/libtorch_cpu.so*" >/dev/null && has_system_libtorch; then return 0; fi
  for library in /usr/lib/*/libblas.so.3; do
    if [ -e "$library" ] && [[ $(readlink -f "$library") != */blas/libblas.so.3* ]]; then return 0; fi
  done
  return 1
}

# shellcheck disable=SC1003
libtorch_ways_out() { sed -n '/^set(LIBTORCH_WAYS_OUT/,/)$/p' "$root/native/find_libtorch.cmake" | tr -d '\n\\' | sed 's/^[^"]*"//; s/")$//'; }

# install_missing [PACKAGE REASON]...: what a build cannot do without, and, where installing needs no question, npm and those packages.
install_missing() {
  local packages=() required=() reasons=() sudo=() may_install=1 sdk=''
  need() { packages+=("$1"); reasons+=("$1 ($2)"); }
  dotnet_works || need dotnet-sdk-10.0 ".NET 10 SDK, builds and runs the program"
  have "${CXX:-c++}" || have g++ || need g++ "compiles native/"
  have cmake || need cmake "builds native/"
  have make || need make "builds native/"
  if [ -z "${LIBTORCH:-}" ] && [ "${LIBTORCH_USE_PYTORCH:-}" != 1 ]; then
    has_system_libtorch || need libtorch-dev "tensor engine"
    has_fast_blas || need libopenblas0-pthread "fast matrix products for it"
  fi
  [ "$(id -u)" = 0 ] || sudo=(sudo)
  if [ "${PERMAFROST_NO_INSTALL:-}" = 1 ]; then may_install=''; fi
  if [ "$(id -u)" != 0 ] && ! { have sudo && { [ -t 0 ] || sudo -n true 2>/dev/null; }; }; then may_install=''; fi
  required=("${packages[@]}")
  if [ $may_install ] && have apt-get && { [ ${#packages[@]} -gt 0 ] || [ "$(id -u)" = 0 ] || sudo -n true 2>/dev/null; }; then
    set -- npm "fetches uPlot, which draws the curves of reports" "$@"
    while [ $# -gt 0 ]; do
      have "$1" || need "$1" "$2"
      shift 2
    done
  fi
  [ ${#packages[@]} -gt 0 ] || return 0
  if ! have apt-get; then
    fail "missing, by Debian's names: $(list "${reasons[@]}"). Install them with this system's package manager; the .NET SDK is at https://dot.net/download. For libtorch: $(libtorch_ways_out)"
  fi

  local log=$artifacts/setup.log apt=("${sudo[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -o DPkg::Lock::Timeout=300)
  : >"$log"
  apt_has() {
    apt-cache show "$1" >/dev/null 2>&1 && return
    [ $may_install ] || return
    say "refreshing apt's package lists, to look for $1"
    "${apt[@]}" update >>"$log" 2>&1 || fail_with_log "$log" "apt-get update failed"
    apt-cache show "$1" >/dev/null 2>&1
  }

  if [ "${packages[0]}" = dotnet-sdk-10.0 ] && ! apt_has dotnet-sdk-10.0; then
    sdk="the .NET 10 SDK is missing and apt does not have it here: get it from https://dot.net/download, or run \`curl -fsSL https://dot.net/v1/dotnet-install.sh | bash -s -- --channel 10.0\`."
    packages=("${packages[@]:1}") required=("${required[@]:1}") reasons=("${reasons[@]:1}")
  fi
  if [ ! $may_install ] || [ -n "$sdk" ]; then
    local command="${sudo:+sudo }apt-get update && ${sudo:+sudo }apt-get install -y --no-install-recommends ${packages[*]}"
    [ ${#packages[@]} = 0 ] || say "missing: $(list "${reasons[@]}"). To install: $command"
    case " ${packages[*]} " in *" libtorch-dev "*) say "libtorch may also come from elsewhere. $(libtorch_ways_out)" ;; esac
    [ -z "$sdk" ] || say "$sdk"
    exit 1
  fi
  case " ${packages[*]} " in *" libtorch-dev "*) apt_has libtorch-dev || fail "apt has no libtorch-dev here. $(libtorch_ways_out)" ;; esac
  say "installing with apt: $(list "${reasons[@]}")"
  "${apt[@]}" install -y --no-install-recommends "${packages[@]}" >>"$log" 2>&1 ||
    { "${apt[@]}" update && "${apt[@]}" install -y --no-install-recommends "${packages[@]}"; } >>"$log" 2>&1 ||
    { [ ${#required[@]} -lt ${#packages[@]} ] && "${apt[@]}" install -y --no-install-recommends "${required[@]}"; } >>"$log" 2>&1 ||
    fail_with_log "$log" "apt-get could not install ${packages[*]}"
}

# uPlot, for the build to embed. Without it everything but `permafrost report` works; a failure is not tried again before artifacts/npm is removed.
fetch_charts() {
  local from=$root/src/Permafrost/Studies/Report
  cmp -s "$from/package-lock.json" "$charts/package-lock.json" && return
  rm -rf "$charts"
  mkdir -p "$charts"
  have npm || { say "there is no npm to fetch uPlot with: \`permafrost report\` will not work, everything else will"; return; }
  cp "$from/package.json" "$from/package-lock.json" "$charts"
  (cd "$charts" && npm ci --ignore-scripts --no-audit --no-fund --no-update-notifier --fetch-retries=1) >"$charts/npm.log" 2>&1 </dev/null 9>&- ||
    say "npm could not fetch uPlot (full log: $charts/npm.log): \`permafrost report\` will not work, everything else will"
}

# ---- building ----

build_native() {
  local folder=$artifacts/native
  local log=$folder/build.log libtorch message
  libtorch=$(sed -n 's/^LIB_torch_cpu:[^=]*=//p' "$folder/CMakeCache.txt" 2>/dev/null || true)
  if [ "$(cat "$folder/.choice" 2>/dev/null)" != "$choice" ] || [ -n "$(find -H "$libtorch" -cnewer "$folder/CMakeCache.txt" 2>&1)" ]; then rm -rf "$folder"; fi
  mkdir -p "$folder"
  if ! cmake -S "$root/native" -B "$folder" >"$log" 2>&1; then
    rm -f "$folder/.choice"
    message=$(sed -n '/^CMake Error at find_libtorch/,/^Call Stack/{/^  /p}' "$log" | tr -s ' \n' ' ')
    [ -z "$message" ] || fail "${message# }(full log: $log)"
    fail_with_log "$log" "cmake could not configure native/"
  fi
  printf '%s\n' "$choice" >"$folder/.choice"
  cmake --build "$folder" -j "$(nproc)" >>"$log" 2>&1 || fail_with_log "$log" "native/ does not compile"
}

# No compiler or build process stays behind, holding memory and this script's lock.
build_dotnet() {
  local log=$artifacts/build.log
  dotnet build "$root/$1" -c Release --disable-build-servers -tl:off -v:minimal >"$log" 2>&1 9>&- || fail_with_log "$log" "$1 does not build"
}

# build PROJECT PATH...: brings native/ and PROJECT, which is made of PATHs, up to date; costs milliseconds when nothing changed.
build() {
  local project=$1 stamp=$artifacts/.built-${1##*/}
  shift
  up_to_date "$stamp" native "$@" && return
  if ! mkdir -p "$artifacts" 2>/dev/null || ! [ -w "$artifacts" ] || { [ -e "$artifacts/.lock" ] && ! [ -w "$artifacts/.lock" ]; }; then
    fail "$artifacts cannot be written, and what is built there is not up to date: clone the repository for yourself, or let its owner start ./permafrost"
  fi
  exec 9>"$artifacts/.lock"
  flock -n 9 || { say "waiting for another build here to end"; flock 9; }
  if ! up_to_date "$stamp" native "$@"; then
    touch "$artifacts/.begun"
    install_missing
    if [ -e "$artifacts/native/libpermafrost_torch.so" ]; then say "building what changed"; else say "building for the first time, about a minute"; fi
    build_native
    fetch_charts
    build_dotnet "$project"
    printf '%s\n' "$choice" "$(sed -n 's/^LIB_torch_cpu:[^=]*=//p' "$artifacts/native/CMakeCache.txt")" >"$stamp"
    touch -r "$artifacts/.begun" "$stamp"
  fi
  exec 9>&-
}
