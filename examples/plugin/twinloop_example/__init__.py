"""An arm, a camera, a task and a policy added to Twinloop from outside, one file each."""
