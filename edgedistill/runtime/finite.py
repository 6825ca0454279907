"""Whether a subnet answered with numbers at all."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

__all__ = ["NOT_FINITE", "all_finite"]

NOT_FINITE = "it answered with numbers that are not finite"


def all_finite(outputs: Sequence[Any]) -> bool:
    """Whether every floating-point output is.

    One number that is not finite makes the sum of squares so, in less time than a look at each takes. After a request
    has emptied the caches, most of that is reading the code, of which a dot product needs the least.
    """
    for output in outputs:
        try:
            if output.dtype.kind != "f":
                continue
        except AttributeError:  # none of numpy's
            continue
        flat = output.ravel()
        if output.shape[-1:] == (1,):  # of a regression, whose squares may be more than its type holds
            if not all(map(math.isfinite, flat.tolist())):
                return False
            continue
        # Half floats nearly always overflow, and others may: then with more room.
        if (output.itemsize < 4 or not math.isfinite(flat.dot(flat))) and not math.isfinite(flat.sum(dtype="f8")):
            return False
    return True
