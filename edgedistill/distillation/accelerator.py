"""Choose where training runs, and in which precision."""

from __future__ import annotations

import torch
from accelerate import Accelerator

from edgedistill.distillation.recipe import Recipe
from edgedistill.errors import RecipeError

__all__ = ["accelerator_for", "has_bf16"]


def accelerator_for(recipe: Recipe) -> Accelerator:
    """Return the processes that Accelerate's launcher started, or this one alone; on the GPU if there is one.

    Raises:
        RecipeError: the recipe sets bf16, and the processor lacks instructions for it.
    """
    gpu, able = torch.cuda.is_available(), has_bf16()
    if recipe.precision == "bf16" and not able:
        raise RecipeError(
            "precision is bf16, which this processor can only emulate, many times slower than fp32; "
            "set it to auto or fp32"
        )
    half = recipe.precision == "bf16" or (recipe.precision == "auto" and gpu and able)
    return Accelerator(mixed_precision="bf16" if half else "no", cpu=not gpu)


def has_bf16() -> bool:
    """Return whether the GPU, or without one the CPU, multiplies bfloat16 by instructions of its own."""
    if torch.cuda.is_available():
        return bool(torch.cuda.is_bf16_supported())
    return bool(torch.ops.mkldnn._is_mkldnn_bf16_supported())
