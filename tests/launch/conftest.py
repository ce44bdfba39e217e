"""For the tests of the commands: the judge of flights stands beside the guard's process's tests."""

import sys
from pathlib import Path

sys.path.append(str(Path(__file__).parents[1] / "robot" / "process"))
