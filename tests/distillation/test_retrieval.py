"""Neighbours in one member's index, asked by another."""

from __future__ import annotations

import numpy as np
import pytest

from edgedistill.distillation.retrieval import neighbours, recall_at_k
from edgedistill.errors import DataError


def _vectors(count: int, dimension: int = 16) -> np.ndarray:  # type: ignore[type-arg]
    return np.random.default_rng(0).normal(size=(count, dimension)).astype(np.float32)


def test_neighbours_are_those_of_the_largest_cosines() -> None:
    index = _vectors(1500)  # more than are asked at once
    unit = index / np.linalg.norm(index, axis=1, keepdims=True)
    alike = unit @ unit.T
    np.fill_diagonal(alike, -2)
    found = neighbours(3 * index, index, 10, exclude_self=True)
    assert all(len(set(row)) == 10 for row in found.tolist())
    largest = np.sort(alike, axis=1)[:, -10:]
    np.testing.assert_allclose(np.sort(np.take_along_axis(alike, found, axis=1), axis=1), largest, atol=1e-6)
    assert np.array_equal(neighbours(index, index, 1, exclude_self=False)[:, 0], np.arange(1500))


def test_recall_falls_with_what_the_vectors_have_lost() -> None:
    index = _vectors(400)
    truth = neighbours(index, index, 10, exclude_self=True)
    rotation, _ = np.linalg.qr(_vectors(16))
    lossy = index.copy()
    lossy[:, 12:] = 0
    assert recall_at_k(index, index, truth) == 1.0
    assert recall_at_k(index @ rotation, index @ rotation, truth) > 0.99
    assert 0.3 < recall_at_k(lossy, index, truth) < 0.9
    assert recall_at_k(index @ rotation, index, truth) < 0.1  # its own index would do, another's does not


def test_an_index_that_is_too_small() -> None:
    with pytest.raises(DataError, match="an index of 10 vectors has no 10 neighbours"):
        neighbours(_vectors(10), _vectors(10), 10, exclude_self=True)
    assert neighbours(_vectors(10), _vectors(10), 9, exclude_self=True).shape == (10, 9)
