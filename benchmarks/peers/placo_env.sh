#!/usr/bin/env bash
# Make placo's own environment beside this script, in .venv-placo (git-ignored, about 0.5 GB).
#
#   benchmarks/peers/placo_env.sh              # make it, or say that it is there
#   PLACO_PYTHON=/path/to/python3 ...          # name the interpreter, 3.10 to 3.12
#
# placo brings Pinocchio and libraries of its own, which need not live with ours. Without the environment the
# benchmark of the inverse kinematics leaves it out and says so.
set -euo pipefail

here="$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd)"
venv="$here/.venv-placo"
version="0.10.2"

works() { "$1" -c 'import sys, venv; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 12))' >/dev/null 2>&1; }

find_python() {
    local candidate
    for candidate in "${PLACO_PYTHON:-}" python3.11 python3.12 python3.10 python3 python; do
        [ -n "$candidate" ] && works "$candidate" && { command -v "$candidate"; return; }
    done
    return 1
}

installed() { "$venv/bin/python" -c "import importlib.metadata as m; print(m.version('$1'))" 2>/dev/null || true; }

if [ "$(installed placo)" = "$version" ] && [ -e "$venv/.complete" ]; then
    echo "placo $version is there: $venv"
    exit 0
fi

python="$(find_python)" || {
    echo "no Python 3.10 to 3.12 found; install one, or set PLACO_PYTHON" >&2
    exit 2
}
echo "making $venv with $python"
rm -rf "$venv"
"$python" -m venv "$venv"
"$venv/bin/python" -m pip install --disable-pip-version-check --quiet "placo==$version"
"$venv/bin/python" -c "import placo"
touch "$venv/.complete"
echo "placo $version with Pinocchio $(installed pin): $venv"
