"""Texts to batches of token ids: similar lengths together, so that little is padding."""

from __future__ import annotations

import random
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from tokenizers import Tokenizer
from torch import Tensor

from edgedistill.errors import ModelError

__all__ = ["Batch", "Encoded", "encode", "load_tokenizer", "shuffled_batches", "sorted_batches"]

_TOKENIZER_FILES = ("tokenizer.json", "vocab.*", "*.model")
_CHUNK = 50  # batches sorted together: sorting more would leave too little chance in the order


@dataclass(frozen=True)
class Encoded:
    """Token ids of each text, and its label."""

    ids: tuple[tuple[int, ...], ...]
    labels: tuple[int, ...]
    pad: int


@dataclass(frozen=True)
class Batch:
    """``input_ids``, ``attention_mask``, ``token_type_ids`` [b, n] and ``labels`` [b], all int64."""

    input_ids: Tensor
    attention_mask: Tensor
    token_type_ids: Tensor
    labels: Tensor


def load_tokenizer(folder: Path) -> tuple[Tokenizer, str]:
    """The model's fast tokenizer, without padding or truncation set, and its padding token.

    Raises:
        ModelError: the folder has none that transformers can read.
    """
    from transformers import AutoTokenizer

    # transformers makes up an empty tokenizer where there is no file at all.
    if not any(path for pattern in _TOKENIZER_FILES for path in folder.glob(pattern)):
        raise ModelError(f"{folder} has no tokenizer; expected a tokenizer.json beside the weights")
    try:
        wrapper = AutoTokenizer.from_pretrained(folder)
        tokenizer = Tokenizer.from_str(wrapper.backend_tokenizer.to_str())
    except (OSError, ValueError, AttributeError, KeyError) as error:
        raise ModelError(f"{folder} has no fast tokenizer; expected a tokenizer.json beside the weights") from error
    if wrapper.pad_token is None:
        raise ModelError(f"the tokenizer in {folder} has no padding token; batches need one")
    tokenizer.no_padding()
    tokenizer.no_truncation()
    return tokenizer, str(wrapper.pad_token)


def encode(tokenizer: Tokenizer, texts: Sequence[str], labels: Sequence[int], *, max_tokens: int, pad: int) -> Encoded:
    """Token ids of every text, cut to ``max_tokens`` with the special ones kept."""
    tokenizer.enable_truncation(max_tokens)
    ids = tuple(tuple(encoding.ids) for encoding in tokenizer.encode_batch(list(texts)))
    tokenizer.no_truncation()
    return Encoded(ids, tuple(labels), pad)


def _batch(data: Encoded, rows: Sequence[int]) -> Batch:
    width = max(len(data.ids[row]) for row in rows)
    input_ids = torch.full((len(rows), width), data.pad)
    mask = torch.zeros(len(rows), width, dtype=torch.int64)
    for place, row in enumerate(rows):
        length = len(data.ids[row])
        input_ids[place, :length] = torch.tensor(data.ids[row])
        mask[place, :length] = 1
    labels = torch.tensor([data.labels[row] for row in rows])
    return Batch(input_ids, mask, torch.zeros_like(input_ids), labels)


def shuffled_batches(data: Encoded, size: int, rng: random.Random) -> Iterator[Batch]:
    """Batches without end, an epoch after the other, each in an order of its own."""
    while True:
        order = list(range(len(data.ids)))
        rng.shuffle(order)
        batches = []
        for start in range(0, len(order), _CHUNK * size):
            chunk = sorted(order[start : start + _CHUNK * size], key=lambda row: len(data.ids[row]))
            batches += [chunk[i : i + size] for i in range(0, len(chunk), size)]
        rng.shuffle(batches)
        for rows in batches:
            yield _batch(data, rows)


def sorted_batches(data: Encoded, size: int) -> Iterator[Batch]:
    """Every row once, by length: for evaluation, where order does not matter."""
    order = sorted(range(len(data.ids)), key=lambda row: len(data.ids[row]))
    for start in range(0, len(order), size):
        yield _batch(data, order[start : start + size])
