#!/bin/sh
# Makes or updates .venv, on a machine that may have nothing but python3 and pip.
#
#   sh tools/env.sh run     walslab and what it needs to run
#   sh tools/env.sh dev     the same, and what `make test` needs
#   sh tools/env.sh all     the same, and tox
#
# A second call is free: .venv/.made-LEVEL holds the checksum of everything the environment was made from, and is
# written only after success, so an interrupted call is simply repeated.
set -eu

cd "$(dirname "$0")/.."
root=$(pwd -P)
python=.venv/bin/python

say() { printf 'env: %s\n' "$*" >&2; }
die() {
    say "error: $1"
    shift
    for line in "$@"; do say "  $line"; done
    exit 1
}

level=${1:-run}
case $level in
    run) groups="" covers="run" ;;
    dev) groups="test lint types docs" covers="run dev" ;;
    all) groups="test lint types docs release" covers="run dev all" ;;
    *) die "the level must be run, dev or all, but got '$level'" ;;
esac

# The version is part of the metadata; the folder's own path is part of every script in .venv/bin.
made_from() {
    {
        cat pyproject.toml constraints.txt tools/env.sh
        grep '^__version__' toolkit/__init__.py
        printf '%s\n' "$root"
    } | cksum
}

recent() { "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; }

find_python() {
    for candidate in python3 python3.11 python3.12 python3.13 python; do
        # In an active environment, the Python that it was made from: .venv itself may be about to go.
        if recent "$candidate"; then
            "$candidate" -c 'import sys; print(getattr(sys, "_base_executable", sys.executable))'
            return
        fi
    done
    found=$(command -v python3 >/dev/null 2>&1 && python3 --version 2>&1 || echo absent)
    die "Python 3.11 or newer is needed, but python3 is $found" \
        "install one (Debian 12 or newer, Ubuntu 24.04 or newer: apt-get install python3 python3-venv)" \
        "and put it first on PATH, as python3 or python3.11 … python3.13"
}

# --without-pip, because Debian's python3 cannot seed an environment before python3-venv is installed.
make_venv() {
    base=$(find_python)
    say "making .venv with $("$base" --version)"
    rm -rf .venv
    "$base" -m venv --without-pip .venv && recent "$python" && return
    rm -rf .venv
    die "$base cannot make a virtual environment" \
        "Debian, Ubuntu: apt-get install python3-venv" \
        "elsewhere: python3 -m pip install --user virtualenv && python3 -m virtualenv .venv"
}

need_pip() {
    "$python" -m pip --version >/dev/null 2>&1 && return
    "$python" -m ensurepip >/dev/null 2>&1 && return
    base=$(find_python)
    # pip 22.3 and newer can install into another interpreter's environment: the way where ensurepip is cut off.
    "$base" -m pip --python "$python" install -qq pip && return
    die "there is no pip for .venv" \
        "Debian, Ubuntu: apt-get install python3-venv python3-pip" \
        "elsewhere: python3 -m ensurepip --user"
}

with_uv() {
    # uv does not read pip's configuration, where a mirror is usually set.
    if [ -z "${UV_DEFAULT_INDEX:-}${UV_INDEX_URL:-}" ]; then
        index=${PIP_INDEX_URL:-$("$(find_python)" -m pip config get global.index-url 2>/dev/null || true)}
        if [ -n "$index" ]; then export UV_DEFAULT_INDEX="$index"; fi
    fi
    if command -v uv >/dev/null 2>&1; then
        uv=uv
    else
        need_pip
        "$python" -m pip install --quiet --constraint constraints.txt uv >.venv/uv.log 2>&1 || return 1
        uv=.venv/bin/uv
    fi
    uv_install && return
    # Behind a proxy that signs with its own certificate, the system knows that certificate and uv does not.
    grep -qi certificate .venv/uv.log || return 1
    export UV_SYSTEM_CERTS=1 UV_NATIVE_TLS=1
    uv_install
}

uv_install() {
    # $options is split on purpose: group names have no spaces.
    # shellcheck disable=SC2086
    "$uv" pip install --quiet --python "$python" --constraint constraints.txt --editable . $options >.venv/uv.log 2>&1
}

with_pip() {
    need_pip
    # --group is known to pip 25.1 and newer.
    "$python" -m pip install -qq --upgrade 'pip>=25.1'
    # shellcheck disable=SC2086
    "$python" -m pip install -qq --constraint constraints.txt --editable . $options
}

wanted=$(made_from)
if [ "$(cat ".venv/.made-$level" 2>/dev/null)" = "$wanted" ] && [ -x "$python" ]; then
    exit 0
fi

options=""
for group in $groups; do options="$options --group $group"; done

# Made anew where Python is gone or too old, and where the folder was moved or copied: its scripts would run the code
# of the old place. One that somebody else put there is used as it is.
if ! recent "$python" || [ "$(cat .venv/.root 2>/dev/null || echo "$root")" != "$root" ]; then
    make_venv
fi
printf '%s\n' "$root" >.venv/.root
rm -f .venv/.made-*

say "installing walslab ($level) into .venv; the first time takes a minute or two"
if ! with_uv; then
    say "uv could not (its words: .venv/uv.log); trying pip, which takes a few minutes"
    with_pip || die "pip could not install walslab; its words are above" \
        "where they speak of connections: a mirror or a proxy is set in pip's own configuration"
fi
for covered in $covers; do printf '%s\n' "$wanted" >".venv/.made-$covered"; done
say "done"
