#!/usr/bin/env bash
# Make LeRobot 0.6.1's own environment (Python 3.12) beside this script, in .venv-lerobot (git-ignored).
#
#   benchmarks/peers/lerobot_env.sh            # make it, or say that it is there
#   LEROBOT_PYTHON=/path/to/python3.12 ...     # name the interpreter
#   LEROBOT_TORCH_INDEX=https://...            # where CPU-only torch comes from (saves about 4.7 GB)
#
# The peer tests and benchmarks run LeRobot with that interpreter in a process of its own, since it needs
# Python >= 3.12 and older numpy, torch and av than ours. Without the environment they skip and say so.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
venv="$here/.venv-lerobot"
version="0.6.1"
index="${LEROBOT_TORCH_INDEX:-https://download.pytorch.org/whl/cpu}"

works() { "$1" -c 'import sys, venv; sys.exit(sys.version_info[:2] != (3, 12))' >/dev/null 2>&1; }

find_python() {
    local candidate prefix
    for candidate in "${LEROBOT_PYTHON:-}" python3.12 python3 python; do
        [ -n "$candidate" ] && works "$candidate" && { command -v "$candidate"; return; }
    done
    if command -v pyenv >/dev/null; then
        for candidate in $(pyenv versions --bare 2>/dev/null | grep '^3\.12\.' | sort -rV); do
            prefix="$(pyenv prefix "$candidate")"
            works "$prefix/bin/python" && { echo "$prefix/bin/python"; return; }
        done
    fi
    if command -v uv >/dev/null; then
        candidate="$(uv python find 3.12 2>/dev/null || true)"
        [ -n "$candidate" ] && works "$candidate" && { echo "$candidate"; return; }
    fi
    return 1
}

installed() { "$venv/bin/python" -c "import importlib.metadata as m; print(m.version('lerobot'))" 2>/dev/null || true; }

if [ "$(installed)" = "$version" ] && [ -e "$venv/.complete" ]; then
    echo "lerobot $version is there: $venv"
    exit 0
fi

python="$(find_python)" || {
    echo "no Python 3.12 found (tried \$LEROBOT_PYTHON, python3.12, pyenv, uv); install one, or set LEROBOT_PYTHON" >&2
    exit 2
}
echo "making $venv with $python"
rm -rf "$venv"
"$python" -m venv "$venv"
pip=("$venv/bin/python" -m pip install --disable-pip-version-check --quiet)

# CPU wheels of torch where that index answers; else the ones of PyPI, which bring CUDA along.
extra=()
if "$python" -c "import sys, urllib.request as u; u.urlopen(sys.argv[1] + '/torch/', timeout=10)" "$index" 2>/dev/null; then
    extra=(--extra-index-url "$index")
    "${pip[@]}" --index-url "$index" "torch>=2.7,<2.12" "torchvision<0.27"
else
    echo "no answer from $index: torch comes from PyPI, with CUDA (about 5 GB)"
fi
"${pip[@]}" "${extra[@]}" "lerobot[dataset,feetech,dynamixel]==$version"
touch "$venv/.complete"
echo "lerobot $(installed) is there: $venv"
