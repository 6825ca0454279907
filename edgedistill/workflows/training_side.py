"""Say in one line which package of the workstation's side is missing, and how to install it."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import ParamSpec, TypeVar

from edgedistill.errors import TrainingSideMissing

__all__ = ["needs_training_side"]

_P = ParamSpec("_P")
_R = TypeVar("_R")
_PACKAGES = {"torch", "transformers", "onnx", "optimum", "datasets", "sklearn", "scipy", "matplotlib"}
_PACKAGES |= {"safetensors", "seqeval", "accelerate", "optuna", "tomlkit"}


def needs_training_side(function: Callable[_P, _R]) -> Callable[_P, _R]:
    """Let ``function`` raise `TrainingSideMissing` where a package of the workstation's side is missing."""

    @functools.wraps(function)
    def wrapper(*args: _P.args, **kwargs: _P.kwargs) -> _R:
        try:
            return function(*args, **kwargs)
        except ModuleNotFoundError as error:
            if error.name is None or error.name.partition(".")[0] not in _PACKAGES:
                raise
            raise TrainingSideMissing(
                f"this needs {error.name}; install the workstation side: pip install 'edgedistill[train]'"
            ) from error

    return wrapper
