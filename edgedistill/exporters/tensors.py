"""Collect the tensors of a supernet that graphs and checkpoints hold."""

from __future__ import annotations

from torch import Tensor

from edgedistill.supernet.checkpoint import Supernet
from edgedistill.supernet.slicing import full_tensors

__all__ = ["exported_tensors"]


def exported_tensors(supernet: Supernet) -> dict[str, Tensor]:
    """Return all of `full_tensors`, the head of a regression in the unit of its labels."""
    tensors, scale = full_tensors(supernet.model), supernet.info.label_scale
    return tensors if scale is None else scale.folded(tensors)
