#!/bin/sh
# Build the wheel, install it into a clean environment and import every subpackage outside the checkout.
set -eu
root=$(pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
rm -rf build
.venv/bin/python -m build --wheel --outdir "$work/dist" . >"$work/build.log" 2>&1 || { cat "$work/build.log"; exit 1; }
.venv/bin/python -m venv "$work/env"
"$work/env/bin/python" -m pip install -q -c "$root/constraints.txt" "$work"/dist/*.whl
cd "$work"
"$work/env/bin/python" - <<'PY'
import importlib, pathlib, pkgutil, sys
import twinloop

home = pathlib.Path(twinloop.__file__).parent
assert "site-packages" in str(home), home
skipped = []
for module in sorted(m.name for m in pkgutil.walk_packages([str(home)], "twinloop.")):
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        if error.name in ("torch", "safetensors", "pyrealsense2", "viser"):
            skipped.append(module)  # belongs to an extra
        else:
            raise
assert not any(m in sys.modules for m in ("torch",)), "the base install must not import torch"
from twinloop.robot.rig import load_rig, rig_names

for name in rig_names():
    load_rig(name)
print(f"wheel: {len(skipped)} modules need an extra, the rest import from {home.name} outside the checkout")
PY
"$work/env/bin/twinloop" --version
"$work/env/bin/twinloop" rigs
