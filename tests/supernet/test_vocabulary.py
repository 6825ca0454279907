"""A trimmed vocabulary reads the texts that it was trimmed for as before, and spells out any other."""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
import stories_palette
import tiny_decoder
import tiny_encoder
import torch
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors, trainers

from edgedistill.distillation.encoder_tokenizer import load_tokenizer
from edgedistill.distillation.models import resolve_model
from edgedistill.errors import ModelError
from edgedistill.runtime import TextGenerator
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.pretrained import load_pretrained
from edgedistill.supernet.vocabulary import trim, trimmed

CORPUS = (
    "turn on the kitchen lamp please",
    "playing some quieter music in the living room",
    "the lampshade was turned and returned, renewing nothing",
    "set a timer for thirteen minutes, then another for thirty",
    "what is the weather like in Reykjavik tomorrow evening?",
)
TEXTS = CORPUS[:2]
OTHER = "an unseen weathervane, résumé 13:45"


def _word_piece() -> Tokenizer:
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    special = ["[PAD]", "[UNK]", "[CLS]", "[SEP]"]
    tokenizer.train_from_iterator(CORPUS, trainers.WordPieceTrainer(vocab_size=200, special_tokens=special))
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    return tokenizer


def _bpe() -> Tokenizer:
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.BpeTrainer(vocab_size=400, special_tokens=special, initial_alphabet=alphabet)
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.add_special_tokens(["<mask>"])  # behind the vocabulary, as RoBERTa's is
    tokenizer.post_processor = processors.RobertaProcessing(("</s>", 2), ("<s>", 0))
    return tokenizer


def _unigram() -> Tokenizer:
    tokenizer = Tokenizer(models.Unigram())
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    special = ["<s>", "<pad>", "</s>", "<unk>"]
    trainer = trainers.UnigramTrainer(vocab_size=150, special_tokens=special, unk_token="<unk>")
    tokenizer.train_from_iterator(CORPUS, trainer)
    tokenizer.post_processor = processors.TemplateProcessing(
        "<s> $A </s>", pair="<s> $A </s> $B </s>", special_tokens=[("<s>", 0), ("</s>", 2)]
    )
    tokenizer.enable_padding(pad_id=1, pad_token="<pad>")
    return tokenizer


def _model(tokenizer: Tokenizer) -> ElasticTransformer:
    arch = replace(tiny_encoder.ARCH, vocabulary=tokenizer.get_vocab_size())
    model = tiny_encoder.encoder(arch)
    model.freeze()
    return model


def _used(tokenizer: Tokenizer) -> set[int]:
    return {index for text in TEXTS for index in tokenizer.encode(text).ids}


@torch.no_grad()
def _answer(model: ElasticTransformer, tokenizer: Tokenizer, text: str) -> torch.Tensor:
    ids = torch.tensor([tokenizer.encode(text).ids])
    output = model(ids, torch.ones_like(ids), torch.zeros_like(ids), model.arch.full)
    assert isinstance(output.logits, torch.Tensor)
    return output.logits


@pytest.mark.parametrize("make", [_word_piece, _bpe, _unigram])
def test_kept_texts_read_as_before_and_others_are_spelt_out(make: Callable[[], Tokenizer]) -> None:
    tokenizer = make()
    model = _model(tokenizer)
    small, trimmed = trim(model, tokenizer, _used(tokenizer))
    assert small.arch.vocabulary == trimmed.get_vocab_size() == small.embeddings.word.num_embeddings
    assert small.arch.vocabulary < model.arch.vocabulary
    for text in TEXTS:
        assert trimmed.encode(text).tokens == tokenizer.encode(text).tokens
        torch.testing.assert_close(_answer(small, trimmed, text), _answer(model, tokenizer, text), atol=1e-6, rtol=0)
    assert trimmed.encode("thirteen minutes").tokens != tokenizer.encode("thirteen minutes").tokens
    characters = set("".join(CORPUS))
    spelt = "".join(character for character in OTHER if character in characters)
    assert not {"[UNK]", "<unk>"} & set(trimmed.encode(spelt).tokens)
    assert trimmed.decode(trimmed.encode(TEXTS[0]).ids) == tokenizer.decode(tokenizer.encode(TEXTS[0]).ids)


def test_padding_and_pairs_have_the_new_ids() -> None:
    tokenizer = _unigram()
    _, trimmed = trim(_model(tokenizer), tokenizer, _used(tokenizer))
    encodings = trimmed.encode_batch([TEXTS[0], (TEXTS[0], TEXTS[1])])
    for encoding in encodings:
        assert [trimmed.token_to_id(token) for token in encoding.tokens] == encoding.ids
    assert "<pad>" in encodings[0].tokens


