"""Calibrate a classifier's scores, so that they mean the same for each of its members."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from edgedistill.errors import InputError
from edgedistill.palette import Manifest
from edgedistill.runtime.arguments import is_real

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

__all__ = ["CalibratedScores", "energy"]


def energy(logits: NDArray[Any]) -> NDArray[np.float64]:
    """Return the energy score [batch] of logits [batch, labels]: the higher, the more likely in scope.

    It is log Σ exp(logits) (Liu et al., 2020, arXiv 2010.03759), minus the mean of the logits, since only their
    differences were trained.
    """
    import numpy as np

    exact = logits.astype(np.float64)
    highest = exact.max(-1)
    scores: NDArray[np.float64] = highest + np.log(np.exp(exact - highest[..., None]).sum(-1)) - exact.mean(-1)
    return scores


class CalibratedScores:
    """Turn a member's logits into probabilities, and decide which texts to accept.

    ``false_accept_rate``: the share of the palette's out-of-scope texts that may be accepted, 0 to 1, whichever member
    answers; None to accept everything.

    Raises:
        InputError: it is not a share, or the palette was exported without out-of-scope texts.
    """

    def __init__(self, manifest: Manifest, false_accept_rate: float | None) -> None:
        if false_accept_rate is not None and not (is_real(false_accept_rate) and 0 <= false_accept_rate <= 1):
            raise InputError(f"false_accept_rate is {false_accept_rate!r}; expected a share from 0 to 1")
        if false_accept_rate is not None and manifest.out_of_scope is None:
            raise InputError(
                "the palette knows no texts that are out of scope, so it cannot tell what to reject; "
                "export it with --out-of-scope"
            )
        self._members = {entry.name: entry.calibration for entry in manifest.subnets if entry.calibration is not None}
        self._thresholds: dict[str, float] = {}
        if false_accept_rate is not None and manifest.out_of_scope is not None:
            self._thresholds = self._energy_thresholds(1 - false_accept_rate, manifest.out_of_scope.ranks)

    def _energy_thresholds(self, rejected: float, ranks: Sequence[float]) -> dict[str, float]:
        """Return each member's energy threshold: this share of out-of-scope texts is below the first member's."""
        import numpy as np

        shares = np.linspace(0, 1, 101)
        rank = np.interp(rejected, shares, ranks)
        return {
            name: float(np.interp(rank, shares, member.energies))
            for name, member in self._members.items()
            if member.energies is not None
        }

    def accepted(self, subnet: str, logits: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Return whether to accept each text [batch], by that member's logits [batch, labels]."""
        is_accepted: NDArray[np.bool_] = energy(logits) >= self._thresholds.get(subnet, 0.0)
        return is_accepted

    def probabilities(self, subnet: str, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return calibrated probabilities [batch, labels] of that member's logits [batch, labels]."""
        import numpy as np

        member = self._members.get(subnet)
        exact = logits.astype(np.float64)
        below = exact - exact.max(-1, keepdims=True)  # before the division, whose quotient may be too large for a float
        with np.errstate(over="ignore"):
            powers = np.exp(below / (1.0 if member is None else member.temperature))
        probabilities: NDArray[np.float64] = powers / powers.sum(-1, keepdims=True)
        return probabilities
