#!/usr/bin/env bash
# Make gym-aloha 0.1.5's own environment beside this script, in .venv-aloha (git-ignored, about 0.7 GB).
#
#   benchmarks/peers/aloha_env.sh              # make it, or say that it is there
#   ALOHA_PYTHON=/path/to/python3.11 ...       # name the interpreter, 3.11 or 3.12
#
# gym-aloha wants mujoco < 3.9 and a dm_control of that age, which cannot live with ours. Without the
# environment the benchmark of the image environment skips its peer and says so.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
venv="$here/.venv-aloha"
version="0.1.5"

works() {
    "$1" -c 'import sys, venv; sys.exit(sys.version_info[:2] not in ((3, 11), (3, 12)))' >/dev/null 2>&1
}

find_python() {
    local candidate
    for candidate in "${ALOHA_PYTHON:-}" python3.11 python3.12 python3 python; do
        [ -n "$candidate" ] && works "$candidate" && { command -v "$candidate"; return; }
    done
    return 1
}

installed() { "$venv/bin/python" -c "import importlib.metadata as m; print(m.version('$1'))" 2>/dev/null || true; }

if [ "$(installed gym-aloha)" = "$version" ] && [ -e "$venv/.complete" ]; then
    echo "gym-aloha $version is there: $venv"
    exit 0
fi

python="$(find_python)" || {
    echo "no Python 3.11 or 3.12 found; install one, or set ALOHA_PYTHON" >&2
    exit 2
}
echo "making $venv with $python"
rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --disable-pip-version-check --quiet \
    "gym-aloha==$version" "mujoco<3.9" "opencv-python-headless>=4.10"
touch "$venv/.complete"
echo "gym-aloha $version with mujoco $(installed mujoco), dm_control $(installed dm-control): $venv"
