"""`twinloop replay`: recorded commands of a real arm on the twin, and how the two differ."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from tyro.conf import Positional

if TYPE_CHECKING:
    from ...robot.types import F64
    from ..recording import Source
    from ..replay import EpisodeReplay, JointResult, Match, Replay
    from ..report import Report

CHARTED = 3  # episodes with charts; more would not fit into one report
POINTS = 400  # a series
COLUMNS = (
    "joint",
    "twin - real: RMSE, deg",
    "best shift of the twin, ms",
    "RMSE there, deg",
    "mean, deg",
    "max, deg",
    "guard changed the command: RMSE, deg",
    "twin - real where it did not, deg",
    "real - command: RMSE, deg",
    "shift, ms",
    "twin - command: RMSE, deg",
    "shift, ms",
)


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
        import json

        from ...robot.errors import UsageError
        from ...robot.rig import load_rig
        from ...sim.scene import SceneOptions
        from ...sim.servo import STS3215_7V4, STS3215_12V
        from ..arguments import output_folder
        from ..progress import counter, say
        from ..recording import open_source
        from ..replay import replay

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
        (self.out / "report.json").write_text(json.dumps(to_json(result), indent=1) + "\n")
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


def guard_ticks(result: Replay) -> dict[str, int]:
    """Guard ticks in which each limit acted, over all episodes."""
    total: Counter[str] = Counter()
    for episode in result.episodes:
        total.update(episode.limits)
    return dict(sorted(total.items()))


def zeros_text(source: Source, result: Replay) -> str:
    """What the measured poses say about the zeros, and what was done about it."""
    import numpy as np

    from ..zeros import INSIDE_M

    zeros = result.zeros
    depth = f"more than {INSIDE_M * 1e3:g} mm deep in the table or the arm itself"
    text = (
        f"zeros: {zeros.inside_before} of {zeros.poses} measured poses lie {depth} "
        f"(up to {zeros.worst_before_m * 1e3:.0f} mm), where the real arm cannot have stood"
    )
    if not zeros.inside_before:
        return f"zeros: none of {zeros.poses} measured poses lies {depth}"
    if not zeros.offset_rad.any():
        return text + ": the map's zeros are off; --fit-zeros estimates by how much"
    turned = ", ".join(
        f"{joint} {degrees:+.1f}"
        for joint, degrees in zip(source.model.joints, np.degrees(zeros.offset_rad), strict=True)
        if abs(degrees) >= 0.05
    )
    return (
        text
        + f"; turned by (deg) {turned}, it is {zeros.inside_after} (up to {zeros.worst_after_m * 1e3:.0f} mm)"
    )


def to_json(result: Replay) -> dict[str, object]:
    """Every number of a replay, without the traces."""
    import numpy as np

    return {
        "mapping": result.mapping,
        "servo": result.servo,
        "fps": result.fps,
        "zeros": {**asdict(result.zeros), "offset_rad": result.zeros.offset_rad.tolist()},
        "overall": [asdict(joint) for joint in result.overall],
        "guard_ticks": guard_ticks(result),
        "episodes": [
            {
                "episode": e.index,
                "rows": len(e.t_s),
                "joints": [asdict(joint) for joint in e.joints],
                "guard_ticks": dict(e.limits),
                "guard_modes": dict(e.modes),
                "guard_changed_max_deg": np.abs(e.guard_deg).max(axis=0).tolist(),
                "rows_changed_by_guard": int((~e.free).sum()),
            }
            for e in result.episodes
        ],
    }


def write_report(source: Source, result: Replay, path: Path) -> Path:
    """The HTML report of a replay, well below 1 MB."""
    from ..replay import FREE_DEG
    from ..report import Figure, Report

    report = Report(
        "Replay: twin against real arm",
        f"{source.dataset.root.name}, rig {source.rig.name}, servo {result.servo}, {result.fps} rows a second",
    )
    worst = max(result.overall, key=lambda j: j.twin_real.shifted_rmse_deg)
    rows = sum(len(e.t_s) for e in result.episodes)
    changed = sum(int((~e.free).sum()) for e in result.episodes)
    mean = sum(j.twin_real.shifted_rmse_deg for j in result.overall) / len(result.overall)
    report.figures(
        [
            Figure("episodes", str(len(result.episodes)), f"{rows} rows"),
            Figure("RMSE twin - real at best shift", f"{mean:.2f} deg", "mean over the joints"),
            Figure("largest of a joint", f"{worst.twin_real.shifted_rmse_deg:.2f} deg", worst.joint),
            Figure(f"commands changed > {FREE_DEG:g} deg by the guard", str(changed), f"of {rows} rows"),
        ]
    )
    report.text(
        f"Joint units: {result.mapping}. "
        + (
            "The recording came without its arm's calibration file, so its -100..100 were spread over the "
            "description's joint ranges; a real arm's ranges differ by some per cent, which scales commands and "
            "measurements alike, and its zeros by some degrees. Give the file with --calibration."
            if source.units is not None and source.units.motors is None
            else "Both commands and measurements were converted with it."
        )
        + f" {zeros_text(source, result)}"
        + "\n\nEvery command passed the guard. The twin started each episode at the first measured pose, on an "
        "empty table: what the real arm held or touched is missing. A shift is positive when the first-named "
        "signal comes later; it is searched from -300 to 300 ms by interpolation, and '-' where the joint stood "
        "still. The gripper is compared as the angle of its jaw."
    )
    report.table("All episodes together", COLUMNS, [_row(j) for j in result.overall])
    report.table(
        "What the guard did",
        ("episode", "limit", "guard ticks"),
        [(e.index, name, ticks) for e in result.episodes for name, ticks in sorted(e.limits.items())]
        or [("all", "none", 0)],
    )
    for episode in result.episodes:
        report.table(
            f"Episode {episode.index}: {len(episode.t_s)} rows; guard modes "
            + ", ".join(f"{mode} {n}" for mode, n in sorted(episode.modes.items()))
            + f"; the guard changed {int((~episode.free).sum())} commands by more than {FREE_DEG:g} deg",
            COLUMNS,
            [_row(j) for j in episode.joints],
        )
        if episode in result.episodes[:CHARTED]:
            _charts(report, episode)
    if len(result.episodes) > CHARTED:
        report.text(f"Charts are drawn for the first {CHARTED} episodes; report.json has every number.")
    return report.write(path)


def _charts(report: Report, episode: EpisodeReplay) -> None:
    from ..charts import Chart, Series

    every = slice(None, None, -(-len(episode.t_s) // POINTS))
    t = [round(float(v), 3) for v in episode.t_s[every]]

    def line(name: str, values: F64) -> Series:
        return Series(name, t, [round(float(v), 2) for v in values[every]])

    report.charts(
        [
            Chart(
                f"Episode {episode.index}, {joint.joint}",
                "time, s",
                "angle, deg",
                [
                    line("command", episode.command_deg[:, k]),
                    line("real arm", episode.real_deg[:, k]),
                    line("twin", episode.twin_deg[:, k]),
                ],
            )
            for k, joint in enumerate(episode.joints)
        ]
    )


def _row(joint: JointResult) -> Sequence[object]:
    twin, real, own = joint.twin_real, joint.real_command, joint.twin_command
    shown = [round(v, 2) for v in (twin.shifted_rmse_deg, twin.mean_deg, twin.max_deg)]
    return (
        joint.joint,
        round(twin.rmse_deg, 2),
        _shift(twin),
        *shown,
        *("-" if v is None else round(v, 2) for v in (joint.guard_rmse_deg, joint.free_rmse_deg)),
        round(real.rmse_deg, 2),
        _shift(real),
        round(own.rmse_deg, 2),
        _shift(own),
    )


def _shift(match: Match) -> object:
    return "-" if match.shift_ms is None else round(match.shift_ms)


def _ms(match: Match) -> str:
    return "-" if match.shift_ms is None else f"{match.shift_ms:+.0f} ms"
