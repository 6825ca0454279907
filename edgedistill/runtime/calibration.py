"""Scores of a classifier's members that mean the same whichever of them answers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from edgedistill.errors import InputError
from edgedistill.manifest import Manifest

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["Scores"]


class Scores:
    """Probabilities from a member's logits, and one threshold for all members.

    ``threshold`` speaks of the palette's reference, its first member: where another member answers, it becomes the
    score that the same share of the palette's out-of-scope texts (or of its validation texts) reaches there.

    Raises:
        InputError: the threshold is no probability, or the palette has nothing to carry it over by.
    """

    def __init__(self, manifest: Manifest, threshold: float | None) -> None:
        if threshold is not None and not 0 <= threshold <= 1:
            raise InputError(f"threshold is {threshold}; expected a score from 0 to 1")
        if threshold is not None and manifest.rejection is None:
            raise InputError("this palette has no calibration, so a threshold would mean something else at each swap")
        self._members = {entry.name: entry.calibration for entry in manifest.subnets if entry.calibration is not None}
        self._least = {} if threshold is None else self._carried(manifest, threshold)

    def _carried(self, manifest: Manifest, threshold: float) -> dict[str, float]:
        import numpy as np

        assert manifest.rejection is not None
        reference = [0.0, *self._members[manifest.rejection.reference].percentiles, 1.0]
        return {
            name: float(np.interp(threshold, reference, [0.0, *member.percentiles, 1.0]))
            for name, member in self._members.items()
        }

    def least(self, subnet: str) -> float:
        """The lowest score of that member's that is accepted; 0 without a threshold."""
        return self._least.get(subnet, 0.0)

    def of(self, subnet: str, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities [batch, labels] of that member's logits [batch, labels]."""
        import numpy as np

        member = self._members.get(subnet)
        scaled = logits.astype(np.float64) / (1.0 if member is None else member.temperature)
        powers = np.exp(scaled - scaled.max(-1, keepdims=True))
        probabilities: NDArray[np.float64] = powers / powers.sum(-1, keepdims=True)
        return probabilities
