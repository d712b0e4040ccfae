#!/usr/bin/env bash
# The full tier: what takes longer than a change can wait for.
#
#     make full                     all parts
#     make full ARGS=fuzz           only this one
#
# arm64   The native module compiled for 64-bit ARM by a cross-compiler, and the battery of the engines with it under emulation.
# fuzz    A million random calls of the native module, on every instruction set that this processor has; then some more under
#         AddressSanitizer and UndefinedBehaviorSanitizer.
#
# It needs Debian or Ubuntu; the cross-compiler and the emulator are installed if they are missing, which takes root. A Python
# and a C library for ARM are only unpacked, into build/full, where all logs are too. The first failure ends the run.

set -euo pipefail
shopt -s inherit_errexit
cd "$(dirname "$0")/.."
exec </dev/null

ROOT=$PWD
WORK=$ROOT/build/full
LOGS=$WORK/logs
PYTHON=$ROOT/.venv/bin/python  # made by dev.py
PARTS=(arm64 fuzz)

CALLS=1000000
SANITIZED_CALLS=100000  # of each instruction set

export RNN_FROM_SCRATCH_REQUIRE_NATIVE=1
export PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_QUIET=1 MPLBACKEND=Agg

source tools/sanitizers.sh

# --- arm64 ---

# What runs the kernels, or calls them in its own way. What compiles or starts programs of its own, and so would leave the
# emulator, stays out of it; so do runs long enough to be interrupted, which take an hour there; so does the NumPy engine, and
# with it what that does in parts, which has no code of ours in it.
BATTERY=(tests/test_engines_*.py tests/test_native*.py tests/test_optimizers.py tests/test_stream.py tests/test_threads.py
  tests/test_predict_at_once.py tests/test_reused_arrays.py)

part_arm64() {
  local folder=$WORK/arm64
  logged arm64-tools arm64_tools
  logged arm64-system arm64_system "$folder/system"
  write_emulated_python "$folder"
  logged arm64-packages arm64_packages "$folder"
  logged arm64-build arm64_build "$folder"
  logged arm64-battery arm64_battery "$folder"
  tell "$(last_line arm64-battery)"
}

arm64_tools() {
  tell "a cross-compiler, an emulator, CMake and Ninja"
  if ! command -v aarch64-linux-gnu-g++ || ! command -v qemu-aarch64; then
    apt-get update
    DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends g++-aarch64-linux-gnu qemu-user
  fi
  "$PYTHON" -m venv "$WORK/tools"
  "$WORK/tools/bin/python" -m pip install cmake ninja
}

