"""Predict the cost of a forward pass on a device from a few measured passes.

A pass is a sum of amounts of work: multiply-accumulates of matrix products and of attention, elements of activations,
norms and softmax, weights read, and operators started. Each kind of work has a cost on the device, never negative.
Over 24 subnets of MiniLM-L6 and four lengths, fitted to five subnets at the shortest and the longest length, the median
error was 1 to 2 % (`benchmarks/profiles`).
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgedistill.architecture import Subnet
from edgedistill.palette import SubnetEntry

__all__ = ["CostModel", "MeasuredLatency", "PassWork", "choose_spanning", "fit_line", "to_nanoseconds"]

_MACS_TOKENS = 64  # of the manifest's MACs
_REACH = 1.5  # times the error: nine of ten predictions were that close, over twelve profiles

_Row = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PassWork:
    """Describe the work of a subnet's forward pass.

    ``parameters``: those of the layers' matrices, one multiply-accumulate each per token. ``attention_macs``: those of
    each pair of tokens. ``heads`` and ``ffn``: sums over the layers.
    """

    layers: int
    hidden: int
    heads: int
    ffn: int
    parameters: int
    attention_macs: float

    @classmethod
    def of(cls, config: Subnet, parameters: int, attention_macs: float) -> PassWork:
        """Return the work of a configuration; the other arguments depend on the size of a head."""
        heads, ffn = sum(layer.heads for layer in config.layers), sum(layer.ffn for layer in config.layers)
        return cls(len(config.layers), config.hidden, heads, ffn, parameters, attention_macs)

    @classmethod
    def of_entry(cls, entry: SubnetEntry, outputs: int) -> PassWork:
        """Return the work of a manifest's entry.

        An older entry states no MACs of attention. They are what the head and the products of n = 64 tokens with the
        layers' matrices leave of all; a pooler's d² then counts as attention.
        """
        attention = entry.attention_macs
        if attention is None:
            attention = entry.macs - entry.hidden * outputs - _MACS_TOKENS * entry.layer_parameters
        return cls.of(entry.config, entry.layer_parameters, attention / _MACS_TOKENS**2)

    def macs(self, tokens: int) -> float:
        """Return the multiply-accumulates of the layers for one sequence."""
        return tokens * self.parameters + tokens**2 * self.attention_macs

    def features(self, batch: int, tokens: int) -> _Row:
        """Return the amount of each kind of work [8]; at least one operator is started."""
        rows, pairs = batch * tokens, batch * tokens**2
        return np.array(
            [
                1.0,
                self.layers,
                rows * self.parameters / 1e6,
                pairs * self.attention_macs / 1e6,
                rows * self.ffn / 1e4,
                rows * self.layers * self.hidden / 1e4,
                pairs * self.heads / 1e4,
                self.parameters / 1e6,
            ]
        )


class MeasuredLatency(NamedTuple):
    """Hold one measured latency."""

    work: PassWork
    batch: int
    tokens: int
    ms: float


@dataclass(frozen=True, slots=True)
class CostModel:
    """Predict milliseconds from the cost of each kind of work; ``error`` is the relative scatter of measured points.

    Fitted points are too close to the fit, and those of a subnet left out of it too far away, since few others remain.
    The mean product of both errors is the variance that least squares cannot explain. The largest and the smallest
    subnet do not count if there are others: predictions are for subnets between them.
    """

    costs: _Row
    error: float

    @classmethod
    def fit(cls, points: Sequence[MeasuredLatency]) -> CostModel:
        """Fit points of two or more subnets by relative error."""
        costs, products = _fitted(points), list[float]()
        for work in _between(points):
            others = _fitted([point for point in points if point.work != work])
            products += [_error(costs, point) * _error(others, point) for point in points if point.work == work]
        return cls(costs, math.sqrt(max(0.0, float(np.mean(products)))))

    def ms(self, work: PassWork, batch: int, tokens: int) -> float:
        """Return the milliseconds of one pass."""
        return float(self.costs @ work.features(batch, tokens))

    @property
    def reach(self) -> float:
        """Return the share of a prediction within which the median is in nine cases of ten."""
        return _REACH * self.error


def _between(points: Sequence[MeasuredLatency]) -> list[PassWork]:
    works = sorted(dict.fromkeys(point.work for point in points), key=lambda work: work.parameters)
    return works[1:-1] or works


def _fitted(points: Sequence[MeasuredLatency]) -> _Row:
    rows = np.array([point.work.features(point.batch, point.tokens) / point.ms for point in points])
    return _not_negative(rows, np.ones(len(points)))


def _error(costs: _Row, point: MeasuredLatency) -> float:
    return float(costs @ point.work.features(point.batch, point.tokens)) / point.ms - 1


def to_nanoseconds(figures: Mapping[str, float]) -> dict[str, float]:
    """Round milliseconds to nanoseconds, so that the order of short latencies survives."""
    return {name: round(float(ms), 6) for name, ms in figures.items()}


def fit_line(amounts: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Fit a line to values by relative error; return its start and its slope, neither negative."""
    rows = np.array([[1.0, amount] for amount in amounts]) / np.array(values)[:, None]
    start, slope = _not_negative(rows, np.ones(len(values)))
    return float(start), float(slope)


def _not_negative(rows: _Row, values: _Row) -> _Row:
    """Solve least squares without negative coefficients, by trying every choice of columns."""
    count, best, coefficients = rows.shape[1], np.inf, np.zeros(rows.shape[1])
    for choice in range(1, 2**count):
        columns = [column for column in range(count) if choice >> column & 1]
        solved = np.linalg.lstsq(rows[:, columns], values, rcond=None)[0]
        error = float(np.square(rows[:, columns] @ solved - values).sum())
        if (solved >= 0).all() and error < best:
            best, coefficients = error, np.zeros(count)
            coefficients[columns] = solved
    return coefficients


def choose_spanning(works: Sequence[PassWork], shapes: Sequence[tuple[int, int]], count: int) -> list[int]:
    """Choose ``count`` subnets to measure: the largest, the smallest, and those that best separate kinds of work.

    The choice is greedy and D-optimal: it maximizes the determinant of the features' products, with amounts taken
    relative to multiply-accumulates.
    """
    order = sorted(range(len(works)), key=lambda index: works[index].parameters)
    if len(order) <= count:
        return order
    features = {index: np.array([works[index].features(*shape) for shape in shapes]) for index in order}
    rows = {index: amounts / amounts[:, 2:3] for index, amounts in features.items()}
    spread = np.concatenate(list(rows.values())).std(0)
    chosen = [order[0], order[-1]]

    def gain(index: int) -> float:
        return _log_determinant(np.concatenate([rows[other] for other in (*chosen, index)]), spread)

    while len(chosen) < count:
        chosen.append(max((index for index in order if index not in chosen), key=gain))
    return chosen


def _log_determinant(rows: _Row, spread: _Row) -> float:
    scaled = rows / np.where(spread > 0, spread, 1.0)
    return float(np.linalg.slogdet(scaled.T @ scaled + 1e-3 * np.eye(rows.shape[1]))[1])
