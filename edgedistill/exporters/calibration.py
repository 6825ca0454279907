"""Calibrate the scores of a palette's classifiers, each by itself, so that a score means the same after a swap.

A temperature (Guo et al., 2017, arXiv 1706.04599) makes a member's scores probabilities. Texts out of scope show what
the first member has to reject. Texts halfway there show which energies of the others match its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from torch import Tensor

from edgedistill.data.batches import Encoded
from edgedistill.distillation.mlfs import EncodedData
from edgedistill.palette import Calibration, OutOfScope
from edgedistill.runtime.calibrated_scores import energy
from edgedistill.tasks.task import Task

__all__ = ["Calibrator", "at_own_thresholds", "fitted_temperature", "spliced"]

_MIN_TEMPERATURE, _MAX_TEMPERATURE = 0.2, 5.0  # beyond them validation is too small, or too well learned, to tell
_HALFWAY_TEXTS = 3000
_MIN_TOKENS = 6  # with the special ones: half of a shorter text is hardly anything
_Logits = NDArray[np.floating[Any]]


class Calibrator:
    """Measure the members of one palette; the first that is measured is the reference of the others.

    Args:
        task: says what scores are.
        data: labelled validation and test, or without labels.
        teacher: its outputs [rows, c] by split, which stand in for the labels.
        out_of_scope: texts that should be rejected; None for none.
    """

    def __init__(
        self, task: Task, data: EncodedData, teacher: Mapping[str, Tensor], out_of_scope: Encoded | None
    ) -> None:
        self._task, self._data, self._teacher = task, data, teacher
        self._out_of_scope = out_of_scope
        self._halfway = None if out_of_scope is None else spliced(data.validation, _HALFWAY_TEXTS)
        self._decisions: NDArray[Any] | None = None  # of the first member on test
        self._ranks: list[float] | None = None

    @property
    def matched(self) -> tuple[Encoded, ...]:
        """Return the rows by which members are matched: those out of scope, and those halfway there."""
        return () if self._out_of_scope is None or self._halfway is None else (self._out_of_scope, self._halfway)

    def measure(self, validation: Tensor, test: Tensor, matched: Sequence[Tensor]) -> Calibration:
        """Measure one member by its outputs [rows, c] on validation, on test, and on `matched`."""
        task, labels, logits = self._task, self._data.test.labels, _array(test)
        targets = self._targets(validation.shape[1])
        temperature = fitted_temperature(task, _array(validation), targets)
        recorded = round(temperature, 4)
        thresholds = task.thresholds(task.scores(_array(validation) / recorded), targets)
        decisions = task.decisions(task.at_thresholds(logits, recorded, thresholds))
        if self._decisions is None:
            self._decisions = decisions
        differs = decisions != self._decisions
        errors = [None if labels is None else task.calibration_error(logits / t, labels) for t in (1.0, temperature)]
        energies = None if not matched else self._energies(*(energy(_array(outputs)) for outputs in matched))
        return Calibration(
            temperature=recorded,
            error_before=errors[0],
            error=errors[1],
            flip_rate=round(float((differs if differs.ndim == 1 else differs.any(-1)).mean()), 6),
            thresholds=thresholds,
            energies=None if energies is None else [round(float(value), 5) for value in energies],
        )

    def _energies(self, rejected: NDArray[np.float64], halfway: NDArray[np.float64]) -> NDArray[np.float64]:
        """Return percentiles over both; the first member's also fix the ranks of the texts out of scope among them."""
        energies = np.sort(np.concatenate([rejected, halfway]))
        if self._ranks is None:
            below = np.searchsorted(energies, np.percentile(rejected, range(101)))
            self._ranks = [round(float(share), 6) for share in below / len(energies)]
        percentiles: NDArray[np.float64] = np.percentile(energies, range(101))
        return percentiles

    def recorded(self) -> OutOfScope | None:
        """Return the manifest's entry for texts out of scope, once the first member is measured."""
        if not self.matched:
            return None
        assert self._ranks is not None
        rejected, halfway = self.matched
        return OutOfScope(texts=len(rejected), sha256=_sha256(rejected), halfway=len(halfway), ranks=self._ranks)

    def rejects_by(self, recorded: OutOfScope | None) -> bool:
        """Return True if an earlier palette was exported with the same texts."""
        if recorded is None or self._out_of_scope is None:
            return recorded is None and self._out_of_scope is None
        return recorded.sha256 == _sha256(self._out_of_scope)

    def _targets(self, classes: int) -> _Logits:
        """Return probabilities [rows, c] of validation: those of the labels, or else the teacher's."""
        labels = self._data.validation.labels
        if labels is None:
            return self._task.scores(_array(self._teacher["validation"]))
        return self._task.targets(labels, classes)


def _sha256(rows: Encoded) -> str:
    return hashlib.sha256(repr(rows.ids).encode()).hexdigest()


def spliced(rows: Encoded, count: int) -> Encoded:
    """Return rows that begin as one of these and end as another; none if these are too short.

    They are between what is in scope and what is not, as thresholds are, so they match members closely there. Texts far
    out of scope say little about that region, and texts near it are always few.
    """
    long = [row for row, ids in enumerate(rows.ids) if len(ids) >= _MIN_TOKENS]
    pairs = np.random.default_rng(0).choice(long, (count, 2)) if len(long) > 1 else ()

    def halves(sequences: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
        chosen = ((sequences[a], sequences[b]) for a, b in pairs)
        return tuple(first[: len(first) // 2] + second[len(second) // 2 :] for first, second in chosen)

    return Encoded(halves(rows.ids), halves(rows.type_ids), None, None, rows.pad)


def fitted_temperature(task: Task, logits: _Logits, targets: _Logits) -> float:
    """Return the T, from 0.2 to 5, at which the scores of logits / T are nearest to ``targets``, both [n, c]."""
    result = minimize_scalar(
        lambda log_temperature: task.surprise(logits / np.exp(log_temperature), targets),
        bounds=(np.log(_MIN_TEMPERATURE), np.log(_MAX_TEMPERATURE)),
        method="bounded",
    )
    return float(np.exp(result.x))


def at_own_thresholds(task: Task, outputs: Tensor, rows: Encoded, teacher: Tensor | None) -> Tensor:
    """Return outputs [rows, c] as decided at the thresholds that fit these very rows, where the task has any."""
    if not task.has_thresholds:
        return outputs
    logits = _array(outputs)
    targets = task.scores(_array(teacher)) if rows.labels is None and teacher is not None else None
    if targets is None:
        targets = task.targets(rows.labels or (), logits.shape[1])
    temperature = fitted_temperature(task, logits, targets)
    thresholds = task.thresholds(task.scores(logits / temperature), targets)
    return torch.from_numpy(task.at_thresholds(logits, temperature, thresholds)).float()


def _array(outputs: Tensor) -> _Logits:
    return outputs.numpy().astype(np.float64)
