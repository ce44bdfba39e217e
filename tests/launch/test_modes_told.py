"""What a person at the terminal is told of the guard while an episode runs."""

from twinloop.launch.modes_told import ModesTold

MS = 1_000_000


def test_a_stop_that_lasts_is_said_once_with_its_reason_and_that_it_goes_on():
    said = []
    told = ModesTold(said.append)
    for t in range(0, 1000, 33):
        told.look(t * MS, "hold", "arm: its state is stale")
    told.look(1000 * MS, "run", "chunk")
    told.look(1033 * MS, "run", "chunk")
    assert said == ["guard: hold: arm: its state is stale", "guard: goes on"]


def test_a_moments_pause_is_nobodys_news_and_another_reason_is_told_too():
    said = []
    told = ModesTold(said.append)
    for t in (0, 33, 66, 99):
        told.look(t * MS, "hold", "chunk expired")
    told.look(132 * MS, "run", "chunk")
    assert said == []
    for t in range(200, 1000, 33):
        told.look(t * MS, "hold", "front: its frame is stale")
    for t in range(1000, 1500, 33):
        told.look(t * MS, "fault", "arm: elbow_flex: overload")
    assert said == ["guard: hold: front: its frame is stale", "guard: fault: arm: elbow_flex: overload"]
