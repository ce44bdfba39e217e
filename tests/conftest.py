"""For all tests."""

import atexit
import os
import shutil
import tempfile

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
