"""llama2.c's files: the model computes what transformers' does, and a real one writes the text it is known for."""

from __future__ import annotations

import struct
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import shared_data
import tiny_decoder
import torch
from torch import Tensor
from transformers import GenerationConfig

from edgedistill.errors import ModelError
from edgedistill.supernet.llama2c import load_llama2c
from edgedistill.supernet.llama2c_tokenizer import BEGIN, END, load_llama2c_tokenizer
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.pretrained_decoder import load_causal_hugging_face, to_hugging_face

# Tensors of each layer, in the order of the file.
LAYER = (
    "input_layernorm",
    "self_attn.q_proj",
    "self_attn.k_proj",
    "self_attn.v_proj",
    "self_attn.o_proj",
    "post_attention_layernorm",
    "mlp.gate_proj",
    "mlp.down_proj",
    "mlp.up_proj",
)


def _write(reference: Any, path: Path) -> Path:
    """A transformers Llama in llama2.c's format."""
    config, state = reference.config, reference.state_dict()
    tied, layers, half = config.tie_word_embeddings, range(config.num_hidden_layers), config.head_dim // 2
    sizes = (config.hidden_size, config.intermediate_size, len(layers), config.num_attention_heads)
    vocabulary = config.vocab_size if tied else -config.vocab_size
    tensors = [state["model.embed_tokens.weight"]]
    for name in LAYER:
        stacked = [state[f"model.layers.{i}.{name}.weight"] for i in layers]
        rotary = name.endswith(("q_proj", "k_proj"))
        tensors += [_interleaved(t, half) if rotary else t for t in stacked]
    tensors += [state["model.norm.weight"], torch.full((2, config.max_position_embeddings, half), torch.nan)]
    tensors += [] if tied else [state["lm_head.weight"]]
    header = struct.pack("<7i", *sizes, config.num_key_value_heads, vocabulary, config.max_position_embeddings)
    path.write_bytes(header + b"".join(t.numpy().astype("<f4").tobytes() for t in tensors))
    return path


def _interleaved(weight: Tensor, half: int) -> Tensor:
    """The rows of each head, partners side by side."""
    result = torch.empty_like(weight)
    for head in range(0, len(weight), 2 * half):
        for i in range(half):
            result[head + 2 * i] = weight[head + i]
            result[head + 2 * i + 1] = weight[head + half + i]
    return result


def test_a_tensor_that_is_not_finite_is_named(tmp_path: Path) -> None:
    reference = load_causal_hugging_face(tiny_decoder.checkpoint(tmp_path, "llama"))
    reference.state_dict()["model.norm.weight"][3] = torch.inf
    with pytest.raises(ModelError, match="the tensor 'norm' is not finite"):
        load_llama2c(_write(reference, tmp_path / "model.bin"), scale=1.0, dropout=0.0)


@pytest.mark.parametrize("tied", [True, False])
@torch.no_grad()
def test_the_model_computes_what_transformers_model_does(tmp_path: Path, tied: bool) -> None:
    settings = {"tie_word_embeddings": tied, "rms_norm_eps": 1e-5}
    reference = load_causal_hugging_face(tiny_decoder.checkpoint(tmp_path, "llama", **settings))
    model = load_llama2c(_write(reference, tmp_path / "model.bin"), scale=1.0, dropout=0.0)
    ids, mask = tiny_decoder.inputs(3, 17)
    expected = reference(input_ids=ids, attention_mask=mask).logits
    kept = mask.bool()
    torch.testing.assert_close(model.logits(ids, mask, model.arch.full)[kept], expected[kept], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("data", "says"),
    [
        (b"", "not the dimensions"),
        (b"ak42" + bytes(252), "not the dimensions"),
        (struct.pack("<7i", 64, 172, 5, 8, 3, 512, 512), "not the dimensions"),
        (struct.pack("<7i", 8, 8, 1, 2, 2, 4, 4) + bytes(100), "has 128 bytes; its header asks for 2108"),
    ],
)
def test_a_file_of_another_kind_is_refused(tmp_path: Path, data: bytes, says: str) -> None:
    path = tmp_path / "model.bin"
    path.write_bytes(data)
    with pytest.raises(ModelError, match=says):
        load_llama2c(path, scale=1.0, dropout=0.0)


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="cannot be read"):
        load_llama2c(tmp_path / "none.bin", scale=1.0, dropout=0.0)
    with pytest.raises(ModelError, match="cannot be read"):
        load_llama2c_tokenizer(tmp_path / "none.bin", 512)


def _stories() -> ElasticTransformer:
    return load_llama2c(shared_data.folder("stories260K") / "stories260K.bin", scale=1.0, dropout=0.0)


def _sample() -> str:
    """The greedy sample of its own notes."""
    notes = (shared_data.folder("stories260K") / "stories260K.md").read_text(encoding="utf-8")
    return notes.split("-t 0.0\n", 1)[1].split("\n```", 1)[0]


@pytest.fixture(scope="module")
def written() -> list[int]:
    """What the real model writes from nothing: 256 tokens behind the first, each the likeliest."""
    model = _stories()
    ids = torch.tensor([[BEGIN]])
    with torch.no_grad():
        for _ in range(256):
            following = model.logits(ids, torch.ones_like(ids), model.arch.full)[:, -1:].argmax(-1)
            ids = torch.cat((ids, following), 1)
    return ids[0].tolist()


