"""For all tests."""

import os

# Several guards on few cores, with busy programs beside them: at real-time priority they can starve the machine.
os.environ.setdefault("TWINLOOP_REALTIME", "0")
