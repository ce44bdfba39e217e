"""Compute the package list: every top-level folder is a subpackage of `twinloop`.

The rest of the project's metadata stands in pyproject.toml. The list is computed so that no new
subpackage can be forgotten in a wheel.
"""

from pathlib import Path

from setuptools import setup

FOLDERS = ("robot", "data", "sim", "policies", "calibration", "teleop", "launch", "rigs")
ROOT = Path(__file__).parent


def packages() -> list[str]:
    found = ["twinloop"]
    for folder in FOLDERS:
        for init in sorted((ROOT / folder).rglob("__init__.py")):
            found.append(".".join(("twinloop", *init.parent.relative_to(ROOT).parts)))
    return found


setup(packages=packages(), package_dir={"twinloop": "."})
