"""A teacher that stage 0 left and that stays as it is: its outputs, known before, or itself, asked in every step."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

import torch
from torch import Tensor

from edgedistill.architecture import Architecture
from edgedistill.data.batches import Batch, Encoded
from edgedistill.distillation.answers import Answers, ask
from edgedistill.distillation.cost import forward_flops
from edgedistill.supernet.lowrank import ElasticLinear
from edgedistill.supernet.model import ElasticTransformer

__all__ = ["FrozenDecoder", "Teacher", "TeacherOutputs"]


class Teacher(Protocol):
    """What says what a batch's units should be answered."""

    def of(self, batch: Batch, /) -> Answers:
        """The answers to a batch's units, as constants, where the batch is."""

    def flops(self, rows: int, tokens: int, /) -> int:
        """What a step's answers, on ``rows`` sequences of ``tokens`` tokens, cost."""


class TeacherOutputs:
    """Unit outputs [u, c] by row, computed once: a frozen teacher then costs no further pass."""

    def __init__(self, outputs: Tensor, data: Encoded) -> None:
        """``outputs`` [units of all rows, c], in the order of the rows of ``data``."""
        self._parts = torch.split(outputs, [data.units(row) for row in range(len(data))])

    def rows(self, rows: Sequence[int]) -> Tensor:
        """The outputs [u, c] of some rows, in their order."""
        return torch.cat([self._parts[row] for row in rows])

    def of(self, batch: Batch, /) -> Answers:
        """The answers to a batch's rows."""
        return Answers.known(self.rows(batch.rows).to(batch.input_ids.device))

    def flops(self, _rows: int, _tokens: int, /) -> int:
        """None any more."""
        return 0


class FrozenDecoder:
    """A decoder at full size that answers a batch when it is asked: its outputs for all rows are too many to keep."""

    def __init__(self, arch: Architecture, eps: float, tensors: Mapping[str, Tensor], device: torch.device) -> None:
        """``tensors``: all of `full_tensors` of a decoder of that architecture, whose norms have that epsilon."""
        self._model = ElasticTransformer(arch, eps=eps)
        self._model.load_state_dict(tensors)
        self._model.freeze()
        self._model.to(device).eval()
        for module in self._model.modules():
            if isinstance(module, ElasticLinear):
                module.weight.data = module.merged  # one copy is enough of what never trains

    @torch.no_grad()
    def of(self, batch: Batch, /) -> Answers:
        """The answers to a batch's units."""
        return ask(self._model, batch, self._model.arch.full).detached()

    def flops(self, rows: int, tokens: int, /) -> int:
        """One pass."""
        return forward_flops(self._model.arch, self._model.arch.full, rows=rows, tokens=tokens)
