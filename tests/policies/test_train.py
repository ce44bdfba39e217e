"""Training: seeds, resuming, averaged weights, interruption."""

from __future__ import annotations

import json
import os
import signal
import threading
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from twinloop.policies.act import ACTConfig
from twinloop.policies.ema import Average
from twinloop.policies.keypoint import KeypointConfig
from twinloop.policies.samples import Samples, Views
from twinloop.policies.train import TrainConfig, TrainProgress, TrainResult, default_config, train
from twinloop.robot.errors import CheckpointError, UsageError


def tiny(method: str, base: TrainConfig) -> TrainConfig:
    return replace(
        base,
        method=method,
        steps=24,
        batch=16,
        report_every=5,
        save_every=100,
        validate_every=8,
        keypoint=KeypointConfig((4, 8), 4, hidden=(16,), aux_hidden=(16,)),
        act=ACTConfig(dim=16, heads=2, feed_forward=16, encoder_layers=1, decoder_layers=1, stages=(4, 8, 8)),
    )


def stop_after(steps: int):
    """A `stop` that lets `steps` steps pass."""
    left = [steps]

    def stop() -> bool:
        left[0] -= 1
        return left[0] < 0

    return stop


def weights(result: TrainResult) -> dict[str, torch.Tensor]:
    return load_file(result.out / "model.safetensors")


def same(a: dict[str, torch.Tensor], b: dict[str, torch.Tensor]) -> bool:
    return a.keys() == b.keys() and all(torch.equal(a[k], b[k]) for k in a)


@pytest.mark.parametrize("method", ["bc", "keypoint", "act"])
def test_resumed_training_equals_an_uninterrupted_one(
    method: str, rows: Samples, small: TrainConfig, tmp_path: Path
) -> None:
    """Bit for bit: weights, training curve, validation curve; stopped within a report's interval."""
    config = tiny(method, small)
    whole = train(rows, config, tmp_path / "whole")
    first = train(rows, config, tmp_path / "parts", stop=stop_after(7))
    assert (first.step, first.finished) == (7, False)
    second = train(rows, config, tmp_path / "parts", resume=True, stop=stop_after(6))
    assert second.step == 13
    last = train(rows, config, tmp_path / "parts", resume=True)
    assert last.finished
    assert last.losses == whole.losses
    assert last.validations == whole.validations
    assert same(weights(last), weights(whole))


def test_a_seed_gives_the_same_weights_bit_for_bit(rows: Samples, small: TrainConfig, tmp_path: Path) -> None:
    config = replace(tiny("keypoint", small), steps=6)
    a, b = (train(rows, config, tmp_path / name) for name in "ab")
    other = train(rows, replace(config, seed=1), tmp_path / "c")
    assert same(weights(a), weights(b))
    assert a.losses == b.losses
    assert not same(weights(a), weights(other))


def test_training_leaves_the_random_state_and_threads_alone(
    rows: Samples, small: TrainConfig, tmp_path: Path
) -> None:
    torch.manual_seed(7)
    wanted, threads = torch.rand(3), torch.get_num_threads()
    torch.manual_seed(7)
    train(rows, replace(small, steps=3, threads=1), tmp_path / "a")
    assert torch.equal(torch.rand(3), wanted)
    assert torch.get_num_threads() == threads


def test_ctrl_c_saves_and_ends(rows: Samples, small: TrainConfig, tmp_path: Path) -> None:
    def press(progress: TrainProgress) -> None:
        if progress.step == 10:
            os.kill(os.getpid(), signal.SIGINT)

    before = signal.getsignal(signal.SIGINT)
    cut = train(rows, small, tmp_path / "cut", press)
    assert (cut.step, cut.finished) == (10, False)
    assert signal.getsignal(signal.SIGINT) is before
    whole = train(rows, small, tmp_path / "whole")
    rest = train(rows, small, tmp_path / "cut", resume=True)
    assert rest.losses == whole.losses and same(weights(rest), weights(whole))


