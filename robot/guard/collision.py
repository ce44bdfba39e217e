"""Distances between capsules, table, workspace box and obstacles, on the way to the next stop.

Every pair of shapes has its own bound `R[pair, joint]`: how far joint motion can bring the two closer, m/rad.
So a known distance is used up by motion, at a known rate at most: pairs with enough left need not be looked
at (nearly all, in nearly every tick), and the way between two sampled poses is proven clear, not only the
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
from .filter import LimitFilter
from .geometry import MARGIN, GuardScene, Ids
from .project import project
from .reach import closing_rates, contact_pairs, neighbours
from .step import Step

SLIDING = 5  # pairs at most, the closest: the other capsules of a link say much the same
NEAR = 0.02  # m, pairs this close to their limit go on sliding
TOLERANCE = 5e-4  # m, how much a pair that is inside its limit may still close in
DIP = 1e-3  # m, how far the bound between two sampled poses may lie inside the limit
REST_ROOM = 3e-3  # m, how much closer than at a rest pose its pairs may come: room to arrive there
LIFT = 2e-3  # m, distance above the limit that sliding aims for, so that there is room to move along
AHEAD = 0.15  # rad, sliding looks no farther ahead: the linearisation ends there
FAR = 0.3  # m, distances beyond are not told apart
MANY = 400  # pairs at once: then MuJoCo's broad phase is faster than one pair after the other
SOFT = 0.05  # rad, a way along the limits that is shorter than this is gone in smaller steps
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
        pairs = self._geoms = contact_pairs(scene)
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
        g = rig.guard
        limit = [g.self_collision_m if _one_arm(a, b) else g.between_arms_m for a, b in self.pair_names[:n]]
        limit += [rig.table.clearance_m] * count + [0.0] * count
        self.limit: F64 = np.array(limit)  # smallest distance of every pair, m
        for rest in rests:
            self.limit = np.minimum(self.limit, self.distances(rest) - REST_ROOM)
        self._floor = self.limit.copy()
        self._recovering = np.zeros(len(limit), dtype=bool)
        self._at: F64 = np.zeros(scene.size)  # pose commanded last
        self._slack: F64 = np.zeros(len(limit))  # lower bound of the distances above the floors there
        self._seen: tuple[F64, F64] | None = None  # the same for the pose that was asked about last
        self.sliding: list[int] = []  # pairs along which the arm slides
        self.slid: NDArray[np.bool_] | None = None  # (M,) joints of the arms that do
        self._groups = [
            [
                *range(at.start, at.stop),
                *(k for g, k in layout.grippers.items() if rig.grippers[g].arm == arm),
            ]
            for arm, at in layout.arms.items()
        ]
        self._free = np.ones(scene.size)
        self._free[list(layout.grippers.values())] = 0.0  # a jaw does not open to let the arm through

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
            out[n:-1] = self._planes()
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
        return not np.count_nonzero(self.distances(q) < self._floor)

    def names(self, pairs: Sequence[int]) -> list[str]:
        """Names of the limits that `pairs` stand for."""
        return sorted({self.kinds[k] for k in pairs})

    def involved(self, pairs: Sequence[int]) -> NDArray[np.bool_]:
        """Joints (M,) of the arms, grippers included, that can change the distance of any of `pairs`."""
        touched: NDArray[np.bool_] = np.asarray((self._rates[np.array(pairs)] > 0.0).any(axis=0))
        out = np.zeros(self._rates.shape[1], dtype=bool)
        for members in self._groups:
            out[members] = touched[members].any()
        return out

    def anchor(self, q: F64) -> None:
        """Start anew from `q`: pairs that are too close there may stay so, but come no closer."""
        distance = self.distances(q)
        self._floor = np.minimum(self.limit, distance - TOLERANCE)
        self._recovering = self._floor < self.limit
        self._at, self._slack = q, distance - self._floor
        self._seen = None
        self.sliding = []

    def committed(self, q: F64) -> None:
        """`q` is the pose now commanded: pairs that moved apart on the way may not close in again."""
        if self._seen is not None and self._seen[0] is q:
            self._slack = self._seen[1]
        else:
            self._slack = self._slack - self._rates @ np.abs(q - self._at)
        self._at, self._seen = q, None
        if self._recovering.any():
            pairs = np.flatnonzero(self._recovering)
            distance = self._evaluate(q, pairs)
            floor = np.minimum(self.limit[pairs], distance - TOLERANCE)
            self._floor[pairs] = np.maximum(self._floor[pairs], floor)
            self._slack[pairs] = distance - self._floor[pairs]
            self._recovering = self._floor < self.limit

    def blocked(self, fltr: LimitFilter, step: Step) -> list[int]:
        """Pairs that could come too close on the way from `step` to the stop after it; [] = clear.

        Only pairs that the motion could use up are evaluated, at `lookahead` poses at most: the next, the
        last, then halves of the pieces between them that are not proven clear yet. A pair that stays unproven
        counts as blocked.
        """
        rates = self._rates
        uses = rates @ np.array((np.abs(step.p - self._at), step.travel)).T
        moved, ahead = uses[:, 0], uses[:, 1]
        slack = self._slack - moved
        near = (slack < ahead).nonzero()[0]
        if not near.size:
            self._seen = (step.p, slack)
            return []
        first = slack[near] = self._evaluate(step.p, near) - self._floor[near]
        self._seen = (step.p, slack)
        # From the last command, which keeps the limit, to this one; then along the stop.
        hits = (first < 0.0) | self._crossed(near, first, moved[near])
        if np.count_nonzero(hits):
            return near[hits].tolist()
        tight = first < ahead[near]
        if not np.count_nonzero(tight):
            return []
        near, first = near[tight], first[tight]
        path = fltr.stop_path(step)
        end = path.at(1.0)
        last = self._evaluate(end, near) - self._floor[near]
        if last.min() < 0.0:
            return near[last < 0.0].tolist()
        left = self._poses - 2
        pieces = [(near, 0.0, step.p, first, 1.0, end, last)]
        while pieces:
            pairs, x, p, before, y, q, after = pieces.pop()
            used = rates[pairs] @ (np.abs(q - p) + path.recoil)
            hits = self._crossed(pairs, before + after, used)
            if not np.count_nonzero(hits):
                continue
            if left == 0:
                return pairs[hits].tolist()
            left -= 1
            unproven = hits | self._recovering[pairs]
            pairs, before, after = pairs[unproven], before[unproven], after[unproven]
            z = 0.5 * (x + y)
            pose = path.at(z)
            middle = self._evaluate(pose, pairs) - self._floor[pairs]
            if middle.min() < 0.0:
                return pairs[middle < 0.0].tolist()
            pieces += [(pairs, z, pose, middle, y, q, after), (pairs, x, p, before, z, pose, middle)]
        return []

    def slide(
        self, fltr: LimitFilter, target: F64, velocity: F64 | None, hits: Sequence[int] = ()
    ) -> tuple[F64, F64 | None]:
        """Take out of the motion from the state of `fltr` to `target` what brings the pairs in `hits` too close,
        and those it slid along so far. Returns target and velocity to aim for: the same objects when nothing
        changes."""
        q = fltr.p
        pairs = sorted({*self.sliding, *hits})
        self.slid = None
        if not pairs:
            return target, velocity
        index = np.array(pairs)
        slack = dict(zip(pairs, self._evaluate(q, index) - self._floor[index], strict=True))
        self._scene.place(q)
        mujoco.mj_comPos(self._scene.model, self._scene.data)
        delta = target - q
        active: list[tuple[F64, float]] = []
        self.sliding = []
        for pair in sorted(pairs, key=slack.__getitem__)[:SLIDING]:
            room = max(float(slack[pair]), 0.0)
            ways = [(gradient, room + farther) for gradient, farther in self._gradients(pair, q)]
            if pair in hits or (room < NEAR and any(far + float(way @ delta) < LIFT for way, far in ways)):
                active += ways
                self.sliding.append(pair)
        if not active:
            return target, velocity
        self.slid = self.involved(self.sliding)
        shrink = np.where(self.slid, AHEAD / max(AHEAD, float(np.abs(delta[self.slid]).max())), 1.0)
        delta = delta * shrink
        pace = np.zeros(q.size) if velocity is None else velocity * shrink
        rows, rooms = np.array([gradient for gradient, _ in active]), np.array([room for _, room in active])
        ends = fltr.lo - q, fltr.hi - q
        moved = project(delta, rows, LIFT - rooms, self._free, *ends)
        # Wedged between them, or nearly so: not away from all of them, but closer to none.
        if moved is None or np.abs(moved[self.slid]).max() > AHEAD:
            moved = project(delta, rows, np.minimum(LIFT - rooms, 0.0), self._free, *ends)
        closing = project(pace, rows, APPROACH * np.minimum(LIFT - rooms, 0.0), self._free)
        if moved is None or closing is None:
            return q, np.zeros(q.size)
        # Nearest points jump from edge to edge, and the way with them: near the end of it, small steps.
        return q + moved * min(max(float(np.abs(moved).max()) / SOFT, 0.1), 1.0), closing

    def _crossed(self, pairs: Ids, ends: F64, used: F64) -> NDArray[np.bool_]:
        """Whether `pairs` may lie inside their limit between two poses: there their distances sum up to
        `ends`, and on the way they change by no more than `used`. Pairs that start inside only count at the
        poses themselves."""
        return (0.5 * (ends - used) < -DIP) & ~self._recovering[pairs]

    def _evaluate(self, q: F64, pairs: Ids) -> F64:
        """Distances of `pairs` at `q`, (k,) m."""
        if pairs.size > MANY:
            return self.distances(q)[pairs]
        scene, n = self._scene, self.contacts
        scene.place(q)
        geoms, model, data, apart = self._geoms, scene.model, scene.data, mujoco.mj_geomDistance
        numbers = pairs.tolist()  # in ascending order
        between = [apart(model, data, *geoms[k], FAR, None) for k in numbers if k < n]
        if len(between) == len(numbers):
            return np.array(between)
        planes = pairs[len(between) :] - n
        if numbers[-1] < n + self.capsules:  # the table alone
            below = scene.lowest()[planes] - self._table_m
        else:
            below = self._planes()[planes]
        return np.concatenate([between, below])

    def _planes(self) -> F64:
        """Distance of every moving capsule from the table, then from the workspace, as the scene stands."""
        low, high = self._scene.boxes()
        inside = np.minimum(low - self._box[0], self._box[1] - high)
        return np.concatenate([low[:, 2] - self._table_m, inside.min(axis=1)])

    def _gradients(self, pair: int, q: F64) -> list[tuple[F64, float]]:
        """How the distance of `pair` changes with the joints, (M,), and where it is measured farther away than
        that distance, by how much: a capsule above the table comes down with one end or the other. The scene
        stands at `q`."""
        scene, n, count = self._scene, self.contacts, self.capsules
        if pair < n:
            return [(scene.apart(*self._geoms[pair], q), 0.0)]
        k = (pair - n) % count
        if pair < n + count:
            return scene.towards(k, 2, 1.0, q)
        low, high = scene.boxes()
        gaps = np.concatenate([low[k] - self._box[0], self._box[1] - high[k]])
        face = int(np.argmin(gaps))
        return scene.towards(k, face % 3, 1.0 if face < 3 else -1.0, q)


def _one_arm(a: str, b: str) -> bool:
    """Whether the shapes called `a` and `b` belong to one arm, or one of them to none."""
    first, second = a.rpartition("/")[0], b.rpartition("/")[0]
    return first == second or not (first and second)
