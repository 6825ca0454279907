"""Collect what the step graphs of one precision hold: a decoder's tensors, and the rotations' cosines and sines.

Matrices stay [out, in] as the supernet has them: products read them transposed, the head may be the embedding table,
and a matrix in blocks has its rows anyway. Embedding tables are kept whole (see `weights.graph_extents`).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor

from edgedistill.architecture import Architecture, Subnet
from edgedistill.errors import ExportError
from edgedistill.exporters.blocks import BLOCK, block_extents, in_blocks, scale_name
from edgedistill.palette import BlockQuantization, Precision, Quantization, Unquantized
from edgedistill.supernet.layers import rotations
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.slicing import extents, full_tensors

__all__ = ["COSINES", "HEAD", "POSITIONS", "SINES", "WORDS", "DecoderWeightStore"]

WORDS, POSITIONS, HEAD = "word.weight", "position.weight", "head.weight"
COSINES, SINES = "rotations.cosines", "rotations.sines"
_BITS: dict[Precision, Literal[4, 8]] = {"int8": 8, "int4": 4}
_EMBEDDINGS = "embeddings"


@dataclass(frozen=True)
class DecoderWeightStore:
    """Hold everything that step graphs of one precision may hold, at full size; a tied head shares the table's memory.

    Attributes:
        eps: of the norms.
        context_tokens: the most that a cache may have.
        bits: of a weight, by the name of each tensor that is in blocks.
    """

    arch: Architecture
    eps: float
    context_tokens: int
    precision: Precision
    tensors: dict[str, Tensor]
    bits: dict[str, int]

    @classmethod
    def of(
        cls,
        model: ElasticTransformer,
        precision: Precision,
        *,
        context_tokens: int | None = None,
        keep_fp32: Collection[str] = (),
    ) -> DecoderWeightStore:
        """Build the store from the supernet.

        Args:
            model: no stage of it trains.
            precision: of the graphs.
            context_tokens: as many as the model was trained for where it is None.
            keep_fp32: parts that stay in fp32 whatever the precision.

        Raises:
            ExportError: the supernet does not have such a part.
        """
        arch, context = model.arch, context_tokens or model.arch.positions
        tensors = full_tensors(model)
        if arch.rope_theta is not None:
            both = rotations(context, arch.head_size, arch.rope_theta, like=torch.empty(0))
            tensors[COSINES], tensors[SINES] = (part[:, : arch.head_size // 2].contiguous() for part in both)
        bits = _bits(arch, tensors, precision, keep_fp32)
        for name, width in bits.items():
            tensors |= in_blocks(name, tensors[name], width)
        if arch.tied:
            _tie(tensors, bits)
        if WORDS in bits:  # rows are gathered from two dimensions, and multiplied from three
            tensors[WORDS] = tensors[WORDS].flatten(1)
        return cls(arch, model.eps, context, precision, tensors, bits)

    @property
    def quantization(self) -> Quantization:
        """Return the scheme of the graphs' weights, as a manifest records it."""
        if self.precision == "fp32":
            return Unquantized(scheme="none")
        return BlockQuantization(scheme="blocks", bits=_BITS[self.precision], block_size=BLOCK)

    def extents(self, subnet: Subnet) -> dict[str, tuple[int, ...]]:
        """Return what a subnet keeps of each tensor, scales among them."""
        arch = self.arch
        shapes = extents(arch, subnet) | {HEAD: (arch.vocabulary, subnet.hidden)}
        for name in [name for name in self.bits if name in shapes]:  # a set's order would change the files
            shapes |= block_extents(name, shapes[name], self.bits[name])
        for name in (WORDS, scale_name(WORDS), POSITIONS, COSINES, SINES):
            if name in self.tensors:
                shapes[name] = tuple(self.tensors[name].shape)
        return shapes


def _bits(
    arch: Architecture, tensors: Collection[str], precision: Precision, keep_fp32: Collection[str]
) -> dict[str, int]:
    """Return the bits of a weight by the name of each matrix and of the word table, but for those kept in fp32."""
    parts = [_EMBEDDINGS, *([] if arch.tied else ["head"]), *(f"layers.{index}" for index in range(arch.layers))]
    for part in keep_fp32:
        if part not in parts:
            raise ExportError(f"there is no {part!r} to keep in fp32; the parts are {', '.join(parts)}")
    if precision == "fp32":
        return {}
    whole = extents(arch, arch.full)
    untouched = tuple("word." if part == _EMBEDDINGS else f"{part}." for part in keep_fp32)
    names = [name for name in tensors if len(whole.get(name, ())) == 2 and name != POSITIONS]
    return {name: _BITS[precision] for name in names if not name.startswith(untouched)}


def _tie(tensors: dict[str, Tensor], bits: dict[str, int]) -> None:
    """Let the head be the table of words."""
    tensors[HEAD] = tensors[WORDS]
    if WORDS in bits:
        tensors[scale_name(HEAD)] = tensors[scale_name(WORDS)]
        bits[HEAD] = bits[WORDS]
