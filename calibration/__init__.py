"""Calibration of motors, cameras and the twin (grows with the hardware milestones)."""
