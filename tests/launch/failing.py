"""`twinloop` with episodes of a second, and one thing in it that raises: python failing.py STAGE|none COMMAND ..."""

import sys
from collections.abc import Callable
from typing import Any

from twinloop.launch import cli
from twinloop.sim.tasks.reach import Reach


def raise_in(owner: Any, name: str, call: int, *, after: bool = False) -> None:
    """From the `call`th call on `owner.name` raises, once; `after` it has done its work."""
    real, calls = getattr(owner, name), []

    def wrapped(*args: Any, **options: Any) -> Any:
        calls.append(1)
        if len(calls) == call and not after:
            raise RuntimeError("out of the blue")
        done = real(*args, **options)
        if len(calls) == call:
            raise RuntimeError("out of the blue")
        return done

    setattr(owner, name, wrapped)


def none() -> None:
    pass


def opening() -> None:
    from twinloop.robot.process import GuardProcess

    raise_in(GuardProcess, "_wait_for_hello", 1, after=True)


def homing() -> None:
    from twinloop.launch.homing import Homing

    raise_in(Homing, "act", 20)


def episode() -> None:
    from twinloop.policies.runtime import PolicyAgent

    raise_in(PolicyAgent, "act", 15)


def parking() -> None:
    from twinloop.robot.process import GuardProcess

    raise_in(GuardProcess, "park", 3)


def saving() -> None:
    from twinloop.data.recorder_process import RecorderProcess

    raise_in(RecorderProcess, "finish", 1)


STAGES: dict[str, Callable[[], None]] = {
    f.__name__: f for f in (none, opening, homing, episode, parking, saving)
}

if __name__ == "__main__":
    Reach.horizon_s = 1.5
    STAGES[sys.argv[1]]()
    sys.exit(cli.main(sys.argv[2:]))
