"""Check that a subnet's outputs are finite."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["NOT_FINITE", "all_finite"]

NOT_FINITE = "it answered with numbers that are not finite"


def all_finite(outputs: Sequence[Any]) -> bool:
    """Return whether all floating-point outputs are finite.

    One number that is not finite makes the sum of squares not finite, which is faster than a check of each. A request
    evicts our code from the caches, so most of the time is reading code, of which a dot product needs the least.
    """
    for output in outputs:
        try:
            if output.dtype.kind != "f":
                continue
        except AttributeError:  # not an array
            continue
        flat = output.ravel()
        if output.shape[-1:] == (1,):  # a regression's, whose squares may overflow its type
            if not all(map(math.isfinite, flat.tolist())):
                return False
            continue
        # Half floats nearly always overflow, and others may: then with more room.
        if (output.itemsize < 4 or not math.isfinite(flat.dot(flat))) and not math.isfinite(flat.sum(dtype="f8")):
            return False
    return True
