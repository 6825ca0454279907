"""Texts to batches of token ids: similar lengths together, so that little is padding."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from tokenizers import Encoding, Tokenizer
from torch import Tensor

from edgedistill.data.dataset import Label, Split
from edgedistill.errors import ModelError
from edgedistill.library_errors import library_errors
from edgedistill.supernet.label_scale import LabelScale
from edgedistill.tasks import TaskName, task_of
from edgedistill.tasks.fields import Text

__all__ = [
    "Batch",
    "Encoded",
    "encode",
    "epoch_batches",
    "make_batch",
    "sorted_batches",
]

_CHUNK = 50  # batches sorted together: sorting more would leave too little chance in the order

_Ids = tuple[int, ...]
_Item = TypeVar("_Item")


@dataclass(frozen=True)
class Encoded:
    """Rows of token ids.

    Attributes:
        ids: the token ids of each row.
        type_ids: of a pair, which text each token is of.
        labels: a class or a number a row, or, where words are labelled, a class for each of ``words``.
        words: where words are labelled, the places of the tokens that begin one; words that were cut off have none.
        pad: the id that fills rows up.
        truncated: how many texts had more tokens than are encoded.
        scale: by what a regression's labels are standardised to be learnt; ``labels`` are in the user's unit.
    """

    ids: tuple[_Ids, ...]
    type_ids: tuple[_Ids, ...]
    labels: tuple[Label, ...] | None
    words: tuple[_Ids, ...] | None
    pad: int
    truncated: int = 0
    scale: LabelScale | None = None

    def __len__(self) -> int:
        return len(self.ids)

    def units(self, row: int) -> int:
        """Return how many outputs a row has."""
        return 1 if self.words is None else len(self.words[row])

    def subset(self, rows: Sequence[int]) -> Encoded:
        """Return some of the rows."""

        def pick(column: tuple[_Item, ...]) -> tuple[_Item, ...]:
            return tuple(column[row] for row in rows)

        labels = None if self.labels is None else pick(self.labels)
        words = None if self.words is None else pick(self.words)
        return Encoded(pick(self.ids), pick(self.type_ids), labels, words, self.pad, scale=self.scale)

    def unit_labels(self, rows: Iterable[int]) -> Tensor | None:
        """Return the labels [u] of some rows' units: int64 classes, or float32 numbers standardised by ``scale``."""
        if self.labels is None:
            return None
        if self.words is None:
            labels = [self.labels[row] for row in rows]
            return torch.tensor(labels) if self.scale is None else self.standardised(labels)
        word_tags = (self.labels[row] for row in rows)
        return torch.tensor([tag for tags in word_tags if isinstance(tags, tuple) for tag in tags], dtype=torch.int64)

    def standardised(self, numbers: ArrayLike) -> Tensor:
        """Return labels or answers of the user's unit as a model learns them, in float32."""
        numbers = numbers if self.scale is None else self.scale.standardised(numbers)
        return torch.from_numpy(np.asarray(numbers, dtype=np.float32))

    def in_unit(self, outputs: Tensor) -> NDArray[np.floating[Any]]:
        """Return a model's outputs in the unit of the labels."""
        numbers: NDArray[np.floating[Any]] = outputs.numpy()
        return numbers if self.scale is None else self.scale.in_unit(numbers)


@dataclass(frozen=True)
class Batch:
    """``input_ids``, ``attention_mask``, ``token_type_ids`` int64 [b, n], and what its outputs should be.

    ``labels`` [u] has one entry a unit, a row or a labelled word: int64 classes or float32 numbers. ``units``
    [b, n] marks the tokens that are units where words are labelled. ``rows`` are those of the data.
    """

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    labels: Tensor | None
    units: Tensor | None
    rows: tuple[int, ...]

    def __len__(self) -> int:
        return len(self.rows)

    def unit_outputs(self, outputs: Tensor) -> Tensor:
        """Return the outputs [u, c] of the batch's units from a model's, [b, c] or [b, n, c].

        In fp32 whatever the precision of products: the divergence of near-equal distributions needs its digits.
        """
        return (outputs if self.units is None else outputs[self.units]).float()

    def to(self, device: torch.device) -> Batch:
        """Return the batch on a device."""
        labels, units = (None if t is None else t.to(device) for t in (self.labels, self.units))
        ids, mask, types = (t.to(device) for t in (self.input_ids, self.attention_mask, self.token_type_ids))
        return Batch(ids, mask, types, labels, units, self.rows)


