"""Encode chats as token ids, so that no message can produce a special token by spelling it.

A template writes a model's special tokens as text, and a tokenizer cannot tell that text from a message's. So whatever
spells such a token in a message is marked before the chat is rendered, and encoded as plain text after it.
"""

from __future__ import annotations

import re
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, NamedTuple

from edgedistill.errors import InputError
from edgedistill.runtime.generation.chat import render_data
from edgedistill.runtime.generation.messages import Message, as_data, with_strings
from edgedistill.runtime.generation.prompt_length import check_length
from edgedistill.runtime.text.graphemes import Span
from edgedistill.runtime.text.tokenization import encoded

if TYPE_CHECKING:
    from tokenizers import Tokenizer

__all__ = ["chat_ids"]

_PRIVATE_USE = range(0xE000, 0xF900)


def chat_ids(
    tokenizer: Tokenizer, template: str, messages: Sequence[Message], special_tokens: Mapping[str, str], context: int
) -> list[int]:
    """Return the token ids of a chat, as its template writes it; ``context`` is how many the model takes.

    Raises:
        InputError: the chat is far too long, the template refuses the messages, or one spells a special token where the
            template acts on it.
        PaletteError: the template fails at any chat.
    """
    data = as_data(messages)
    text = render_data(template, data, special_tokens)
    check_length(tokenizer, text, context)
    control = _ControlTokens(tokenizer, template)
    strings = list(_strings(data))
    spelled = control.spelled_in(strings)
    control.check_keys(data)
    if not any(spelled):
        return control.ids(text)
    first, last = _unused_characters(text + template + "".join(string.text for string in strings))
    marked_text = render_data(template, _marked(data, spelled, first, last), special_tokens)
    if marked_text.replace(first, "").replace(last, "") != text:
        raise InputError(
            "a message spells one of the model's special tokens, and the chat template acts on it; take it out"
        )
    pieces = re.split(f"{first}([^{first}{last}]*){last}|[{first}{last}]", marked_text)
    return list(_encoded(control, pieces))


class _String(NamedTuple):
    """A text in a message: the key that it is under, and whether the message is the assistant's."""

    text: str
    key: str
    is_answer: bool


class _ControlTokens:
    """Know the tokens that structure a chat: the tokenizer's special ones, and added ones that the template writes.

    An assistant's message may contain the latter, such as a tag around reasoning: the model wrote it.
    """

    def __init__(self, tokenizer: Tokenizer, template: str) -> None:
        self._tokenizer = tokenizer
        added = tokenizer.get_added_tokens_decoder()
        self._special = {id_ for id_, token in added.items() if token.special}
        self._written = {id_ for id_, token in added.items() if token.content.strip() and token.content in template}
        self._contents = {id_: token.content for id_, token in added.items()}
        self._unknown = _unknown_token(tokenizer)

    def spelled_in(self, strings: Sequence[_String]) -> list[list[Span]]:
        """Return for each text the spans that spell such a token: by itself, or with the next ones under its key."""
        every = self._special | self._written
        spans = [self._spans(string.text, self._special if string.is_answer else every) for string in strings]
        for key in {string.key for string in strings}:
            places = [place for place, string in enumerate(strings) if string.key == key]
            ends = list(accumulate(len(strings[place].text) for place in places))
            for start, end in self._spans("".join(strings[place].text for place in places), every):
                met = bisect_right(ends, start), bisect_left(ends, end)
                for index in range(met[0], met[1] + 1) if met[0] < met[1] else ():
                    begin = ends[index] - len(strings[places[index]].text)
                    spans[places[index]].append((max(start - begin, 0), min(end, ends[index]) - begin))
        return [_merged(sorted(string_spans)) for string_spans in spans]

    def check_keys(self, messages: Sequence[Mapping[str, Any]]) -> None:
        """Refuse keys that spell such a token: they cannot be marked.

        Raises:
            InputError: one does.
        """
        if any(self._spans(key, self._special | self._written) for key in set(_keys(messages))):
            raise InputError("a key in a message spells one of the model's special tokens; take it out")

    def _spans(self, text: str, ids: set[int]) -> list[Span]:
        encoding = encoded(self._tokenizer, text, add_special_tokens=False)
        spans = []
        for id_, (start, end) in zip(encoding.ids, encoding.offsets, strict=True):
            word = text[start:end]
            if id_ in ids and word.strip() and (id_ != self._unknown or word.strip() == self._contents[id_]):
                spans.append((end - len(word.lstrip()), start + len(word.rstrip())))
        return spans

    def ids(self, text: str) -> list[int]:
        """Return a text's ids as the tokenizer has them."""
        return list(encoded(self._tokenizer, text, add_special_tokens=False).ids)

    def plain_ids(self, text: str) -> list[int]:
        """Return a text's ids without any added token.

        Raises:
            InputError: the model's own vocabulary makes one of it.
        """
        ids = self._model_ids(text)
        if self._has_control(ids):  # the vocabulary has the whole spelling as a word: then its letters
            ids = [id_ for character in text for id_ in self._model_ids(character)]
        if self._has_control(ids):
            raise InputError(f"{text!r} in a message can only be read as a special token of the model; take it out")
        return ids

    def _has_control(self, ids: Sequence[int]) -> bool:
        return not (self._special | self._written).isdisjoint(id_ for id_ in ids if id_ != self._unknown)

    def _model_ids(self, text: str) -> list[int]:
        from tokenizers import PreTokenizedString

        parts, model = PreTokenizedString(text), self._tokenizer.model
        if self._tokenizer.normalizer is not None:
            parts.normalize(self._tokenizer.normalizer.normalize)
        if self._tokenizer.pre_tokenizer is not None:
            self._tokenizer.pre_tokenizer.pre_tokenize(parts)
        parts.tokenize(model.tokenize)
        return list(parts.to_encoding().ids)