# arm64_system FOLDER: Python and what it stands on, unpacked. The lists of packages are this run's own, in a state in which
# nothing is installed, so that apt finds all that is needed and nothing changes in this system.
arm64_system() {
  tell "Python for ARM: packages of this distribution, unpacked"
  local state=$WORK/apt package
  mkdir -p "$state"/{lists,archives}/partial "$1"
  touch "$state/status"
  local apt=(apt-get -y --no-install-recommends -o APT::Architecture=arm64 -o APT::Architectures=arm64
    -o Dir::State::Lists="$state/lists" -o Dir::State::status="$state/status" -o Dir::Cache="$state"
    -o Dir::Cache::archives="$state/archives" -o Debug::NoLocking=true)
  "${apt[@]}" update
  "${apt[@]}" install --download-only python3 libpython3-dev libstdc++6
  for package in "$state"/archives/*.deb; do
    dpkg-deb --extract "$package" "$1"
  done
}

# A program like any other, for scripts and for tests that start their own interpreter. The processor is an ordinary one, with
# NEON. What the emulator would choose has SVE too, which the kernels do not use; OpenBLAS does, and its single-precision
# products then report divisions by zero.
write_emulated_python() {
  cat >"$1/python" <<SCRIPT
#!/bin/sh
exec qemu-aarch64 -cpu neoverse-n1 -L "$1/system" "$1/system/usr/bin/python3" "\$@"
SCRIPT
  chmod +x "$1/python"
}

# arm64_packages FOLDER: what the tests need, and the package itself, among that Python's own packages.
arm64_packages() {
  tell "NumPy, pytest, hypothesis and nanobind for ARM"
  local packages version platform platforms=()
  packages=$(site_packages "$1/python") version=$("$1/python" -c "import sys; print('%d.%d' % sys.version_info[:2])")
  for platform in manylinux_2_{34,31,28,27,17}_aarch64 manylinux2014_aarch64; do platforms+=(--platform "$platform"); done
  "$WORK/tools/bin/python" -m pip install --target "$packages" --python-version "$version" --only-binary=:all: \
    "${platforms[@]}" numpy pytest pytest-xdist hypothesis nanobind
  cp -r src/rnn_from_scratch "$packages"
  rm -f "$packages"/rnn_from_scratch/engines/_native*.so
  # The emulated interpreter would give its real name to those that want to start another one.
  echo "import sys; sys.executable = sys._base_executable = '$1/python'" >"$packages/emulated.pth"
}

arm64_build() {
  tell "the native module, cross-compiled"
  local packages include
  packages=$(site_packages "$1/python")
  include=$("$1/python" -c "import sysconfig; print(sysconfig.get_path('include'))")
  PATH=$WORK/tools/bin:$PATH
  # Debian's pyconfig.h includes one from a folder of its architecture.
  cmake -S . -B "$1/build" -G Ninja -DCMAKE_BUILD_TYPE=Release -DCMAKE_SYSTEM_NAME=Linux -DCMAKE_SYSTEM_PROCESSOR=aarch64 \
    -DCMAKE_CXX_COMPILER=aarch64-linux-gnu-g++ -DCMAKE_CXX_FLAGS="-Werror -idirafter $1/system/usr/include" \
    -DPython_EXECUTABLE="$1/python" -DPython_INCLUDE_DIR="$include" \
    -DPython_NumPy_INCLUDE_DIR="$("$1/python" -c "import numpy; print(numpy.get_include())")"
  cmake --build "$1/build"
  cmake --install "$1/build" --prefix "$packages"
  (cd / && "$1/python" -c "import rnn_from_scratch; rnn_from_scratch.show_config()")
}

arm64_battery() {
  tell "the battery of the engines under emulation"
  OPENBLAS_NUM_THREADS=1 PYTHONPYCACHEPREFIX=$1/cache "$1/python" -m pytest -q -p no:cacheprovider -n auto \
    --durations=10 -k "not numpy" "${BATTERY[@]}"
}

site_packages() { "$1" -c "import site; print(site.getsitepackages()[0])"; }

# --- fuzz ---

part_fuzz() {
  local isa sets=() each
  for isa in $(compiled_sets); do
    [[ $(RNN_FROM_SCRATCH_ISA=$isa native_attribute instruction_set) == "$isa" ]] && sets+=("$isa")
  done
  each=$(((CALLS + ${#sets[@]} - 1) / ${#sets[@]}))
  tell "$each random calls of each of: ${sets[*]}"
  in_pairs fuzz "$PYTHON" "$each" "${sets[@]}"
  logged sanitizers-build sanitized_build "$(IFS=";" && echo "${sets[*]}")"
  in_pairs sanitized-fuzz "$WORK/sanitizers/bin/python" "$SANITIZED_CALLS" "${sets[@]}"
}

compiled_sets() { "$PYTHON" -c "from rnn_from_scratch.engines import _native; print(*_native.compiled_instruction_sets)"; }
native_attribute() { "$PYTHON" -c "from rnn_from_scratch.engines import _native; print(_native.$1)"; }

sanitized_build() {
  tell "the native module with AddressSanitizer and UndefinedBehaviorSanitizer, then $SANITIZED_CALLS calls of each"
  "$PYTHON" -m venv "$WORK/sanitizers"
  install_sanitized "$WORK/sanitizers/bin/python" "$WORK/sanitizers-build" "$1"
}

# in_pairs NAME PYTHON CALLS INSTRUCTION_SETS...: two processes at a time.
in_pairs() {
  local name=$1 python=$2 calls=$3 isa jobs=() job runner=()
  shift 3
  [[ $name == fuzz ]] || runner=(sanitized)
  for isa in "$@"; do
    while (($(jobs -rp | wc -l) >= 2)); do sleep 0.2; done
    RNN_FROM_SCRATCH_ISA=$isa "${runner[@]}" "$python" tools/fuzz.py --calls "$calls" >"$LOGS/$name-$isa.log" 2>&1 &
    jobs+=("$!:$name-$isa")
  done
  for job in "${jobs[@]}"; do
    wait "${job%%:*}" || failed "${job#*:}"
    tell "$(last_line "${job#*:}")"
  done
}

# --- The machinery ---

tell() { echo "    $*" >&3; }

# logged NAME COMMAND...: what it prints goes to a log, all but what it `tell`s.
logged() {
  local log=$1 status=0
  shift
  # A plain command in a shell of its own: beside || Bash would ignore `set -e` in it.
  set +e
  (set -e; "$@") >"$LOGS/$log.log" 2>&1
  status=$?
  set -e
  ((status == 0)) || failed "$log"
}

failed() {
  tail -n 100 "$LOGS/$1.log" | cut -c 1-300
  echo "=== FAILED: the whole log is $LOGS/$1.log"
  exit 1
}

last_line() { grep . "$LOGS/$1.log" | tail -n 1; }

main() {
  [[ -x $PYTHON ]] || { echo "There is no $PYTHON yet: start this as make full, or python3 dev.py full." && exit 1; }
  rm -rf "$WORK" && mkdir -p "$LOGS"
  local part started
  exec 3>&1
  trap 'jobs -rp | xargs -r kill' EXIT  # the other of a pair
  echo "=== $(date --iso-8601=minutes), $(git describe --always --dirty 2>/dev/null || echo "no commit"), $(nproc) processors"
  for part in "$@"; do
    started=$SECONDS
    echo "=== $part"
    "part_$part"
    tell "$(awk -v s=$((SECONDS - started)) 'BEGIN { printf "%.1f minutes", s / 60 }')"
  done
  echo "=== passed: $*"
}

if (($#)); then main "$@"; else main "${PARTS[@]}"; fi
