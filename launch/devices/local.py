"""A rig with the ports and cameras of this machine, as every command on real devices opens it."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ...robot.errors import UsageError, nearest
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
    """Load `rig`, with `--port ARM=PORT` as given on the command line."""
    local = load_local_rig(rig)
    return load_local_rig(rig, named("--port", ports, local.rig.arms)) if ports else local


def named(option: str, texts: Sequence[str], known: Iterable[str]) -> dict[str, str]:
    """NAME=VALUE, each given once, for a name in `known`; NAME= may be left out where there is one.

    Raises `UsageError` for all else.
    """
    names = list(known)
    chosen: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals and len(names) == 1:
            name, value = names[0], text
        if not name or not value:
            raise UsageError(f"{option} {text}: write NAME=VALUE; names: {', '.join(names)}")
        if name not in names:
            raise UsageError(f"{option} {text}: nothing is called '{name}'{nearest(name, names)}")
        if name in chosen:
            raise UsageError(f"{option} {text}: '{name}' is {chosen[name]} already")
        chosen[name] = value
    return chosen


def same_port_twice(local: LocalRig) -> str:
    """What is wrong when two arms have one port, else ""."""
    users: dict[str, list[str]] = {}
    for name, arm in local.rig.arms.items():
        if arm.port is not None:
            users.setdefault(arm.port, []).append(name)
    return "; ".join(
        f"{' and '.join(names)} have the same port {port}" for port, names in users.items() if names[1:]
    )
