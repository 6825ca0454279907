"""What a classifier's scores mean, whichever of its members answers."""

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
    """How surely a text is in scope, [batch] of logits [batch, labels]: the higher, the surer.

    The energy score (Liu et al., 2020, arXiv 2010.03759), log Σ exp(logits), less the mean of the logits, since
    nothing but their differences was trained.
    """
    import numpy as np

    exact = logits.astype(np.float64)
    highest = exact.max(-1)
    found: NDArray[np.float64] = highest + np.log(np.exp(exact - highest[..., None]).sum(-1)) - exact.mean(-1)
    return found


class CalibratedScores:
    """Probabilities from a member's logits, and which texts to accept.

    ``false_accepts``: the share of the palette's out-of-scope texts that may be accepted, 0 to 1, whichever member
    answers; None to accept everything.

    Raises:
        InputError: it is no share, or the palette was exported without out-of-scope texts.
    """

    def __init__(self, manifest: Manifest, false_accepts: float | None) -> None:
        if false_accepts is not None and not (is_real(false_accepts) and 0 <= false_accepts <= 1):
            raise InputError(f"false_accepts is {false_accepts!r}; expected a share from 0 to 1")
        if false_accepts is not None and manifest.out_of_scope is None:
            raise InputError(
                "the palette knows no texts that are out of scope, so it cannot tell what to reject; "
                "export it with --out-of-scope"
            )
        self._members = {entry.name: entry.calibration for entry in manifest.subnets if entry.calibration is not None}
        self._least: dict[str, float] = {}
        if false_accepts is not None and manifest.out_of_scope is not None:
            self._least = self._least_energies(1 - false_accepts, manifest.out_of_scope.ranks)

    def _least_energies(self, rejected: float, ranks: Sequence[float]) -> dict[str, float]:
        """What this share of the out-of-scope texts stays below at the first member, and its like at the others."""
        import numpy as np

        shares = np.linspace(0, 1, 101)
        rank = np.interp(rejected, shares, ranks)
        return {
            name: float(np.interp(rank, shares, member.energies))
            for name, member in self._members.items()
            if member.energies is not None
        }

    def accepted(self, subnet: str, logits: NDArray[np.float32]) -> NDArray[np.bool_]:
        """Whether to accept each text [batch], by that member's logits [batch, labels]."""
        found: NDArray[np.bool_] = energy(logits) >= self._least.get(subnet, 0.0)
        return found

    def of(self, subnet: str, logits: NDArray[np.float32]) -> NDArray[np.float64]:
        """Probabilities [batch, labels] of that member's logits [batch, labels]."""
        import numpy as np

        member = self._members.get(subnet)
        exact = logits.astype(np.float64)
        below = exact - exact.max(-1, keepdims=True)  # before the division, whose quotient may be too large for a float
        with np.errstate(over="ignore"):
            powers = np.exp(below / (1.0 if member is None else member.temperature))
        probabilities: NDArray[np.float64] = powers / powers.sum(-1, keepdims=True)
        return probabilities
