"""What each task's losses and metrics are, by hand."""

from __future__ import annotations

import math
import random

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from edgedistill.data.batches import Encoded, make_batch
from edgedistill.tasks import task_of

CLASSES, NUMBERS = task_of("text-classification"), task_of("text-regression")
TAGS, VECTORS = task_of("token-classification"), task_of("sentence-embedding")


def _one_hot(*classes: int, count: int) -> np.ndarray:  # type: ignore[type-arg]
    return np.eye(count, dtype=np.float32)[list(classes)]


def test_how_many_outputs_a_unit_has() -> None:
    assert [task.outputs(7, 24) for task in (CLASSES, TAGS, NUMBERS, VECTORS)] == [7, 7, 1, 24]


def test_tags_are_read_at_the_words_and_all_else_by_row() -> None:
    ids = ((2, 4, 7, 5, 3), (2, 5, 3))
    outputs = torch.arange(20.0).view(2, 5, 2)
    words = make_batch(Encoded(ids, ids, None, ((1, 3), (1,)), 0), [0, 1])
    assert words.unit_outputs(outputs).tolist() == [[2.0, 3.0], [6.0, 7.0], [12.0, 13.0]]
    rows = make_batch(Encoded(ids, ids, None, None, 0), [0, 1])
    assert torch.equal(rows.unit_outputs(outputs[:, 0]), outputs[:, 0])


def test_hard_losses_are_one_a_unit() -> None:
    logits = torch.tensor([[0.0, 0.0], [math.log(9.0), 0.0]])
    found = CLASSES.hard_loss(logits, torch.tensor([0, 1]))
    torch.testing.assert_close(found, torch.tensor([math.log(2.0), math.log(10.0)]))
    numbers = NUMBERS.hard_loss(torch.tensor([[1.0], [3.0]]), torch.tensor([1.0, 5.0]))
    assert numbers.tolist() == [0.0, 4.0]
    with pytest.raises(NotImplementedError):
        VECTORS.hard_loss(logits, torch.tensor([0, 1]))


def test_the_soft_loss_of_classes_by_hand() -> None:
    student, teacher = torch.zeros(2, 2), torch.tensor([[math.log(9.0), 0.0], [0.0, 0.0]])
    p = 0.75  # softmax of log(9)/2 against 0
    kl = p * math.log(p / 0.5) + (1 - p) * math.log((1 - p) / 0.5)
    torch.testing.assert_close(CLASSES.soft_loss(student, teacher, 2.0), torch.tensor([4 * kl, 0.0]))


def test_the_soft_loss_of_unit_vectors_is_two_less_two_cosines() -> None:
    first, second = (F.normalize(torch.randn(5, 8, generator=torch.Generator().manual_seed(s)), dim=-1) for s in (0, 1))
    torch.testing.assert_close(VECTORS.soft_loss(first, second, 2.0), 2 - 2 * F.cosine_similarity(first, second))
    assert NUMBERS.soft_loss(torch.tensor([[1.0]]), torch.tensor([[4.0]]), 2.0).tolist() == [9.0]


def test_metrics_of_two_classes_are_of_the_second() -> None:
    found, labels = _one_hot(1, 1, 0, 0, 1, count=2), [1, 0, 0, 1, 1]
    metrics = CLASSES.metrics(found, labels, ("no", "yes"))
    assert next(iter(metrics)) == CLASSES.headline
    assert metrics == pytest.approx(
        {"accuracy": 0.6, "f1": 2 / 3, "matthews": (2 * 1 - 1 * 1) / math.sqrt(3 * 3 * 2 * 2)}
    )


def test_f1_of_more_classes_is_their_mean() -> None:
    metrics = CLASSES.metrics(_one_hot(0, 1, 1, 2, count=3), [0, 1, 2, 2], "abc")
    assert metrics["f1"] == pytest.approx((1 + 2 / 3 + 2 / 3) / 3)


@pytest.mark.parametrize("labels", [[0, 0], [1, 1], [0, 1]])
def test_an_answer_that_is_always_the_same(labels: list[int]) -> None:
    metrics = CLASSES.metrics(_one_hot(0, 0, count=2), labels, "ab")
    assert metrics["matthews"] == 0.0
    expected = {"spearman": 0.0, "pearson": 0.0, "mean_absolute_error": 1 - sum(labels) / 2}
    assert NUMBERS.metrics(np.ones((2, 1), np.float32), labels, ()) == expected


