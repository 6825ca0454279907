"""Kinds of input that a palette takes: text, images, audio or token ids, tagged by ``kind``.

Texts alone have a reader so far; a palette of another kind is refused when it is opened.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

from pydantic import Field

from edgedistill.palette.values import Count, FileName, Finite, Items, Positive, StrictModel

__all__ = ["READABLE_KINDS", "AnyInput", "AudioInput", "ImageInput", "TextInput", "TokenInput", "TokenizerEntry"]

READABLE_KINDS: Final = ("text",)


class TokenizerEntry(StrictModel):
    """The tokenizer's file, and how texts are cut: ``max_tokens`` with the special ones.

    A palette for generation may have no ``pad_token``: its texts are never padded.
    """

    file: FileName
    max_tokens: Positive
    pad_token_id: Count
    pad_token: str | None


class _Input(StrictModel):
    @property
    def files(self) -> set[str]:
        """Return the names of the files that a reader needs."""
        return set()


class TextInput(_Input):
    """Text, which a tokenizer encodes. ``texts``: how many make a sequence, 2 where the task is about pairs."""

    kind: Literal["text"]
    texts: Literal[1, 2]
    tokenizer: TokenizerEntry

    @property
    def files(self) -> set[str]:
        """Return the name of the tokenizer's file."""
        return {self.tokenizer.file}


class ImageInput(_Input):
    """Images [channels, height, width], each channel less its ``mean`` and divided by its ``std``."""

    kind: Literal["image"]
    height: Positive
    width: Positive
    mean: Annotated[Items[float], Field(min_length=1, max_length=4)]
    std: Annotated[Items[Finite], Field(min_length=1, max_length=4)]


class AudioInput(_Input):
    """Mono audio of at most ``max_samples`` samples."""

    kind: Literal["audio"]
    sampling_rate: Positive
    max_samples: Positive


class TokenInput(_Input):
    """Token ids, which the application makes."""

    kind: Literal["tokens"]
    max_tokens: Positive
    pad_token_id: Count


AnyInput = Annotated[TextInput | ImageInput | AudioInput | TokenInput, Field(discriminator="kind")]
