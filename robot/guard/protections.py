"""The list of protections that are active on this machine and robot; stored with every episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from ..rig import Rig
from .monitor import SUSTAINED_NS

STALL_PERIODS = 3
BLACKBOX_S = 10.0


@dataclass(frozen=True, slots=True)
class Protection:
    """One protection, whether it acts on this machine and robot, and with which figures."""

    name: str
    active: bool
    detail: str


def protections(
    rig: Rig,
    *,
    capsules: int,
    pairs: int,
    obstacles: int,
    unreported: Mapping[str, Sequence[str]],
    cameras: Sequence[str],
    heartbeat: bool,
    blackbox: str,
    watchdogs: Mapping[str, int | None],
) -> tuple[Protection, ...]:
    """Every protection of the guard, with what `rig` asks for and what this robot offers.

    `unreported`: "torque", "temperature" and "force" -> devices that do not report it: nothing protects them.
    """
    g = rig.guard
    box = rig.workspace
    return (
        Protection("commands", True, f"{g.rejects_to_fault} malformed chunks in a row latch a fault"),
        Protection("expiry", True, f"{g.expiry_ms:g} ms after the last row"),
        Protection("joint_limits", True, f"position, velocity, acceleration, jerk at {g.rate_hz:g} Hz"),
        _needing(
            "torque", unreported["torque"], f"above the limit for {SUSTAINED_NS / 1e6:g} ms: the arm yields"
        ),
        _gripping("gripper_force", rig, unreported, "closing force is regulated to its limit"),
        _gripping("gripper_hold", rig, unreported, _holding(rig)),
        _needing(
            "temperature",
            unreported["temperature"],
            f"slower from {g.temperature_derate_c:g} °C, stop at {g.temperature_stop_c:g} °C",
        ),
        Protection("workspace", capsules > 0, f"{box.min_m} to {box.max_m} m, {capsules} capsules"),
        Protection(
            "table",
            capsules > 0,
            f"z = {rig.table.height_m:g} m, clearance {rig.table.clearance_m * 1e3:g} mm",
        ),
        Protection(
            "self_collision",
            pairs > 0,
            f"{g.self_collision_m * 1e3:g} mm, {pairs} pairs, {g.lookahead} poses ahead",
        ),
        Protection("obstacles", obstacles > 0, f"{obstacles} boxes"),
        Protection("tracking", True, f"{g.tracking_error_rad:g} rad for {g.tracking_error_ms:g} ms"),
        Protection("stale_state", True, f"{g.stale_state_ms:g} ms"),
        Protection(
            "stale_camera",
            bool(cameras),
            f"{g.stale_camera_ms:g} ms: {', '.join(cameras)}" if cameras else "no camera has been read yet",
        ),
        Protection("heartbeat", heartbeat, f"{g.heartbeat_ms:g} ms; armed by the first beat"),
        Protection("stall", True, f"a tick later than {STALL_PERIODS} periods: on from the measured pose"),
        Protection("estop", True, "in software, latched; no substitute for a power cut"),
        Protection("park", True, f"at {g.park_speed:g} of the velocity limits, then torque off"),
        Protection("black_box", True, f"last {BLACKBOX_S:g} s, {blackbox}"),
        Protection("own_process", False, "the guard runs inside the caller's process"),
        Protection("motor_watchdog", None not in watchdogs.values(), _watching(watchdogs)),
    )


def _needing(name: str, silent: Sequence[str], detail: str) -> Protection:
    """A protection that acts on all devices but the `silent` ones, which do not report what it looks at."""
    return Protection(
        name, not silent, f"{detail}; not reported by {', '.join(silent)}" if silent else detail
    )


def _gripping(name: str, rig: Rig, unreported: Mapping[str, Sequence[str]], detail: str) -> Protection:
    if not rig.grippers:
        return Protection(name, False, "no gripper")
    return _needing(name, unreported["force"], detail)


def _watching(watchdogs: Mapping[str, int | None]) -> str:
    if not any(watchdogs.values()):
        return "none that the guard could arm"
    told = {name: "none" if ns is None else f"{ns / 1e6:g} ms" for name, ns in watchdogs.items()}
    return "motors that nobody speaks to stop, armed by the first command: " + ", ".join(
        f"{name} {text}" for name, text in told.items()
    )


def _holding(rig: Rig) -> str:
    return "; ".join(
        f"{name}: {min(g.hold_n, g.force_n):g} N after {g.hold_after_s:g} s"
        for name, g in rig.grippers.items()
    )
