"""The report of a replay, as a page and as numbers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from ..robot.types import F64
from .charts import Chart, Series
from .recording import Source
from .replay import FREE_DEG, EpisodeReplay, JointResult, Match, Replay
from .report import Figure, Report
from .zeros import INSIDE_M

CHARTED = 3  # episodes with charts; more would not fit into one report
POINTS = 400  # a series
AGAINST_REAL = (
    "joint",
    "twin - real: RMSE, deg",
    "best shift of the twin, ms",
    "RMSE there, deg",
    "mean, deg",
    "max, deg",
    "guard changed the command: RMSE, deg",
    "twin - real where it did not, deg",
)
TRACKING = (
    "joint",
    "real - command: RMSE, deg",
    "best shift of the real arm, ms",
    "twin - command: RMSE, deg",
    "best shift of the twin, ms",
)


def guard_ticks(result: Replay) -> dict[str, int]:
    """Guard ticks in which each limit acted, over all episodes."""
    total: Counter[str] = Counter()
    for episode in result.episodes:
        total.update(episode.limits)
    return dict(sorted(total.items()))


def zeros_text(source: Source, result: Replay) -> str:
    """What the measured poses say about the zeros, and what was done about it."""
    zeros = result.zeros
    rows = sum(len(episode.t_s) for episode in result.episodes)
    looked = f"{zeros.poses} measured poses (of {rows} rows, evenly)"
    depth = f"more than {INSIDE_M * 1e3:g} mm deep in the table or the arm itself"
    text = (
        f"zeros: {zeros.inside_before} of {looked} lie {depth} "
        f"(up to {zeros.worst_before_m * 1e3:.0f} mm), where the real arm cannot have stood"
    )
    if not zeros.inside_before:
        return f"zeros: none of {looked} lies {depth}"
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
        + f"\n\n{zeros_text(source, result).capitalize()}."
        + "\n\nEvery command passed the guard. The twin started each episode at the first measured pose, on an "
        "empty table: what the real arm held or touched is missing. A shift is positive when the first-named "
        "signal comes later; it is searched from -300 to 300 ms by interpolation, and '-' where the joint stood "
        "still. The gripper is compared as the angle of its jaw."
    )
    _tables(report, "All episodes together", result.overall)
    report.table(
        "What the guard did",
        ("episode", "limit", "guard ticks"),
        [(e.index, name, ticks) for e in result.episodes for name, ticks in sorted(e.limits.items())]
        or [("all", "none", 0)],
    )
    for episode in result.episodes:
        _tables(
            report,
            f"Episode {episode.index}: {len(episode.t_s)} rows; guard modes "
            + ", ".join(f"{mode} {n}" for mode, n in sorted(episode.modes.items()))
            + f"; the guard changed {int((~episode.free).sum())} commands by more than {FREE_DEG:g} deg",
            episode.joints,
        )
        if episode in result.episodes[:CHARTED]:
            _charts(report, episode)
    if len(result.episodes) > CHARTED:
        report.text(f"Charts are drawn for the first {CHARTED} episodes; report.json has every number.")
    return report.write(path)


def _charts(report: Report, episode: EpisodeReplay) -> None:
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


def _tables(report: Report, caption: str, joints: Sequence[JointResult]) -> None:
    report.table(caption, AGAINST_REAL, [_against_real(joint) for joint in joints])
    report.table(
        f"{caption.split(':', maxsplit=1)[0]}: how each arm follows its command",
        TRACKING,
        map(_tracking, joints),
    )


def _against_real(joint: JointResult) -> Sequence[object]:
    twin = joint.twin_real
    return (
        joint.joint,
        round(twin.rmse_deg, 2),
        _shift(twin),
        *(round(v, 2) for v in (twin.shifted_rmse_deg, twin.mean_deg, twin.max_deg)),
        *("-" if v is None else round(v, 2) for v in (joint.guard_rmse_deg, joint.free_rmse_deg)),
    )


def _tracking(joint: JointResult) -> Sequence[object]:
    real, own = joint.real_command, joint.twin_command
    return (joint.joint, round(real.rmse_deg, 2), _shift(real), round(own.rmse_deg, 2), _shift(own))


def _shift(match: Match) -> object:
    return "-" if match.shift_ms is None else round(match.shift_ms)
