"""Find the head that a checkpoint was fine-tuned with, and check that it is one for the task."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from safetensors import SafetensorError, safe_open

from edgedistill.errors import ModelError
from edgedistill.supernet.families import Head, encoder_family_of
from edgedistill.supernet.model_config import CONFIG
from edgedistill.supernet.weight_files import WEIGHTS
from edgedistill.tasks import TASKS, TaskName, task_of

__all__ = ["StoredHead", "check_teacher", "label_names", "stored_head"]

_IDENTITY = "torch.nn.modules.linear.Identity"


@dataclass(frozen=True)
class StoredHead:
    """Describe a head, by the end of transformers' class name, and how many outputs it has."""

    kind: Head
    outputs: int


def stored_head(folder: Path, config: Any) -> StoredHead | None:
    """Return the head that the weights hold; where ``architectures`` is missing, the tensors alone decide.

    Raises:
        ModelError: the weights cannot be read, or a tensor of the head that the config names does not fit.
    """
    shapes = _shapes(folder)
    classes = config.architectures if isinstance(config.architectures, list) else []
    for head, modules in encoder_family_of(config.model_type).heads.items():
        named = any(str(name).endswith(f"For{head}") for name in classes)
        if (named or not classes) and all(f"{module}.weight" in shapes for module in modules.values()):
            outputs = shapes[f"{modules['classifier']}.weight"][0]
            sizes = {modules["classifier"]: outputs} | (
                {modules["dense"]: config.hidden_size} if "dense" in modules else {}
            )
            for module, rows in sizes.items():
                _check_shape(folder, shapes, f"{module}.weight", [rows, config.hidden_size])
                _check_shape(folder, shapes, f"{module}.bias", [rows])
            return StoredHead(head, outputs)
    return None


def _shapes(folder: Path) -> dict[str, list[int]]:
    path = folder / WEIGHTS
    try:
        with safe_open(path, "pt") as file:
            return {name: file.get_slice(name).get_shape() for name in file.keys()}  # noqa: SIM118 (not a mapping)
    except (OSError, SafetensorError) as error:
        raise ModelError(f"{path} cannot be read: {error}; download it again") from error


def _check_shape(folder: Path, shapes: dict[str, list[int]], name: str, expected: list[int]) -> None:
    if shapes.get(name) != expected:
        actual = f"has the shape {shapes[name]}" if name in shapes else "is missing"
        raise ModelError(f"{folder / WEIGHTS}: the head's tensor {name!r} {actual}; expected the shape {expected}")


def label_names(folder: Path, config: Any, outputs: int) -> list[str]:
    """Return the labels of a head in the order of its outputs.

    Raises:
        ModelError: the config names another number of labels, or labels that cannot be told apart.
    """
    path = folder / CONFIG
    missing = next((index for index in range(outputs) if index not in config.id2label), None)
    if missing is not None:
        raise ModelError(f"{path} has no label for output {missing} of the head's {outputs}; add it to id2label")
    if len(config.id2label) != outputs:
        raise ModelError(f"{path} names {len(config.id2label)} labels (id2label); the head has {outputs} outputs")
    names = [str(config.id2label[index]) for index in range(outputs)]
    counts = Counter(" ".join(name.casefold().split()) for name in names)
    same = [name for name in names if counts[" ".join(name.casefold().split())] > 1]
    if same:
        raise ModelError(f"{path}: the labels {same[0]!r} and {same[1]!r} of id2label cannot be told apart; rename one")
    if not all(name.strip() for name in names):
        raise ModelError(f"{path}: output {[bool(name.strip()) for name in names].index(False)} of id2label is blank")
    return names


def check_teacher(folder: Path, config: Any, task: TaskName, name: str) -> list[str] | None:
    """Check that the checkpoint can teach the task as it is, and return its labels where the task has classes.

    Raises:
        ModelError: it cannot; the message says what it holds, or names the key that speaks against it.
    """
    kind = task_of(task)
    if kind.head is None:
        return None
    head = stored_head(folder, config)
    if head is None or head.kind != kind.head:
        holds = "no head" if head is None else f"a head for {_words(head.kind)} with {head.outputs} outputs"
        raise ModelError(f"{name} has no {task} head (it holds {holds}); give a model that is fine-tuned for it")
    path = folder / CONFIG
    problem = getattr(config, "problem_type", None)
    if problem is not None and problem != kind.problem_type:
        raise ModelError(
            f"{path}: problem_type is {problem!r}; {task} needs {kind.problem_type!r}{_fitting(head, problem)}"
        )
    if not kind.has_classes:
        _check_regression(path, config, head)
        return None
    if head.outputs < 2:
        raise ModelError(f"{path}: the head has one output; {task} needs one for each label: take text-regression")
    return label_names(folder, config, head.outputs)


def _fitting(head: StoredHead, problem: object) -> str:
    """Name the task that a head is for, where there is one."""
    fitting = [name for name in TASKS if (task_of(name).head, task_of(name).problem_type) == (head.kind, problem)]
    return f": take {fitting[0]}" if fitting else ""


def _check_regression(path: Path, config: Any, head: StoredHead) -> None:
    if head.outputs != 1:
        names: Sequence[str] = [str(config.id2label.get(index)) for index in range(min(3, head.outputs))]
        raise ModelError(
            f"{path}: the head has {head.outputs} outputs ({', '.join(names)}, …); text-regression needs one: "
            "take text-classification"
        )
    note = getattr(config, "sentence_transformers", None)
    keys = {
        "sentence_transformers.activation_fn": note.get("activation_fn") if isinstance(note, dict) else None,
        "sbert_ce_default_activation_function": getattr(config, "sbert_ce_default_activation_function", None),
    }
    for key, value in keys.items():
        if value not in (None, _IDENTITY):
            raise ModelError(
                f"{path}: {key} is {value!r}, and a palette gives the head's own output; set it to {_IDENTITY!r} "
                "and expect answers before that function, or train without --fine-tuned on labels of your own"
            )


def _words(kind: Head) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", kind).lower()
