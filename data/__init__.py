"""Episodes on disk: LeRobotDataset v3.0, crash-safe, with what was asked and what was sent."""
