"""`twinloop doctor` finds what it should, and a broken library never ends in a traceback."""

import json
import os
import subprocess
import sys

from twinloop.launch import doctor


def run(**changes):
    return subprocess.run(
        [sys.executable, "-m", "twinloop.launch.cli", "doctor", "--json"],
        env={**os.environ, "MUJOCO_GL": "egl", **changes}, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip


def test_reports_every_check_as_json():
    done = run()
    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert len(found) >= 15
    assert done.returncode == int(any(c["status"] == "fail" for c in found.values()))
    assert found["rendering"]["status"] == "ok", found["rendering"]
    assert found["mujoco"]["status"] == "ok"


def test_rendering_that_cannot_work_fails_with_the_package_to_install():
    done = run(MUJOCO_GL="egl", __EGL_VENDOR_LIBRARY_FILENAMES="/nonexistent.json", EGL_PLATFORM="device")
    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 1
    assert found["rendering"]["status"] == "fail" and "libegl1" in found["rendering"]["fix"]


def test_a_check_that_raises_becomes_a_finding(monkeypatch):
    def broken():
        raise OSError("libfoo.so.1: cannot open shared object file")

    monkeypatch.setattr(doctor, "CHECKS", (broken,))
    (check,) = doctor.examine()
    assert check.status == "fail" and "libfoo.so.1" in check.detail


def test_names_the_apt_line_for_missing_libraries(monkeypatch):
    monkeypatch.setattr(doctor.ctypes.util, "find_library", lambda name: None)
    check = doctor.libraries()
    assert check.status == "fail" and "apt-get install" in check.fix and "libgl1" in check.fix
