"""A rig with the ports and cameras of this machine, as every command on real devices opens it."""

from __future__ import annotations

from collections.abc import Sequence

from ...robot.errors import UsageError
from ...robot.machine import LocalRig, load_local_rig
from ...robot.rig import Rig
from ..progress import say


def on_this_machine(rig: str) -> Rig:
    """Load `rig` (name or path) for real devices and say which port each arm has, and who named it."""
    local = load_local_rig(rig)
    for line in local.lines():
        say(line)
    return local.rig


def with_ports(rig: str, ports: Sequence[str]) -> LocalRig:
    """Load `rig`, with `--port ARM=PORT` as given on the command line; ARM= may be left out where there is one arm."""
    chosen: dict[str, str] = {}
    local = load_local_rig(rig)
    only = next(iter(local.rig.arms)) if len(local.rig.arms) == 1 else None
    for text in ports:
        arm, named, port = text.partition("=")
        if not named:
            arm, port = only or "", text
        if not arm or not port:
            raise UsageError(
                f"--port {text}: write ARM=PORT, as --port {next(iter(local.rig.arms))}=/dev/ttyACM0"
            )
        if arm in chosen:
            raise UsageError(f"--port {text}: arm '{arm}' has the port {chosen[arm]} already")
        chosen[arm] = port
    return load_local_rig(rig, chosen) if chosen else local


def same_port_twice(local: LocalRig) -> str:
    """What is wrong when two arms have one port, else ""."""
    users: dict[str, list[str]] = {}
    for name, arm in local.rig.arms.items():
        if arm.port is not None:
            users.setdefault(arm.port, []).append(name)
    return "; ".join(
        f"{' and '.join(names)} have the same port {port}" for port, names in users.items() if names[1:]
    )
