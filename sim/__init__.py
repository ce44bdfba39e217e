"""The twin: a MuJoCo emulation of the device, its tasks and its randomisation."""
