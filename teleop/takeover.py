"""`Takeover`: a policy and a person share an arm; whoever is given it goes on from where the other left it.

States: "autonomous" (the policy acts), "paused" (the arm stands), "correcting" (the person acts). A chunk of the
person carries the source "person", so that every row of a recording tells who acted: the same data serve DAgger
and the interventions of reinforcement learning.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol, runtime_checkable

import numpy as np

from ..robot.errors import UsageError, nearest
from ..robot.interfaces import Agent
from ..robot.rig import Rig
from ..robot.types import F64, ActionChunk, Observation

STATES = ("autonomous", "paused", "correcting")
VALID_NS = 100_000_000
CALM = 1.0 - 1e-9  # of the velocity limit: rounding must not exceed it


@runtime_checkable
class Continuing(Protocol):
    """An agent that can go on from commands that somebody else gave."""

    def begin(self, q: Mapping[str, F64], width_m: Mapping[str, float]) -> None:
        """`q`: arm -> (n,) rad, `width_m`: gripper -> m, as commanded last."""
        ...


class Takeover:
    """Implements `Agent` with `policy` and `person` behind it; begins in `state`.

    Whatever the two ask for, consecutive rows of its commands differ by no more than the velocity limits of `rig`
    allow between their times: at a change of hands the new one is approached, not jumped to. `intended` is what the
    active one asked for, before that.
    """

    def __init__(self, policy: Agent, person: Agent, rig: Rig, state: str = "autonomous") -> None:
        if state not in STATES:
            raise UsageError(f"takeover: unknown state '{state}'{nearest(state, STATES)}")
        self._agents: dict[str, Agent] = {"autonomous": policy, "correcting": person}
        self._first = state
        self._period_ns = round(1e9 / rig.control_hz)
        self._arm_speed = {name: rig.joint_spec(name).dq_max * CALM for name in rig.arms}
        self._grip_speed = {name: grip.speed_m_s * CALM for name, grip in rig.grippers.items()}
        self.state = state  # what is asked for; from any thread
        self._acting = ""  # what the last chunk came from
        self._sent: ActionChunk | None = None
        self._last: dict[str, F64] = {}  # arm or gripper -> what it was told last
        self._seed = 0
        self.intended: ActionChunk | None = None
        self.changes: list[tuple[int, str]] = []  # time ns, state from then on

    def reset(self, seed: int) -> None:
        """Begin anew in the first state; both agents are reset."""
        self.state, self._acting, self._sent, self._seed = self._first, "", None, seed
        self.intended, self.changes, self._last = None, [], {}
        for agent in self._agents.values():
            agent.reset(seed)

    def pause(self) -> None:
        """The arm stands until somebody is given it."""
        self.state = "paused"

    def correct(self) -> None:
        """The person acts from now on."""
        self.state = "correcting"

    def resume(self) -> None:
        """The policy acts from now on."""
        self.state = "autonomous"

    def act(self, obs: Observation) -> ActionChunk:
        state = self.state
        if state != self._acting:
            self._hand_over(obs, state)
        agent = self._agents.get(state)
        asked = self._standing(obs) if agent is None else agent.act(obs)
        if state == "correcting" and asked.source != "person":
            asked = replace(asked, source="person")
        self.intended = asked
        self._sent = self._within_limits(asked, obs)
        return self._sent

    def _hand_over(self, obs: Observation, state: str) -> None:
        before, self._acting = self._acting, state
        self.changes.append((obs.t_ns, state))
        agent = self._agents.get(state)
        if agent is None or not before:
            return
        if isinstance(agent, Continuing):
            agent.begin(*self._now(obs, obs.t_ns + self._period_ns))
        else:
            agent.reset(self._seed)  # chunks that it thought of before the person came are of another world

    def _now(self, obs: Observation, t_ns: int) -> tuple[dict[str, F64], dict[str, float]]:
        """What is commanded for `t_ns`; measured, where nobody has commanded yet."""
        q = {name: self._last.get(name, state.q) for name, state in obs.arms.items()}
        width_m = {n: float(self._last.get(n, np.array(s.width_m))) for n, s in obs.grippers.items()}
        if self._sent is not None:
            sent_q, sent_width_m = self._sent.at(t_ns)
            q, width_m = q | sent_q, width_m | sent_width_m
        return q, width_m

    def _standing(self, obs: Observation) -> ActionChunk:
        due = obs.t_ns + self._period_ns
        q, width_m = self._now(obs, obs.t_ns)
        rows = {name: row[None] for name, row in q.items()}
        widths = {name: np.array([width]) for name, width in width_m.items()}
        return ActionChunk(due, self._period_ns, rows, widths, due + VALID_NS, "paused")

    def _within_limits(self, asked: ActionChunk, obs: Observation) -> ActionChunk:
        """`asked`, no row farther from the one before than the velocity limits allow."""
        if self._sent is None:
            return self._remember(asked)  # the guard knows where the arm stands
        dt_s = asked.dt_ns * 1e-9
        q, width_m = self._now(obs, asked.t0_ns - asked.dt_ns)
        rows = {arm: _limited(q[arm], given, self._arm_speed[arm] * dt_s) for arm, given in asked.q.items()}
        widths = {
            grip: _limited(np.array(width_m[grip]), given, np.array(self._grip_speed[grip] * dt_s))
            for grip, given in asked.width_m.items()
        }
        return self._remember(replace(asked, q=rows, width_m=widths))

    def _remember(self, sent: ActionChunk) -> ActionChunk:
        """An arm that a later chunk leaves out stays where it was told to be."""
        for name, rows in (*sent.q.items(), *sent.width_m.items()):
            self._last[name] = np.asarray(rows[-1])
        return sent


def _limited(before: F64, rows: F64, most: F64) -> F64:
    """`rows` (H, ...), each within `most` of the one before it; the first of `before`."""
    out = np.array(rows, np.float64)
    for k in range(len(out)):
        out[k] = before + np.clip(out[k] - before, -most, most)
        before = out[k]
    return out
