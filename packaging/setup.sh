#!/usr/bin/env bash
# Makes .venv with everything in requirements.lock and agentkit itself; `make setup` calls it.
#   PYTHON=python3.12      which Python to use instead of the first suitable one on PATH
#   PREBUILT=WHERE         take llama-cpp-python as a wheel instead of compiling it:
#                          a wheel file, a folder of wheels, or a package index address
set -euo pipefail
cd "$(dirname "$0")/.."

venv=.venv
log=$venv/setup.log
heartbeat_seconds=20
scratch=""
child=""

# Ctrl-C ends the compilers too: a watched command runs as a process group of its own.
clean_up() {
    [ -z "$child" ] || kill -TERM -- "-$child" 2>/dev/null || true
    [ -z "$scratch" ] || rm -rf "$scratch"
}
trap clean_up EXIT
trap 'exit 130' INT
trap 'exit 143' TERM

say() { printf '%s\n' "setup: $*"; }
fail() {
    say "$*" >&2
    exit 1
}

find_python() {
    local candidate
    for candidate in "${PYTHON:-}" python3.13 python3.12 python3.11 python3; do
        [ -n "$candidate" ] || continue
        if "$candidate" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info < (3, 14))' 2>/dev/null; then
            printf '%s' "$candidate"
            return
        fi
    done
    fail "no Python 3.11, 3.12 or 3.13 with venv found; install one (Debian and Ubuntu: apt-get install python3 python3-venv) or name it: make setup PYTHON=/path/to/python3.11"
}

# Runs a command with its output in the log, and says every 20 s that it is still at work.
watched() {
    local what=$1 started=$SECONDS status=0 next=$heartbeat_seconds
    shift
    say "$what ..."
    set -m
    "$@" >>"$log" 2>&1 </dev/null &
    child=$!
    set +m
    while kill -0 "$child" 2>/dev/null; do
        sleep 1
        if [ $((SECONDS - started)) -ge "$next" ] && kill -0 "$child" 2>/dev/null; then
            say "  still at it after $((SECONDS - started)) s: $what"
            next=$((next + heartbeat_seconds))
        fi
    done
    wait "$child" || status=$?
    child=""
    if [ "$status" -ne 0 ]; then
        tail -n 40 "$log" >&2
        fail "failed: $what (exit status $status). The whole output is in $log"
    fi
    say "  done in $((SECONDS - started)) s"
}

pip() { "$venv/bin/python" -m pip --disable-pip-version-check "$@"; }

cores() { getconf _NPROCESSORS_ONLN 2>/dev/null || echo 2; }

# The lines of one package in the lock: its name and its hashes.
locked() { awk -v name="$1==" '/^[^ #]/ { keep = index($0, name) == 1 } keep' requirements.lock; }

install_llama_prebuilt() {
    local version source=()
    version=$(locked llama-cpp-python | sed -n 's/^llama-cpp-python==\([^ ]*\).*/\1/p')
    case $PREBUILT in
    *.whl) source=("$PREBUILT") ;;
    *://*) source=(--extra-index-url "$PREBUILT" "llama-cpp-python==$version") ;;
    *)
        [ -d "$PREBUILT" ] || fail "PREBUILT=$PREBUILT is neither a wheel file, nor a folder, nor an index address"
        source=(--no-index --find-links "$PREBUILT" "llama-cpp-python==$version")
        ;;
    esac
    watched "installing llama.cpp from $PREBUILT" \
        pip install --no-deps --only-binary llama-cpp-python "${source[@]}"
}

# pip keeps the wheel it builds, so that only the first set-up of a user on a machine compiles.
install_llama_from_source() {
    command -v c++ >/dev/null || command -v clang++ >/dev/null ||
        fail "llama.cpp needs a C++ compiler (Debian and Ubuntu: apt-get install build-essential; macOS: xcode-select --install), or give a wheel: make setup PREBUILT=..."
    scratch=$(mktemp -d)
    cp packaging/llama-core.cmake "$scratch/"
    locked llama-cpp-python >"$scratch/llama.lock"
    CMAKE_ARGS="-DLLAVA_BUILD=OFF -DLLAMA_OPENSSL=OFF -DCMAKE_PROJECT_llama.cpp_INCLUDE=$scratch/llama-core.cmake ${CMAKE_ARGS:-}" \
        CMAKE_BUILD_PARALLEL_LEVEL=${CMAKE_BUILD_PARALLEL_LEVEL:-$(cores)} \
        watched "installing llama.cpp; the first time it is compiled, on all $(cores) cores (two take one to two minutes)" \
        pip install --no-deps --require-hashes -r "$scratch/llama.lock"
}

python=$(find_python)
if [ ! -x "$venv/bin/python" ]; then
    say "making $venv with $("$python" --version)"
    "$python" -m venv "$venv"
fi
: >"$log"
if [ -n "${PREBUILT:-}" ]; then
    install_llama_prebuilt
else
    install_llama_from_source
fi
watched "installing the other packages in requirements.lock" \
    pip install --require-hashes -r requirements.lock
watched "installing agentkit itself" \
    pip install --no-deps --no-build-isolation -e .
touch "$venv/ready"
say "ready: try 'make demo', or '. $venv/bin/activate' and 'agentkit --help'"
