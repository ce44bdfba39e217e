"""An arm as `twinloop doctor --rig` looks at it: its port, every servo, its calibration. Reads alone, moves nothing."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace

from ...robot.arms.servo_line import ServoHealth, ServoLine, servo_line, tcp_port
from ...robot.buses import Bus
from ...robot.errors import DeviceError, RigError
from ...robot.interfaces import Clock
from ...robot.machine import LocalRig
from ..doctor_checks import Check
from .calibrations import fits
from .ports import Places, latency_check, port_check, serial_devices
from .search import ALL_NS, Found, OpenBus, heard, opened, port_opener, search

CONNECT_S = 3.0
ANY_TCP_PORT = 80  # of a box whose port is not known: that it refuses shows that it is there
WARM_C = 10.0  # below the firmware's limit


def arm_checks(
    local: LocalRig, name: str, rig: str, places: Places, clock: Clock, wait_ns: int = ALL_NS
) -> Iterator[Check]:
    """The findings about arm `name`; `rig` is what the user calls the rig, for the commands that mend it."""
    config = local.rig.arms[name]
    setup = f"twinloop setup-devices --rig {rig}"
    try:
        line = _line(local, name)
        address = None if line else tcp_port(local.rig, name) or ANY_TCP_PORT
    except RigError as error:
        yield Check(f"{name} driver", "fail", str(error), "name an arm description that has a driver")
        return
    if config.port is None:
        here = ", ".join(device.path for device in serial_devices(places)) or "none plugged in"
        why = f"none named; serial ports: {here}" if line else "no address of its control box named"
        yield Check(f"{name} {'port' if line else 'address'}", "fail", why, setup)
        return
    if line is None and address is not None and "/" not in config.port:
        yield reach(name, config.port, address, local.origin(f"arms.{name}.port"))
        return
    port = port_check(name, config.port, local.origin(f"arms.{name}.port"), places)
    yield port
    seen: dict[int, ServoHealth] = {}
    if line is not None and port.status == "ok":
        if (latency := latency_check(name, config.port, places)) is not None:
            yield latency
        try:
            found = _everybody(port_opener(config.port, line.kind, clock), line, wait_ns)
            with opened(port_opener(config.port, line.kind, clock), line.baud) as bus:
                yield from servo_checks(name, line, bus, found, setup, seen)
        except DeviceError as error:
            yield Check(f"{name} servos", "fail", str(error), "check its cable and its power")
    if line is None or line.calibrated:
        yield calibration_check(local, name, seen, setup)
    elif config.calibration is not None:
        yield Check(
            f"{name} calibration", "fail", "this arm takes no file", f"remove arms.{name}.calibration"
        )


def servo_checks(
    name: str,
    line: ServoLine,
    bus: Bus,
    found: Sequence[Found],
    setup: str,
    seen: dict[int, ServoHealth],
) -> Iterator[Check]:
    """A finding for each servo of the arm and one for strangers; fills `seen`."""
    here = {one.id: one for one in found if one.baud == line.baud}
    if not found:
        detail = f"none of {len(line.joints)} answers, at any baud rate"
        yield Check(
            f"{name} servos", "fail", detail, "switch the arm's power on; check the bus cable and the port"
        )
        return
    order = list(line.joints)
    silent = [id for id in order if id not in here]
    for id, joint in line.joints.items():
        title = f"{name} servo {id} {joint}"
        if id not in here:
            yield _missing(title, id, order, silent, [one for one in found if one.id == id], line, setup)
            continue
        before = bus.counters.checksum + bus.counters.garbage_bytes
        try:
            if here[id].answers > 1:
                raise DeviceError(f"{here[id].answers} servos answer")
            seen[id] = line.kind.health(bus, id)
        except DeviceError as error:
            damaged = bus.counters.checksum + bus.counters.garbage_bytes > before or here[id].answers > 1
            why = f"two servos with id {id}, or a bad cable ({error})" if damaged else str(error)
            fix = f"connect them one at a time: {setup} --ids" if damaged else "check its cable"
            yield Check(title, "fail", why, fix)
            continue
        yield health_check(title, seen[id], line.servos[id])
    strangers = [one for one in found if one.id not in line.joints]
    if strangers:
        listed = ", ".join(f"id {one.id} at {one.baud} baud" for one in strangers)
        detail = f"{listed}: not of this arm (its ids: {', '.join(map(str, order))})"
        yield Check(
            f"{name} other servos", "fail" if silent else "warn", detail, f"number the servos: {setup} --ids"
        )


def health_check(title: str, seen: ServoHealth, wanted: str) -> Check:
    """What one servo says of itself; `wanted` is the model that it should be."""
    low, high = seen.voltage_range_v
    state = "torque on" if seen.torque_on else "torque off"
    odd = f"; {', '.join(seen.odd)}" if seen.odd else ""
    measured = f"{seen.voltage_v:.1f} V, {seen.temperature_c:.0f} C, {state}"
    detail = f"{shown(seen.model)} firmware {seen.firmware}, {measured}"
    if seen.model != wanted:
        fix = "is its id another servo's? else this arm's driver needs that kind of servo"
        return Check(title, "fail", f"{detail}; an {shown(wanted)} is needed", fix)
    if not low <= seen.voltage_v <= high:
        fix = "check the supply: its voltage must be the servos' own, and its plug in"
        return Check(title, "fail", f"{detail}; voltage outside {low:.1f}..{high:.1f} V", fix)
    if seen.faults:
        fix = "hold the arm, switch its power off, let it cool, switch it on"
        return Check(title, "fail", f"{detail}; latched: {', '.join(seen.faults)}", fix)
    if seen.temperature_c > seen.temperature_max_c - WARM_C:
        return Check(
            title, "warn", f"{detail}; it stops at {seen.temperature_max_c:.0f} C", "let it cool down"
        )
    if seen.torque_on:
        fix = "hold the arm and switch its power off and on, or let the next session take it over"
        return Check(title, "warn", f"{detail} though no program has the port{odd}", fix)
    return Check(title, "ok", f"{detail}{odd}")


def calibration_check(local: LocalRig, name: str, seen: Mapping[int, ServoHealth], setup: str) -> Check:
    """Whether the arm's calibration file is there, right, and this arm's: servos carry their offsets, too."""
    title, config = f"{name} calibration", local.rig.arms[name]
    if config.calibration is None:
        why = "none: every encoder is taken to stand in its middle where the joint does; degrees off"
        return Check(title, "warn", why, f"{setup}  # takes LeRobot's calibration file")
    what = f"{config.calibration}{local.origin(f'arms.{name}.calibration')}"
    try:
        other = fits(config.calibration, config.model, seen)
    except RigError as error:
        lines = " ".join(str(error).split())
        return Check(title, "fail", lines, f"name the file of this arm: {setup}")
    if other:
        fix = f"name the file of this arm ({setup}), or calibrate it anew"
        return Check(title, "fail", f"{what}: another arm's, or an old one; offsets: {', '.join(other)}", fix)
    agreed = ", and the servos remember the same offsets" if seen else ""
    return Check(title, "ok", f"{what}: fits{agreed}")


def shown(model: str) -> str:
    """A servo's model as its maker writes it."""
    return model.upper().replace("_", "-") if not model.startswith("model ") else model


