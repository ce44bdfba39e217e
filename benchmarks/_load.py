"""What keeps a machine busy beside a control loop: a policy that infers and one that trains (torch), a Python loop.

Needs nothing but torch, so that a peer's environment runs the very same load. As a program it is the same load in a
process of its own, until its standard input closes: `python _load.py DEVICE infer train`.
"""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

WIDTH, LAYERS, HEADS = 512, 4, 8  # as ACT's encoder: 12.6 M parameters
SIZES = {"cuda": (300, 64), "cpu": (64, 2)}  # tokens, samples of a training batch
LOADS = {  # name -> threads in the agent's process, threads in another one
    "nothing": ((), ()),
    "a Python thread": (("python",), ()),
    "torch in the agent's process": (("infer", "train"), ()),
    "torch there and in another": (("infer", "train"), ("infer", "train")),
}


def pick_device() -> str:
    """ "cuda" where there is one."""
    import torch

    return "cuda" if torch.cuda.is_available() else "cpu"


def describe(device: str) -> str:
    """The device in words."""
    import torch

    return torch.cuda.get_device_name() if device == "cuda" else "CPU"


@contextmanager
def busy(kinds: Sequence[str], device: str) -> Iterator[Counter[str]]:
    """A thread of this process for each of `kinds`: "infer", "train", "python"; yields rounds done by each so far.

    They have warmed up when this returns.
    """
    ended, done = threading.Event(), Counter[str]()
    warm = [threading.Event() for _ in kinds]
    threads = [
        threading.Thread(target=_work, args=(kind, device, ended, begun, done), daemon=True)
        for kind, begun in zip(kinds, warm, strict=True)
    ]
    for thread in threads:
        thread.start()
    try:
        for thread, begun in zip(threads, warm, strict=True):
            while not begun.wait(0.1):
                if not thread.is_alive():
                    raise RuntimeError("the load broke down; its message is above")
        yield done
    finally:
        ended.set()
        for thread in threads:
            thread.join()


@contextmanager
def beside(kinds: Sequence[str], device: str) -> Iterator[None]:
    """The same in a process of its own; nothing for no kinds."""
    if not kinds:
        yield
        return
    command = [sys.executable, __file__, device, *kinds]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None and process.stdout is not None
        try:
            if not process.stdout.readline():
                raise RuntimeError("the load beside broke down; its message is above")
            yield
        finally:
            process.stdin.close()


def _work(kind: str, device: str, ended: threading.Event, begun: threading.Event, done: Counter[str]) -> None:
    step = _python if kind == "python" else _torch_step(kind, device)
    for _ in range(2):
        step()
    begun.set()
    while not ended.is_set():
        step()
        done[kind] += 1


def _python() -> None:
    sum(k * k for k in range(20_000))


def _torch_step(kind: str, device: str):
    import torch
    from torch import nn

    tokens, batch = SIZES[device]
    layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, dropout=0.0, batch_first=True)
    net = nn.TransformerEncoder(layer, LAYERS, enable_nested_tensor=False).to(device)
    x = torch.randn(batch if kind == "train" else 1, tokens, WIDTH, device=device)
    adam = torch.optim.AdamW(net.parameters(), 1e-5)

    def train() -> None:
        adam.zero_grad()
        loss = (net(x) - x).square().mean()
        loss.backward()
        adam.step()
        loss.item()  # waits for the device, as a logged loss does

    @torch.inference_mode()
    def infer() -> None:
        net(x).cpu()

    return train if kind == "train" else infer


if __name__ == "__main__":
    with busy(sys.argv[2:], sys.argv[1]):
        print("busy", flush=True)
        sys.stdin.read()