def test_a_real_model_has_the_dimensions_and_parameters_it_is_known_for() -> None:
    arch = _stories().arch
    sizes = (arch.hidden, arch.layers, arch.heads, arch.kv_heads, arch.ffn, arch.vocabulary, arch.positions)
    assert sizes == (64, 5, 8, 4, 172, 512, 512)
    assert arch.tied
    assert arch.total_parameters(arch.full) == 260_032


def test_a_real_model_writes_the_text_it_is_known_for(written: list[int]) -> None:
    tokenizer = load_llama2c_tokenizer(shared_data.folder("stories260K") / "tok512.bin", 512)
    assert tokenizer.decode(written) == _sample()
    assert tokenizer.encode(_sample()).ids == written


def test_transformers_writes_the_same_tokens_by_the_same_weights(written: list[int]) -> None:
    model = _stories()
    ids = {"bos_token_id": BEGIN, "eos_token_id": None, "pad_token_id": 0}
    reference: Any = to_hugging_face(model, model.arch.full, ids)
    greedy = GenerationConfig(max_new_tokens=256, do_sample=False, **ids)
    start = torch.tensor([[BEGIN]])
    generated = reference.generate(start, attention_mask=torch.ones_like(start), generation_config=greedy)
    assert generated[0].tolist() == written


def _entry(piece: bytes, score: float) -> bytes:
    return struct.pack("<fi", score, len(piece)) + piece


def _tokenizer_file(path: Path, *pieces: bytes) -> Path:
    """The special entries and bytes, then the pieces from the best score to the worst."""
    special = [b"<unk>", b"\n<s>\n", b"\n</s>\n", *(f"<0x{byte:02X}>".encode() for byte in range(256))]
    entries = [_entry(piece, 0.0) for piece in special]
    entries += [_entry(piece, -float(rank)) for rank, piece in enumerate(pieces)]
    path.write_bytes(struct.pack("<i", 7) + b"".join(entries))
    return path


def test_characters_become_the_best_pieces_or_bytes(tmp_path: Path) -> None:
    path = _tokenizer_file(tmp_path / "tok.bin", b"ab", b"bc", b" ab", b" ", b"a", b"b", b"c", "é".encode())
    tokenizer = load_llama2c_tokenizer(path, 267)
    assert tokenizer.encode("abc é").tokens == ["<s>", " ab", "c", " ", "é"]
    assert tokenizer.encode("bcd\n").tokens == ["<s>", " ", "bc", "<0x64>", "<0x0A>"]
    assert tokenizer.encode("").ids == [BEGIN]
    for text in ("abc é", "bcd\n", " two  spaces ", "∑"):
        assert tokenizer.decode(tokenizer.encode(text).ids) == text
    assert tokenizer.decode([BEGIN, *tokenizer.encode("ab").ids[1:], END]) == "ab"


@pytest.mark.parametrize("damage", ["cut", "another vocabulary", "negative length", "no text"])
def test_a_damaged_tokenizer_file_is_refused(tmp_path: Path, damage: str) -> None:
    path = _tokenizer_file(tmp_path / "tok.bin", b"a")
    data = path.read_bytes()
    last = {"cut": b"", "negative length": struct.pack("<fi", 0.0, -5), "no text": _entry(b"\xff", -1.0)}
    path.write_bytes(data[: -1 if damage == "cut" else None] + last.get(damage, b""))
    says = (
        "has 260 entries; the model's vocabulary has 300"
        if damage == "another vocabulary"
        else "not a llama2.c tokenizer file"
    )
    with pytest.raises(ModelError, match=says):
        load_llama2c_tokenizer(path, 300)


def test_the_real_tokenizer_merges_as_its_scores_say() -> None:
    """Against the rule itself, over real text of another kind than it was made for."""
    path = shared_data.folder("stories260K") / "tok512.bin"
    tokenizer, scores = load_llama2c_tokenizer(path, 512), _scores(path)
    text = (shared_data.folder("tinyshakespeare") / "input.txt").read_text(encoding="utf-8")
    lines = ["naïve  café — ∑ 😀", "\tx\n\n y", *filter(None, text[:50_000].split("\n"))]
    for line in lines:
        assert tokenizer.encode(line).tokens[1:] == _merged(line, scores), line
        assert tokenizer.decode(tokenizer.encode(line).ids) == line


def _scores(path: Path) -> dict[str, float]:
    data, offset, found = path.read_bytes(), 4, {}
    for index in range(512):
        score, length = (
            np.frombuffer(data, "<f4", 1, offset)[0],
            int.from_bytes(data[offset + 4 : offset + 8], "little"),
        )
        if index > 258:
            found[data[offset + 8 : offset + 8 + length].decode()] = float(score)
        offset += 8 + length
    return found


def _merged(text: str, scores: dict[str, float]) -> list[str]:
    """Join the two neighbours of the best score, the first of equals, as long as there are any."""
    parts: list[str] = []
    for character in f" {text}":
        parts += [character] if character in scores else [f"<0x{byte:02X}>" for byte in character.encode()]
    while True:
        unions = [(scores[a + b], -i) for i, (a, b) in enumerate(pairwise(parts)) if a + b in scores]
        if not unions:
            return parts
        place = -max(unions)[1]
        parts[place : place + 2] = ["".join(parts[place : place + 2])]
