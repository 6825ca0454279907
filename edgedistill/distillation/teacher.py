"""The teacher's outputs on some rows, computed once: a frozen teacher then costs no further pass."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from edgedistill.distillation.batches import Batch, Encoded

__all__ = ["TeacherOutputs"]


class TeacherOutputs:
    """Unit outputs [u, c] by row."""

    def __init__(self, outputs: Tensor, data: Encoded) -> None:
        """``outputs`` [units of all rows, c], in the order of the rows of ``data``."""
        self._parts = torch.split(outputs, [data.units(row) for row in range(len(data))])

    def rows(self, rows: Sequence[int]) -> Tensor:
        """The outputs [u, c] of some rows, in their order."""
        return torch.cat([self._parts[row] for row in rows])

    def of(self, batch: Batch) -> Tensor:
        """The outputs [u, c] of a batch's rows, where the batch is."""
        return self.rows(batch.rows).to(batch.input_ids.device)
