"""Cut running text to rows of equal length for a decoder, without padding: it predicts all tokens but a row's first.

A document is what the tokenizer puts before a text, the text, and what ends it; all are joined, then cut.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tokenizers import Tokenizer

from edgedistill.data.batches import Encoded
from edgedistill.errors import DataError, ModelError
from edgedistill.library_errors import library_errors

__all__ = ["pack"]

_PIECE = 1 << 18  # characters that are tokenized at once: a tokenizer's notes of a long text are many times its size
_TOGETHER = 256  # pieces


def pack(
    tokenizer: Tokenizer,
    texts: Sequence[str],
    place: str,
    *,
    vocabulary: int,
    tokens: int,
    pad: int,
    ends: Sequence[int],
) -> Encoded:
    """Return rows of ``tokens`` tokens each; what is left over at the end is left out.

    Args:
        tokenizer: without padding or truncation set.
        texts: documents.
        place: where they are from, for messages.
        vocabulary: how many tokens the model knows.
        tokens: of a row.
        pad: an id for what has none.
        ends: the ids that end a text, the first of which ends each document; none where the model knows no end.

    Raises:
        DataError: there is less text than one row takes.
        ModelError: the tokenizer is not the model's.
    """
    stream = list(_stream(tokenizer, texts, ends))
    highest = max(stream, default=0)
    if highest >= vocabulary:
        raise ModelError(
            f"the tokenizer gives the id {highest}, and the model's vocabulary has {vocabulary}; "
            "give the tokenizer that the model was trained with"
        )
    starts = range(0, len(stream) - tokens + 1, tokens)
    if not starts:
        raise DataError(
            f"{place} has {len(stream)} tokens, too few for one row of {tokens}; give more text, or set a smaller "
            "max_tokens"
        )
    ids = tuple(tuple(stream[start : start + tokens]) for start in starts)
    zeros, units = (0,) * tokens, tuple(range(tokens - 1))
    return Encoded(ids, (zeros,) * len(ids), tuple(row[1:] for row in ids), (units,) * len(ids), pad)


def _stream(tokenizer: Tokenizer, texts: Sequence[str], ends: Sequence[int]) -> Iterator[int]:
    """Yield every token of all documents."""
    with library_errors(ModelError, "the model's tokenizer cannot encode an empty text"):
        begin = [token for token in tokenizer.encode("").ids if token not in ends]  # a mark in between is enough
    end = ends[:1]
    for pieces in _groups(texts):
        with library_errors(ModelError, "the model's tokenizer cannot encode the texts"):
            encodings = tokenizer.encode_batch_fast([piece for piece, _, _ in pieces], add_special_tokens=False)
        for encoding, (_, first, last) in zip(encodings, pieces, strict=True):
            yield from begin if first else ()
            yield from encoding.ids
            yield from end if last else ()


def _groups(texts: Sequence[str]) -> Iterator[list[tuple[str, bool, bool]]]:
    """Yield pieces of documents, some at a time, each with whether it is the first and the last of its document."""
    group: list[tuple[str, bool, bool]] = []
    for text in texts:
        pieces = list(_pieces(text))
        for place, piece in enumerate(pieces):
            group.append((piece, place == 0, place == len(pieces) - 1))
        if len(group) >= _TOGETHER:
            yield group
            group = []
    yield group


def _pieces(text: str) -> Iterator[str]:
    """Yield the text, cut behind line ends where it is long."""
    start = 0
    while len(text) - start > _PIECE:
        end = text.rfind("\n", start, start + _PIECE) + 1 or start + _PIECE
        yield text[start:end]
        start = end
    yield text[start:]