def reach(name: str, host: str, port: int, origin: str) -> Check:
    """Whether the arm's control box can be reached; nothing is said to it."""
    what, title = f"{host} port {port}{origin}", f"{name} address"
    fix = "switch its control box on; check the network cable, and that this machine is in its network (ip addr)"
    try:
        socket.create_connection((host, port), CONNECT_S).close()
    except ConnectionRefusedError:
        if port == ANY_TCP_PORT:
            return Check(title, "ok", f"{host}{origin}: there; more is not asked")
        return Check(
            title, "fail", f"{what}: there, but nobody listens", "start the arm; is it that machine?"
        )
    except OSError as error:
        return Check(title, "fail", f"{what}: cannot be reached ({error.strerror or error})", fix)
    return Check(title, "ok", f"{what}: takes connections")


def _line(local: LocalRig, name: str) -> ServoLine | None:
    """The servos, by the numbers that they have without a calibration file where that is wrong."""
    try:
        return servo_line(local.rig, name)
    except RigError:
        if local.rig.arms[name].calibration is None:
            raise
        bare = replace(local.rig.arms[name], calibration=None)
        return servo_line(replace(local.rig, arms={**local.rig.arms, name: bare}), name)


def _everybody(open_bus: OpenBus, line: ServoLine, wait_ns: int) -> list[Found]:
    """Who is on the bus: at the arm's own rate, and at all others where somebody is missing there."""
    found = search(open_bus, line.kind, [line.baud], wait_ns=wait_ns)
    here = {one.id for one in found}
    with opened(open_bus, line.baud) as bus:  # some firmwares do not answer a ping of all
        found += [Found(id, line.baud, n) for id in line.joints if id not in here and (n := heard(bus, id))]
    if not {one.id for one in found}.issuperset(line.joints):
        others = [baud for baud in line.kind.bauds if baud != line.baud]
        found += search(open_bus, line.kind, others, wait_ns=wait_ns)
    return found


def _missing(
    title: str,
    id: int,
    order: Sequence[int],
    silent: Sequence[int],
    elsewhere: Sequence[Found],
    line: ServoLine,
    setup: str,
) -> Check:
    if elsewhere:
        why = f"answers at {elsewhere[0].baud} baud; {line.baud} is wanted"
        return Check(title, "fail", why, f"connect it alone: {setup} --ids")
    first = order.index(silent[0])
    if len(silent) > 1 and list(silent) == list(order[first:]) and first:
        previous = f"servo {order[first - 1]} ({line.joints[order[first - 1]]})"
        return Check(
            title,
            "fail",
            f"no answer, as from all behind servo {order[first - 1]}",
            f"check the cable behind {previous}",
        )
    return Check(title, "fail", "no answer", f"check its cable; was it numbered? {setup} --ids")
