"""For all tests."""

import atexit
import os
import shutil
import tempfile

from xdist.scheduler import LoadScopeScheduling

# Several guards on few cores, with busy programs beside them: at real-time priority they can starve the machine.
os.environ.setdefault("TWINLOOP_REALTIME", "0")

# `twinloop estop` stops every arm that it finds: not those of the tests beside this one.
if "TWINLOOP_MEMORY" not in os.environ or "PYTEST_XDIST_WORKER" in os.environ:
    shared = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    os.environ["TWINLOOP_MEMORY"] = tempfile.mkdtemp(prefix="twinloop-tests-", dir=shared)
    atexit.register(shutil.rmtree, os.environ["TWINLOOP_MEMORY"], ignore_errors=True)

# Neither the user's flight records nor the ports of the user's arms are a test's.
for variable in ("XDG_STATE_HOME", "XDG_CONFIG_HOME"):
    os.environ[variable] = tempfile.mkdtemp(prefix="twinloop-tests-")
    atexit.register(shutil.rmtree, os.environ[variable], ignore_errors=True)

# Whole sessions in real time, on several processes each: one at a time, and never two of them beside each other.
REAL_TIME = (
    "launch/test_live.py",
    "launch/test_faults_deploy.py",
    "launch/test_emulate.py",
    "launch/teleop/test_browser.py",
    "launch/teleop/test_command.py",
    "launch/teleop/test_operate.py",
    "launch/devices/test_doctor_rig.py",
    "launch/devices/test_setup.py",
    "robot/process/",
    "robot/stops/test_on_the_arm.py",
    "sim/emulate/test_emulated_stage.py",
)


class ByFile(LoadScopeScheduling):
    """A file's tests share a worker, and what they set up; those in real time share one."""

    def _split_scope(self, nodeid):
        file = nodeid.partition("::")[0].removeprefix("tests/")
        return "real time" if file.startswith(REAL_TIME) else file


def pytest_xdist_make_scheduler(config, log):
    return ByFile(config, log)
