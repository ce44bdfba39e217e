"""New servos get their ids and baud rate, one at a time, and nothing is written where several answer."""

import pytest
from bench import Bench, Still
from twinloop.launch.devices.dialogue import Dialogue
from twinloop.launch.devices.numbering import number, number_servos, the_only_one
from twinloop.launch.devices.search import Found, search
from twinloop.robot.arms.servo_line import servo_line
from twinloop.robot.buses.framing import PING, READ
from twinloop.robot.errors import DeviceError
from twinloop.robot.rig import load_rig
from twinloop.sim.emulate.feetech import FeetechServos
from twinloop.sim.emulate.sts3215 import REGISTERS, Sts3215

LINE = servo_line(load_rig("so101"), "arm")
BAUDS = list(LINE.kind.bauds)


def servo(id=1, baud=1_000_000, turns=0.5):
    made = Sts3215(id, Still(turns))
    for name, value in (("lock", 0), ("baud", LINE.kind.bauds[baud]), ("lock", 1)):
        made.write(REGISTERS[name].address, bytes((value,)))
    return made


def bench(*servos):
    return Bench(FeetechServos(servos), LINE.kind.framing)


def instructions(bus):
    return {packet[4] for packet in bus.log}


@pytest.mark.parametrize("baud", BAUDS)
@pytest.mark.parametrize("id", [1, 7, 252])
def test_a_servo_is_found_at_any_rate_and_id(id, baud):
    bus = bench(servo(id, baud))
    assert search(bus, LINE.kind) == [Found(id, baud)]
    assert instructions(bus) == {PING}


def test_several_are_found_and_those_with_one_id_counted():
    assert search(bench(servo(1), servo(6), servo(1, 38_400)), LINE.kind) == [
        Found(1, 1_000_000), Found(6, 1_000_000), Found(1, 38_400),
    ]  # fmt: skip
    # Answers that differ in a byte, as two servos' do where one has an error, are damaged on the wire.
    hot = servo(3)
    hot.overload()
    hot.step(1)
    found = search(bench(servo(2), hot, servo(3)), LINE.kind, [1_000_000])
    assert found == [Found(2, 1_000_000), Found(3, 1_000_000, 2)]


@pytest.mark.parametrize("baud", [1_000_000, 115_200, 38_400])
def test_id_and_rate_are_kept_without_power(baud):
    new = servo(1, baud)
    bus = bench(new)
    said = number(the_only_one(LINE, bus), 4, LINE, bus)
    assert "is now id 4 at 1000000 (STS3215 firmware 3.10)" in said
    new.power_cycle()
    assert (new.id, new.baud, new.get("lock")) == (4, 1_000_000, 1)
    assert search(bus, LINE.kind) == [Found(4, 1_000_000)]
    assert number(Found(4, 1_000_000), 4, LINE, bus) == "it is id 4 at 1000000 baud already"


@pytest.mark.parametrize(
    ("others", "why"),
    [
        ([servo(2)], "id 1 at 1000000 baud, id 2 at 1000000 baud"),
        ([servo(1, 57_600)], "id 1 at 1000000 baud, id 1 at 57600 baud"),
    ],
)
def test_nothing_is_written_where_several_answer(others, why):
    bus = bench(servo(1), *others)
    with pytest.raises(DeviceError, match=f"more than one servo answers: {why}; connect one alone"):
        the_only_one(LINE, bus)
    assert instructions(bus) == {PING}


def test_twins_that_answer_alike_show_when_they_are_read():
    """Two new servos, both id 1: equal answers are one on the wire, but their positions differ."""
    first, second = servo(turns=0.5), servo(turns=0.3)
    bus = bench(first, second)
    with pytest.raises(DeviceError):
        number(the_only_one(LINE, bus), 4, LINE, bus)
    assert instructions(bus) <= {PING, READ} and (first.id, second.id) == (1, 1)


def test_a_servo_that_holds_or_is_another_kind_is_refused():
    holding = servo()
    holding.write(REGISTERS["torque"].address, b"\1")
    with pytest.raises(DeviceError, match="servo 1: its torque is on"):
        number(Found(1, 1_000_000), 4, LINE, bench(holding))
    assert holding.id == 1 and holding.get("torque") == 1
    other = servo()
    other._set("model", 1029)
    with pytest.raises(DeviceError, match="this is a model 1029; STS3215 is needed"):
        number(Found(1, 1_000_000), 4, LINE, bench(other))


def test_an_empty_bus_says_what_to_look_at():
    with pytest.raises(DeviceError, match="no servo answers, at any baud rate; is its power on"):
        the_only_one(LINE, bench())


def test_a_whole_arm_is_numbered_from_the_jaw_to_the_base(capsys):
    """Six new servos, all id 1 as they come; a person who forgets to unplug one is told, and goes on."""
    new = [servo() for _ in LINE.joints]
    on_bus = FeetechServos([])
    bus = Bench(on_bus, LINE.kind.framing)
    answers = iter([6, (6, 5), 5, 4, 3, "s", 1])

    def read():
        answer = next(answers)
        if answer == "s":
            return "s\n"
        on_bus.servos = [new[k - 1] for k in (answer if isinstance(answer, tuple) else (answer,))]
        return "\n"

    done = number_servos("arm", LINE, bus, Dialogue(read=read))
    assert done == [6, 5, 4, 3, 1] and [one.id for one in new] == [1, 1, 3, 4, 5, 6]
    said = capsys.readouterr().out
    assert "nothing done: more than one servo answers: id 1 at 1000000 baud, id 6 at 1000000 baud" in said
    assert "connect the servo of 'gripper' alone, its power on; it becomes id 6 at 1000000 baud" in said
