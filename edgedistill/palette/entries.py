"""Entries of a manifest about one member: its configuration, sizes, quality and calibration."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgedistill.palette.values import (
    Count,
    FileName,
    Finite,
    FinitePercentiles,
    Items,
    Positive,
    Precision,
    Share,
    StrictModel,
    SubnetName,
)
from edgedistill.subnet import LayerShape, SubnetConfig

__all__ = ["Calibration", "Layer", "Quality", "SubnetEntry"]


class Layer(StrictModel):
    """A kept layer: its index in the supernet, its heads and its FFN width; of a decoder, its heads in the cache."""

    index: Count
    heads: Positive
    ffn: Positive
    kv_heads: Positive | None = None


class Quality(StrictModel):
    """A score on a data split, with the 95 % interval of its sampling error.

    The first of a split is the headline, of which more is better; of others (perplexity, errors) less may be.
    """

    metric: str
    split: str
    value: float
    low: float
    high: float
    examples: Positive


class Calibration(StrictModel):
    """What a classifier's scores mean, where the score is the largest of softmax(logits / ``temperature``).

    ``error_before`` (at a temperature of 1) and ``error``: expected calibration errors on test; None without labels.
    ``flip_rate``: the share of test rows that it labels otherwise than the palette's first member. ``energies``: the
    energy scores (`runtime.calibrated_scores.energy`) that 0, 1, ... 100 % of the texts stay below by which members are
    matched (`OutOfScope`); None where there were none.
    """

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    error_before: Share | None
    error: Share | None
    flip_rate: Share
    energies: FinitePercentiles | None


class SubnetEntry(StrictModel):
    """A subnet in one precision. ``macs`` are of one sequence of 64 tokens.

    ``cache_bytes_a_token``: what each token of a text adds to its cache, where the task is generation.
    """

    name: SubnetName
    precision: Precision
    graph: FileName
    weights: FileName
    layers: Annotated[Items[Layer], Field(min_length=1)]
    hidden: Positive
    layer_parameters: Count
    total_parameters: Count
    macs: Count
    size_mb: Finite
    quality: Annotated[Items[Quality], Field(min_length=1)]
    calibration: Calibration | None = None
    cache_bytes_a_token: Positive | None = None

    @property
    def config(self) -> SubnetConfig:
        """The configuration as the rest of the code has it."""
        return SubnetConfig(tuple(LayerShape(la.index, la.heads, la.ffn) for la in self.layers), self.hidden)

    def metric(self, split: str) -> str:
        """What the first quality measured on ``split`` is; of another split where there is none."""
        return next((q.metric for q in self.quality if q.split == split), self.quality[0].metric)

    def score(self, split: str) -> float:
        """The value of the first quality measured on ``split``; NaN where there is none."""
        return next((q.value for q in self.quality if q.split == split), float("nan"))
