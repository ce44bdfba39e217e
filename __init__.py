"""Twinloop: one control stack for a robot arm and its MuJoCo twin."""

__version__ = "0.1.0"