def _encoded(control: _ControlTokens, pieces: Sequence[str | None]) -> Iterator[int]:
    """Encode pieces of a text; those at odd places as plain text.

    All but the first follow a line's end, which is taken off again: SentencePiece puts a blank before a text's start.
    """
    line_end = control.ids("\n")
    for place, piece in enumerate(pieces):
        if not piece:
            continue
        encode = control.plain_ids if place % 2 else control.ids
        ids = encode(piece) if place == 0 else encode("\n" + piece)
        if place and ids[: len(line_end)] == line_end:
            ids = ids[len(line_end) :]
        elif place:
            ids = encode(piece)
        yield from ids


def _marked(messages: Sequence[Any], spans: Sequence[Sequence[Span]], first: str, last: str) -> list[Any]:
    """Return messages with characters around each span of their texts."""
    places = iter(spans)

    def mark(text: str, _key: str) -> str:
        parts, before = [], 0
        for start, end in next(places):
            parts += [text[before:start], first, text[start:end], last]
            before = end
        return "".join([*parts, text[before:]])

    return [with_strings(message, mark) for message in messages]


def _strings(messages: Sequence[Mapping[str, Any]]) -> Iterator[_String]:
    """Yield the texts in the order of `with_strings`."""
    for message in messages:
        strings: list[tuple[str, str]] = []

        def note(text: str, key: str, strings: list[tuple[str, str]] = strings) -> str:
            strings.append((text, key))
            return text

        with_strings(message, note)
        yield from (_String(text, key, message["role"] == "assistant") for text, key in strings)


def _keys(value: Any) -> Iterator[str]:
    if isinstance(value, Mapping):
        yield from map(str, value)
        value = list(value.values())
    if isinstance(value, list):
        for item in value:
            yield from _keys(item)


def _merged(spans: Sequence[Span]) -> list[Span]:
    merged: list[Span] = []
    for start, end in spans:
        if merged and start < merged[-1][1]:
            merged[-1] = merged[-1][0], max(end, merged[-1][1])
        else:
            merged.append((start, end))
    return merged


def _unknown_token(tokenizer: Tokenizer) -> int | None:
    """Return the id that the model gives to what it does not know."""
    model = tokenizer.model
    token = getattr(model, "unk_token", None)
    return getattr(model, "unk_id", None) if token is None else tokenizer.token_to_id(token)


def _unused_characters(text: str) -> tuple[str, str]:
    unused = (chr(code) for code in _PRIVATE_USE if chr(code) not in text)
    first, last = next(unused, None), next(unused, None)
    if first is None or last is None:
        raise InputError("the messages use every private character of Unicode; take some out")
    return first, last
