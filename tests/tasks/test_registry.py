"""Check the registry: one line per task, and no training code imported before it is needed."""

from __future__ import annotations

import subprocess
import sys

import pytest

from edgedistill import runtime
from edgedistill.tasks import TASKS, task_of


@pytest.mark.parametrize("name", TASKS)
def test_a_task_has_its_own_name_and_a_class_of_the_runtime_answers_it(name: str) -> None:
    task = task_of(name)
    assert task.name == name
    pipeline, method = task.answered_by
    assert callable(getattr(getattr(runtime, pipeline), method))


@pytest.mark.parametrize("name", TASKS)
def test_a_task_is_loaded_without_the_training_side(name: str) -> None:
    code = (
        f"import sys; from edgedistill.tasks import task_of; task_of({name!r}); "
        "print([m for m in ('torch', 'sklearn', 'scipy', 'numpy', 'transformers', 'onnx') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
