"""What a pass costs on a device, from a few that were measured there.

A subnet's operators are summed up by what they do: multiply-accumulates of the matrix products and of attention,
elements that pass the activations, norms and softmax, weights that are read, and operators that are started. A pass
takes so much of each, and each costs so much on the device; none costs less than nothing. Over 24 subnets of
MiniLM-L6 and four lengths, fitted to five subnets at the shortest and the longest, the median error was 1 to 2 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from edgedistill.manifest import SubnetEntry
from edgedistill.subnet import SubnetConfig

__all__ = ["CostModel", "MeasuredLatency", "PassWork", "line", "spanning", "to_nanoseconds"]

_MACS_TOKENS = 64  # of the manifest's MACs
_REACH = 1.5  # times the error: within so much lay nine of ten predictions of twelve profiles taken here

_Row = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class PassWork:
    """What a subnet does in a pass.

    ``parameters``: of its layers' matrices, each a multiply-accumulate a token. ``attention_macs``: of each pair of
    tokens. ``heads`` and ``ffn``: summed over its layers.
    """

    layers: int
    hidden: int
    heads: int
    ffn: int
    parameters: int
    attention_macs: float

    @classmethod
    def of(cls, config: SubnetConfig, parameters: int, attention_macs: float) -> PassWork:
        """From its configuration, and what depends on the size of a head."""
        heads, ffn = sum(layer.heads for layer in config.layers), sum(layer.ffn for layer in config.layers)
        return cls(len(config.layers), config.hidden, heads, ffn, parameters, attention_macs)

    @classmethod
    def of_entry(cls, entry: SubnetEntry, outputs: int) -> PassWork:
        """From a manifest's entry. Its MACs are head + n · parameters + n² · attention at n = 64.

        All but the last is in the entry (a pooler's d² aside, which then counts as attention).
        """
        head = entry.hidden * outputs
        attention = (entry.macs - head - _MACS_TOKENS * entry.layer_parameters) / _MACS_TOKENS**2
        return cls.of(entry.config, entry.layer_parameters, attention)

    def macs(self, tokens: int) -> float:
        """Of the layers, for one sequence."""
        return tokens * self.parameters + tokens**2 * self.attention_macs

    def features(self, batch: int, tokens: int) -> _Row:
        """Amounts of each kind of work [8], at least one operator among them."""
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
    """One measured latency."""

    work: PassWork
    batch: int
    tokens: int
    ms: float


@dataclass(frozen=True, slots=True)
class CostModel:
    """Milliseconds of each kind of work. ``error``: by how much, as a share, measured points scatter around it.

    Points that were fitted are too near, those of a subnet that was left out too far, with few others left to fit: the
    mean product of the two errors is the variance of what least squares cannot explain. The largest and the smallest
    subnet do not count, if there are others: what is asked for lies between them.
    """

    costs: _Row
    error: float

    @classmethod
    def fit(cls, points: Sequence[MeasuredLatency]) -> CostModel:
        """To points of two or more subnets; a tenth of a short latency counts as much as a tenth of a long one."""
        costs, products = _fitted(points), list[float]()
        for work in _between(points):
            others = _fitted([point for point in points if point.work != work])
            products += [_error(costs, point) * _error(others, point) for point in points if point.work == work]
        return cls(costs, math.sqrt(max(0.0, float(np.mean(products)))))

    def ms(self, work: PassWork, batch: int, tokens: int) -> float:
        """Of one pass."""
        return float(self.costs @ work.features(batch, tokens))

    @property
    def reach(self) -> float:
        """Within this share of a prediction the median lies in nine cases of ten."""
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


def line(amounts: Sequence[float], values: Sequence[float]) -> tuple[float, float]:
    """Start and slope, neither negative, of the line through values that comes nearest in shares of them."""
    rows = np.array([[1.0, amount] for amount in amounts]) / np.array(values)[:, None]
    start, slope = _not_negative(rows, np.ones(len(values)))
    return float(start), float(slope)


def _not_negative(rows: _Row, values: _Row) -> _Row:
    """Least squares with no negative coefficient: the best of all choices of columns, which are few."""
    count, best, found = rows.shape[1], np.inf, np.zeros(rows.shape[1])
    for choice in range(1, 2**count):
        columns = [column for column in range(count) if choice >> column & 1]
        solved = np.linalg.lstsq(rows[:, columns], values, rcond=None)[0]
        error = float(np.square(rows[:, columns] @ solved - values).sum())
        if (solved >= 0).all() and error < best:
            best, found = error, np.zeros(count)
            found[columns] = solved
    return found


def spanning(works: Sequence[PassWork], shapes: Sequence[tuple[int, int]], most: int) -> list[int]:
    """Which of the subnets to measure: the largest, the smallest, and those that tell the kinds of work best apart.

    Greedily, by the determinant of the features' products (D-optimal), in amounts a multiply-accumulate.
    """
    order = sorted(range(len(works)), key=lambda one: works[one].parameters)
    if len(order) <= most:
        return order
    rows = {one: np.array([works[one].features(*shape) for shape in shapes]) for one in order}
    rows = {one: found / found[:, 2:3] for one, found in rows.items()}
    spread = np.concatenate(list(rows.values())).std(0)
    chosen = [order[0], order[-1]]
    while len(chosen) < most:
        left = [one for one in order if one not in chosen]
        chosen.append(max(left, key=lambda one: _told(np.concatenate([rows[of] for of in (*chosen, one)]), spread)))
    return chosen


def _told(rows: _Row, spread: _Row) -> float:
    scaled = rows / np.where(spread > 0, spread, 1.0)
    return float(np.linalg.slogdet(scaled.T @ scaled + 1e-3 * np.eye(rows.shape[1]))[1])
