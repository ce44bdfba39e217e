"""Which benchmarks a name means."""

import pytest
from twinloop.launch.bench import benchmark_names, chosen_benchmarks
from twinloop.robot.errors import UsageError


def test_a_name_means_itself_and_those_that_begin_with_it():
    known = benchmark_names()
    assert chosen_benchmarks(["guard"], known) == ["guard_faults", "guard_loop", "guard_tick"]
    assert chosen_benchmarks(["bus", "bus_faults"], known) == ["bus", "bus_faults"]
    assert chosen_benchmarks(["sim"], known) == ["sim"]


def test_an_unknown_name_says_which_one_was_meant():
    with pytest.raises(UsageError, match="unknown benchmark 'rngs'; did you mean .*rings"):
        chosen_benchmarks(["rngs"], benchmark_names())
