"""`twinloop replay`: recorded commands of a real arm on the twin, and how the two differ."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

if TYPE_CHECKING:
    from ..replay import Match


@dataclass(frozen=True, slots=True)
class Command:
    """Play a real arm's recorded commands through the guard on the twin, and report for each joint how far
    what the twin did is from what the real arm did.

    Example:
        twinloop replay ../shared/data/so101_teleop_v3 --rig so101 --sim
        twinloop replay recording --sim --calibration my_arm.json --servo 12v --episodes 0 2
        twinloop replay recording --sim --fit-zeros      the arm's zeros, from the poses at which it stood
    """

    root: Positional[Path]
    """Folder of the dataset: LeRobotDataset v3.0, by LeRobot or by Twinloop."""
    sim: bool = False
    """Replay on the twin. Hardware is not in this version."""
    rig: str = "so101"
    """Rig name or path of a rig file; it has one arm."""
    episodes: tuple[int, ...] = ()
    """Episodes to replay; by default all."""
    calibration: Path | None = None
    """LeRobot calibration file of the recorded arm; by default the rig's, or the description's joint ranges."""
    degrees: bool = False
    """The dataset's joints are in LeRobot's degrees, not in -100..100."""
    fit_zeros: bool = False
    """Turn the zeros of the recorded joints as little as takes its poses out of the table and of the arm itself."""
    servo: Literal["7v4", "12v"] = "7v4"
    """Servo of the twin: STS3215 at 7.4 V or at 12 V."""
    out: Path = Path("out/replay")
    """Folder for report.html and report.json."""

    def run(self) -> int:
        from ...data.disk import write_json
        from ...robot.errors import UsageError
        from ...robot.rig import load_rig
        from ...sim.scene import SceneOptions
        from ...sim.servo import STS3215_7V4, STS3215_12V
        from ..arguments import output_folder
        from ..progress import counter, say
        from ..recording import open_source
        from ..replay import replay
        from ..replay_report import guard_ticks, to_json, write_report, zeros_text

        if not self.sim:
            raise UsageError("this version replays on the twin: add --sim")
        source = open_source(self.root, load_rig(self.rig), self.calibration, self.degrees)
        chosen = list(dict.fromkeys(self.episodes)) or list(range(source.dataset.num_episodes))
        for index in chosen:
            source.dataset.episode(index)  # an unknown one ends the command before anything is written
        output_folder("--out", self.out)
        servo = {"7v4": STS3215_7V4, "12v": STS3215_12V}[self.servo]
        with counter("replay", len(chosen)) as tick:
            options = SceneOptions(servo=servo)
            result = replay(source, chosen, options, lambda index: tick(True, ""), self.fit_zeros)
        write_json(self.out / "report.json", to_json(result))
        path = write_report(source, result, self.out / "report.html")
        say(f"joint units: {result.mapping}; servo {result.servo}")
        say(zeros_text(source, result))
        say(f"{'twin - real':<14} {'RMSE':>9} {'shift':>8} {'RMSE there':>11} | real - command: RMSE, shift")
        for joint in result.overall:
            twin, real = joint.twin_real, joint.real_command
            say(
                f"{joint.joint:<14} {twin.rmse_deg:5.2f} deg {_ms(twin):>8} {twin.shifted_rmse_deg:7.2f} deg "
                f"| {real.rmse_deg:6.2f} deg {_ms(real):>8}"
            )
        acted = ", ".join(f"{name} {ticks}" for name, ticks in guard_ticks(result).items())
        say(f"guard ticks: {acted or 'none'}")
        say(f"report: {path}")
        return 0


def _ms(match: Match) -> str:
    return "-" if match.shift_ms is None else f"{match.shift_ms:+.0f} ms"
