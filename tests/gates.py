"""What a score of importance is the first-order value of: how the loss changes as a gate on a unit opens and closes."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor


def gate_slope(loss: Callable[[], Tensor], matrix: Tensor, start: int, width: int) -> Tensor:
    """By central differences, of a gate on some input columns of the matrix that the loss is computed by."""
    columns, step, losses = slice(start, start + width), 1e-4, []
    kept = matrix[:, columns].clone()
    for gate in (1 + step, 1 - step):
        matrix[:, columns] = kept * gate
        losses.append(loss().detach())
    matrix[:, columns] = kept
    return (losses[0] - losses[1]).abs() / (2 * step)
