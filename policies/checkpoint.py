"""Checkpoints: `model.safetensors` + `config.json`, and `training.safetensors` to resume from.

The first two are the policy: self-describing, loadable without the training code's state. The third holds
what only training needs (raw weights, optimiser, step). No pickle anywhere: loading a checkpoint from a
stranger runs none of his code. Every mistake is one `CheckpointError` line with the way out.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from ..data.disk import replace_durably, write_json
from ..robot.errors import CheckpointError
from ..robot.rig import Rig
from .device import pick_device
from .methods import build
from .policy import Policy, PolicyConfig

FORMAT = 1
WEIGHTS, CONFIG, STATE = "model.safetensors", "config.json", "training.safetensors"
LENGTH, SIZE = 256, 65_536  # most values of a list, largest size of a layer
ASPECT_TOLERANCE = 0.02  # relative; frames of another shape show the policy a squeezed world


def save_policy(policy: Policy, folder: Path) -> None:
    """Write the policy's weights and config into `folder`, each file whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_tensors(folder / WEIGHTS, dict(policy.state_dict()), {})
    digest = _sha256(folder / WEIGHTS)
    policy.digest = digest[:8]
    content = {"format": FORMAT, **asdict(policy.config), "weights_sha256": digest}
    write_json(folder / CONFIG, content)


def load_policy(path: str | Path, device: str = "auto") -> Policy:
    """The policy in the folder `path`, in evaluation mode on `device`."""
    folder = Path(path)
    config, digest = _read_config(folder)
    with torch.device("meta"):  # shapes alone: what the config asks for may not fit into the memory
        shapes = _build(folder, config).state_dict()
    tensors, _ = _read_tensors(folder / WEIGHTS)
    _check_tensors(folder / WEIGHTS, tensors, shapes)
    policy = _build(folder, config)
    if _sha256(folder / WEIGHTS) != digest:
        raise CheckpointError(
            f"{folder / WEIGHTS}: not the weights that {CONFIG} describes (SHA-256 differs); "
            f"copy both files together, or resume the training to write them again"
        )
    policy.load_state_dict(tensors)
    policy.digest = digest[:8]
    return policy.eval().requires_grad_(False).to(pick_device(device))


def read_config(path: str | Path) -> PolicyConfig:
    """The config of the checkpoint folder `path`, without its weights."""
    return _read_config(Path(path))[0]


def check_fits(
    config: PolicyConfig,
    *,
    joints: Sequence[str],
    cameras: Mapping[str, tuple[int, int]],
    rig: str,
    rig_hash: str = "",
    extra: Sequence[str] = (),
    allow_changed_rig: bool = False,
) -> None:
    """Raise one `CheckpointError` that names all that differs between the checkpoint and where it shall run.

    `joints`: the state's names in the rig's order (`Rig.state_names()`); `cameras`: (height, width) px of
    the frames delivered; `extra`: names of further state components that the caller can supply.
    """
    wrong: list[str] = []
    if config.rig != rig:
        wrong.append(f"trained on rig '{config.rig}', this is '{rig}'")
    elif config.rig_hash and rig_hash and config.rig_hash != rig_hash and not allow_changed_rig:
        wrong.append(
            f"rig '{rig}' has changed since (hash {config.rig_hash}, now {rig_hash}: arms, grippers, cameras "
            f"or control rate); --allow-changed-rig (in Python allow_changed_rig=True) if it does not matter"
        )
    if config.action_names != tuple(joints):
        wrong.append(_difference("commands joints", config.action_names, joints))
    have = (*joints, *extra)
    if config.state_names != have[: len(config.state_names)] or len(config.state_names) < len(joints):
        missing = [name for name in config.state_names if name not in have]
        if missing and config.action_names == tuple(joints):
            wrong.append(
                f"needs the state {', '.join(missing)}, which only a simulation can measure (train without --state)"
            )
        elif config.action_names == tuple(joints):
            wrong.append(_difference("reads the state", config.state_names, have))
    for camera, size in config.cameras.items():
        if camera not in cameras:
            found = ", ".join(sorted(cameras)) or "none"
            wrong.append(f"needs camera '{camera}', the rig has: {found}")
            continue
        (h, w), (rig_h, rig_w) = config.recorded.get(camera, size), cameras[camera]
        if abs(w / h - rig_w / rig_h) > ASPECT_TOLERANCE * w / h:
            wrong.append(f"camera '{camera}' was {w}x{h} px, the rig's {rig_w}x{rig_h} has another shape")
    if wrong:
        raise CheckpointError(
            f"the {config.method} policy does not fit: {'; '.join(wrong)}; "
            f"use its own rig, or train for this one"
        )


