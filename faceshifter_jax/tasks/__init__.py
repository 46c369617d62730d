"""The tasks that can be trained: each defines one step and knows nothing about files or loops."""

from collections.abc import Mapping
from typing import Any

from faceshifter_jax.errors import UserError
from faceshifter_jax.tasks.aei import AEITask
from faceshifter_jax.tasks.arcface import ArcFaceTask
from faceshifter_jax.tasks.hear import HEARTask
from faceshifter_jax.tasks.task import Task, TrainState

_TASKS = {task.name: task for task in (ArcFaceTask, AEITask, HEARTask)}


def build_task(config: Mapping[str, Any]) -> Task:
    """Builds the task that `config.task` names.

    Raises:
      UserError: an unknown task, or settings that do not fit together.
    """
    if config["task"] not in _TASKS:
        raise UserError(f"config.task must be one of {sorted(_TASKS)}, not {config['task']!r}")
    return _TASKS[config["task"]](config)


__all__ = [
    "AEITask",
    "ArcFaceTask",
    "HEARTask",
    "Task",
    "TrainState",
    "build_task",
]
