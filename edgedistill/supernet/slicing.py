"""Π as a table: which part of each of the supernet's tensors a subnet keeps, of encoders and decoders alike.

The forward pass slices as it goes; exporters and plain checkpoints slice by this table. A test holds
the two together.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

from edgedistill.architecture import Architecture, Subnet
from edgedistill.supernet.decoder import ElasticModel
from edgedistill.supernet.decoder_slicing import decoder_extents
from edgedistill.supernet.encoder_slicing import encoder_extents

__all__ = ["extents", "full_tensors", "slice_tensors", "tensors_alone"]


def extents(arch: Architecture, subnet: Subnet) -> dict[str, tuple[int, ...]]:
    """Name → how many leading entries are kept along each dimension, for every tensor that is kept."""
    return decoder_extents(arch, subnet) if arch.causal else encoder_extents(arch, subnet)


def full_tensors(model: ElasticModel) -> dict[str, Tensor]:
    """Every tensor of the maxnet, the low-rank pairs merged in; matrices are [out, in]."""
    state = model.state_dict()
    linears = model.elastic_linears()
    names = extents(model.arch, model.arch.full)
    merged = {f"{name}.weight": linear.full_weight().detach() for name, linear in linears.items()}
    return {name: merged[name] if name in merged else state[name] for name in names}


def slice_tensors(tensors: Mapping[str, Tensor], kept: Mapping[str, tuple[int, ...]]) -> dict[str, Tensor]:
    """The leading part of each kept tensor, contiguous."""
    return {name: tensors[name][tuple(slice(end) for end in ends)].contiguous() for name, ends in kept.items()}


def tensors_alone(model: ElasticModel, subnet: Subnet) -> dict[str, Tensor]:
    """The subnet's tensors as those of a model that is no more than it: layers counted from 0 without gaps."""
    small = slice_tensors(full_tensors(model), extents(model.arch, subnet))
    places = {str(index): str(place) for place, index in enumerate(subnet.kept)}
    return {re.sub(r"(?<=^layers\.)\d+", lambda at: places[at.group()], name): t for name, t in small.items()}