def test_more_ctrl_c_cannot_break_off_the_saving(
    rows: Samples, small: TrainConfig, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    def press(_: TrainProgress) -> None:
        for _ in range(4):
            os.kill(os.getpid(), signal.SIGINT)

    cut = train(rows, small, tmp_path / "a", press)
    assert not cut.finished and cut.step > 0
    assert capfd.readouterr().err.count("still parking and saving") == 1
    assert train(rows, small, tmp_path / "a", resume=True).finished


def test_training_runs_in_a_thread(rows: Samples, small: TrainConfig, tmp_path: Path) -> None:
    results: list[TrainResult] = []
    work = threading.Thread(
        target=lambda: results.append(train(rows, replace(small, steps=3), tmp_path / "a"))
    )
    work.start()
    work.join()
    assert results[0].finished


def test_a_killed_training_resumes_from_its_last_save(
    rows: Samples, small: TrainConfig, tmp_path: Path
) -> None:
    """Saved every 10 steps; what came after the save, half a metrics line too, is done again."""

    class Killed(Exception):
        pass

    def kill(progress: TrainProgress) -> None:
        if progress.step == 15:
            raise Killed

    whole = train(rows, small, tmp_path / "whole")
    with pytest.raises(Killed):
        train(rows, small, tmp_path / "cut", kill)
    with (tmp_path / "cut/metrics.jsonl").open("a") as file:
        file.write('{"step": 16, "lo')
    rest = train(rows, small, tmp_path / "cut", resume=True)
    assert rest.losses == whole.losses and same(weights(rest), weights(whole))
    lines = [json.loads(text) for text in (tmp_path / "cut/metrics.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines if "loss" in line] == list(range(5, 41, 5))


def test_a_finished_training_resumes_to_itself(rows: Samples, small: TrainConfig, tmp_path: Path) -> None:
    config = replace(small, steps=6)
    done = train(rows, config, tmp_path / "a")
    again = train(rows, config, tmp_path / "a", resume=True)
    assert again.finished and again.losses == done.losses and same(weights(again), weights(done))


def test_a_training_is_never_overwritten(rows: Samples, small: TrainConfig, tmp_path: Path) -> None:
    train(rows, replace(small, steps=3), tmp_path / "a")
    with pytest.raises(UsageError, match="holds a training already; go on with it"):
        train(rows, replace(small, steps=3), tmp_path / "a")


def test_resume_names_what_has_changed(rows: Samples, small: TrainConfig, tmp_path: Path) -> None:
    train(rows, small, tmp_path / "a", stop=stop_after(3))
    with pytest.raises(CheckpointError, match=r"another config \(batch 32 -> 16, lr 0.001 -> 0.002\)"):
        train(rows, replace(small, batch=16, lr=2e-3), tmp_path / "a", resume=True)
    other = replace(rows, state=rows.state + 1)
    with pytest.raises(CheckpointError, match="begun on other data"):
        train(other, small, tmp_path / "a", resume=True)
    (tmp_path / "a/training.safetensors").write_bytes(b"garbage")
    with pytest.raises(CheckpointError, match="damaged or cut short"):
        train(rows, small, tmp_path / "a", resume=True)


def test_divergence_is_reported_and_not_saved(rows: Samples, small: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="diverged before step .* lower lr"):
        train(rows, replace(small, lr=1e30, warmup=0), tmp_path / "a")
    assert not (tmp_path / "a/model.safetensors").exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"method": "keypont"}, "unknown method 'keypont'; did you mean 'keypoint'"),
        ({"steps": 0}, "steps: 0 must be within 1..10000000"),
        ({"lr": float("nan")}, "lr: nan"),
        ({"ema": 1.0}, "ema: 1.0"),
        ({"method": "keypoint", "cameras": ("frnt",)}, "no camera 'frnt'; did you mean 'front'"),
        ({"device": "gpu"}, "unknown device 'gpu'"),
    ],
)
def test_bad_configs_are_named(
    rows: Samples, small: TrainConfig, tmp_path: Path, change: dict, message: str
) -> None:
    with pytest.raises(UsageError, match=message):
        train(rows, replace(small, **change), tmp_path / "a")
    assert not (tmp_path / "a").exists()


def test_cameras_without_pictures(rows: Samples, small: TrainConfig, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="needs pictures"):
        train(replace(rows, images={}), replace(small, method="keypoint"), tmp_path / "a")


def test_the_result_says_what_was_used(rows: Samples, small: TrainConfig, tmp_path: Path) -> None:
    config = replace(tiny("keypoint", small), steps=2)
    used = train(rows, config, tmp_path / "a").used
    assert used["aux_loss"] is True and used["cameras"] == {"front": [32, 32]}
    assert used["episodes"] == 11 and used["validation_episodes"] == 1
    blind = replace(rows, aux=None, aux_names=())
    assert train(blind, config, tmp_path / "b").used["aux_loss"] is False
    off = replace(config, keypoint=replace(config.keypoint, aux_weight=0.0))
    assert train(rows, off, tmp_path / "c").used["aux_loss"] is False


def test_without_validation(rows: Samples, small: TrainConfig, tmp_path: Path) -> None:
    result = train(rows, replace(small, steps=5, validation=0.0), tmp_path / "a")
    assert result.validations == () and result.used["validation_episodes"] == 0


def test_average_follows_and_steps_aside() -> None:
    net = torch.nn.Linear(1, 1, bias=False)
    with torch.no_grad():
        net.weight.fill_(0.0)
    average = Average(net, 0.9)
    with torch.no_grad():
        net.weight.fill_(1.0)
    for step in range(1000, 1010):  # late: the full decay
        average.update(step)
    assert average.values[0].item() == pytest.approx(1 - 0.9**10, abs=1e-6)
    with average.applied():
        assert net.weight.item() == pytest.approx(1 - 0.9**10, abs=1e-6) and not net.training
    assert net.weight.item() == 1.0 and net.training


def test_the_average_is_what_is_saved(rows: Samples, small: TrainConfig, tmp_path: Path) -> None:
    result = train(rows, replace(small, ema=0.99), tmp_path / "a")
    state = load_file(tmp_path / "a/training.safetensors")
    saved = weights(result)
    for name in (n.removeprefix("average.") for n in state if n.startswith("average.")):
        assert torch.equal(saved[name], state[f"average.{name}"])
        assert not torch.equal(saved[name], state[f"weight.{name}"])


def test_defaults_exist_for_every_method() -> None:
    for method in ("bc", "keypoint", "act"):
        assert default_config(method).method == method
    with pytest.raises(UsageError, match="unknown method 'cb'"):
        default_config("cb")


@pytest.mark.parametrize("method", ["bc", "keypoint", "act"])
def test_views_serve_the_auxiliary_loss_alone(
    method: str, rows: Samples, small: TrainConfig, tmp_path: Path
) -> None:
    """Trained with them and without, resumed or not: they change a camera policy and nothing else."""
    assert rows.aux is not None
    views = Views(rows.state[::7].copy(), {"front": rows.images["front"][::7].copy()}, rows.aux[::7].copy())
    more, config = replace(rows, views=views), replace(tiny(method, small), steps=8)
    plain, whole = train(rows, config, tmp_path / "plain"), train(more, config, tmp_path / "whole")
    assert whole.used["views"] == (0 if method == "bc" else len(views.state))
    assert same(weights(plain), weights(whole)) == (method == "bc")
    train(more, config, tmp_path / "parts", stop=stop_after(3))
    assert same(weights(train(more, config, tmp_path / "parts", resume=True)), weights(whole))
