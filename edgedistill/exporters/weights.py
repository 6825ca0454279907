"""Write one weights file per precision for all subnets: the union of what they use, and each tensor's offset."""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Protocol

import torch
from torch import Tensor

from edgedistill.architecture import Architecture, Subnet
from edgedistill.errors import ExportError
from edgedistill.exporters.quantization import ZERO_POINT, quantisable, quantised, scale_of, scale_shape
from edgedistill.files import put_in_place
from edgedistill.palette import DynamicInt8, Precision, Quantization, Unquantized
from edgedistill.supernet.slicing import extents, slice_tensors

__all__ = ["EncoderWeightStore", "StoredTensor", "WeightStore", "WeightsFile", "graph_extents", "write_weights"]

_ALIGNMENT = 4096  # a page: the file is mapped, and no tensor shares a page with another


@dataclass(frozen=True, slots=True)
class StoredTensor:
    """Locate a tensor in the file: its shape and type there, and where its bytes begin."""

    shape: tuple[int, ...]
    offset: int
    dtype: torch.dtype = torch.float32

    @property
    def row_bytes(self) -> int:
        """Return the bytes of one entry of the first dimension."""
        return self.dtype.itemsize * prod(self.shape[1:])


@dataclass(frozen=True, slots=True)
class WeightsFile:
    """Describe the file: its name, and every tensor in it by name."""

    name: str
    tensors: dict[str, StoredTensor]


class WeightStore(Protocol):
    """Hold everything that graphs of one precision may hold, at full size, and what a subnet keeps of each tensor."""

    @property
    def precision(self) -> Precision:
        """Return the precision of the graphs."""

    @property
    def tensors(self) -> dict[str, Tensor]:
        """Return the tensors in the layout of the graphs; tensors that share memory are stored once."""

    def extents(self, subnet: Subnet) -> dict[str, tuple[int, ...]]:
        """Return the shape that a subnet keeps of each tensor."""


def transposed(name: str, tensor: Tensor) -> Tensor:
    """Return the tensor as graphs hold it: linear weights [in, out], everything else as it is."""
    is_linear = tensor.ndim == 2 and not name.startswith("embeddings.")
    return tensor.T.contiguous() if is_linear else tensor.contiguous()


def graph_extents(arch: Architecture, subnet: Subnet) -> dict[str, tuple[int, ...]]:
    """Return the shape that a subnet keeps of each tensor in the layout of the graphs: matrices are [in, out].

    Embedding tables are kept whole: the graph gathers rows and cuts those, so that every session maps the
    same table and none copies it.
    """
    shapes: dict[str, tuple[int, ...]] = {}
    for name, shape in extents(arch, subnet).items():
        if name.startswith("embeddings.") and len(shape) == 2:
            shapes[name] = (shape[0], arch.table_width or arch.hidden)
        else:
            shapes[name] = shape[::-1]
    return shapes


@dataclass(frozen=True)
class EncoderWeightStore:
    """Hold everything that graphs of one precision may hold, at full size; ``whole`` names what is quantised.

    Tensors are as graphs hold them, matrices [in, out].
    """

    arch: Architecture
    precision: Precision
    tensors: dict[str, Tensor]
    whole: tuple[str, ...] = ()

    @classmethod
    def of(
        cls, arch: Architecture, tensors: Mapping[str, Tensor], precision: Precision, keep_fp32: Collection[str] = ()
    ) -> EncoderWeightStore:
        """Build the store from the supernet's tensors, matrices [out, in].

        Args:
            arch: the supernet's.
            tensors: all of `full_tensors`.
            precision: of the graphs.
            keep_fp32: prefixes of the tensors that stay in fp32 in any precision.

        Raises:
            ExportError: nothing has one of these prefixes.
        """
        for prefix in keep_fp32:
            if not any(f"{name}.".startswith(f"{prefix}.") for name in tensors):
                parts = ", ".join(["embeddings", *(f"layers.{index}" for index in range(arch.layers))])
                raise ExportError(f"there is no {prefix!r} to keep in fp32; the parts are {parts}")
        held = {name: transposed(name, tensor) for name, tensor in tensors.items()}
        if precision == "fp32":
            return cls(arch, precision, held)
        whole = quantisable({name: tuple(tensor.shape) for name, tensor in held.items()}, keep_fp32)
        return cls(arch, precision, quantised(held, whole), tuple(whole))

    @property
    def quantization(self) -> Quantization:
        """Return the scheme of the graphs' weights, as a manifest records it."""
        if self.precision == "fp32":
            return Unquantized(scheme="none")
        return DynamicInt8(scheme="int8-dynamic", zero_point=ZERO_POINT)

    def extents(self, subnet: Subnet) -> dict[str, tuple[int, ...]]:
        """Return the shape that a subnet keeps of each tensor, scales included."""
        shapes = graph_extents(self.arch, subnet)
        scales = {scale_of(name): scale_shape(name, shapes[name]) for name in self.whole if name in shapes}
        return shapes | scales


def write_weights(folder: Path, store: WeightStore, subnets: Iterable[Subnet]) -> WeightsFile:
    """Write ``weights-<precision>-<sha12>.bin`` into ``folder``, each tensor in the largest extent of any subnet."""
    union = _union(store, subnets)
    sources = slice_tensors(store.tensors, union)
    scratch = folder / ".weights.part"
    stored, places, digest = {}, dict[int, int](), hashlib.sha256()
    with scratch.open("wb") as file:
        for name in sorted(union):
            memory = store.tensors[name].data_ptr()
            if memory not in places:
                padding = bytes(-file.tell() % _ALIGNMENT)
                places[memory] = file.tell() + len(padding)
                for part in (padding, sources[name].numpy().tobytes()):
                    file.write(part)
                    digest.update(part)
            stored[name] = StoredTensor(union[name], places[memory], sources[name].dtype)
    name = f"weights-{store.precision}-{digest.hexdigest()[:12]}.bin"
    put_in_place(scratch, folder / name)
    return WeightsFile(name, stored)


def _union(store: WeightStore, subnets: Iterable[Subnet]) -> dict[str, tuple[int, ...]]:
    """Return the largest extent of each tensor over the subnets; tensors that share memory stay whole."""
    union: dict[str, tuple[int, ...]] = {}
    for subnet in subnets:
        for name, shape in store.extents(subnet).items():
            union[name] = tuple(map(max, shape, union.get(name, shape)))
    owners = Counter(store.tensors[name].data_ptr() for name in union)
    for name in union:
        if owners[store.tensors[name].data_ptr()] > 1:
            union[name] = tuple(store.tensors[name].shape)
    return union
