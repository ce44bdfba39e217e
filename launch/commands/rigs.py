"""`twinloop rigs`: the rigs that ship, and whether a rig file is right."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

import tyro


@dataclass(frozen=True, slots=True)
class Command:
    """List the rigs, or check and describe one.

    Example:
        twinloop rigs
        twinloop rigs so101
        twinloop rigs my-rig.yaml
        twinloop rigs --models
    """

    rig: Annotated[str | None, tyro.conf.Positional] = None
    """Name of a rig, or path of a rig file."""
    models: bool = False
    """List the arm descriptions that a rig may name."""

    def run(self) -> int:
        from ...robot.models import load_model, model_names
        from ...robot.rig import load_rig, rig_names

        if self.models:
            for name in model_names():
                model = load_model(name)
                print(f"{name}: {len(model.joints)} joints ({', '.join(model.joints)})")
            return 0
        if self.rig is None:
            for name in rig_names():
                rig = load_rig(name)
                print(f"{name}: arms {', '.join(rig.arms)}; cameras {', '.join(rig.cameras) or 'none'}")
            return 0
        rig = load_rig(self.rig)
        print(f"{rig.name}: {rig.control_hz:g} Hz control, guard {rig.guard.rate_hz:g} Hz, hash {rig.hash()}")
        for name, arm in rig.arms.items():
            spec = rig.joint_spec(name)
            print(f"  arm {name}: {arm.model} at {arm.base.xyz_m} m")
            for k, joint in enumerate(spec.names):
                print(
                    f"    {joint}: {spec.q_min[k]:.3f}..{spec.q_max[k]:.3f} rad, {spec.dq_max[k]:g} rad/s, "
                    f"{spec.ddq_max[k]:g} rad/s2, {spec.dddq_max[k]:g} rad/s3, {spec.tau_max[k]:g} N·m"
                )
        for name, gripper in rig.grippers.items():
            print(f"  gripper {name} on {gripper.arm}: {gripper.speed_m_s:g} m/s, {gripper.force_n:g} N")
        for name, camera in rig.cameras.items():
            print(
                f"  camera {name}: {camera.width}x{camera.height} at {camera.fps:g} Hz, {camera.kind}, "
                f"on {camera.mount}"
            )
        return 0
