"""The robot side: types, interfaces, clock, rig, guard, control loop, arm descriptions."""
