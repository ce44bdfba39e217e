"""One module a command: each has a frozen dataclass `Command` with a method `run`."""