def encode(tokenizer: Tokenizer, split: Split, task: TaskName, *, max_tokens: int, pad: int) -> Encoded:
    """Tokenize every text, cut to ``max_tokens`` with the special ones kept, of a pair the longer text first.

    A pair is one row, except for sentence embeddings: there its texts are two rows, one after the other, both
    with its label.
    """
    kind = task_of(task)
    texts, labels = _apart(split) if kind.embeds else (split.texts, split.labels)
    by_words = kind.by_words
    tokenizer.enable_truncation(max_tokens)
    inputs = [list(text) for text in texts] if by_words else list(texts)
    with library_errors(ModelError, "the model's tokenizer cannot encode the texts"):
        encodings = tokenizer.encode_batch(inputs, is_pretokenized=by_words)
    tokenizer.no_truncation()
    ids = tuple(tuple(encoding.ids) for encoding in encodings)
    types = tuple(tuple(encoding.type_ids) for encoding in encodings)
    truncated = sum(bool(encoding.overflowing) for encoding in encodings)
    if not by_words:
        return Encoded(ids, types, labels, None, pad, truncated)
    begins = [_first_tokens(encoding) for encoding in encodings]
    words = tuple(tuple(begin.values()) for begin in begins)
    return Encoded(ids, types, None if labels is None else _tags_with_tokens(labels, begins), words, pad, truncated)


def _apart(split: Split) -> tuple[tuple[Text, ...], tuple[Label, ...] | None]:
    """Make each text of a pair a row."""
    if not any(isinstance(text, tuple) for text in split.texts):
        return split.texts, split.labels
    labels = None if split.labels is None else tuple(label for label in split.labels for _ in range(2))
    return tuple(part for pair in split.texts for part in pair), labels


def _first_tokens(encoding: Encoding) -> dict[int, int]:
    """Map each word that is not cut off to the place of its first token."""
    first_tokens: dict[int, int] = {}
    for place, word in enumerate(encoding.word_ids):
        if word is not None:
            first_tokens.setdefault(word, place)
    return first_tokens


def _tags_with_tokens(labels: Sequence[Label], begins: Sequence[dict[int, int]]) -> tuple[Label, ...]:
    """Return the tags of the words that have a token."""
    rows = ((tags, begin) for tags, begin in zip(labels, begins, strict=True) if isinstance(tags, tuple))
    return tuple(tuple(tags[word] for word in begin) for tags, begin in rows)


def make_batch(data: Encoded, rows: Sequence[int]) -> Batch:
    """Make one batch of the rows, filled up to the longest."""
    width = max(len(data.ids[row]) for row in rows)
    input_ids = torch.full((len(rows), width), data.pad)
    mask, types = torch.zeros(len(rows), width, dtype=torch.int64), torch.zeros(len(rows), width, dtype=torch.int64)
    for place, row in enumerate(rows):
        length = len(data.ids[row])
        input_ids[place, :length] = torch.tensor(data.ids[row])
        types[place, :length] = torch.tensor(data.type_ids[row])
        mask[place, :length] = 1
    return Batch(input_ids, mask, types, data.unit_labels(rows), _units(data, rows, width), tuple(rows))


def _units(data: Encoded, rows: Sequence[int], width: int) -> Tensor | None:
    if data.words is None:
        return None
    units = torch.zeros(len(rows), width, dtype=torch.bool)
    for place, row in enumerate(rows):
        units[place, list(data.words[row])] = True
    return units


def epoch_batches(lengths: Sequence[int], size: int, seed: str) -> list[list[int]]:
    """Return the rows of every batch of an epoch, each row once: a function of its arguments alone."""
    rng = random.Random(seed)
    order = list(range(len(lengths)))
    rng.shuffle(order)
    batches = []
    for start in range(0, len(order), _CHUNK * size):
        chunk = sorted(order[start : start + _CHUNK * size], key=lambda row: lengths[row])
        batches += [chunk[i : i + size] for i in range(0, len(chunk), size)]
    rng.shuffle(batches)
    return batches


def sorted_batches(data: Encoded, size: int) -> Iterator[Batch]:
    """Yield batches of every row once, by length: for evaluation, where order does not matter."""
    order = sorted(range(len(data)), key=lambda row: len(data.ids[row]))
    for start in range(0, len(order), size):
        yield make_batch(data, order[start : start + size])
