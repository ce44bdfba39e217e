"""`twinloop doctor` finds what it should, and a broken library never ends in a traceback."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest
from twinloop.launch import doctor, doctor_checks
from twinloop.launch.doctor_checks import Check, explain


def run(*options, **changes):
    return subprocess.run(
        [sys.executable, "-m", "twinloop.launch.cli", "doctor", *options],
        env={**os.environ, "MUJOCO_GL": "egl", **changes}, capture_output=True, text=True, timeout=150, check=False,
    )  # fmt: skip


def test_reports_every_check_as_json():
    done = run("--json")
    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert list(found) == list(doctor.CHECKS) and len(found) >= 15
    assert done.returncode == 0, done.stdout
    assert "96x96" in found["rendering"]["detail"] and "640x480" in found["rendering"]["detail"]
    assert set(doctor.NEEDED) <= set(found)
    assert all(check["fix"] for check in found.values() if check["status"] in ("warn", "fail"))


def test_rendering_that_cannot_work_fails_with_the_package_to_install():
    done = run("--json", __EGL_VENDOR_LIBRARY_FILENAMES="/nonexistent.json", EGL_PLATFORM="device")
    found = {check["name"]: check for check in json.loads(done.stdout)}
    assert done.returncode == 1
    assert found["rendering"]["status"] == "fail" and "libegl1" in found["rendering"]["fix"]


def test_a_machine_without_egl_and_gl(tmp_path):
    """Both libraries replaced by empty files: a table, the exact apt-get line, no traceback."""
    for name in ("libEGL.so.1", "libEGL.so", "libGL.so.1"):
        (tmp_path / name).touch()
    done = run(LD_LIBRARY_PATH=str(tmp_path), COLUMNS="200")
    assert done.returncode == 1
    assert "Traceback" not in done.stdout + done.stderr and "eglQueryString" not in done.stdout
    assert "sudo apt-get install -y --no-install-recommends libegl1 libgl1" in done.stdout
    assert "twinloop demo cannot run here: " in done.stdout


def test_a_check_that_raises_becomes_a_finding(monkeypatch):
    def broken():
        raise OSError("libusb-1.0.so.0: cannot open shared object file")

    def odd():
        raise ValueError("first line\nsecond line")

    monkeypatch.setattr(doctor, "CHECKS", {"cameras": broken, "disk": odd})
    first, second = doctor.examine()
    assert first.status == "fail" and first.name == "cameras" and "libusb-1.0-0" in first.fix
    assert second.status == "fail" and second.detail == "ValueError: first line"
    assert doctor.blocked([first, second]) == ["disk"]


def test_names_the_apt_line_for_missing_libraries(monkeypatch):
    monkeypatch.setattr(doctor_checks, "loads", lambda name: False)
    check = doctor_checks.libraries()
    assert check.status == "fail"
    assert check.fix == "sudo apt-get install -y --no-install-recommends libegl1 libgl1 libglib2.0-0"


@pytest.mark.parametrize(
    ("found", "status"), [("4.0.0", "fail"), ("4.1.0", "fail"), ("3.9.1", "fail"), ("3.17.0", "ok"), ("3.20", "ok")]
)  # fmt: skip
def test_mujoco_versions(monkeypatch, found, status):
    monkeypatch.setattr(doctor, "version", lambda name: found)
    check = doctor.mujoco_version()
    assert check.status == status
    assert ("3767" in check.detail) == (found == "4.0.0")


@pytest.mark.parametrize(
    ("error", "word"),
    [
        (ImportError("libGL.so.1: cannot open shared object file: No such file or directory"), "libgl1"),
        (ImportError("libgthread-2.0.so.0: cannot open shared object file"), "libglib2.0-0"),
        (AttributeError("'NoneType' object has no attribute 'eglQueryString'"), "libegl1 libgl1"),
        (RuntimeError("invalid value for environment variable MUJOCO_GL: foo"), "egl, glfw or osmesa"),
        (ModuleNotFoundError("No module named 'torch'", name="torch"), "[learn]"),
        (ImportError("libfoo.so.3: cannot open shared object file"), "apt-file search libfoo.so.3"),
    ],
)
def test_messages_of_libraries_are_translated(error, word):
    found = explain(error)
    assert found is not None and word in found[1]


def test_our_own_mistakes_are_not_explained_away():
    assert explain(AttributeError("'World' object has no attribute 'stpe'")) is None
    assert explain(ModuleNotFoundError("No module named 'twinloop.x'", name="twinloop.x")) is None


def test_real_time_probe_leaves_the_scheduler_alone():
    before = os.sched_getscheduler(0), os.sched_getparam(0).sched_priority
    assert isinstance(doctor_checks.realtime(), Check)
    assert (os.sched_getscheduler(0), os.sched_getparam(0).sched_priority) == before