def test_an_unknown_character_costs_what_it_did() -> None:
    """Its cost is ten more than the least likely piece's: without that piece, "zab" would be "za" and unknown."""
    pieces = [("<unk>", 0.0), ("z", -20.0), ("ab", -20.0), ("za", -1.0), ("a", -1.0), ("yy", -50.0), ("aaa", -2.0)]
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=0))
    used = {index for text in ("zab", "za", "a漢") for index in tokenizer.encode(text).ids}
    _, trimmed = trim(_model(tokenizer), tokenizer, used)
    assert set(tokenizer.get_vocab()) - set(trimmed.get_vocab()) == {"aaa"}
    assert trimmed.encode("zab").tokens == tokenizer.encode("zab").tokens == ["z", "ab"]
    assert trimmed.encode("a漢").ids == [trimmed.token_to_id("a"), trimmed.token_to_id("<unk>")]


def test_the_model_that_was_given_stays_as_it_was() -> None:
    tokenizer = _word_piece()
    model, before = _model(tokenizer), tokenizer.to_str()
    table = model.embeddings.word.weight.clone()
    trim(model, tokenizer, _used(tokenizer))
    assert torch.equal(model.embeddings.word.weight, table)
    assert tokenizer.to_str() == before


@pytest.mark.slow
def test_minilm_on_a_few_texts_keeps_its_vectors() -> None:
    folder = resolve_model("sentence-transformers/all-MiniLM-L6-v2").folder
    tokenizer = load_tokenizer(folder, "text-classification", types=2, pairs=False).tokenizer
    model = load_pretrained(folder, "sentence-embedding", 384, scale=1.0, dropout=0.0)
    small, trimmed = trim(model, tokenizer, _used(tokenizer))
    assert small.arch.vocabulary < model.arch.vocabulary / 5
    for text in TEXTS:
        torch.testing.assert_close(_answer(small, trimmed, text), _answer(model, tokenizer, text), atol=1e-6, rtol=0)
    assert "[UNK]" not in trimmed.encode(OTHER).tokens
    assert trimmed.encode(OTHER).tokens != tokenizer.encode(OTHER).tokens


def test_a_tokenizer_of_another_kind_is_refused() -> None:
    tokenizer = Tokenizer(models.WordLevel({"[UNK]": 0, "lamp": 1}, unk_token="[UNK]"))
    with pytest.raises(ModelError, match="WordLevel cannot be trimmed; supported are WordPiece, BPE, Unigram"):
        trim(tiny_encoder.encoder(), tokenizer, {1})


@torch.no_grad()
@pytest.mark.parametrize("name", ["normed", "grouped"])  # a tied head, and one of its own
def test_a_decoder_weighs_the_tokens_it_keeps_as_before(name: str) -> None:
    tokenizer = _bpe()
    model = tiny_decoder.decoder(replace(tiny_decoder.ARCHITECTURES[name], vocabulary=tokenizer.get_vocab_size()))
    model.freeze()
    small, trimmed_tokenizer = trim(model, tokenizer, _used(tokenizer))
    subnet = tiny_decoder.random_subnet(model.arch, random.Random(0))

    def logits(of: ElasticTransformer, by: Tokenizer) -> torch.Tensor:
        ids = torch.tensor([by.encode(TEXTS[0]).ids])
        return of.logits(ids, torch.ones_like(ids), subnet)

    kept = [tokenizer.token_to_id(token) for token, _ in sorted(trimmed_tokenizer.get_vocab().items(), key=_second)]
    assert len(kept) == small.arch.vocabulary < model.arch.vocabulary
    torch.testing.assert_close(
        logits(small, trimmed_tokenizer), logits(model, tokenizer)[..., kept], atol=1e-5, rtol=1e-5
    )


def _second(pair: tuple[str, int]) -> int:
    return pair[1]


@pytest.mark.slow
def test_a_real_decoder_tells_the_same_story_with_the_tokens_that_it_needs(tmp_path: Path) -> None:
    supernet, prompt = stories_palette.supernet(), "Once upon a time"
    with TextGenerator(stories_palette.write(tmp_path / "whole", supernet), only=[stories_palette.LARGE]) as whole:
        said = whole.generate(prompt, max_new_tokens=60)
        small = trimmed(supernet, [*whole.token_ids(prompt), *said.token_ids])
    assert small.model.arch.vocabulary < supernet.model.arch.vocabulary
    with TextGenerator(stories_palette.write(tmp_path / "small", small), only=[stories_palette.LARGE]) as generator:
        assert generator.generate(prompt, max_new_tokens=60).text == said.text
    assert small.info.generation is not None
    assert supernet.info.generation is not None
    assert [small.tokenizer.id_to_token(row) for row in small.info.generation.eos_token_ids] == [
        supernet.tokenizer.id_to_token(row) for row in supernet.info.generation.eos_token_ids
    ]
