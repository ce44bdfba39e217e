"""The devices of a rig on this machine: found, examined, numbered, written down."""
