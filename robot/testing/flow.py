"""What every robot, agent and observer must do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from ..errors import TwinloopError
from ..interfaces import Agent, Observer, Robot
from ..types import F64, ActionChunk, Applied, JointSpec, Observation, Step
from .devices import MS, refused, wait

STEP_NS = 20 * MS


class RobotContract:
    """`make()` returns an open `Robot` at rest, and the joint spec of each of its arms.

    `jitter_s`: how late a tick of its guard may be without being skipped, where that runs in real time.
    """

    jitter_s = 0.0

    def make(self) -> tuple[Robot, Mapping[str, JointSpec]]:
        raise NotImplementedError

    def _chunk(self, obs: Observation, q: Mapping[str, F64], **changes: int) -> ActionChunk:
        t0 = changes.get("t0_ns", obs.t_ns)
        rows = {arm: np.atleast_2d(values) for arm, values in q.items()}
        widths = {gripper: np.array([state.width_m]) for gripper, state in obs.grippers.items()}
        return ActionChunk(t0, STEP_NS, rows, widths, changes.get("expires_ns", t0 + 100 * MS), "script")

    def _drive(self, robot: Robot, goals: Mapping[str, F64], seconds: float) -> list[Applied]:
        """Ask for `goals` every 20 ms."""
        done = []
        for _ in range(round(seconds * 1e9 / STEP_NS)):
            obs = robot.observe()
            done.append(robot.apply(self._chunk(obs, goals)))
            robot.clock.sleep_until(obs.t_ns + STEP_NS)
        return done

    def _standing(self, robot: Robot) -> dict[str, F64]:
        return {arm: state.q.copy() for arm, state in robot.observe().arms.items()}

    def test_observes_every_arm(self) -> None:
        robot, specs = self.make()
        try:
            before = robot.observe()
            wait(robot.clock, 0.1)
            obs = robot.observe()
            assert set(obs.arms) == set(specs)
            for arm, spec in specs.items():
                assert obs.arms[arm].q.shape == (spec.n,) and np.isfinite(obs.arms[arm].q).all()
                assert before.arms[arm].t_ns < obs.arms[arm].t_ns <= obs.t_ns <= robot.clock.now()
        finally:
            robot.close()

    def test_follows_a_sound_command(self) -> None:
        robot, specs = self.make()
        try:
            start = self._standing(robot)
            goals = {}
            for arm, q in start.items():
                goals[arm] = q.copy()
                goals[arm][0] += 0.2 if q[0] < (specs[arm].q_min + specs[arm].q_max)[0] / 2 else -0.2
            applied = self._drive(robot, goals, 1.5)[-1]
            assert applied.mode == "run" and applied.source == "script"
            for arm, goal in goals.items():
                assert np.allclose(applied.asked_q[arm], goal), "asked is what was asked, unfiltered"
                assert abs(robot.observe().arms[arm].q[0] - goal[0]) < 0.08
        finally:
            robot.close()

    def test_a_jump_becomes_a_move_within_the_limits(self) -> None:
        robot, specs = self.make()
        try:
            goals = {}
            for arm, q in self._standing(robot).items():
                goals[arm] = q.copy()
                goals[arm][0] = specs[arm].q_min[0] - 5.0  # beyond the end of the joint
            steps = self._drive(robot, goals, 1.0)
            for arm, spec in specs.items():
                sent = np.array([applied.sent_q[arm] for applied in steps])
                spans = np.diff([a.t_ns for a in steps])[:, None] * 1e-9 + self.jitter_s
                # A guard in real time that was held up goes on from the measured pose, and says so.
                led = ["stall" not in applied.limits for applied in steps[1:]]
                assert any(led) and (np.abs(np.diff(sent, axis=0)) <= spec.dq_max * spans * 1.001)[led].all()
                assert (sent >= spec.q_min - 1e-8).all() and (sent <= spec.q_max + 1e-8).all()
            assert sum(sum(a.limits.values()) for a in steps) > 0, "a limit that acted must be counted"
        finally:
            robot.close()

    def test_nonsense_is_rejected_named_and_moves_nothing(self) -> None:
        robot, specs = self.make()
        try:
            start = self._standing(robot)
            obs = robot.observe()
            bad = {arm: np.full(spec.n, np.nan) for arm, spec in specs.items()}
            applied = robot.apply(self._chunk(obs, bad))
            assert any(name.startswith("rejected") for name in applied.limits), applied.limits
            wait(robot.clock, 0.3)
            obs = robot.observe()
            robot.apply(self._chunk(obs, {arm: np.zeros(spec.n + 1) for arm, spec in specs.items()}))
            wait(robot.clock, 0.3)
            for arm, q in self._standing(robot).items():
                assert np.abs(q - start[arm]).max() < 0.05
        finally:
            robot.close()

    def test_silence_and_hold_stop_the_arm(self) -> None:
        robot, specs = self.make()
        try:
            for quiet in (False, True):
                start = self._standing(robot)
                away = {arm: q + 0.0 for arm, q in start.items()}
                for arm, q in away.items():
                    q[0] += 1.2 if q[0] < (specs[arm].q_min + specs[arm].q_max)[0] / 2 else -1.2
                self._drive(robot, away, 0.2)
                if not quiet:
                    robot.hold()
                wait(robot.clock, 0.8)
                stopped = self._standing(robot)
                wait(robot.clock, 0.4)
                for arm, q in self._standing(robot).items():
                    assert np.abs(q - stopped[arm]).max() < 0.03
                    assert np.abs(q[0] - away[arm][0]) > 0.05, "it went on without being asked"
        finally:
            robot.close()

    def test_close_parks_and_may_be_called_twice(self) -> None:
        robot, _ = self.make()
        obs = robot.observe()
        robot.close()
        robot.close()
        assert robot.clock.now() >= obs.t_ns
        with refused("a command after close()", TwinloopError):
            robot.apply(self._chunk(obs, {arm: state.q for arm, state in obs.arms.items()}))


class AgentContract:
    """`make()` returns an `Agent` and observations, in order, of the rig that it steers."""

    def make(self) -> tuple[Agent, Sequence[Observation]]:
        raise NotImplementedError

    def _chunks(self) -> list[ActionChunk]:
        agent, observations = self.make()
        agent.reset(3)
        return [agent.act(obs) for obs in observations]

    def test_chunks_are_well_formed(self) -> None:
        _, observations = self.make()
        for obs, chunk in zip(observations, self._chunks(), strict=True):
            assert chunk.dt_ns > 0 and chunk.source
            rows = {len(q) for q in chunk.q.values()} | {len(w) for w in chunk.width_m.values()}
            assert len(rows) == 1 and min(rows) >= 1, f"rows: {rows}"
            assert chunk.expires_ns > chunk.t0_ns + (min(rows) - 1) * chunk.dt_ns
            assert chunk.expires_ns > obs.t_ns, "a chunk that has expired when it is handed over"
            assert set(chunk.q) <= set(obs.arms) and set(chunk.width_m) <= set(obs.grippers)
            for arm, q in chunk.q.items():
                assert q.shape == (min(rows), obs.arms[arm].q.size) and np.isfinite(q).all()
            for width in chunk.width_m.values():
                assert width.shape == (min(rows),) and np.isfinite(width).all()

    def test_the_same_seed_gives_the_same_actions(self) -> None:
        for a, b in zip(self._chunks(), self._chunks(), strict=True):
            for arm, q in a.q.items():
                assert (q == b.q[arm]).all()
            for gripper, width in a.width_m.items():
                assert (width == b.width_m[gripper]).all()


class ObserverContract:
    """`make()` returns an `Observer` and steps, in order, that it may see."""

    def make(self) -> tuple[Observer, Sequence[Step]]:
        raise NotImplementedError

    def test_it_sees_every_step_and_steers_none(self) -> None:
        observer, steps = self.make()
        for step in steps:
            kept = {arm: state.q.copy() for arm, state in step.obs.arms.items()}
            meant = {arm: q.copy() for arm, q in step.chunk.q.items()}
            sent = {arm: q.copy() for arm, q in step.applied.sent_q.items()}
            assert observer.on_step(step) is None
            assert all((step.obs.arms[arm].q == q).all() for arm, q in kept.items())
            assert all((step.chunk.q[arm] == q).all() for arm, q in meant.items())
            assert all((step.applied.sent_q[arm] == q).all() for arm, q in sent.items())
