"""What a session has saved so far, and what became of its last episode."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from .desk import Desk
from .takes import Takes
from .tally import Tally

TOLD = {True: "success", False: "failure", None: "nobody knows whether it succeeded"}


class Harvest:
    """Counts the episodes of one session in `tally`, and says at `desk` what happens to each."""

    def __init__(self, takes: Takes, tally: Tally, desk: Desk) -> None:
        self._takes = takes
        self._tally = tally
        self._desk = desk
        self._indices: list[int] = []
        self.trouble = ""  # what went wrong with the last episode

    @property
    def saved(self) -> int:
        """Episodes of this session that are in the dataset."""
        return len(self._indices)

    def bring_in(
        self, success: bool | None, objects_m: Mapping[str, Sequence[float]], behind: Sequence[str]
    ) -> bool:
        """The episode that ended, once it is saved; `behind`: what could not keep up in it. Whether it was saved."""
        kept = self._takes.finish()
        if kept.index is not None:
            self._indices.append(kept.index)
            self._tally.add(success, objects_m)
            self._desk.say(f"episode {kept.index}: {kept.rows} rows, {TOLD[success]}")
        self.trouble = kept.trouble
        if kept.trouble:
            self._desk.alarm(f"recording: {kept.trouble}", spoken="not recorded")
        for what in behind:
            self._desk.say(f"episode {kept.index}: marked, {what}")
        return kept.index is not None

    def discard(self) -> bool:
        """Throw the last saved one away. Whether that was done."""
        kept = self._takes.retract()
        if kept.index is None:
            self._desk.say(f"discard: {kept.trouble}")
            return False
        index = self._indices.pop()
        self._tally.remove_last()
        self._desk.say(f"episode {index}: thrown away")
        self._desk.voice.say("thrown away")
        return True
