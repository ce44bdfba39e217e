"""Ids for `gymnasium.make`: one for each task, plug-ins' tasks included. Importing this module registers them.

gymnasium.make("twinloop.sim.registration:twinloop/lift-v0", cameras=("wrist",))
gymnasium.make_vec("twinloop.sim.registration:twinloop/lift-v0", 64, "vector_entry_point")
"""

from __future__ import annotations

import gymnasium

from .tasks import task_names

for _name in task_names():
    if f"twinloop/{_name}-v0" not in gymnasium.registry:
        gymnasium.register(
            f"twinloop/{_name}-v0",
            entry_point="twinloop.sim.env:TwinEnv",
            vector_entry_point="twinloop.sim.vector:TwinVectorEnv",
            kwargs={"task": _name},
        )
