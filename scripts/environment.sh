# Sourced by the scripts beside it: goes to the repository and makes its virtual environment from a lock file.
# shellcheck shell=bash

fail() {
    printf '%s: %s\n' "$0" "$1" >&2
    exit 1
}

find_python() {
    local name
    for name in python3 python3.13 python3.12 python3.11 python; do
        if command -v "$name" >/dev/null && "$name" -c 'import sys; sys.exit(sys.version_info < (3, 11))'; then
            echo "$name"
            return
        fi
    done
    fail "no Python 3.11 or later on this machine; install it, on Debian: apt-get install python3 python3-venv"
}

make_venv() { # PYTHON
    if ! "$1" -c 'import ensurepip, venv' 2>/dev/null; then
        local package
        package="$(basename "$1")-venv"
        if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
            fail "$1 cannot make virtual environments; install its venv module, on Debian: apt-get install $package"
        fi
        apt-get update -qq
        DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends "$package" >/dev/null
    fi
    "$1" -m venv .venv
}

ensure_environment() { # LOCK_FILE
    cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
    local python stamp wanted
    if [[ ! -x .venv/bin/python ]]; then
        python=$(find_python)
        make_venv "$python"
    fi
    stamp=".venv/.installed-$1"
    wanted=$(cat "$1" pyproject.toml | cksum)
    if [[ ! -f $stamp || $(<"$stamp") != "$wanted" ]]; then
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --require-hashes -r "$1"
        .venv/bin/python -m pip install --quiet --disable-pip-version-check --no-deps -e .
        printf '%s\n' "$wanted" >"$stamp"
    fi
}
