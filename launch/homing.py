"""Bringing the arms to a pose, at a fraction of their speed."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from ..robot.types import F64, ActionChunk, Observation

SHARE = 0.35  # of the velocity limits
NEAR_RAD = 0.12  # servos sag
LOST_RAD = 0.4  # behind what was asked: more than servos lag
STILL_RAD_S = 0.1
WIDTH_M = 0.04  # of open grippers
VALID_NS = 100_000_000


class Homing:
    """An agent that goes to `poses` (arm -> (n,) rad) with open grippers; `arrived` once it is there and at rest.

    `v_max`: arm -> (n,) rad/s.
    """

    LONGEST_NS = 30_000_000_000

    def __init__(self, poses: Mapping[str, F64], v_max: Mapping[str, F64]) -> None:
        self._poses = dict(poses)
        self._v_max = dict(v_max)
        self._start: dict[str, F64] = {}
        self._asked: dict[str, F64] = {}
        self._begun_ns = 0
        self._takes_s = 0.0
        self.arrived = False
        self.off_rad = np.inf  # of the joint that is farthest from its pose

    def reset(self, seed: int) -> None:
        self._start, self._asked, self.arrived = {}, {}, False

    def act(self, obs: Observation) -> ActionChunk:
        lost = any(np.abs(obs.arms[name].q - row).max() > LOST_RAD for name, row in self._asked.items())
        if not self._start or lost:  # it was held on the way: on from where it stands, not in a hurry
            self._start = {name: obs.arms[name].q.copy() for name in self._poses}
            self._begun_ns = obs.t_ns
            ways = [
                np.abs(pose - self._start[name]) / (self._v_max[name] * SHARE)
                for name, pose in self._poses.items()
            ]
            self._takes_s = max(0.2, float(max(way.max() for way in ways)) * np.pi / 2)  # peak of a cosine
        share = min(1.0, (obs.t_ns - self._begun_ns) * 1e-9 / self._takes_s)
        blend = 0.5 - 0.5 * np.cos(np.pi * share)
        rows = {
            name: self._start[name] + blend * (pose - self._start[name]) for name, pose in self._poses.items()
        }
        self._asked = rows
        self.off_rad = max(float(np.abs(obs.arms[name].q - pose).max()) for name, pose in self._poses.items())
        fastest = max(float(np.abs(obs.arms[name].dq).max()) for name in self._poses)
        self.arrived = share == 1.0 and self.off_rad < NEAR_RAD and fastest < STILL_RAD_S
        return ActionChunk(
            obs.t_ns,
            VALID_NS,
            {name: row[None] for name, row in rows.items()},
            {name: np.array([WIDTH_M]) for name in obs.grippers},
            obs.t_ns + VALID_NS,
            "homing",
        )
