"""What a session tells the person: its message, and how it stands, on line and page."""

from __future__ import annotations

from collections.abc import Sequence

from .cell import Cell
from .desk import Desk
from .hands import Hands
from .line import Standing
from .plan import Plan
from .rates import Rates
from .tally import Tally


class Showing:
    """Shows how the session stands at `desk`, with the message told last."""

    def __init__(
        self, plan: Plan, cell: Cell, desk: Desk, rates: Rates, tally: Tally, controls: Sequence[str]
    ) -> None:
        self._cell = cell
        self._desk = desk
        self._rates = rates
        self._tally = tally
        self._fixed = {
            "rig": cell.rig.name,
            "task": plan.text,
            "device": desk.hand.name,
            "controls": list(controls),
        }
        self._slowed = 0.0
        self.message = ""
        self.done: bool | None = None  # the task's own test; None: nobody can tell

    def tell(self, message: str, spoken: str = "") -> None:
        """The message from now on; `spoken` aloud."""
        self.message = message
        if spoken:
            self._desk.voice.say(spoken)

    def show(self, state: str, hands: Hands, *, acting: bool, elapsed_s: float | None) -> None:
        """`acting`: the loop runs; `elapsed_s` of the running episode."""
        guard = self._cell.guard if acting or state != "reset" else None
        if acting:
            self._slowed = 0.7 * self._slowed + 0.3 * self._cell.slowed
        standing = Standing(
            state=state,
            mode="" if guard is None else guard.mode,
            reason="" if guard is None else guard.reason,
            rate_hz=self._rates.hz,
            late=self._rates.late,
            clamped=self._desk.clamped if acting else "",
            last_clamp=self._desk.clamp,
            episode=self._tally.episodes,
            elapsed_s=elapsed_s,
            saved=self._tally.episodes,
            successes=self._tally.successes,
            slowed=self._slowed,
            done=self.done,
            paused=hands.paused,
            hands=hands.whose,
            message=self._desk.hand.trouble or self.message,
        )
        self._desk.show(standing, self._fixed)
