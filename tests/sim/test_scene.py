"""The compiled scene: cameras stand where the rig and the description say."""

import mujoco
import numpy as np
import pytest
from twinloop.robot.rig import load_rig
from twinloop.sim.scene import build_scene, prefix


@pytest.fixture(scope="module")
def scene():
    return build_scene(load_rig("so101"))


def test_wrist_camera_stands_at_the_descriptions_mount(scene):
    """A mount may be nested in frames of the MJCF; the camera must follow the compiled site, not its numbers."""
    data = mujoco.MjData(scene.model)
    data.qpos[scene.arms["arm"].qpos] = scene.descriptions["arm"].home_q_rad
    mujoco.mj_forward(scene.model, data)
    camera = scene.cameras["wrist"]
    site = scene.model.site(prefix("arm") + scene.descriptions["arm"].camera_site).id
    assert np.allclose(data.cam_xpos[camera], data.site_xpos[site], atol=1e-9)
    assert np.allclose(data.cam_xmat[camera], data.site_xmat[site], atol=1e-6)


def test_wrist_camera_sees_what_the_gripper_holds(scene):
    """The grasp point lies in the picture, in front of the lens."""
    data = mujoco.MjData(scene.model)
    data.qpos[scene.arms["arm"].qpos] = scene.descriptions["arm"].home_q_rad
    mujoco.mj_forward(scene.model, data)
    camera = scene.cameras["wrist"]
    grasp = scene.model.site(prefix("arm") + scene.descriptions["arm"].grasp_site).id
    seen = data.cam_xmat[camera].reshape(3, 3).T @ (data.site_xpos[grasp] - data.cam_xpos[camera])
    half = np.tan(np.deg2rad(scene.model.cam_fovy[camera]) / 2)
    assert seen[2] < 0, "behind the lens"
    assert np.abs(seen[:2] / -seen[2]).max() < half, "outside the picture"


def test_servos_count_back_emf_once(scene):
    """Damping of a joint is viscous friction plus kt^2 / R; the actuator itself has none."""
    servo = scene.servos["arm/elbow_flex"]
    index = scene.arms["arm"]
    assert np.allclose(
        scene.model.dof_damping[index.dof], servo.viscous_n_m_s + servo.kt**2 / servo.resistance_ohm
    )
    assert not scene.model.actuator_biasprm[index.actuator, 2].any()
    assert np.allclose(scene.model.actuator_forcerange[index.actuator, 1], servo.torque_max)
