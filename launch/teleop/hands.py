"""Who has the arm: the person at the device, a policy, or nobody while it is paused."""

from __future__ import annotations

from ...robot.interfaces import Agent
from ...robot.types import Applied, Observation
from ...teleop.cartesian import CartesianAgent
from ...teleop.hand import Hand
from ...teleop.joints import JointAgent, LedArm
from ...teleop.takeover import Takeover
from .cell import Cell
from .plan import Plan


class Hands:
    """Gives the arm of `cell` to `hand`, or to the plan's policy, and takes it back; scene after scene."""

    def __init__(self, plan: Plan, cell: Cell, hand: Hand) -> None:
        self._plan = plan
        self._cell = cell
        self._hand = hand
        if hand.mirrors:
            self._person = JointAgent(hand, cell.rig, plan.arm)
        else:
            self._person = CartesianAgent(hand, cell.rig, plan.arm, solver=plan.ik)
        self._led = LedArm(cell.rig, plan.arm)
        self._before = "correcting"  # who had the arm before the pause
        self.takeover: Takeover | None = None  # where there is a policy
        self.paused = False

    def begin(self) -> None:
        """A scene begins. A leader that records nothing waits until somebody takes it."""
        self.takeover = None
        if self._plan.policy is not None:
            policy = self._cell.policy(self._plan.policy)
            self.takeover = Takeover(policy, self._person, self._cell.rig, "correcting")
        self.paused = self._hand.mirrors and not self._plan.records
        self.listen()

    @property
    def agent(self) -> Agent:
        return self.takeover or self._person

    @property
    def whose(self) -> str:
        """A state of `takeover.STATES`, or "person" where there is no policy."""
        return "person" if self.takeover is None else self.takeover.state

    def forget(self, seed: int) -> None:
        """Nobody's old command is waiting."""
        self.agent.reset(seed)

    def ignore(self) -> None:
        """The device moves nothing, whatever the person does."""
        self._hand.muted = True

    def listen(self) -> None:
        """The device moves the arm, unless it is paused."""
        self._hand.muted = self.paused

    def pause(self, ignored: bool) -> None:
        """Begin or end a pause; `ignored`: the device moves nothing either way."""
        self.paused = not self.paused
        self._hand.muted = self.paused or ignored
        if self.takeover is not None and self.paused:
            self._before = self.takeover.state
            self.takeover.pause()
        elif self.takeover is not None:
            self.takeover.state = self._before

    def change(self) -> str:
        """From the policy to the person, or back; whose the arm is now. Only where there is a policy."""
        assert self.takeover is not None
        self.paused = self._hand.muted = False
        if self.takeover.state == "correcting":
            self.takeover.resume()
            return "the policy's"
        self.takeover.correct()
        return "yours"

    def mirror(self, obs: Observation, applied: Applied, acting: bool) -> None:
        """Drive a leader along, or let go of it where the person has the arm, or is about to: `acting`, an episode runs
        or is counted down to."""
        given = self.takeover is None or self.takeover.state == "correcting"
        led = given and (acting or not self._plan.records)
        self._hand.mirror(*self._led.told(obs, applied), led=led)

    def stand(self) -> None:
        """Nobody moves the arm now."""
        self._hand.stand()
