"""What word counts reach on each task, where words tell and where they do not."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence

import pytest

from edgedistill.data.dataset import Columns, TaskData
from edgedistill.data.rows import Row
from edgedistill.distillation.baseline import word_count_score
from edgedistill.errors import DataError
from edgedistill.tasks import TaskName

RNG_SEED = 0
WORDS = ["red", "blue", "green", "cat", "house", "river", "quick", "slow", "warm", "cold", "apple", "stone"]
PAIR = Columns(("first", "second"), "label")


def _data(task: TaskName, row: Callable[[random.Random], Row], columns: Columns) -> TaskData:
    rng = random.Random(RNG_SEED)
    rows: dict[str, Sequence[Row]] = {
        split: [row(rng) for _ in range(count)] for split, count in (("train", 200), ("validation", 9), ("test", 60))
    }
    return TaskData.from_rows(rows, "rows", task, columns)


def _overlapping(rng: random.Random) -> tuple[tuple[str, str], int]:
    """Two texts of four words, and how many of them they share."""
    shared = rng.randint(0, 4)
    first = rng.sample(WORDS, 4)
    others = [word for word in WORDS if word not in first]
    return (" ".join(first), " ".join(first[:shared] + rng.sample(others, 4 - shared))), shared


def test_a_class_that_a_word_tells() -> None:
    def row(rng: random.Random) -> Row:
        verb = rng.choice(["start", "stop"])
        return f"{verb} the {rng.choice(WORDS)}", verb.upper()

    assert word_count_score(_data("text-classification", row, Columns())) == 1.0


def test_a_number_that_words_tell() -> None:
    def row(rng: random.Random) -> Row:
        degree = rng.choice(["mild", "hot", "boiling"])
        return f"{degree} {rng.choice(WORDS)}", float(["mild", "hot", "boiling"].index(degree))

    assert word_count_score(_data("text-regression", row, Columns())) > 0.9


def test_pairs_are_told_by_what_they_share() -> None:
    def row(rng: random.Random) -> Row:
        pair, shared = _overlapping(rng)
        return pair, float(shared)

    assert word_count_score(_data("text-regression", row, PAIR)) > 0.8
    assert word_count_score(_data("sentence-embedding", row, PAIR)) > 0.8


def test_a_class_of_pairs() -> None:
    def row(rng: random.Random) -> Row:
        pair, shared = _overlapping(rng)
        return pair, "alike" if shared > 2 else "other"

    assert word_count_score(_data("text-classification", row, PAIR)) > 0.8


def test_tags_are_told_by_words_and_their_neighbours() -> None:
    def row(rng: random.Random) -> Row:
        first, second = rng.sample(WORDS, 2)
        return ("from", first, "to", second), ("O", "B-from", "O", "B-to")

    assert word_count_score(_data("token-classification", row, Columns(("tokens",), "tags"))) == 1.0


def test_without_labels_there_is_no_score() -> None:
    def row(rng: random.Random) -> Row:
        return rng.choice(WORDS), None

    with pytest.raises(DataError, match="need labels"):
        word_count_score(_data("text-regression", row, Columns()))
