"""Compute the package list: every top-level folder is a subpackage of `twinloop`.

The rest of the project's metadata stands in pyproject.toml. The list is computed so that no new
subpackage can be forgotten in a wheel.
"""

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

FOLDERS = ("robot", "data", "sim", "policies", "calibration", "teleop", "launch", "rigs")
ROOT = Path(__file__).parent


def packages() -> list[str]:
    found = ["twinloop"]
    for folder in FOLDERS:
        for init in sorted((ROOT / folder).rglob("__init__.py")):
            found.append(".".join(("twinloop", *init.parent.relative_to(ROOT).parts)))
    return found


class BuildPackages(build_py):
    """Leaves this very file out of the root package, whose folder it shares."""

    def find_package_modules(self, package: str, package_dir: str) -> list[tuple[str, str, str]]:
        return [m for m in super().find_package_modules(package, package_dir) if m[1] != "setup"]


setup(packages=packages(), package_dir={"twinloop": "."}, cmdclass={"build_py": BuildPackages})
