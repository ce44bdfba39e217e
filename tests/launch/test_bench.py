"""Which benchmarks a name means."""

import json

import pytest
from twinloop.launch.bench import benchmark_names, chosen_benchmarks, run_benchmarks
from twinloop.robot.errors import UsageError


def test_a_name_means_itself_and_those_that_begin_with_it():
    known = benchmark_names()
    assert chosen_benchmarks(["guard"], known) == ["guard_faults", "guard_loop", "guard_tick"]
    assert chosen_benchmarks(["bus", "bus_faults"], known) == ["bus", "bus_faults"]
    assert chosen_benchmarks(["sim"], known) == ["sim"]


def test_an_unknown_name_says_which_one_was_meant():
    with pytest.raises(UsageError, match="unknown benchmark 'rngs'; did you mean .*rings"):
        chosen_benchmarks(["rngs"], benchmark_names())


def test_figures_of_a_benchmark_that_fails_later_are_shown_and_kept(tmp_path, monkeypatch, capsys):
    figure = {"name": "lateness", "value": 0.25, "unit": "ms", "ms": {"p99": 0.5}}
    (tmp_path / "loop.py").write_text(f"print({json.dumps(figure)!r})\nraise SystemExit(1)\n")
    monkeypatch.setattr("twinloop.launch.bench.FOLDER", tmp_path)
    assert run_benchmarks([], quick=False, json_to=tmp_path / "figures.jsonl") == 1
    shown = capsys.readouterr().out
    assert "lateness" in shown and "p99 0.5" in shown and "loop ended with an error" in shown
    assert json.loads((tmp_path / "figures.jsonl").read_text())["value"] == 0.25
