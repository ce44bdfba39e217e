"""Teleoperation devices, inverse kinematics and takeover."""
