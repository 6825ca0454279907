"""One weights file for the whole family: the union of what its subnets use, and where each tensor lies."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path

from torch import Tensor

from edgedistill.exporters.supergraph import transposed
from edgedistill.subnet import Architecture, SubnetConfig
from edgedistill.supernet.slicing import extents, slice_tensors

__all__ = ["StoredTensor", "WeightsFile", "graph_extents", "write_weights"]

_ALIGNMENT = 4096  # a page: the file is mapped, and no tensor shares a page with another
_FLOAT_BYTES = 4


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """A tensor in the file: its shape there, and where its bytes begin."""

    shape: tuple[int, ...]
    offset: int

    @property
    def row_bytes(self) -> int:
        """Bytes of one entry of the first dimension."""
        return _FLOAT_BYTES * prod(self.shape[1:])


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """The file's name, and every tensor in it by name."""

    name: str
    tensors: dict[str, StoredTensor]


def graph_extents(arch: Architecture, subnet: SubnetConfig) -> dict[str, tuple[int, ...]]:
    """What a subnet keeps of each tensor as graphs hold it: matrices are [in, out].

    Embedding tables are kept whole: the graph gathers rows and cuts those, so that every session maps the
    same table and none copies it.
    """
    kept: dict[str, tuple[int, ...]] = {}
    for name, shape in extents(arch, subnet).items():
        if name.startswith("embeddings.") and len(shape) == 2:
            kept[name] = (shape[0], arch.hidden)
        else:
            kept[name] = shape[::-1]
    return kept


def write_weights(
    folder: Path, arch: Architecture, tensors: Mapping[str, Tensor], subnets: Iterable[SubnetConfig]
) -> WeightsFile:
    """Write ``weights-fp32-<sha12>.bin`` into ``folder``: of each tensor the most that any subnet keeps."""
    union: dict[str, tuple[int, ...]] = {}
    for subnet in subnets:
        for name, shape in graph_extents(arch, subnet).items():
            union[name] = tuple(map(max, shape, union.get(name, shape)))
    sources = slice_tensors({name: transposed(name, tensors[name]) for name in union}, union)
    scratch = folder / ".weights.part"
    stored, digest = {}, hashlib.sha256()
    with scratch.open("wb") as file:
        for name in sorted(union):
            padding = bytes(-file.tell() % _ALIGNMENT)
            stored[name] = StoredTensor(union[name], file.tell() + len(padding))
            for part in (padding, sources[name].numpy().tobytes()):
                file.write(part)
                digest.update(part)
        file.flush()
        os.fsync(file.fileno())
    name = f"weights-fp32-{digest.hexdigest()[:12]}.bin"
    scratch.replace(folder / name)
    return WeightsFile(name, stored)
