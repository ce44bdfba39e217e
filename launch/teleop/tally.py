"""What a dataset holds so far, in numbers and as a picture: how many, how good, from where they began."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from ...data.meta import load_meta
from ...robot.rig import Rig
from ...robot.types import U8

SIDE_PX = 480
REACH_M = 0.45  # half of the picture's side
COLOURS = ((40, 70, 200), (200, 110, 30), (60, 150, 60), (150, 60, 150))  # RGB, a body each
GREY = (205, 205, 205)
NUMBER = 28  # px from one name to the next
FONT = 0  # Hershey, as OpenCV counts them


class Tally:
    """Counts episodes and successes; remembers where objects stood when episodes began, m in W."""

    def __init__(self) -> None:
        self._known: list[tuple[bool | None, Mapping[str, Sequence[float]]]] = []
        self._watchers: list[Callable[[], None]] = []

    @classmethod
    def of(cls, root: Path) -> Tally:
        """Of the dataset at `root`; empty where there is none. Raises `DatasetError` for a damaged one."""
        made = cls()
        if (root / "meta" / "info.json").exists():
            meta = load_meta(root)
            for entry in meta.entries:
                info = meta.notes.get(entry.index, {}).get("info", {})
                made.add(info.get("success"), info.get("objects_m", {}))
        return made

    @property
    def episodes(self) -> int:
        return len(self._known)

    @property
    def successes(self) -> int:
        return sum(bool(success) for success, _ in self._known)

    @property
    def starts(self) -> list[Mapping[str, Sequence[float]]]:
        """Where each episode's objects stood, of those of which it is known."""
        return [objects for _, objects in self._known if objects]

    def watch(self, watcher: Callable[[], None]) -> None:
        """Call `watcher` now, and whenever an episode came or went."""
        self._watchers.append(watcher)
        watcher()

    def add(self, success: bool | None, objects_m: Mapping[str, Sequence[float]]) -> None:
        """An episode; `success` None: nobody knows."""
        self._known.append((success, objects_m))
        self._changed()

    def remove_last(self) -> None:
        self._known.pop()
        self._changed()

    def line(self) -> str:
        """In words."""
        share = f" ({100 * self.successes / self.episodes:.0f} %)" if self.episodes else ""
        return f"{self.episodes} episodes, {self.successes} succeeded{share}"

    def picture(self, rig: Rig) -> U8:
        """Seen from above, (SIDE_PX, SIDE_PX, 3): a dot for each start of each object, the arms' bases as squares.

        The first arm stands in the middle; x of W is up, y to the left.
        """
        import cv2

        image = np.full((SIDE_PX, SIDE_PX, 3), 255, np.uint8)
        bases = [np.array(arm.base.xyz_m[:2]) for arm in rig.arms.values()]
        scale = SIDE_PX / 2 / REACH_M

        def at(xy: ArrayLike) -> tuple[int, int]:
            x, y = np.asarray(xy, np.float64)[:2] - bases[0]
            return round(SIDE_PX / 2 - y * scale), round(SIDE_PX / 2 - x * scale)

        for ring_m in (0.1, 0.2, 0.3, 0.4):
            cv2.circle(image, at(bases[0]), round(ring_m * scale), GREY, 1, cv2.LINE_AA)
            x, y = at(bases[0])
            place = (x + 4, y - round(ring_m * scale) - 4)
            cv2.putText(image, f"{ring_m} m", place, FONT, 0.5, GREY, 1, cv2.LINE_AA)
        for base in bases:
            x, y = at(base)
            cv2.rectangle(image, (x - 6, y - 6), (x + 6, y + 6), (120, 120, 120), -1)
        starts = self.starts
        names = list(dict.fromkeys(name for start in starts for name in start))
        for k, name in enumerate(names):
            colour = COLOURS[k % len(COLOURS)]
            for start in starts:
                if name in start:
                    cv2.circle(image, at(start[name]), 6, colour, 2, cv2.LINE_AA)
            cv2.putText(image, name, (10, NUMBER * (k + 1)), FONT, 0.7, colour, 2, cv2.LINE_AA)
        return image

    def png(self, rig: Rig) -> bytes:
        """The picture as PNG."""
        import cv2

        _, data = cv2.imencode(".png", cv2.cvtColor(self.picture(rig), cv2.COLOR_RGB2BGR))
        return data.tobytes()

    def _changed(self) -> None:
        for watcher in self._watchers:
            watcher()
