"""Distances between capsules, table, workspace box and obstacles, on the way to the next stop.

Every pair of shapes has its own bound `R[pair, joint]`: how far joint motion can bring the two closer, m/rad.
With it one evaluated pose vouches for all poses around it: pairs whose distance exceeds what the joints can
use up need not be looked at (most ticks), and the way between two sampled poses is proven clear, not only the
samples. A pair that starts closer than its limit (an arm lying on the table) may not come closer but may move
apart: its own floor follows it up to the limit.
"""

from __future__ import annotations

from collections.abc import Sequence

import mujoco
import numpy as np
from numpy.typing import NDArray

from ..rig import Box, Rig
from ..types import F64
from .commands import Layout
from .filter import LimitFilter, Step
from .geometry import MARGIN, GuardScene
from .reach import closing_rates, contact_pairs, neighbours

NEAR = 0.02  # m, pairs this close to their limit go on sliding
TOLERANCE = 5e-4  # m, how much a pair that is inside its limit may still close in
DIP = 1e-3  # m, how far the bound between two sampled poses may lie inside the limit
REST_ROOM = 3e-3  # m, how much closer than at a rest pose its pairs may come: room to arrive there
LIFT = 2e-3  # m, distance above the limit that sliding aims for, so that there is room to move along
AHEAD = 0.15  # rad, sliding looks no farther ahead: the linearisation ends there
APPROACH = 5.0  # 1/s, speed towards a limit per metre that is left while sliding


