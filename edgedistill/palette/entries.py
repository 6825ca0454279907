"""Entries of a manifest about one member: its configuration, sizes, quality and calibration."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from edgedistill.architecture import LayerShape, Subnet
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
from edgedistill.palette.weight_schemes import Quantization

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
    """Calibrate a classifier's scores; a score is the largest of softmax(logits / ``temperature``).

    Where a text has any number of labels, scores are the sigmoids of logits / ``temperature``, and ``thresholds`` the
    scores from which each label is given, in the order of the labels.

    ``error_before`` (at a temperature of 1) and ``error``: expected calibration errors on test; None without labels.
    ``flip_rate``: the share of test rows that it labels otherwise than the palette's first member. ``energies``: the
    percentiles (0 to 100) of the energy score (`runtime.calibrated_scores.energy`) on the texts of `OutOfScope`; None
    where there were no such texts.
    """

    temperature: Annotated[float, Field(gt=0, allow_inf_nan=False)]
    error_before: Share | None
    error: Share | None
    flip_rate: Share
    energies: FinitePercentiles | None
    thresholds: Items[Share] | None = None


class SubnetEntry(StrictModel):
    """A subnet in one quantization. ``macs`` are of one sequence of 64 tokens.

    ``attention_macs``: those among them of queries with keys and of weights with values; older palettes lack them.
    ``cache_bytes_a_token``: what each token of a text adds to its cache, where the task is generation.
    """

    name: SubnetName
    quantization: Quantization
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
    attention_macs: Count | None = None

    @property
    def precision(self) -> Precision:
        """Return the number type of the weights: what names and options call its quantization."""
        return self.quantization.precision

    @property
    def config(self) -> Subnet:
        """Return the configuration as the rest of the code has it."""
        return Subnet(tuple(LayerShape(la.index, la.heads, la.ffn) for la in self.layers), self.hidden)

    def metric(self, split: str) -> str:
        """Return the metric of the first quality on ``split``, or of another split where it has none."""
        return next((q.metric for q in self.quality if q.split == split), self.quality[0].metric)

    def score(self, split: str) -> float:
        """Return the value of the first quality on ``split``; NaN where it has none."""
        return next((q.value for q in self.quality if q.split == split), float("nan"))
