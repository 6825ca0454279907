"""Scale a regression's labels: a model learns them centred and scaled, and answers in the user's unit.

An affine change of the labels then changes nothing but rounding. A new head begins near 0, whatever the labels are.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from pydantic import BaseModel, ConfigDict
from torch import Tensor

from edgedistill.errors import DataError

__all__ = ["LabelScale"]

_WEIGHT, _BIAS = "classifier.weight", "classifier.bias"
_REACH = 4.0  # spreads around the mean within which most answers lie
_LEAST_STEPS = 8  # of fp32 in a spread: rounding then adds about 1 % to an error of a quarter of the spread
_SMALLEST = float(np.finfo(np.float32).tiny / np.finfo(np.float32).eps)  # weights of a smaller unit lose digits


class LabelScale(BaseModel):
    """Hold the mean and the spread (standard deviation) of a regression's labels, computed in fp64."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    mean: float
    spread: float

    @classmethod
    def of(cls, values: ArrayLike) -> LabelScale:
        """Return the mean and the spread of some numbers, which may be 0."""
        numbers = np.asarray(values, dtype=np.float64)
        from_first = numbers - numbers[0]  # a large offset then costs no digits
        return cls(mean=float(numbers[0] + from_first.mean()), spread=float(from_first.std()))

    @classmethod
    def fit(cls, values: ArrayLike, place: str) -> LabelScale:
        """Return the scale of labels, or of a teacher's answers, that training is to learn.

        Args:
            values: finite numbers.
            place: begins the message of an error: whose numbers they are.

        Raises:
            DataError: fp32, which answers are in, cannot distinguish the numbers.
        """
        scale = cls.of(values)
        step = _step(float(np.abs(np.asarray(values, dtype=np.float64)).max()))
        least = max(_LEAST_STEPS * step, _SMALLEST)
        if not scale.spread >= least:
            raise DataError(
                f"{place} spread by {scale.spread:.3g} around {scale.mean:.9g}, where answers (fp32) come in steps of "
                f"{step:.3g}; expected a spread of at least {least:.3g}: subtract a constant, or change the unit"
            )
        return scale

    @property
    def rounding(self) -> float:
        """Return the distance of neighbouring fp32 numbers where answers lie, in spreads."""
        return _step(abs(self.mean) + _REACH * self.spread) / self.spread

    def standardised(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return numbers of the user's unit as training sees them."""
        result: NDArray[np.float64] = (np.asarray(values, dtype=np.float64) - self.mean) / self.spread
        return result

    def in_unit(self, values: ArrayLike) -> NDArray[np.float64]:
        """Return what training sees in the user's unit."""
        result: NDArray[np.float64] = np.asarray(values, dtype=np.float64) * self.spread + self.mean
        return result

    def folded(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Return an encoder's tensors with a head that answers in the user's unit."""
        weight, bias = tensors[_WEIGHT].double(), tensors[_BIAS].double()
        head = {_WEIGHT: weight * self.spread, _BIAS: bias * self.spread + self.mean}
        return {**tensors, **{name: tensor.float() for name, tensor in head.items()}}

    @torch.no_grad()
    def unfold(self, head: torch.nn.Linear) -> None:
        """Let a head that answers in the user's unit answer as training sees it."""
        bias: Any = (head.bias.double() - self.mean) / self.spread
        head.weight.copy_(head.weight.double() / self.spread)
        head.bias.copy_(bias)


def _step(number: float) -> float:
    """Return the distance of neighbouring fp32 numbers around a number."""
    return float(np.spacing(np.float32(min(number, float(np.finfo(np.float32).max)))))