def check_rig(
    config: PolicyConfig, rig: Rig, extra: Sequence[str] = (), allow_changed_rig: bool = False
) -> None:
    """`check_fits` against a rig."""
    check_fits(
        config,
        joints=rig.state_names(),
        cameras={name: (camera.height, camera.width) for name, camera in rig.cameras.items()},
        rig=rig.name,
        rig_hash=rig.hash(),
        extra=extra,
        allow_changed_rig=allow_changed_rig,
    )


def save_state(folder: Path, tensors: Mapping[str, Tensor], notes: Mapping[str, Any]) -> None:
    """Write what a training needs to go on: tensors, and JSON-able notes in the file's header."""
    folder.mkdir(parents=True, exist_ok=True)
    _write_tensors(folder / STATE, tensors, {"twinloop": json.dumps({"format": FORMAT, **notes})})


def load_state(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """The tensors and notes of `save_state`."""
    tensors, header = _read_tensors(folder / STATE)
    try:
        notes = json.loads(header["twinloop"])
    except (KeyError, ValueError):
        raise CheckpointError(f"{folder / STATE}: no training state of Twinloop; train afresh") from None
    if notes.get("format") != FORMAT:
        raise CheckpointError(f"{folder / STATE}: format {notes.get('format')}, this Twinloop reads {FORMAT}")
    return tensors, notes


def plain_config(config: PolicyConfig, **training: Any) -> PolicyConfig:
    """`config` with more notes about its training."""
    return replace(config, training={**config.training, **training})


def _read_config(folder: Path) -> tuple[PolicyConfig, str]:
    file = folder / CONFIG
    if not file.is_file():
        begun = "; its training can be resumed" if (folder / STATE).is_file() else ""
        raise CheckpointError(f"{folder}: no checkpoint here ({CONFIG} is missing){begun}")
    try:
        raw = json.loads(file.read_text())
    except (ValueError, OSError) as error:
        raise CheckpointError(f"{file}: not readable as JSON ({error}); copy the checkpoint again") from None
    version = raw.get("format") if isinstance(raw, dict) else None
    if not isinstance(version, int):
        raise CheckpointError(f"{file}: not a Twinloop policy (no 'format')")
    if version > FORMAT:
        raise CheckpointError(
            f"{file}: format {version} is from a newer Twinloop, this one reads up to {FORMAT}; "
            f"upgrade twinloop"
        )
    try:
        config = PolicyConfig(
            method=str(raw["method"]),
            settings={str(k): _bounded(f"settings.{k}", v) for k, v in raw["settings"].items()},
            state_names=_names(raw["state_names"]),
            action_names=_names(raw["action_names"]),
            relative=_names(raw["relative"]),
            aux_names=_names(raw["aux_names"]),
            cameras=_sizes(raw["cameras"]),
            recorded=_sizes(raw["recorded"]),
            fps=float(raw["fps"]),
            chunk=int(raw["chunk"]),
            rig=str(raw["rig"]),
            rig_hash=str(raw["rig_hash"]),
            training=dict(raw["training"]),
        )
        digest = str(raw["weights_sha256"])
    except KeyError as error:
        raise CheckpointError(f"{file}: field {error} is missing; copy the checkpoint again") from None
    except (TypeError, ValueError, AttributeError, ArithmeticError) as error:
        raise CheckpointError(f"{file}: a field has the wrong type or value ({error})") from None
    if not (0 < config.fps <= 1000 and 0 < config.chunk <= 1000):
        raise CheckpointError(
            f"{file}: fps {config.fps:g} and chunk {config.chunk} must be above 0, and 1000 at most"
        )
    for field, names in (("state_names", config.state_names), ("action_names", config.action_names)):
        if not names or len(set(names)) < len(names):
            raise CheckpointError(f"{file}: {field} must not be empty, nor name anything twice")
    for name in config.relative:
        if name not in config.state_names or name not in config.action_names:
            raise CheckpointError(f"{file}: relative: '{name}' is not both a state and an action")
    return config, digest


def _build(folder: Path, config: PolicyConfig) -> Policy:
    try:
        return build(config)
    except CheckpointError as error:
        raise CheckpointError(f"{folder / CONFIG}: {error}") from None
    except (TypeError, ValueError, ArithmeticError, LookupError, RuntimeError) as error:
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise CheckpointError(f"{folder / CONFIG}: sizes do not make a network ({reason})") from None


def _bounded(name: str, value: Any) -> Any:
    """`value`, a JSON value in which every number is finite and no size beyond reason."""
    if isinstance(value, list) and len(value) > LENGTH:
        raise ValueError(f"{name} has {len(value)} values, {LENGTH} are the most")
    if isinstance(value, list):
        return [_bounded(name, each) for each in value]
    if isinstance(value, int | float) and not abs(value) <= SIZE:
        raise ValueError(f"{name} is {value}, {SIZE} is the most")
    if isinstance(value, int) and "layers" in name and value > LENGTH:
        raise ValueError(f"{name} is {value}, {LENGTH} is the most")
    return value


def _names(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise TypeError(f"{value!r} is not a list of names")
    return tuple(value)


def _sizes(value: Any) -> dict[str, tuple[int, int]]:
    sizes: dict[str, tuple[int, int]] = {}
    for name, size in value.items():
        height, width = size
        if not (isinstance(height, int) and isinstance(width, int) and 1 <= min(size) and max(size) <= 8192):
            raise ValueError(f"camera '{name}' of {size} px: height and width must be within 1..8192")
        sizes[str(name)] = height, width
    return sizes


def _check_tensors(file: Path, found: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> None:
    missing, odd = sorted(wanted.keys() - found.keys()), sorted(found.keys() - wanted.keys())
    if missing or odd:
        what = [f"lacks {', '.join(missing[:3])}"] if missing else []
        what += [f"has unknown {', '.join(odd[:3])}"] if odd else []
        statistics = any(name.startswith("normaliser.") for name in missing + odd)
        kind = "normalisation statistics" if statistics else "weights"
        raise CheckpointError(
            f"{file}: {kind} are not those of {CONFIG}: {' and '.join(what)}; use the files of one training"
        )
    for name, tensor in wanted.items():
        if found[name].shape != tensor.shape:
            raise CheckpointError(
                f"{file}: '{name}' has shape {tuple(found[name].shape)}, {CONFIG} makes it "
                f"{tuple(tensor.shape)}; use the files of one training"
            )
        if not torch.isfinite(found[name]).all():
            raise CheckpointError(f"{file}: '{name}' is not finite; train again with a lower lr")
        if name.startswith("normaliser.") and name.endswith("_std") and not (found[name] > 0).all():
            raise CheckpointError(f"{file}: '{name}' must be above 0; train again")


def _difference(what: str, trained: Sequence[str], here: Sequence[str]) -> str:
    missing = [name for name in trained if name not in here]
    more = [name for name in here if name not in trained]
    if not missing and not more:
        return f"{what} in the order {', '.join(trained)}, the rig's order is {', '.join(here)}"
    parts = [f"{what} {', '.join(missing)} that the rig lacks"] if missing else []
    parts += [f"the rig has {', '.join(more)} that it does not know"] if more else []
    return ", ".join(parts)


def _read_tensors(file: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not file.is_file():
        raise CheckpointError(f"{file}: missing; copy the checkpoint again")
    try:
        with safe_open(str(file), framework="pt") as reader:
            return {key: reader.get_tensor(key) for key in reader.keys()}, reader.metadata() or {}
    except (SafetensorError, OSError, ValueError) as error:
        raise CheckpointError(f"{file}: damaged or cut short ({error}); copy it again") from None


def _write_tensors(file: Path, tensors: Mapping[str, Tensor], header: Mapping[str, str]) -> None:
    content = save({k: v.detach().cpu().contiguous() for k, v in tensors.items()}, dict(header))
    replace_durably(file, lambda temporary: temporary.write_bytes(content))


def _sha256(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()
