"""Raw HID reports, as the devices send them, through the driver."""

import struct

import numpy as np
from twinloop.teleop.spacemouse import SPEED_M_S, STILL_NS, SpaceMouse


class Reports:
    """hidapi's device: hands out what was queued."""

    def __init__(self):
        self.queue, self.closed = [], False

    def read(self, size):
        if not self.queue:
            return []
        report = self.queue.pop(0)
        if isinstance(report, Exception):
            raise report
        return list(report)

    def close(self):
        self.closed = True


def made():
    reports = Reports()
    mouse = SpaceMouse(lambda: reports)
    mouse.open()
    return mouse, reports


def test_pushed_away_the_hand_goes_forward_and_lifted_it_goes_up():
    mouse, reports = made()
    reports.queue.append(bytes([1]) + struct.pack("<3h", 0, -350, -350))
    jog = mouse.read(0)
    assert np.allclose(jog.linear_m_s, [SPEED_M_S, 0.0, SPEED_M_S])


def test_turns_come_in_their_own_report_or_with_the_moves():
    mouse, reports = made()
    reports.queue.append(bytes([2]) + struct.pack("<3h", 0, 0, -350))
    yaw = mouse.read(0).angular_rad_s
    assert yaw[2] > 0 and not yaw[:2].any()
    reports.queue.append(bytes([1]) + struct.pack("<6h", 0, 0, 0, 0, 0, -350))
    assert np.allclose(mouse.read(1).angular_rad_s, yaw)


def test_buttons_grip_and_both_are_success_once():
    mouse, reports = made()
    reports.queue.append(bytes([3, 1, 0]))
    assert mouse.read(0).grip_m_s < 0
    reports.queue.append(bytes([3, 2, 0]))
    assert mouse.read(1).grip_m_s > 0
    reports.queue.append(bytes([3, 3, 0]))
    first, second = mouse.read(2), mouse.read(3)
    assert first.keys == ("success",) and first.grip_m_s == 0.0 and second.keys == ()


def test_a_cap_that_falls_silent_is_at_rest():
    mouse, reports = made()
    reports.queue.append(bytes([1]) + struct.pack("<3h", 300, 0, 0))
    assert mouse.read(0).linear_m_s.any()
    assert not mouse.read(STILL_NS + 1).linear_m_s.any()


def test_a_pulled_plug_disengages_and_broken_reports_do_nothing():
    mouse, reports = made()
    reports.queue += [bytes([1, 2]), bytes([9, 1, 2, 3]), bytes([1]) + struct.pack("<3h", 300, 0, 0)]
    assert mouse.read(0).engaged
    reports.queue.append(OSError("read error"))
    jog = mouse.read(1)
    assert not jog.engaged and not jog.linear_m_s.any()
    mouse.close()
    assert reports.closed
