"""Kinematics (provisional)."""
from __future__ import annotations
from dataclasses import dataclass
import mujoco
import numpy as np

@dataclass(frozen=True, slots=True)
class IkResult:
    q: np.ndarray
    position_error_m: float
    axis_error_rad: float
    iterations: int
    converged: bool

class Kinematics:
    def __init__(self, model):
        self.m = mujoco.MjModel.from_xml_path(str(model.mjcf)); self.d = mujoco.MjData(self.m)
        self.qa = np.array([self.m.joint(j).qposadr[0] for j in model.joints]); self.da = np.array([self.m.joint(j).dofadr[0] for j in model.joints])
        self.lo, self.hi = model.joint_ranges()
        self.jp = np.zeros((3, self.m.nv)); self.jr = np.zeros((3, self.m.nv))
    def solve(self, q0, p_B, x_axis=None, y_axis=None, site="grasp", restarts=3, iterations=30):
        m, d = self.m, self.d; sid = m.site(site).id; q = np.array(q0, float); w = 0.1
        for it in range(iterations):
            d.qpos[self.qa] = q; mujoco.mj_kinematics(m, d); mujoco.mj_comPos(m, d); mujoco.mj_jacSite(m, d, self.jp, self.jr, sid)
            R = d.site_xmat[sid].reshape(3, 3); e = [p_B - d.site_xpos[sid]]; J = [self.jp[:, self.da]]
            rot = np.zeros(3)
            if x_axis is not None: rot += np.cross(R[:, 0], x_axis)
            if y_axis is not None: rot += R[:, 0] * np.dot(R[:, 0], np.cross(R[:, 1], y_axis))
            if x_axis is not None or y_axis is not None:
                P = np.eye(3) if y_axis is not None else np.eye(3) - np.outer(R[:, 0], R[:, 0])
                e.append(w * rot); J.append(w * P @ self.jr[:, self.da])
            e = np.concatenate(e); J = np.concatenate(J)
            if np.linalg.norm(e[:3]) < 2e-4 and np.linalg.norm(rot) < 1e-2: break
            dq = J.T @ np.linalg.solve(J @ J.T + 4e-6 * np.eye(len(e)), e)
            q = np.clip(q + np.clip(dq, -0.2, 0.2), self.lo, self.hi)
        return IkResult(q, float(np.linalg.norm(e[:3])), float(np.linalg.norm(rot)), it, True)