@pytest.mark.parametrize("values", [[1.0], [1.0, math.nan, 2.0], [0.1, 0.1 + 1e-9, 0.1]])
def test_numbers_that_have_no_correlation(values: list[float]) -> None:
    outputs = np.array(values, np.float32)[:, None]
    metrics = NUMBERS.metrics(outputs, list(range(len(values))), ())
    assert (metrics["spearman"], metrics["pearson"]) == (0.0, 0.0)


def test_correlations_of_numbers() -> None:
    outputs = np.array([1, 2, 3, 100], np.float32)[:, None]
    metrics = NUMBERS.metrics(outputs, [0.1, 0.2, 0.3, 0.4], ())
    assert next(iter(metrics)) == NUMBERS.headline
    assert metrics["spearman"] == pytest.approx(1.0)
    assert 0.7 < metrics["pearson"] < 0.9


NAMES = ("O", "B-a", "I-a", "B-b", "I-b")


def _entities(tags: list[str]) -> set[tuple[int, int, str]]:
    """As conlleval: an I without its B begins an entity too."""
    found: set[tuple[int, int, str]] = set()
    start, kind = -1, ""
    for place, tag in enumerate([*tags, "O"]):
        prefix, _, of = tag.partition("-")
        if start >= 0 and (prefix != "I" or of != kind):
            found.add((start, place, kind))
            start = -1
        if prefix == "B" or (prefix == "I" and start < 0):
            start, kind = place, of
    return found


def test_entity_f1_is_conllevals() -> None:
    rng = random.Random(0)
    labels = [[rng.randrange(5) for _ in range(rng.randint(0, 8))] for _ in range(200)]
    found = [[tag if rng.random() < 0.7 else rng.randrange(5) for tag in row] for row in labels]
    ours, theirs = ([_entities([NAMES[tag] for tag in row]) for row in rows] for rows in (found, labels))
    right = sum(len(a & b) for a, b in zip(ours, theirs, strict=True))
    metrics = TAGS.metrics(_one_hot(*(tag for row in found for tag in row), count=5), labels, NAMES)
    assert next(iter(metrics)) == TAGS.headline
    assert metrics["entity_f1"] == pytest.approx(2 * right / (sum(map(len, ours)) + sum(map(len, theirs))))
    assert 0.6 < metrics["accuracy"] < 0.9


def test_tags_without_entities_and_tags_that_are_no_bio() -> None:
    assert TAGS.metrics(_one_hot(0, 0, count=5), [(0,), (0,)], NAMES) == {"entity_f1": 0.0, "accuracy": 1.0}
    speech = TAGS.metrics(_one_hot(0, 1, 1, 1, count=2), [(0, 1), (0, 1)], ("NOUN", "VERB"))
    assert speech == {"entity_f1": 0.75, "accuracy": 0.75}


def test_embeddings_are_scored_by_the_cosines_of_pairs() -> None:
    angles = np.array([0.0, 0.1, 0.0, 0.9, 0.0, 0.5])
    outputs = np.stack([np.cos(angles), np.sin(angles)], -1).astype(np.float32)
    metrics = VECTORS.metrics(outputs, [5.0, 5.0, 1.0, 1.0, 3.0, 3.0], ())
    assert next(iter(metrics)) == VECTORS.headline
    assert metrics["spearman"] == pytest.approx(1.0)


def test_agreement_with_a_teacher() -> None:
    ours, theirs = np.array([[1.0, 0.0], [0.0, 1.0]], np.float32), np.array([[3.0, 1.0], [2.0, 1.0]], np.float32)
    assert CLASSES.agreements(ours, theirs) == {"agreement": 0.5}
    assert TAGS.agreements(ours, theirs) == {"agreement": 0.5}
    assert NUMBERS.agreements(ours, theirs)["spearman_to_teacher"] == pytest.approx(1.0)
    assert VECTORS.agreements(ours, ours)["cosine_to_teacher"] == pytest.approx(1.0)
