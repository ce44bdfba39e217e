"""Which of several cameras is which: the one whose lens is covered, or by a picture of each."""

from __future__ import annotations

import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path

import cv2
import numpy as np

from ...robot.cameras.source import Source
from ...robot.errors import DeviceError
from ...robot.interfaces import Clock
from ..progress import say
from .identify import LONGEST_S

SETTLE = 5  # pictures until the exposure stands
COVERED = 0.4  # share of its brightness before
TWICE = 2  # pictures in a row
LIT = 10.0  # mean of 0..255 that there must be before

OpenCamera = Callable[[str], Source]  # by its device or serial, opened; raises `DeviceError`


def covered(
    what: str, names: list[str], open_camera: OpenCamera, clock: Clock, longest_s: float = LONGEST_S
) -> str | None:
    """Ask for the lens of `what` to be covered; the camera in `names` whose picture went dark.

    None: none did, or several.
    """
    sources = _opened(names, open_camera)
    try:
        before = {}
        for name, source in list(sources.items()):
            light = _light(source, SETTLE)
            if light is None or light < LIT:
                say(f"left out: {name}: {'no picture' if light is None else 'dark already'}")
                sources.pop(name).close()
                continue
            before[name] = light
        if not sources:
            say("no camera to watch")
            return None
        say(f"cover the lens of {what} with your hand now; {longest_s:.0f} s")
        dark = dict.fromkeys(sources, 0)
        end = clock.now() + round(longest_s * 1e9)
        while clock.now() < end:
            for name, source in sources.items():
                light = _light(source, 1)
                dark[name] = dark[name] + 1 if light is not None and light < COVERED * before[name] else 0
            done = [name for name, count in dark.items() if count >= TWICE]
            if len(done) > 1:
                say(f"{' and '.join(done)} went dark together; cover one lens alone")
                return None
            if done:
                say(f"{done[0]} went dark: that is {what}")
                return done[0]
        say("no picture went dark")
        return None
    finally:
        for source in sources.values():
            source.close()


def pictures(names: Mapping[str, str], open_camera: OpenCamera) -> dict[str, Path]:
    """A PNG of what each camera sees, in a folder of its own; `names`: number -> device. Prints their paths."""
    folder = Path(tempfile.mkdtemp(prefix="twinloop-cameras-"))
    made: dict[str, Path] = {}
    for number, name in names.items():
        for source in _opened([name], open_camera).values():
            try:
                frame = source.next()
                for _ in range(SETTLE):
                    frame = source.next()
                made[number] = folder / f"{number}.png"
                cv2.imwrite(str(made[number]), cv2.cvtColor(frame.rgb, cv2.COLOR_RGB2BGR))
                say(f"  {number}  {made[number]}")
            except DeviceError as error:
                say(f"  {number}  no picture: {error}")
            finally:
                source.close()
    return made


def _opened(names: list[str], open_camera: OpenCamera) -> dict[str, Source]:
    """Those that can be opened; says why the others cannot."""
    sources: dict[str, Source] = {}
    for name in names:
        try:
            sources[name] = open_camera(name)
        except DeviceError as error:
            say(f"left out: {name}: {error}")
    return sources


def _light(source: Source, count: int) -> float | None:
    """Brightness of the last of `count` pictures, 0..255; None when none comes."""
    try:
        return [float(np.mean(source.next().rgb)) for _ in range(count)][-1]
    except DeviceError:
        return None
