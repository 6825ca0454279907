"""The tasks: one file holds a task's rows, labels, losses, metrics, head, and what its answers look like.

A device loads these files too. So each imports torch and scikit-learn only inside the functions that train.
"""

from edgedistill.tasks.registry import TASKS, TaskName, task_of

__all__ = ["TASKS", "TaskName", "task_of"]
