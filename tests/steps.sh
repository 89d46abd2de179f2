# What tests/run and tests/full are made of: needed tools, steps, their sum. Sourced by bash with `set -euo pipefail`.

LOG=target/test-log
PASSED=0
FAILED=0
BROKEN=()
SKIPPED=()
LEFT_OUT=()
BEGUN=$SECONDS
# Where tests/it installs the engine, too: cargo's CARGO_TARGET_TMPDIR.
export SPARKLEASE_CACHE_DIR="$PWD/target/tmp/cache"
mkdir -p "$LOG"

# Names everything that is missing at once, with the command that brings it.
need_tools() {
    local missing=()
    command -v cargo >/dev/null || missing+=("cargo. Everywhere: see rustup.rs, then: rustup toolchain install stable")
    cargo fmt --version >/dev/null 2>&1 || missing+=("rustfmt: rustup component add rustfmt")
    cargo clippy --version >/dev/null 2>&1 || missing+=("clippy: rustup component add clippy")
    command -v cc >/dev/null || missing+=("cc. Debian: sudo apt-get install build-essential. macOS: xcode-select --install")
    if [ "$(uname)" = Linux ]; then
        command -v strace >/dev/null || missing+=("strace. Debian: sudo apt-get install strace")
        unshare --map-root-user --mount true 2>/dev/null || missing+=("unshare --map-root-user --mount. Debian: sudo apt-get install util-linux; where the kernel refuses it: sudo sysctl kernel.unprivileged_userns_clone=1 kernel.apparmor_restrict_unprivileged_userns=0")
    fi
    command -v ps >/dev/null || missing+=("ps. Debian: sudo apt-get install procps")
    PYTHON=""
    local name
    for name in python3.14 python3.13 python3.12 python3.11 python3.10 python3; do
        if "$name" -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 10))' >/dev/null 2>&1; then
            PYTHON=$name
            break
        fi
    done
    [ -n "$PYTHON" ] || missing+=("Python 3.10 or later with venv. Debian: sudo apt-get install python3 python3-venv. macOS: brew install python@3.13")
    if [ ${#missing[@]} -gt 0 ]; then
        echo "these are missing:" >&2
        printf '  %s\n' "${missing[@]}" >&2
        exit 2
    fi
}

# make_venv FOLDER REQUIREMENTS: a virtual environment, made again when the requirements change.
make_venv() {
    if ! cmp -s "$2" "$1/made-from"; then
        "$PYTHON" -m venv --clear "$1"
        "$1/bin/python" -m pip install --quiet --disable-pip-version-check --no-input --require-hashes \
            --only-binary :all: -r "$2" || {
            echo "pip cannot install $2: this needs a network the first time" >&2
            exit 2
        }
        cp "$2" "$1/made-from"
    fi
}

# step NAME COMMAND…: runs it, shows and keeps what it says, and adds what its runner counted. A step that counts
# nothing is one check.
step() {
    local name=$1 log="$LOG/${1//[ \/]/-}.log" at=$SECONDS code=0 counted passed failed
    shift
    printf '\n=== %s\n' "$name"
    "$@" 2>&1 | tee "$log" || code=$?
    counted=$(count "$log")
    read -r passed failed <<<"$counted"
    if [ "$passed" = - ]; then
        passed=$((code == 0)) failed=$((code != 0))
    elif [ "$code" -ne 0 ] && [ "$failed" -eq 0 ]; then
        # It broke without a failed test: it did not build, or its runner died.
        failed=1
    fi
    PASSED=$((PASSED + passed)) FAILED=$((FAILED + failed))
    [ "$failed" -eq 0 ] || BROKEN+=("$name: $failed failed, see $log")
    note_skipped "$name" "$log"
    printf '=== %s: %s passed, %s failed, %s s\n' "$name" "$passed" "$failed" $((SECONDS - at))
}

# `PASSED FAILED` as cargo test, unittest or tests/run counted them in a log, or `- -`.
count() {
    awk '
        /^test result: / { p += $4; f += $6; ok = 1 }
        /^Ran [0-9]+ tests? in / { ran += $2; ok = 1 }
        /^(OK|FAILED)( \(.*\))?$/ {
            line = $0
            gsub(/[(),=]/, " ", line)
            n = split(line, word, " ")
            for (i = 2; i < n; i++) {
                if (word[i] == "failures" || word[i] == "errors") bad += word[i + 1]
                if (word[i] == "skipped") skipped += word[i + 1]
            }
        }
        /^[0-9]+ passed, [0-9]+ failed$/ { p += $1; f += $3; ok = 1; own = 1; op = $1; of = $3 }
        END {
            if (!ok) print "- -"
            else if (own) print op, of
            else print p + ran - bad - skipped, f + bad
        }' "$1"
}

# What the tests say that take a server which no registry has: they are a step of their own, or named at the end.
REAL_LIVY="ignored, takes a real Livy server"

# How many these are, by the log of the step that left them out.
real_livy_tests() {
    grep -c "$REAL_LIVY" "$LOG/rust-tests.log" || true
}

# What a runner says that it skipped, by name. Where nothing may be left out it is a failure.
note_skipped() {
    local line
    while IFS= read -r line; do
        SKIPPED+=("$1: $line")
        if [ "${CI:-}" = true ]; then
            FAILED=$((FAILED + 1))
            BROKEN+=("$1: skipped although CI is set: $line")
        fi
    done < <(grep -E '^test .* \.\.\. ignored|\.\.\. skipped ' "$2" | grep -v "$REAL_LIVY" || true)
}

# engine WHAT…: the built binary's command.
engine() {
    target/debug/sparklease engine "$@"
}

# The tests of the worker, the harness and the Livy test server, run by the engine's own Python.
python_tests() {
    local python folder code=0
    python=$(engine status --json | "$PYTHON" -c 'import json, sys; print(json.load(sys.stdin)["python"])') || return 1
    # No compiled files beside src/python: the sources are text.
    for folder in tests/python tests/livy/tests; do
        PYTHONDONTWRITEBYTECODE=1 SPARKLEASE_TEST_PYTHON=$python "$python" -m unittest discover -v -s "$folder" || code=1
    done
    return "$code"
}

left_out() {
    LEFT_OUT+=("$@")
}

# Prints what was not run, what broke, and the sum; ends with its exit code.
closing() {
    printf '\n=== left out of this tier\n'
    printf '  %s\n' "${LEFT_OUT[@]}" ${SKIPPED[@]+"${SKIPPED[@]}"}
    if [ ${#BROKEN[@]} -gt 0 ]; then
        printf '\n=== failed\n'
        printf '  %s\n' "${BROKEN[@]}"
    fi
    printf '\n%s min %s s\n' $(((SECONDS - BEGUN) / 60)) $(((SECONDS - BEGUN) % 60))
    printf '%s passed, %s failed\n' "$PASSED" "$FAILED"
    [ "$FAILED" -eq 0 ] || exit 1
}
