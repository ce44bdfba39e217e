"""A UR controller on its own wire protocols, as far as `ur-rtde` uses them: a fake of the vendor's, byte by byte.

RTDE (TCP 30004) as Universal Robots publishes it: big-endian, u16 size and u8 command before each package. Dashboard
(29999): one line a request. Secondary client (30002): scripts are taken as running from when they arrive; what the
script of ur_rtde does with its registers (ready, done, servoj) is played here, not interpreted. Joints follow their
goals with a first-order lag. Run as a program with an address; commands come on standard input, one a line.
"""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import sys
import threading
import time
from collections.abc import Callable

LAG_S = 0.02
RATE_HZ = 250.0
VECTORS = {
    *("target_q", "target_qd", "target_qdd", "target_current", "target_moment", "actual_q", "actual_qd"),
    *("actual_current", "joint_control_output", "actual_TCP_pose", "actual_TCP_speed", "actual_TCP_force"),
    *("target_TCP_pose", "target_TCP_speed", "joint_temperatures", "actual_joint_voltage", "ft_raw_wrench"),
    *("payload_inertia", "external_force_torque", "actual_current_window"),
}
WORDS = {
    **dict.fromkeys(("actual_digital_input_bits", "actual_digital_output_bits"), "UINT64"),
    **dict.fromkeys(
        ("robot_status_bits", "safety_status_bits", "runtime_state", "speed_slider_mask"), "UINT32"
    ),
    **dict.fromkeys(("robot_mode", "safety_mode", "safety_status"), "INT32"),
    "joint_mode": "VECTOR6INT32",
    **dict.fromkeys(("actual_tool_accelerometer", "payload_cog"), "VECTOR3D"),
    **dict.fromkeys(
        ("standard_digital_output_mask", "standard_digital_output", "configurable_digital_output_mask"),
        "UINT8",
    ),
    **dict.fromkeys(
        ("configurable_digital_output", "tool_digital_output_mask", "tool_digital_output"), "UINT8"
    ),
    **dict.fromkeys(("standard_analog_output_mask", "standard_analog_output_type"), "UINT8"),
}
CODES = {
    **{"VECTOR6D": "6d", "VECTOR3D": "3d", "VECTOR6INT32": "6i", "DOUBLE": "d"},
    **{"UINT64": "Q", "UINT32": "I", "INT32": "i", "UINT8": "B"},
}
SERVOJ, SERVO_STOP, STOP_SCRIPT = 11, 16, 255  # numbers of ur_rtde 1.6
RUNNING, NORMAL, PROTECTIVE, EMERGENCY = 7, 1, 3, 7  # robot mode; safety modes


def type_of(name: str) -> str:
    """RTDE type of a variable, as the guide lists it."""
    if name in VECTORS:
        return "VECTOR6D"
    if "int_register" in name:
        return "INT32"
    return WORDS.get(name, "DOUBLE")


class Arm:
    """Registers and joints."""

    def __init__(self) -> None:
        self.q = [0.3, -1.4, 1.5, -1.6, -1.5, 0.1]
        self.dq = [0.0] * 6
        self.goal = list(self.q)
        self.servoing = False
        self.running = False  # the script
        self.state = 0  # output_int_register_0: 1 ready, 2 done
        self.safety = NORMAL
        self.mode = RUNNING
        self.remote = True

    def step(self, dt_s: float) -> None:
        if not (self.servoing and self.running and self.safety == NORMAL):
            self.goal = list(self.q)
        share = 1.0 - math.exp(-dt_s / LAG_S)
        new = [q + share * (goal - q) for q, goal in zip(self.q, self.goal, strict=True)]
        self.dq = [(b - a) / dt_s for a, b in zip(self.q, new, strict=True)]
        self.q = new

    def command(self, values: dict[str, tuple[float, ...]]) -> None:
        """What the script does when input_int_register_0 says so."""
        kind = int(values.get("input_int_register_0", (0,))[0])
        if not self.running:
            return
        if kind == SERVOJ:
            self.goal = [values[f"input_double_register_{k}"][0] for k in range(6)]
            self.servoing = True
        elif kind == STOP_SCRIPT:
            self.stop()
        elif kind == 0:
            self.state = 1
        else:
            self.servoing = self.servoing and kind != SERVO_STOP
            self.state = 2

    def stop(self) -> None:
        self.running = self.servoing = False
        self.state = 0

    def fault(self, safety: int) -> None:
        self.safety = safety
        if safety != NORMAL:
            self.stop()

    def push(self) -> None:
        self.servoing = False
        self.q = [q + 0.1 for q in self.q]

    def value(self, name: str, now: float) -> tuple[float, ...]:
        known: dict[str, tuple[float, ...]] = {
            "timestamp": (now,),
            "actual_q": tuple(self.q),
            "actual_qd": tuple(self.dq),
            "joint_temperatures": (31.0, 32.0, 33.0, 34.0, 35.0, 36.0),
            "actual_joint_voltage": (48.0,) * 6,
            "robot_mode": (self.mode,),
            "safety_mode": (self.safety,),
            "safety_status_bits": (1 << {NORMAL: 0, PROTECTIVE: 2, EMERGENCY: 7}[self.safety],),
            "robot_status_bits": (1 | (2 if self.running else 0),),
            "runtime_state": (2 if self.running else 1,),
            "output_int_register_0": (self.state,),
        }
        kind = type_of(name)
        zeros = (0,) * {"VECTOR6D": 6, "VECTOR3D": 3, "VECTOR6INT32": 6}.get(kind, 1)
        return known.get(name, zeros)


