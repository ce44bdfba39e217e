"""Rig files that ship with Twinloop: read them with `twinloop.robot.rig.load_rig`."""
