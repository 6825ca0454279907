"""Prompts as token ids: checked, and never cut; and token ids as text again."""

from __future__ import annotations

from collections.abc import Sequence

from edgedistill.errors import InputError
from edgedistill.manifest import Generation, Palette
from edgedistill.runtime.generation.chat import Message, render
from edgedistill.runtime.generation.pieces import Pieces
from edgedistill.runtime.tasks import wrong_task
from edgedistill.runtime.text.reading import checked, load_tokenizer

__all__ = ["Prompt", "Prompts"]

Prompt = str | Sequence[int]
"""A text, or the token ids of one."""


class Prompts:
    """Reads prompts with a palette's tokenizer.

    Raises:
        PaletteError: the palette is not for generation, or its tokenizer is damaged.
    """

    def __init__(self, palette: Palette) -> None:
        self.generation = generation_of(palette)
        self._vocabulary = palette.manifest.outputs[0].shape[-1]
        self._tokenizer = load_tokenizer(palette)

    def ids(self, prompt: Prompt) -> list[int]:
        """Token ids, which leave room for at least one more token.

        Raises:
            InputError: the prompt is empty, no text and no token ids, or too long.
        """
        if isinstance(prompt, str):
            found = list(self._tokenizer.encode(checked(prompt, "the prompt")).ids)
        else:
            found = self._checked_ids(prompt)
        if not found:
            raise InputError("the prompt has no tokens; expected at least one")
        context = self.generation.context_tokens
        if len(found) >= context:
            raise InputError(
                f"the prompt has {len(found)} tokens; the model takes {context} together with the answer: shorten it"
            )
        return found

    def chat_ids(self, messages: Sequence[Message]) -> list[int]:
        """Of the prompt that the palette's chat template makes of them.

        Raises:
            InputError: there is no template, it refuses the messages, or jinja2 is missing.
        """
        template = self.generation.chat_template
        if template is None:
            raise InputError("the palette has no chat template: its model is not made for chats; give it a prompt")
        ends = self.generation.eos_token_ids
        special = {"bos_token": self.generation.bos_token_id, "eos_token": ends[0] if ends else None}
        tokens = {key: self._tokenizer.id_to_token(one) or "" for key, one in special.items() if one is not None}
        text = render(template, messages, tokens)
        return list(self._tokenizer.encode(text, add_special_tokens=False).ids)

    def pieces(self, ids: Sequence[int]) -> Pieces:
        """The text of what follows this prompt."""
        return Pieces(self._tokenizer, ids)

    def _checked_ids(self, prompt: Sequence[int]) -> list[int]:
        found = list(prompt)
        for place, token in enumerate(found, start=1):
            if isinstance(token, bool) or not isinstance(token, int) or not 0 <= token < int(self._vocabulary):
                raise InputError(f"token {place} of the prompt is {token!r}; expected 0 to {int(self._vocabulary) - 1}")
        return found


def generation_of(palette: Palette) -> Generation:
    """What the palette says of generation.

    Raises:
        PaletteError: it is for another task.
    """
    if palette.manifest.generation is None:
        raise wrong_task(palette.manifest)
    return palette.manifest.generation
