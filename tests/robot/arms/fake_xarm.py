"""A control box of UFACTORY on its own wire protocol, as far as the SDK's calls here use it: a fake, byte by byte.

TCP 502 carries requests (u16 number, u16 protocol, u16 length, u8 register, data; big-endian, floats little-endian),
answered with the same head and a state byte; TCP 30002 a report five times a second. Joints follow their goals with
a first-order lag while the arm is enabled, in servo mode and in a moving state; the gripper goes at a constant speed.
Run as a program with an address; commands come on standard input, one a line.
"""

from __future__ import annotations

import contextlib
import math
import socket
import struct
import sys
import threading
import time

LAG_S = 0.02
PULSES_S = 1500.0
AXES = 7
GET_VERSION, MOTION_EN, SET_STATE, GET_STATE, GET_ERROR, SET_MODE = 1, 11, 12, 13, 15, 19
MOVE_SERVOJ, GET_JOINT_POS, RS485 = 29, 42, 124
CURR_POS, TARGET_POS = 0x0702, 0x0700
OVERLOAD = 31  # "Abnormal current" in the SDK's list of controller errors


class Arm:
    def __init__(self) -> None:
        self.q = [0.0, -0.25, 0.0, 0.9, 0.0, 1.1, 0.0]
        self.goal = list(self.q)
        self.dq = [0.0] * AXES
        self.enabled = False
        self.mode, self.state, self.error = 0, 4, 0
        self.pulses = self.pulses_goal = 400.0

    @property
    def follows(self) -> bool:
        return self.enabled and self.mode == 1 and self.state not in (3, 4, 5) and not self.error

    def step(self, dt_s: float) -> None:
        if not self.follows:
            self.goal = list(self.q)
        share = 1.0 - math.exp(-dt_s / LAG_S)
        new = [q + share * (goal - q) for q, goal in zip(self.q, self.goal, strict=True)]
        self.dq = [(b - a) / dt_s for a, b in zip(self.q, new, strict=True)]
        self.q = new
        far = self.pulses_goal - self.pulses
        self.pulses += math.copysign(min(abs(far), PULSES_S * dt_s), far)

    def answer(self, register: int, data: bytes) -> bytes:
        if register == GET_VERSION:
            return b"7,7,XI130504A00L00,AC130504A00L00,v2.6.0".ljust(40, b"\0")
        if register == MOTION_EN:
            self.enabled = bool(data[1])
        elif register == SET_MODE:
            self.mode = data[0]
        elif register == SET_STATE:
            self.state = 2 if data[0] == 0 and not self.error else 4
        elif register == GET_STATE:
            return bytes([self.state])
        elif register == GET_ERROR:
            return bytes([self.error, 0])
        elif register == MOVE_SERVOJ and self.follows:
            self.goal = list(struct.unpack("<10f", data))[:AXES]
        elif register == GET_JOINT_POS:
            return struct.pack("<21f", *self.q, *self.dq, *([1.5] * AXES))
        elif register == RS485:
            return self.gripper(data[0:1], data[1:])
        return bytes(40)

    def gripper(self, host: bytes, request: bytes) -> bytes:
        """Modbus RTU behind the box: holding registers are read (3) and written (16)."""
        _, function, address, count = struct.unpack(">BBHH", request[:6])
        if function == 0x10 and address == TARGET_POS:
            self.pulses_goal = float(struct.unpack(">i", request[7:11])[0])
        if function == 3:
            values = struct.pack(">i", round(self.pulses)) if address == CURR_POS else bytes(2 * count)
            return host + request[:2] + bytes([len(values)]) + values
        return host + request[:6]

    def flags(self) -> int:
        """The state byte of an answer: 0x40 error, 0x10 not ready to move."""
        return (0x40 if self.error else 0) | (0 if self.follows else 0x10)

    def report(self) -> bytes:
        body = bytearray(417)
        struct.pack_into(">I", body, 0, len(body))
        body[4] = self.mode << 4 | self.state
        struct.pack_into("<7f", body, 7, *self.q)
        body[88], body[89] = 0x7F if self.enabled else 0, self.error
        body[145:147] = bytes([7, 7])
        body[245:252] = bytes(range(31, 38))
        struct.pack_into(">7H", body, 341, *([4750] * AXES))
        return bytes(body)


class Box:
    def __init__(self, address: str, arm: Arm) -> None:
        self.address, self.arm = address, arm
        self.sockets: list[socket.socket] = []

    def start(self) -> None:
        for port, serve in ((502, self._requests), (30002, self._reports)):
            listener = socket.create_server((self.address, port))
            self.sockets.append(listener)
            threading.Thread(target=self._accept, args=(listener, serve), daemon=True).start()

    def drop(self) -> None:
        """The cable is out: nobody listens, every connection is gone."""
        for sock in self.sockets:
            with contextlib.suppress(OSError):
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            with contextlib.suppress(OSError):
                sock.shutdown(socket.SHUT_RDWR)
            sock.close()
        self.sockets = []

    def _accept(self, listener: socket.socket, serve) -> None:
        while True:
            try:
                conn, _ = listener.accept()
            except OSError:
                return
            conn.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.sockets.append(conn)
            threading.Thread(target=self._served, args=(conn, serve), daemon=True).start()

    def _served(self, conn: socket.socket, serve) -> None:
        with contextlib.suppress(OSError, EOFError):
            serve(conn)
        conn.close()

    def _requests(self, conn: socket.socket) -> None:
        while True:
            number, protocol, length = struct.unpack(">HHH", _exactly(conn, 6))
            body = _exactly(conn, length)
            if protocol != 2:  # the SDK's heartbeat
                continue
            data = self.arm.answer(body[0], body[1:])
            head = struct.pack(">HHHBB", number, 2, len(data) + 2, body[0], self.arm.flags())
            conn.sendall(head + data)

    def _reports(self, conn: socket.socket) -> None:
        while True:
            conn.sendall(self.arm.report())
            time.sleep(0.2)


def _exactly(conn: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        if not (more := conn.recv(size - len(data))):
            raise EOFError
        data += more
    return data


def physics(arm: Arm) -> None:
    last = time.monotonic()
    while True:
        time.sleep(0.002)
        now = time.monotonic()
        arm.step(now - last)
        last = now


def main() -> None:
    arm = Arm()
    box = Box(sys.argv[1], arm)
    box.start()
    threading.Thread(target=physics, args=(arm,), daemon=True).start()
    print("up", flush=True)
    for line in sys.stdin:
        match line.strip():
            case "fault":
                arm.error, arm.state = OVERLOAD, 4
            case "clear":
                arm.error, arm.state = 0, 0  # as Studio does: clear, enable, ready
            case "drop":
                box.drop()
            case "back":
                box.start()
            case "push":
                arm.q = [q + 0.1 for q in arm.q]
                arm.goal = list(arm.q)
        print("ok", flush=True)


if __name__ == "__main__":
    main()
