"""An emulated SO-101, its guard, and agents in processes of their own."""

import subprocess
import sys
from pathlib import Path

import pytest
from flight import RIG, Watcher, opened, until
from twinloop.sim.emulate.process import EmulatorProcess


@pytest.fixture(scope="module")
def emulator():
    with EmulatorProcess(RIG) as made:
        yield made


@pytest.fixture
def guard(emulator):
    made = opened(RIG, emulator.paths)
    yield made
    if made.is_open:
        made.close(unparked=True)


@pytest.fixture
def agent(emulator):
    """Starts an agent in a process of its own, on its way; and somebody who watches."""
    begun = []

    def start(*args):
        script = Path(__file__).with_name("emulated.py")
        command = [sys.executable, str(script), emulator.paths["arm"], *map(str, args)]
        process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert process.stdout is not None
        watcher = Watcher(Path(process.stdout.readline().strip()))
        begun.append((process, watcher))
        assert process.stdout.readline() == "moving\n"
        return process, watcher

    yield start
    for process, watcher in begun:
        process.kill()
        process.wait()
        until(lambda watcher=watcher: any(not s.is_open for s in watcher.look()))
