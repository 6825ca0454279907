"""Text from tokens as they come: the pieces are what the whole is, and each is whole characters."""

from __future__ import annotations

import random

import pytest
import shared_data
from tokenizers import Tokenizer, decoders, models, pre_tokenizers

from edgedistill.runtime.generation.detokenizer import Detokenizer
from edgedistill.supernet.llama2c_tokenizer import load_llama2c_tokenizer

TEXTS = [
    "Once upon a time, there was a little girl.",
    "zwölf Boxkämpfer",
    "日本語 🎈🎉 ok",
    "a\n\n  b  🤷🏽‍♀️ end ",
    "é" * 5,
]


@pytest.fixture(params=["sentencepiece", "byte level"])
def tokenizer(request: pytest.FixtureRequest) -> Tokenizer:
    if request.param == "byte level":
        return byte_level()
    return load_llama2c_tokenizer(shared_data.folder("stories260K") / "tok512.bin", 512)


def byte_level() -> Tokenizer:
    """Bytes alone, as in GPT-2's."""
    tokenizer = Tokenizer(models.BPE({one: i for i, one in enumerate(sorted(pre_tokenizers.ByteLevel.alphabet()))}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    return tokenizer


@pytest.mark.parametrize("text", TEXTS)
def test_pieces_are_whole_characters_and_together_the_whole(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer.encode(text).ids
    whole = tokenizer.decode(ids)
    for cut in range(1, len(ids)):
        prompt = tokenizer.decode(ids[:cut])
        if prompt.endswith("\ufffd"):
            continue  # no text is cut within a character
        pieces = Detokenizer(tokenizer, ids[:cut])
        found = [pieces.add(token) for token in ids[cut:]]
        assert not any("\ufffd" in piece for piece in found)
        assert prompt + "".join(found) + pieces.rest() == whole


def test_a_character_that_never_becomes_whole_is_left_out() -> None:
    tokenizer = byte_level()
    ids = tokenizer.encode("ok 🎈").ids
    pieces = Detokenizer(tokenizer, ids[:1])
    assert "".join(pieces.add(token) for token in ids[1:-1]) == "k "
    assert pieces.rest() == ""


def test_bytes_that_are_no_characters_hold_nothing_back_for_long(tokenizer: Tokenizer) -> None:
    bad = next(i for i in range(tokenizer.get_vocab_size()) if tokenizer.decode([i]) == "\ufffd")
    pieces = Detokenizer(tokenizer, tokenizer.encode("a").ids)
    found = [pieces.add(token) for token in [bad] * 30 + tokenizer.encode("b").ids[-1:]]
    assert found[-1].endswith("b")
    assert sum(map(bool, found)) >= 3


def test_any_tokens_at_all_lose_no_text(tokenizer: Tokenizer) -> None:
    """Random tokens. Where bytes are no characters, decoding the whole may lose more of those beside them."""
    rng = random.Random(0)
    prompt = tokenizer.encode("a").ids
    for _ in range(100):
        ids = [rng.randrange(3, tokenizer.get_vocab_size()) for _ in range(20)]
        pieces = Detokenizer(tokenizer, prompt)
        found = iter("".join([pieces.add(token) for token in ids]) + pieces.rest())
        assert all(letter in found for letter in tokenizer.decode(prompt + ids)[1:] if letter.isascii())
