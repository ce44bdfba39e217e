"""Checkpoints: whole round trip, and one clear line for everything that can be wrong with one."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from twinloop.policies.checkpoint import check_fits, check_rig, load_policy, read_config, save_policy
from twinloop.policies.samples import Samples
from twinloop.policies.train import TrainConfig, train
from twinloop.robot.errors import CheckpointError
from twinloop.robot.rig import load_rig


def edit(folder: Path, **fields: Any) -> None:
    """Change fields of config.json; None removes one."""
    file = folder / "config.json"
    content = json.loads(file.read_text())
    content.update(fields)
    file.write_text(json.dumps({k: v for k, v in content.items() if v is not None}))


def edit_weights(folder: Path, change: Callable[[dict[str, torch.Tensor]], object]) -> None:
    tensors = load_file(folder / "model.safetensors")
    change(tensors)
    save_file(tensors, folder / "model.safetensors")


def refused(action: Callable[[], object], message: str) -> None:
    """`action` raises a CheckpointError of one line that matches `message`."""
    with pytest.raises(CheckpointError) as caught:
        action()
    text = str(caught.value)
    assert "\n" not in text
    assert re.search(message, text), text


def test_round_trip(checkpoint: Path, so101_rows: Samples, tmp_path: Path) -> None:
    policy = load_policy(checkpoint, "cpu")
    config = policy.config
    rig = load_rig("so101")
    assert config.method == "bc" and config.chunk == 8 and config.fps == rig.control_hz
    assert config.action_names == rig.state_names()
    assert config.relative == rig.state_names()[:-1]  # joints yes, gripper no
    assert config.rig_hash == rig.hash()
    assert config.training["dataset"] == so101_rows.fingerprint()
    assert {"seed", "steps", "twinloop", "torch", "written", "rows"} <= config.training.keys()
    save_policy(policy, tmp_path / "again")
    again = load_policy(tmp_path / "again", "cpu")
    assert again.digest == policy.digest
    state = torch.from_numpy(so101_rows.state[:5])
    assert torch.equal(policy.predict(state, {}), again.predict(state, {}))


def test_camera_policy_round_trip(camera_checkpoint: Path, so101_rows: Samples) -> None:
    policy = load_policy(camera_checkpoint, "cpu")
    assert policy.config.cameras == {"front": (24, 32), "wrist": (24, 32)}
    assert policy.config.recorded == {"front": (480, 640), "wrist": (480, 640)}
    images = {name: torch.from_numpy(pictures[:3]) for name, pictures in so101_rows.images.items()}
    chunk = policy.predict(torch.from_numpy(so101_rows.state[:3]), images)
    assert chunk.shape == (3, 8, 6) and torch.isfinite(chunk).all()


def test_no_pickle_is_written_or_read(checkpoint: Path) -> None:
    assert {p.name for p in checkpoint.iterdir()} == {
        "config.json",
        "metrics.jsonl",
        "model.safetensors",
        "training.safetensors",
    }


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"format": 2}, "format 2 is from a newer Twinloop, this one reads up to 1; upgrade twinloop"),
        ({"format": None}, "not a Twinloop policy"),
        ({"method": "atc"}, "unknown method 'atc'; did you mean 'act'"),
        ({"settings": {"hiden": [3]}}, "settings of 'bc': unknown 'hiden'; did you mean 'hidden'"),
        ({"settings": {"hidden": "big"}}, "sizes do not make a network"),
        ({"fps": None}, "field 'fps' is missing"),
        ({"settings": {"hidden": [60_000, 60_000]}}, r"'net\.0\.\w+' has shape .* use the files"),
        ({"settings": {"hidden": [10**12]}}, "settings.hidden is 1000000000000, 65536 is the most"),
        ({"settings": {"hidden": [8] * 10_000}}, "settings.hidden has 10000 values, 256 are the most"),
        ({"settings": {"hidden": [-3]}}, "sizes do not make a network"),
        ({"settings": []}, "a field has the wrong type"),
        (
            {"method": "act", "settings": {"encoder_layers": 10_000}},
            "encoder_layers is 10000, 256 is the most",
        ),
        ({"fps": "fast"}, "a field has the wrong type"),
        ({"fps": float("nan")}, "fps nan and chunk 8 must be above 0"),
        ({"chunk": float("inf")}, "a field has the wrong type or value"),
        ({"chunk": 0}, "chunk 0 must be above 0"),
        ({"chunk": 10**9}, "and 1000 at most"),
        ({"cameras": {"wrist": [48]}}, "a field has the wrong type"),
        ({"cameras": {"wrist": [0, 64]}}, r"camera 'wrist' of \[0, 64\] px"),
        ({"cameras": {"wrist": 7}}, "a field has the wrong type"),
        ({"action_names": ["a", "a"]}, "action_names must not be empty, nor name anything twice"),
        ({"state_names": "all"}, "not a list of names"),
        ({"relative": ["wrist"]}, "relative: 'wrist' is not both a state and an action"),
        ({"settings": {"hidden": [32, 48]}}, r"'net\.2\.\w+' has shape .* use the files of one training"),
        ({"settings": {"hidden": [32]}}, r"weights are not those .* unknown net\.4\."),
    ],
)
def test_bad_configs(checkpoint: Path, fields: dict[str, Any], message: str) -> None:
    edit(checkpoint, **fields)
    refused(lambda: load_policy(checkpoint), message)


def test_other_normalisation(checkpoint: Path) -> None:
    """Statistics of another training: other names, other shapes, none, not finite, not positive."""
    edit_weights(checkpoint, lambda t: t.update({"normaliser.state_scale": t.pop("normaliser.state_std")}))
    refused(
        lambda: load_policy(checkpoint),
        r"normalisation statistics are not those of config.json: lacks normaliser.state_std and has unknown "
        r"normaliser.state_scale",
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: t.update({"normaliser.state_mean": torch.zeros(7)}), r"state_mean' has shape \(7,\)"),
        (lambda t: t["normaliser.action_std"].zero_(), "action_std' must be above 0"),
        (lambda t: t["net.0.weight"].fill_(float("nan")), "'net.0.weight' is not finite"),
        (lambda t: t["net.0.weight"].add_(1), r"not the weights that config.json describes \(SHA-256"),
    ],
)
def test_bad_weights(
    checkpoint: Path, change: Callable[[dict[str, torch.Tensor]], object], message: str
) -> None:
    edit_weights(checkpoint, change)
    refused(lambda: load_policy(checkpoint), message)


@pytest.mark.parametrize("keep", [0, 7, 300, -1])
def test_truncated_weights(checkpoint: Path, keep: int) -> None:
    file = checkpoint / "model.safetensors"
    file.write_bytes(file.read_bytes()[:keep])
    refused(lambda: load_policy(checkpoint), "model.safetensors: damaged or cut short .*copy it again")


def test_missing_files(checkpoint: Path, tmp_path: Path) -> None:
    refused(lambda: load_policy(tmp_path / "nowhere"), "no checkpoint here")
    (checkpoint / "model.safetensors").unlink()
    refused(lambda: load_policy(checkpoint), "model.safetensors: missing")
    (checkpoint / "config.json").write_text("{")
    refused(lambda: load_policy(checkpoint), "not readable as JSON")
    (checkpoint / "config.json").unlink()
    refused(lambda: load_policy(checkpoint), "no checkpoint here .* its training can be resumed")


def test_checkpoint_of_another_rig_joints_cameras(camera_checkpoint: Path) -> None:
    config = read_config(camera_checkpoint)
    rig = load_rig("so101")
    check_rig(config, rig)
    joints, sizes = rig.state_names(), {"front": (480, 640), "wrist": (480, 640)}

    def fits(**change: Any) -> Callable[[], None]:
        given: dict[str, Any] = {"joints": joints, "cameras": sizes, "rig": rig.name, "rig_hash": rig.hash()}
        return lambda: check_fits(config, **{**given, **change})

    refused(
        fits(rig="koch"), "trained on rig 'so101', this is 'koch'; use its own rig, or train for this one"
    )
    refused(fits(rig_hash="aaaaaaaaaaaa"), "rig 'so101' has changed since .* now aaaaaaaaaaaa")
    fits(rig_hash="aaaaaaaaaaaa", allow_changed_rig=True)()
    refused(
        fits(joints=("yaw.pos", *joints[1:])),
        "commands joints shoulder_pan.pos that the rig lacks, the rig has yaw.pos that it does not know",
    )
    refused(fits(joints=joints[::-1]), "in the order shoulder_pan.pos, .* the rig's order is gripper.pos")
    refused(fits(cameras={"front": (480, 640)}), "needs camera 'wrist', the rig has: front")
    refused(fits(cameras={}), "needs camera 'front', the rig has: none; needs camera 'wrist'")
    refused(
        fits(cameras={**sizes, "front": (480, 480)}),
        "camera 'front' was 640x480 px, the rig's 480x480 has another shape",
    )
    fits(cameras={name: (240, 320) for name in sizes})()  # smaller frames of the same shape are resized
    # All at once, in one line.
    refused(fits(rig="koch", cameras={}), "rig 'so101'.*camera 'front'.*camera 'wrist'")


def test_what_only_a_simulation_knows(so101_rows: Samples, small: TrainConfig, tmp_path: Path) -> None:
    assert so101_rows.aux is not None
    import numpy as np

    rows = replace(
        so101_rows,
        state=np.concatenate([so101_rows.state, so101_rows.aux], 1),
        state_names=(*so101_rows.state_names, *so101_rows.aux_names),
    )
    train(rows, replace(small, steps=2), tmp_path / "a")
    config, rig = read_config(tmp_path / "a"), load_rig("so101")
    check_rig(config, rig, extra=so101_rows.aux_names)
    refused(
        lambda: check_rig(config, rig), "needs the state cube.x, cube.y, cube.z, which only a simulation can"
    )


def test_unknown_device(checkpoint: Path) -> None:
    from twinloop.robot.errors import UsageError

    with pytest.raises(UsageError, match="unknown device 'gpu'"):
        load_policy(checkpoint, "gpu")
