"""The `twinloop` command: the only place that wires parts together."""
