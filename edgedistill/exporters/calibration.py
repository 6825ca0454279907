"""What a classifier's scores mean, measured for each member of a palette, so that they survive a swap.

A temperature (Guo et al., 2017, arXiv 1706.04599) makes a member's scores probabilities. Texts out of scope tell what
the first member has to reject, and texts halfway there which energies of the others are like its own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize_scalar
from scipy.special import log_softmax, softmax
from torch import Tensor

from edgedistill.data.batches import Encoded
from edgedistill.distillation.mlfs import EncodedData
from edgedistill.palette import Calibration, OutOfScope
from edgedistill.runtime.calibrated_scores import energy

__all__ = ["Calibrator", "expected_calibration_error", "fitted_temperature", "spliced"]

_LEAST, _MOST = 0.2, 5.0  # beyond them validation is too small, or too well known, to tell
_BINS = 15
_HALFWAY = 3000
_LEAST_TOKENS = 6  # with the special ones: of two shorter texts a half is hardly anything
_Logits = NDArray[np.float64]


class Calibrator:
    """Measures the members of one palette; the first that is measured is the reference of the others.

    Args:
        data: labelled validation and test, or without labels.
        teacher: its outputs [rows, c] by split, which stand in for the labels.
        out_of_scope: texts that should be rejected; None for none.
    """

    def __init__(self, data: EncodedData, teacher: Mapping[str, Tensor], out_of_scope: Encoded | None) -> None:
        self._data, self._teacher = data, teacher
        self._out_of_scope = out_of_scope
        self._halfway = None if out_of_scope is None else spliced(data.validation, _HALFWAY)
        self._labels: NDArray[np.intp] | None = None
        self._ranks: list[float] | None = None

    @property
    def matched(self) -> tuple[Encoded, ...]:
        """The rows by which members are matched: those out of scope, and those halfway there."""
        return () if self._out_of_scope is None or self._halfway is None else (self._out_of_scope, self._halfway)

    def measure(self, validation: Tensor, test: Tensor, matched: Sequence[Tensor]) -> Calibration:
        """Of one member, from its outputs [rows, c] on validation, on test, and on `matched`."""
        temperature = fitted_temperature(_array(validation), self._targets(validation.shape[1]))
        asked, labels = _array(test), self._data.test.labels
        if self._labels is None:
            self._labels = asked.argmax(-1)
        errors = (
            (None, None)
            if labels is None
            else tuple(expected_calibration_error(asked / t, np.asarray(labels)) for t in (1.0, temperature))
        )
        energies = None if not matched else self._energies(*(energy(_array(outputs)) for outputs in matched))
        return Calibration(
            temperature=round(temperature, 4),
            error_before=errors[0],
            error=errors[1],
            flip_rate=round(float((asked.argmax(-1) != self._labels).mean()), 6),
            energies=None if energies is None else [round(float(value), 5) for value in energies],
        )

    def _energies(self, given: NDArray[np.float64], halfway: NDArray[np.float64]) -> NDArray[np.float64]:
        """Percentiles over both; the first member's say where among them those of the texts out of scope alone lie."""
        every = np.sort(np.concatenate([given, halfway]))
        if self._ranks is None:
            below = np.searchsorted(every, np.percentile(given, range(101)))
            self._ranks = [round(float(share), 6) for share in below / len(every)]
        found: NDArray[np.float64] = np.percentile(every, range(101))
        return found

    def recorded(self) -> OutOfScope | None:
        """For the manifest, once the first member is measured."""
        if not self.matched:
            return None
        assert self._ranks is not None
        given, halfway = self.matched
        return OutOfScope(texts=len(given), sha256=_sha256(given), halfway=len(halfway), ranks=self._ranks)

    def rejects_by(self, recorded: OutOfScope | None) -> bool:
        """Whether an earlier palette was exported with the same texts."""
        if recorded is None or self._out_of_scope is None:
            return recorded is None and self._out_of_scope is None
        return recorded.sha256 == _sha256(self._out_of_scope)

    def _targets(self, classes: int) -> _Logits:
        """Probabilities [rows, c] of validation: of the labels, or the teacher's."""
        labels = self._data.validation.labels
        if labels is None:
            return _probabilities(_array(self._teacher["validation"]))
        right: _Logits = np.eye(classes)[np.asarray(labels)]
        return right


def _sha256(rows: Encoded) -> str:
    return hashlib.sha256(repr(rows.ids).encode()).hexdigest()


def spliced(rows: Encoded, count: int) -> Encoded:
    """Rows that begin as one of these and end as another; none where these are too short.

    They lie between what is in scope and what is not, where thresholds do. Over them members are matched closely; texts
    that are far out of scope say little of that region, and of those near it there are never many.
    """
    long = [row for row, ids in enumerate(rows.ids) if len(ids) >= _LEAST_TOKENS]
    pairs = np.random.default_rng(0).choice(long, (count, 2)) if len(long) > 1 else ()

    def halves(of: Sequence[tuple[int, ...]]) -> tuple[tuple[int, ...], ...]:
        return tuple(of[a][: len(of[a]) // 2] + of[b][len(of[b]) // 2 :] for a, b in pairs)

    return Encoded(halves(rows.ids), halves(rows.type_ids), None, None, rows.pad)


def fitted_temperature(logits: _Logits, targets: _Logits) -> float:
    """The T, from 0.2 to 5, at which softmax(logits / T) is nearest to ``targets``, both [n, c], by cross-entropy."""

    def loss(log_temperature: float) -> float:
        return -float((targets * log_softmax(logits / np.exp(log_temperature), axis=-1)).sum(-1).mean())

    found = minimize_scalar(loss, bounds=(np.log(_LEAST), np.log(_MOST)), method="bounded")
    return float(np.exp(found.x))


def expected_calibration_error(logits: _Logits, labels: NDArray[np.intp]) -> float:
    """By how much scores and accuracy differ, in the mean over 15 bins of scores; logits [n, c], labels [n]."""
    scores, right = _probabilities(logits).max(-1), logits.argmax(-1) == labels
    bins = np.minimum((scores * _BINS).astype(int), _BINS - 1)
    gaps = [abs((scores - right)[bins == at].sum()) for at in range(_BINS)]
    return round(float(np.sum(gaps)) / len(labels), 6)


def _probabilities(logits: _Logits) -> _Logits:
    probabilities: _Logits = softmax(logits, axis=-1)
    return probabilities


def _array(outputs: Tensor) -> _Logits:
    return outputs.numpy().astype(np.float64)