class Server:
    """The controller's three ports."""

    def __init__(self, address: str, arm: Arm) -> None:
        self.address = address
        self.arm = arm
        self.conns: list[socket.socket] = []
        self.listeners: list[socket.socket] = []

    def start(self) -> None:
        for port, serve in (
            (29999, self._dashboard),
            (30002, self._script),
            (30003, self._script),
            (30004, self._rtde),
        ):
            listener = socket.create_server((self.address, port))
            self.listeners.append(listener)
            threading.Thread(target=self._accept, args=(listener, serve), daemon=True).start()

    def drop(self) -> None:
        """The cable is out: nobody listens, every connection is gone."""
        for sock in (*self.listeners, *self.conns):
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self.listeners, self.conns = [], []

    def _accept(self, listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.conns.append(conn)
            threading.Thread(target=self._serve, args=(serve, conn), daemon=True).start()

    def _serve(self, serve: Callable[[socket.socket], None], conn: socket.socket) -> None:
        with contextlib.suppress(OSError, EOFError):
            serve(conn)
        conn.close()

    def _dashboard(self, conn: socket.socket) -> None:
        conn.sendall(b"Connected: Universal Robots Dashboard Server\n")
        with conn.makefile("r") as lines:
            for line in lines:
                request = line.strip().lower()
                if request == "polyscopeversion":
                    answer = "URSoftware 5.12.0.1101319 (Apr 20 2022)"
                elif request == "is in remote control":
                    answer = "true" if self.arm.remote else "false"
                elif request == "get serial number":
                    answer = "20225500001"
                elif request == "get robot model":
                    answer = "UR5"
                elif request == "stop":
                    self.arm.stop()
                    answer = "Stopped"
                else:
                    answer = f"could not understand: {request}"
                conn.sendall(f"{answer}\n".encode())

    def _script(self, conn: socket.socket) -> None:
        tail = b""
        while data := conn.recv(65536):
            tail = (tail + data)[-4096:]
            if tail.rstrip().endswith(b"end"):
                if self.arm.safety == NORMAL and self.arm.mode == RUNNING:
                    self.arm.running, self.arm.state = True, 1
                tail = b""

    def _rtde(self, conn: socket.socket) -> None:
        inputs: dict[int, list[str]] = {}
        outputs: list[str] = []
        while True:
            size, kind = struct.unpack(">HB", _exactly(conn, 3))
            body = _exactly(conn, size - 3)
            if kind == ord("V"):
                reply = b"\x01"
            elif kind == ord("v"):
                reply = struct.pack(">4I", 5, 12, 0, 0)
            elif kind == ord("O"):
                outputs = [name for name in body[8:].decode().split(",") if name]
                reply = b"\x01" + ",".join(map(type_of, outputs)).encode()
            elif kind == ord("I"):
                names = [name for name in body.decode().split(",") if name]
                inputs[len(inputs) + 1] = names
                reply = bytes([len(inputs)]) + ",".join(map(type_of, names)).encode()
            elif kind == ord("S"):
                reply = b"\x01"
            elif kind == ord("U"):
                names = inputs[body[0]]
                flat = struct.unpack(">" + "".join(CODES[type_of(name)] for name in names), body[1:])
                values: dict[str, tuple[float, ...]] = {}
                at = 0
                for name in names:
                    n = int(CODES[type_of(name)][:-1] or 1)
                    values[name] = flat[at : at + n]
                    at += n
                self.arm.command(values)
                continue
            else:
                reply = b"\x01"
            conn.sendall(struct.pack(">HB", 3 + len(reply), kind) + reply)
            if kind == ord("S"):
                threading.Thread(target=self._stream, args=(conn, outputs), daemon=True).start()

    def _stream(self, conn: socket.socket, names: list[str]) -> None:
        form = ">HBB" + "".join(CODES[type_of(name)] for name in names)
        size = struct.calcsize(form)
        with contextlib.suppress(OSError):
            while True:
                now = time.monotonic()
                flat = [x for name in names for x in self.arm.value(name, now)]
                conn.sendall(struct.pack(form, size, ord("U"), 1, *flat))
                time.sleep(1.0 / RATE_HZ)


def _exactly(conn: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (more := conn.recv(size - len(data))):
            raise EOFError
        data += more
    return data


def main() -> None:
    arm = Arm()
    server = Server(sys.argv[1], arm)
    server.start()
    threading.Thread(target=_physics, args=(arm,), daemon=True).start()
    print("up", flush=True)
    actions: dict[str, Callable[[], object]] = {
        "fault": lambda: arm.fault(PROTECTIVE),
        "emergency": lambda: arm.fault(EMERGENCY),
        "clear": lambda: arm.fault(NORMAL),
        "stop": arm.stop,
        "off": lambda: setattr(arm, "mode", 3),
        "on": lambda: setattr(arm, "mode", RUNNING),
        "local": lambda: setattr(arm, "remote", False),
        "remote": lambda: setattr(arm, "remote", True),
        "drop": server.drop,
        "back": server.start,
        "push": arm.push,
        "running?": lambda: arm.running,
    }
    for line in sys.stdin:
        answer = actions[line.strip()]()
        print("ok" if answer is None else answer, flush=True)


def _physics(arm: Arm) -> None:
    last = time.monotonic()
    while True:
        time.sleep(0.002)
        now = time.monotonic()
        arm.step(now - last)
        last = now


if __name__ == "__main__":
    main()
