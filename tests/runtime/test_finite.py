"""An answer that is not finite is found, and a large one is none: warnings are errors here."""

from __future__ import annotations

import numpy as np
import pytest

from edgedistill.runtime.finite import all_finite


@pytest.mark.parametrize("shape", [(1, 1), (32, 1), (3, 5), (2, 4, 1)])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_number_that_is_not_finite_is_found(shape: tuple[int, ...], bad: float) -> None:
    outputs = np.ones(shape, np.float32)
    assert all_finite([outputs])
    outputs.flat[-1] = bad
    assert not all_finite([np.ones((1, 1), np.float32), outputs])


def test_numbers_of_a_regression_may_be_as_large_as_fp32_holds() -> None:
    assert all_finite([np.full((32, 1), 3e38, np.float32)])
