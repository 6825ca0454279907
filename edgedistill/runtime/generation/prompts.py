"""Encode and check prompts, which are never cut, and create their detokenizers."""

from __future__ import annotations

from collections.abc import Sequence

from edgedistill.errors import InputError
from edgedistill.palette import Generation, Palette
from edgedistill.runtime.arguments import checked_items, is_integer
from edgedistill.runtime.generation.chat_tokens import chat_ids
from edgedistill.runtime.generation.detokenizer import Detokenizer
from edgedistill.runtime.generation.messages import Message
from edgedistill.runtime.generation.prompt_length import check_length, too_long
from edgedistill.runtime.tasks import wrong_task
from edgedistill.runtime.text.tokenization import checked, encoded, load_tokenizer

__all__ = ["Prompt", "Prompts"]

Prompt = str | Sequence[int]
"""A text, or the token ids of one."""


class Prompts:
    """Encode prompts with a palette's tokenizer.

    Raises:
        PaletteError: the palette is not for generation, or its tokenizer is damaged.
    """

    def __init__(self, palette: Palette) -> None:
        self.generation = generation_of(palette)
        self._vocabulary = palette.manifest.graph_outputs[0].shape[-1]
        self._tokenizer = load_tokenizer(palette)
        self._pad_token = palette.manifest.text_input.tokenizer.pad_token

    def ids(self, prompt: Prompt) -> list[int]:
        """Return token ids, which leave room for at least one more token.

        Raises:
            InputError: the prompt is empty, not a text or token ids of the model, or too long.
        """
        context = self.generation.context_tokens
        if isinstance(prompt, str):
            check_length(self._tokenizer, checked(prompt, "the prompt"), context)
            ids = encoded(self._tokenizer, prompt, what="the prompt").ids
        else:
            ids = list(checked_items(prompt, "the prompt", "a text, or a list of token ids"))
        if not ids:
            raise InputError("the prompt has no tokens; expected at least one")
        if len(ids) >= context:
            raise too_long(len(ids), context)
        return self._checked_ids(ids)

    def chat_ids(self, messages: Sequence[Message]) -> list[int]:
        """Return the token ids of the prompt that the palette's chat template makes of messages.

        Raises:
            InputError: the palette has no template, it refuses the messages, or jinja2 is missing.
            PaletteError: the template fails at any chat.
        """
        template = self.generation.chat_template
        if template is None:
            raise InputError("the palette has no chat template: its model is not made for chats; give it a prompt")
        return chat_ids(self._tokenizer, template, messages, self._special_tokens(), self.generation.context_tokens)

    def _special_tokens(self) -> dict[str, str]:
        """Return the special tokens by the names that templates know."""
        ends, unknown = self.generation.eos_token_ids, getattr(self._tokenizer.model, "unk_token", None)
        ids = {"bos_token": self.generation.bos_token_id, "eos_token": ends[0] if ends else None}
        tokens = {name: None if id_ is None else self._tokenizer.id_to_token(id_) for name, id_ in ids.items()}
        tokens |= {"unk_token": unknown, "pad_token": self._pad_token}
        return {name: token for name, token in tokens.items() if token}

    def detokenizer(self, ids: Sequence[int]) -> Detokenizer:
        """Return the decoder of the tokens that follow this prompt."""
        return Detokenizer(self._tokenizer, ids)

    def _checked_ids(self, prompt: Sequence[int]) -> list[int]:
        most = int(self._vocabulary) - 1
        ids = []
        for place, token in enumerate(prompt, start=1):
            if not (is_integer(token) and 0 <= token <= most):
                raise InputError(f"token {place} of the prompt is {token!r}; expected 0 to {most}")
            ids.append(int(token))
        return ids


def generation_of(palette: Palette) -> Generation:
    """Return the palette's settings of generation.

    Raises:
        PaletteError: it is for another task.
    """
    if palette.manifest.generation is None:
        raise wrong_task(palette.manifest)
    return palette.manifest.generation
