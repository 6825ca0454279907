"""The frozen teacher, as stage 0 left it: its outputs, computed once, or the model itself, run in every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from edgedistill.architecture import Architecture
from edgedistill.data.batches import Batch, Encoded
from edgedistill.distillation.cost import forward_flops
from edgedistill.distillation.unit_outputs import UnitOutputs, unit_outputs_of
from edgedistill.supernet.lowrank import ElasticLinear
from edgedistill.supernet.model import ElasticTransformer

__all__ = ["FrozenDecoder", "Teacher", "TeacherOutputs"]


class Teacher(Protocol):
    """The source of the outputs that a batch's units should have."""

    def outputs(self, batch: Batch, /) -> UnitOutputs:
        """Return the outputs for a batch's units, as constants, on the batch's device."""

    def flops(self, rows: int, tokens: int, /) -> int:
        """Return the FLOPs of a step's outputs, on ``rows`` sequences of ``tokens`` tokens."""


class TeacherOutputs:
    """Unit outputs [u, c] by row, computed once: a frozen teacher then costs no further pass."""

    def __init__(self, outputs: Tensor, data: Encoded) -> None:
        """Split ``outputs`` [units of all rows, c], in the order of the rows of ``data``."""
        self._parts = torch.split(outputs, [data.units(row) for row in range(len(data))])

    def rows(self, rows: Sequence[int]) -> Tensor:
        """Return the outputs [u, c] of some rows, in their order."""
        return torch.cat([self._parts[row] for row in rows])

    def outputs(self, batch: Batch, /) -> UnitOutputs:
        """Return the recorded outputs of a batch's rows."""
        return UnitOutputs.computed(self.rows(batch.rows).to(batch.input_ids.device))

    def flops(self, _rows: int, _tokens: int, /) -> int:
        """Return 0: the outputs are computed already."""
        return 0


class FrozenDecoder:
    """A decoder at full size that runs each batch: its outputs for all rows are too many to keep."""

    def __init__(self, arch: Architecture, eps: float, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """Load ``tensors``: all of `full_tensors` of a decoder of that architecture, whose norms have that epsilon."""
        self._model = ElasticTransformer(arch, eps=eps)
        self._model.load_state_dict(tensors)
        self._model.freeze()
        self._model.to(device).eval()
        for module in self._model.modules():
            if isinstance(module, ElasticLinear):
                module.weight.data = module.merged  # one copy is enough of what never trains

    @torch.no_grad()
    def outputs(self, batch: Batch, /) -> UnitOutputs:
        """Return the outputs for a batch's units."""
        return unit_outputs_of(self._model, batch, self._model.arch.full).detached()

    def flops(self, rows: int, tokens: int, /) -> int:
        """Return the FLOPs of one pass."""
        return forward_flops(self._model.arch, self._model.arch.full, rows=rows, tokens=tokens)
