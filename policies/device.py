"""Where to compute and in which precision."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Literal

import torch

from ..robot.errors import UsageError

Amp = Literal["auto", "bf16", "off"]


def pick_device(name: str) -> torch.device:
    """ "auto" = the first CUDA device, else the CPU; or any name that torch knows."""
    if name == "auto":
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise UsageError(f"unknown device '{name}'; valid: auto, cpu, cuda, cuda:0, ...") from None
    if device.type == "cuda" and not torch.cuda.is_available():
        raise UsageError(f"device '{name}': this torch sees no CUDA device; use device='auto' or 'cpu'")
    return device


def uses_bf16(amp: Amp, device: torch.device) -> bool:
    """Whether to compute in bfloat16; "auto" = where the hardware multiplies it faster than float32.

    On a CPU that is one with AVX512-BF16 or AMX: there the convolutions of the camera policy train two to
    three times as fast; without, emulated bfloat16 is slower than float32.
    """
    if amp != "auto":
        return amp == "bf16"
    if device.type == "cuda":
        return torch.cuda.is_bf16_supported(including_emulation=False)
    found = torch.backends.cpu.get_cpu_capability() == "AVX512"
    return found and torch.cpu._is_avx512_bf16_supported()  # pyright: ignore[reportAttributeAccessIssue]


def autocast(device: torch.device, bf16: bool) -> AbstractContextManager[object]:
    """The context in which the forward pass runs."""
    return torch.autocast(device.type, dtype=torch.bfloat16, enabled=bf16)


@contextmanager
def cpu_threads(count: int | None) -> Iterator[None]:
    """Inside, torch computes with `count` threads on the CPU; None = as it does anyhow."""
    before = torch.get_num_threads()
    if count is None or count == before:
        yield
        return
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)
