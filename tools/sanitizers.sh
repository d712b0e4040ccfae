# shellcheck shell=bash
# The native module under AddressSanitizer and UndefinedBehaviorSanitizer, for .ci/run and tools/full.sh, which source this file.

# install_sanitized PYTHON BUILD_FOLDER INSTRUCTION_SETS [VECTOR_BYTES]: from this checkout, with what tests need. The sets are
# separated by semicolons. Fails if the sanitizers would not notice anything.
install_sanitized() {
  local module
  "$1" -m pip install ".[test]" --config-settings=build-dir="$2" \
    --config-settings=cmake.build-type=RelWithDebInfo --config-settings=cmake.define.RNN_SANITIZE=ON \
    --config-settings=cmake.define.RNN_INSTRUCTION_SETS="$3" \
    --config-settings=cmake.define.RNN_VECTOR_BYTES="${4-}"
  module=$(cd / && sanitized "$1" -c "from rnn_from_scratch.engines import _native; print(_native.__file__)")
  sanitizers_are_live "$module" "$1"
}

# sanitized COMMAND...
sanitized() {
  # libstdc++ as well: loaded later, by the module, its exceptions would escape the interceptors of libasan.
  LD_PRELOAD="$(gcc -print-file-name=libasan.so) $(gcc -print-file-name=libstdc++.so)" PYTHONMALLOC=malloc \
    ASAN_OPTIONS=detect_leaks=0 UBSAN_OPTIONS=print_stacktrace=1:halt_on_error=1 "$@"
}

# The module has the calls of both sanitizers, and a write past the end, compiled and loaded as the module is, is caught.
sanitizers_are_live() {
  ldd "$1" | grep libasan
  nm -D "$1" | grep -c "__asan_.*load"
  nm -D "$1" | grep -c "__ubsan_handle"
  local folder
  folder=$(mktemp -d)
  echo 'extern "C" int overflow(int i) { int* p = new int[4]; p[i] = 1; int r = p[0]; delete[] p; return r; }' |
    g++ -shared -fPIC -fsanitize=address,undefined -xc++ - -o "$folder/overflow.so"
  sanitized "$2" -c "import ctypes, sys; ctypes.CDLL(sys.argv[1]).overflow(4)" "$folder/overflow.so" \
    >"$folder/log" 2>&1 && return 1
  grep "AddressSanitizer: heap-buffer-overflow" "$folder/log"
  rm -r "$folder"
}
