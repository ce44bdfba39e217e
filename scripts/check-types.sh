#!/usr/bin/env bash
# Run pyright on a copy whose folder is called `twinloop`, so that `twinloop.robot` and the relative imports
# inside it are one and the same module (an editable install maps the name in a way no type checker follows).
set -eu
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
git ls-files -z -co --exclude-standard -- '*.py' '*.pyi' py.typed '*/py.typed' |
    while IFS= read -r -d '' file; do [ -e "$file" ] && printf '%s\0' "$file"; done 2>/dev/null |
    tar --null -T - -cf - | { mkdir "$work/twinloop" && tar -xf - -C "$work/twinloop"; }
mv "$work/twinloop/typings" "$work/typings"
cat >"$work/pyrightconfig.json" <<JSON
{"include": ["twinloop/robot", "twinloop/data", "twinloop/sim", "twinloop/policies", "twinloop/launch",
 "twinloop/calibration", "twinloop/teleop"], "stubPath": "typings", "typeCheckingMode": "standard",
 "pythonVersion": "3.11", "extraPaths": ["."], "venvPath": "$(pwd)", "venv": ".venv",
 "reportMissingModuleSource": false}
JSON
"$(pwd)/.venv/bin/pyright" -p "$work"