class CollisionModel:
    """The rig's capsules at its base poses; joint vectors are the guard's flat (M,), rad and m.

    `layout` tells what stands where in them. Pairs are numbered: capsules and obstacles among each other,
    then every moving capsule against the table, then against the workspace box. `rests` are poses (M,) at
    which the arm may stand whatever the limits say: pairs that are closer there get that distance as limit.
    """

    def __init__(
        self,
        rig: Rig,
        layout: Layout,
        rests: Sequence[F64] = (),
        obstacles: Sequence[Box] = (),
    ) -> None:
        self._poses = max(2, rig.guard.lookahead)
        self._box = np.array(rig.workspace.min_m), np.array(rig.workspace.max_m)
        self._table_m = rig.table.height_m
        scene = self._scene = GuardScene(rig, layout.arms, layout.grippers, obstacles)
        scene.compile(neighbours(scene, layout.low, layout.high, rig.guard.self_collision_m))
        pairs = contact_pairs(scene)
        count, n = len(scene.moving), len(pairs)
        self.capsules, self.contacts = count, n
        names = scene.names
        self.pair_names = [(names[a], names[b]) for a, b in pairs]
        self.kinds = ["obstacle" if "obstacle " in a + b else "self_collision" for a, b in self.pair_names]
        for kind in ("table", "workspace"):
            self.pair_names += [(names[g], kind) for g in scene.moving]
            self.kinds += [kind] * count
        self._pair_of = np.full(
            (len(names), len(names)), n + 2 * count
        )  # the last slot takes what is ignored
        for k, (a, b) in enumerate(pairs):
            self._pair_of[a, b] = self._pair_of[b, a] = k
        self._blank = np.full(n + 2 * count + 1, MARGIN)
        self._rates = closing_rates(scene, pairs, (layout.low, layout.high))
        limit = [rig.guard.self_collision_m] * n + [rig.table.clearance_m] * count + [0.0] * count
        self.limit: F64 = np.array(limit)  # smallest distance of every pair, m
        for rest in rests:
            self.limit = np.minimum(self.limit, self.distances(rest) - REST_ROOM)
        self._floor = self.limit.copy()
        self._recovering = np.zeros(len(limit), dtype=bool)
        self._ref_q: F64 | None = None
        self._ref_slack: F64 = np.zeros(len(limit))
        self.sliding: list[int] = []  # pairs along which the arm slides
        self._groups = [
            [
                *range(at.start, at.stop),
                *(k for g, k in layout.grippers.items() if rig.grippers[g].arm == arm),
            ]
            for arm, at in layout.arms.items()
        ]
        self._weight = np.ones(scene.size)
        self._weight[list(layout.grippers.values())] = 0.0  # a jaw does not open to let the arm through

    def distances(self, q: F64) -> F64:
        """Distance of every pair at `q` (M,), m; more than `MARGIN` may read as `MARGIN`."""
        scene, n, count = self._scene, self.contacts, self.capsules
        scene.place(q)
        out = self._blank.copy()
        if n:
            mujoco.mj_collision(scene.model, scene.data)
            if scene.data.ncon:
                contact = scene.data.contact
                geom = contact.geom
                np.minimum.at(out, self._pair_of[geom[:, 0], geom[:, 1]], contact.dist)
        if count:
            low, high = scene.boxes()
            out[n : n + count] = low[:, 2] - self._table_m
            out[n + count : -1] = np.minimum(low - self._box[0], self._box[1] - high).min(axis=1)
        return out[:-1]

    def min_distance(self, q: F64) -> tuple[float, tuple[str, str]]:
        """The pair with the least distance above its limit at `q`: its distance (m) and the two names."""
        distance = self.distances(q)
        if not distance.size:
            return MARGIN, ("nothing", "nothing")
        k = int(np.argmin(distance - self.limit))
        return float(distance[k]), self.pair_names[k]

    def clear(self, q: F64) -> bool:
        """Whether every pair keeps its limit at `q`, or is no closer than it already was."""
        return bool((self.distances(q) >= self._floor).all())

    def names(self, pairs: Sequence[int]) -> list[str]:
        """Names of the limits that `pairs` stand for."""
        return sorted({self.kinds[k] for k in pairs})

    def involved(self, pairs: Sequence[int]) -> NDArray[np.bool_]:
        """Joints (M,) of the arms, grippers included, that can change the distance of any of `pairs`."""
        touched = (self._rates[pairs] > 0.0).any(axis=0)
        out = np.zeros(touched.size, dtype=bool)
        for members in self._groups:
            out[members] = touched[members].any()
        return out

    def anchor(self, q: F64) -> None:
        """Start anew from `q`: pairs that are too close there may stay so, but come no closer."""
        self._floor = np.minimum(self.limit, self.distances(q) - TOLERANCE)
        self._recovering = self._floor < self.limit
        self._ref_q = None
        self.sliding = []

    def committed(self, q: F64) -> None:
        """`q` is the pose now commanded: pairs that moved apart on the way may not close in again."""
        if self._recovering.any():
            floor = np.minimum(self.limit, self.distances(q) - TOLERANCE)
            self._floor = np.maximum(self._floor, floor)
            self._recovering = self._floor < self.limit
            self._ref_q = None

    def blocked(self, fltr: LimitFilter, step: Step) -> list[int]:
        """Pairs that could come too close on the way from `step` to the stop after it; [] = clear.

        At most `lookahead` poses are evaluated: the next, the last, then halves of the pieces between them
        that are not proven clear yet. A piece that stays unproven counts as blocked.
        """
        rates, way = self._rates, step.travel
        if self._ref_q is not None:
            used = rates @ (np.abs(step.p - self._ref_q) + way)
            if np.count_nonzero(used > self._ref_slack) == 0:
                return []
        first = self._look(step.p)
        moved = np.abs(step.p - fltr.p)
        if np.count_nonzero(rates @ (way + moved) > first) == 0:
            return []
        # From the last command, which keeps the limit, to this one; then along the stop.
        hits = (first < 0.0) | self._crossed(first, rates @ moved)
        if hits.any():
            return np.flatnonzero(hits).tolist()
        path = fltr.stop_path(step)
        end = path.at(1.0)
        last = self._look(end)
        if (last < 0.0).any():
            return np.flatnonzero(last < 0.0).tolist()
        left = self._poses - 2
        pieces = [(0.0, step.p, first, 1.0, end, last)]
        while pieces:
            x, p, before, y, q, after = pieces.pop()
            hits = self._crossed(before + after, rates @ (np.abs(q - p) + path.recoil))
            if not hits.any():
                continue
            if left == 0:
                return np.flatnonzero(hits).tolist()
            left -= 1
            z = 0.5 * (x + y)
            pose = path.at(z)
            middle = self._look(pose)
            if (middle < 0.0).any():
                return np.flatnonzero(middle < 0.0).tolist()
            pieces += [(z, pose, middle, y, q, after), (x, p, before, z, pose, middle)]
        return []

    def slide(
        self, q: F64, target: F64, velocity: F64 | None, hits: Sequence[int] = ()
    ) -> tuple[F64, F64 | None]:
        """Take out of the motion from `q` to `target` what brings the pairs in `hits` too close, and those it
        slid along so far. Returns target and velocity to aim for: the same objects when nothing changes."""
        pairs = sorted({*self.sliding, *hits})
        if not pairs:
            return target, velocity
        slack = self.distances(q) - self._floor  # also puts the scene at q
        mujoco.mj_comPos(self._scene.model, self._scene.data)
        delta = target - q
        active: list[tuple[F64, float]] = []
        self.sliding = []
        for pair in pairs:
            gradient, room = self._gradient(pair, q), max(float(slack[pair]), 0.0)
            if gradient is None:
                continue
            if pair in hits or (room < NEAR and room + float(gradient @ delta) < LIFT):
                active.append((gradient, room))
                self.sliding.append(pair)
        if not active:
            return target, velocity
        shrink = AHEAD / max(AHEAD, float(np.abs(delta).max()))
        delta = delta * shrink
        pace = np.zeros(q.size) if velocity is None else velocity * shrink
        for _ in range(2):
            for gradient, room in active:
                lever = gradient * self._weight
                norm = float(lever @ gradient)
                if norm < 1e-6:
                    continue
                if (lack := LIFT - room - float(gradient @ delta)) > 0.0:
                    delta = delta + lever * (lack / norm)
                if (lack := APPROACH * min(LIFT - room, 0.0) - float(gradient @ pace)) > 0.0:
                    pace = pace + lever * (lack / norm)
        return q + delta, pace

    def _crossed(self, ends: F64, used: F64) -> NDArray[np.bool_]:
        """Whether a pair may lie inside its limit between two poses, whose distances sum up to `ends`: they
        change by no more than `used` on the way. Pairs that start inside are only held to the samples."""
        return (0.5 * (ends - used) < -DIP) & ~self._recovering

    def _look(self, q: F64) -> F64:
        """Distance of every pair above its floor at `q`; becomes the reference of later ticks."""
        slack = self.distances(q) - self._floor
        self._ref_q, self._ref_slack = q, slack
        return slack

    def _gradient(self, pair: int, q: F64) -> F64 | None:
        """How the distance of `pair` changes with the joints, (M,); the scene stands at `q`."""
        scene, n, count = self._scene, self.contacts, self.capsules
        if pair < n:
            contact = scene.data.contact
            geom = contact.geom
            mine = np.flatnonzero(self._pair_of[geom[:, 0], geom[:, 1]] == pair)
            if not mine.size:
                return None
            return scene.apart(int(mine[np.argmin(contact.dist[mine])]), q)
        k = (pair - n) % count
        if pair < n + count:
            return scene.towards(k, 2, 1.0, q)
        low, high = scene.boxes()
        gaps = np.concatenate([low[k] - self._box[0], self._box[1] - high[k]])
        face = int(np.argmin(gaps))
        return scene.towards(k, face % 3, 1.0 if face < 3 else -1.0, q)
