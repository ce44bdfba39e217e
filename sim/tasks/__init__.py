"""Tasks on the table: reach, lift, pick_place, push, stack, and those that plug-ins add."""

from __future__ import annotations

from collections.abc import Callable
from importlib.metadata import entry_points

from ...robot.errors import UsageError, nearest
from .lift import Lift
from .pick_place import PickPlace
from .push import Push
from .reach import Reach
from .stack import Stack
from .task import Task, TwinView, View

TASKS: dict[str, Callable[[], Task]] = {
    "reach": Reach,
    "lift": Lift,
    "pick_place": PickPlace,
    "push": Push,
    "stack": Stack,
}


def task_names() -> list[str]:
    """Names of the tasks that `load_task` knows, plug-ins (entry points `twinloop.tasks`) included."""
    return sorted({*TASKS, *(point.name for point in entry_points(group="twinloop.tasks"))})


def load_task(name: str) -> Task:
    """Make the task called `name`; raises `UsageError` that names the valid choices."""
    if name in TASKS:
        return TASKS[name]()
    for point in entry_points(group="twinloop.tasks"):
        if point.name == name:
            return point.load()()
    raise UsageError(f"unknown task '{name}'{nearest(name, task_names())}")


__all__ = ["TASKS", "Task", "TwinView", "View", "load_task", "task_names"]
