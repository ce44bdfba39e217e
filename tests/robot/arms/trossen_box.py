"""The vendor's simulator of the WidowX AI, unmodified but for what the tests switch: errors that stay, and the network.

Run as a program with an address; commands come on standard input, one a line.
"""

from __future__ import annotations

import sys

from trossen_arm_sim.protocol import ErrorState
from trossen_arm_sim.server import TrossenArmSimServer
from trossen_arm_sim.sim import WidowXSim

HOME = (0.0, 1.2, 1.1, -1.0, 0.0, 0.0, 0.02)


class Server(TrossenArmSimServer):
    """A controller in error stays in it until it is cleared; the simulator's forgets it when a driver connects."""

    def clear_error(self) -> None:
        pass

    def really_clear(self) -> None:
        super().clear_error()


def main() -> None:
    sim = WidowXSim()
    place(sim, HOME)
    sim.start()
    server = Server(sim, host=sys.argv[1])
    server.start()
    print("up", flush=True)
    for line in sys.stdin:
        match line.strip():
            case "fault":
                server.fault(ErrorState.JOINT_OVERHEATED, "joint 3 at 91 C")
            case "clear":
                server.really_clear()
            case "drop":
                server.stop()
                server = Server(sim, host=sys.argv[1])
            case "back":
                server.start()
            case "push":
                place(sim, [q + 0.1 * (k < 6) for k, q in enumerate(sim.data.qpos[sim._qpos_addr])])
        print("ok", flush=True)


def place(sim: WidowXSim, pose) -> None:
    with sim._lock:
        sim.data.qpos[sim._qpos_addr] = pose
        sim.data.qvel[:] = 0.0
        sim.data.ctrl[sim._actuator_ids] = pose


if __name__ == "__main__":
    main()
