"""`twinloop emulate`: a rig's arms as serial ports, with the twin behind them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ...sim.emulate.stage import Stage


@dataclass(frozen=True, slots=True)
class Command:
    """Emulate the arms of a rig in real time: each is a serial port that answers as its servos do, until Ctrl-C.

    Any program that drives the real arm can open the port. With --task, the task's objects stand around the arms and
    each camera is a stream that browsers, OpenCV and a rig's `cameras.NAME.device` can open. Faults are switched by
    typing them, or by `twinloop fault` from elsewhere.

    Example:
        twinloop emulate --rig so101
        twinloop emulate --rig so101 --task pick_place
        echo "dead 3" | twinloop emulate
    """

    rig: str = "so101"
    """Rig name or path of a rig file."""
    task: str | None = None
    """Task whose objects stand around the arms, for the cameras to see."""
    seed: int = 0
    """Places the objects."""
    size: tuple[int, int] | None = None
    """Width and height of the cameras' pictures, px; by default as the rig has them."""

    def run(self) -> int:
        import sys
        from contextlib import ExitStack

        from ...robot.errors import UsageError
        from ...robot.rig import load_rig
        from ...sim.emulate.process import EmulatorProcess
        from ..faults import switch, table
        from ..progress import say

        rig, stage = load_rig(self.rig), self._stage()
        with ExitStack() as stack:
            emulator = stack.enter_context(EmulatorProcess(rig, stage))
            for arm, path in emulator.paths.items():
                say(f"{arm}: {path}")
            if stage is not None and rig.cameras:
                from ..pictures import CameraStreams

                streams = stack.enter_context(CameraStreams(rig, stage, emulator))
                for camera, url in streams.urls.items():
                    say(f"{camera}: {url}")
            say("faults, a line each:\n" + table())
            for line in sys.stdin:
                try:
                    if line.strip():
                        say(switch(emulator, line.split(), cameras=stage is not None))
                except UsageError as error:
                    say(f"twinloop: {error}")
            emulator.join()  # nobody types: until Ctrl-C
        return 1

    def _stage(self) -> Stage | None:
        from ...robot.errors import UsageError
        from ...sim.emulate.stage import Stage
        from ..arguments import SEEDS, within

        if self.task is None:
            if self.size is not None:
                raise UsageError("--size: of the cameras, which stand around a task; add --task")
            return None
        within("--seed", self.seed, SEEDS)
        return Stage(self.task, self.seed, self.size)
