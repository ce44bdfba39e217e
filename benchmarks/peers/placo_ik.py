"""placo's side of benchmarks/ik.py; runs in its own environment (placo_env.sh).

One JSON object on standard input, one on standard output. In: {"urdf": text, "site", "joints", "dq_max", "damping",
"turn_cost", "dt_s", "cases": [{"start": (n,), "moves": (N, 3) m/s and rad/s as pairs, "goal": [position, rotation]}],
"speeds": [m/s, rad/s], "steps"}. Out: {"us": time of every solve, "q": where each case ended}.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import placo


def log(rotation):
    """Rotation vector, rad, of a rotation matrix."""
    angle = np.arccos(np.clip((np.trace(rotation) - 1.0) / 2.0, -1.0, 1.0))
    axis = np.array(
        [rotation[2, 1] - rotation[1, 2], rotation[0, 2] - rotation[2, 0], rotation[1, 0] - rotation[0, 1]]
    )
    size = np.linalg.norm(axis)
    return axis * (angle / size) if size > 1e-12 else np.zeros(3)


def exp(vector):
    """Rotation matrix of a rotation vector, rad."""
    angle = np.linalg.norm(vector)
    if angle < 1e-12:
        return np.eye(3)
    x, y, z = vector / angle
    cross = np.array([[0, -z, y], [z, 0, -x], [-y, x, 0]])
    return np.eye(3) + np.sin(angle) * cross + (1 - np.cos(angle)) * cross @ cross


def main():
    asked = json.load(sys.stdin)
    with tempfile.TemporaryDirectory() as folder:
        Path(folder, "robot.urdf").write_text(asked["urdf"])
        robot = placo.RobotWrapper(folder, placo.Flags.ignore_collisions)
    solver = placo.KinematicsSolver(robot)
    solver.mask_fbase(True)
    solver.enable_joint_limits(True)
    solver.enable_velocity_limits(True)
    solver.dt = dt = asked["dt_s"]
    for joint, fastest in zip(asked["joints"], asked["dq_max"], strict=True):
        robot.set_velocity_limit(joint, fastest)
    robot.update_kinematics()
    site = asked["site"]
    task = solver.add_frame_task(site, robot.get_T_world_frame(site))
    task.configure(site, "soft", 1.0, asked["turn_cost"])
    solver.add_regularization_task(asked["damping"])
    spent, ends = [], []
    for case in asked["cases"]:
        for joint, q in zip(asked["joints"], case["start"], strict=True):
            robot.set_joint(joint, q)
        robot.update_kinematics()
        goal_at, goal_facing = np.array(case["goal"][0]), np.array(case["goal"][1])
        for _ in range(asked["steps"]):
            now = robot.get_T_world_frame(site)
            gap, turn = goal_at - now[:3, 3], log(goal_facing @ now[:3, :3].T)
            gap *= min(1.0, asked["speeds"][0] * dt / max(1e-12, np.linalg.norm(gap)))
            turn *= min(1.0, asked["speeds"][1] * dt / max(1e-12, np.linalg.norm(turn)))
            begin = time.perf_counter_ns()
            target = np.eye(4)
            target[:3, 3], target[:3, :3] = now[:3, 3] + gap, exp(turn) @ now[:3, :3]
            task.T_world_frame = target
            solver.solve(True)
            robot.update_kinematics()
            spent.append((time.perf_counter_ns() - begin) * 1e-3)
        ends.append([robot.get_joint(joint) for joint in asked["joints"]])
    print(json.dumps({"us": spent, "q": ends}))


if __name__ == "__main__":
    main()
