"""Figures next to the headline metric: of a regression, its mean absolute error in the unit of the labels."""

from __future__ import annotations

from collections.abc import Mapping

from edgedistill.palette import SubnetEntry
from edgedistill.tasks.task import MEAN_ABSOLUTE_ERROR

__all__ = ["ERROR_TITLE", "error_in", "figures_of"]

ERROR_TITLE = "mean absolute error"


def error_in(metrics: Mapping[str, float]) -> float | None:
    """Return a regression's mean absolute error, from its labels or from its teacher; None of other tasks."""
    return next((value for name, value in metrics.items() if name.startswith(MEAN_ABSOLUTE_ERROR)), None)


def figures_of(entry: SubnetEntry, split: str) -> dict[str, float]:
    """Return every figure that a palette records of a member on a split, by metric."""
    return {quality.metric: quality.value for quality in entry.quality if quality.split == split}
