"""Step graphs agree with torch for any subnet however a text is fed, and write what transformers writes."""

from __future__ import annotations

import random
from collections import Counter
from pathlib import Path
from typing import Any

import decoder_graphs
import numpy as np
import onnx
import pytest
import shared_data
import tiny_decoder
import torch
from onnx import numpy_helper
from transformers import AutoModelForCausalLM

from edgedistill.architecture import Subnet
from edgedistill.errors import ExportError
from edgedistill.exporters.checks import TOLERANCE
from edgedistill.exporters.decoder_checks import check_step_graph
from edgedistill.exporters.decoder_steps import Steps
from edgedistill.runtime.engine.kv_cache import Cache, heads_of
from edgedistill.runtime.engine.step_runner import StepRunner
from edgedistill.runtime.onnx import create_session
from edgedistill.supernet.llama2c import load_llama2c
from edgedistill.supernet.llama2c_tokenizer import load_llama2c_tokenizer
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.supernet.pretrained_decoder import load_pretrained_decoder

ARCHITECTURES = tiny_decoder.ARCHITECTURES
PROMPTS, PROMPT, ANSWER = 20, 8, 64
NEAR = 1e-4  # two logits that are as near may change places


def _decoder(name: str) -> ElasticTransformer:
    model = tiny_decoder.decoder(ARCHITECTURES[name])
    model.freeze()
    return model


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_any_subnet_agrees_with_torch_at_once_and_step_by_step(name: str, tmp_path: Path) -> None:
    """Unequal layers, any width, few KV heads or one, and head sizes that the attention kernel does not take."""
    model, rng = _decoder(name), random.Random(0)
    subnets = [model.arch.full, *(tiny_decoder.random_subnet(model.arch, rng) for _ in range(4))]
    written = decoder_graphs.write(model, tmp_path, subnets)
    for subnet, graph in written.graphs.items():
        assert check_step_graph(graph, model, subnet, model.arch.positions) <= TOLERANCE


def test_a_graph_of_other_weights_fails_its_check(tmp_path: Path) -> None:
    model, other = _decoder("grouped"), tiny_decoder.decoder(ARCHITECTURES["grouped"], seed=1)
    other.freeze()
    written = decoder_graphs.write(other, tmp_path, [model.arch.full])
    with pytest.raises(ExportError, match="differs from torch by"):
        check_step_graph(written.graphs[model.arch.full], model, model.arch.full, 40)


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_logits_are_of_the_places_that_are_asked_for(name: str, tmp_path: Path) -> None:
    model = _decoder(name)
    written = decoder_graphs.write(model, tmp_path, [model.arch.full])
    steps = Steps(written.graphs[model.arch.full], 20, 1)
    every = steps.step(range(10))
    for asked in ([9], [3, 0, 7], []):
        steps.begin()
        np.testing.assert_allclose(steps.step(range(10), asked), every[asked], atol=1e-5)
    np.testing.assert_array_equal(steps.step([3]).shape, (1, model.arch.vocabulary))


@pytest.mark.parametrize("name", ARCHITECTURES)
def test_a_layer_is_few_fused_operators_and_a_graph_holds_no_weights(name: str, tmp_path: Path) -> None:
    model = _decoder(name)
    written = decoder_graphs.write(model, tmp_path, [model.arch.full])
    path = written.graphs[model.arch.full]
    graph = onnx.load(path, load_external_data=False).graph
    kinds = Counter(node.op_type for node in graph.node)
    layers = model.arch.layers
    assert kinds["GroupQueryAttention"] == layers
    assert kinds["SkipSimplifiedLayerNormalization"] + kinds["SkipLayerNormalization"] >= 2 * layers
    assert kinds["FusedMatMul"] == 4 * layers + 1
    inside = [tensor for tensor in graph.initializer if not tensor.external_data]
    assert max((len(numpy_helper.to_array(tensor).ravel()) for tensor in inside), default=0) <= 8


def test_a_tied_head_is_the_table_of_words(tmp_path: Path) -> None:
    model = _decoder("normed")
    subnet = tiny_decoder.SPACE.minnet
    written = decoder_graphs.write(model, tmp_path, [subnet])
    tensors = written.weights.tensors
    assert tensors["head.weight"] == tensors["word.weight"]
    table = model.arch.vocabulary * model.arch.hidden * 4
    rest = sum(t.shape[0] * t.row_bytes for name, t in tensors.items() if name not in {"head.weight", "word.weight"})
    assert written.weight_bytes[subnet] == table + rest


@pytest.mark.parametrize("name", ["llama", "llama-heads-wide", "mistral", "qwen2", "qwen3", "gpt2", "gpt_bigcode"])
def test_greedy_texts_are_transformers_own(name: str, tmp_path: Path) -> None:
    limit = "n_positions" if name.startswith("gpt") else "max_position_embeddings"
    folder = tiny_decoder.checkpoint(tmp_path / "model", name, **{limit: PROMPT + ANSWER})
    model = load_pretrained_decoder(folder, scale=1.0, dropout=0.0)
    graph = decoder_graphs.write(model, tmp_path, [model.arch.full]).graphs[model.arch.full]
    prompts = torch.randint(3, tiny_decoder.VOCABULARY, (PROMPTS, PROMPT), generator=torch.Generator().manual_seed(0))
    expected, logits = _by_transformers(folder, prompts)
    session = create_session(graph, threads=1)
    cache = Cache(heads_of(session.get_inputs()), PROMPT + ANSWER)
    steps, same = StepRunner(session, cache), 0  # type: ignore[arg-type]
    for row, prompt in enumerate(prompts.tolist()):
        cache.tokens = 0
        answer = _greedy(steps, prompt, ANSWER)
        if answer == expected[row].tolist():
            same += 1
            continue
        place = next(
            i for i, (one, other) in enumerate(zip(answer, expected[row].tolist(), strict=True)) if one != other
        )
        first, second = logits[place, row].topk(2).values
        assert first - second < NEAR
    assert same >= PROMPTS - 2
    assert len({tuple(row) for row in expected.tolist()}) > PROMPTS / 2


@torch.no_grad()
def _by_transformers(folder: Path, prompts: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Its greedy answers [prompts, tokens], and the logits of each token [tokens, prompts, v]."""
    theirs: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    theirs.generation_config.eos_token_id = None
    made = theirs.generate(
        prompts,
        attention_mask=torch.ones_like(prompts),
        max_new_tokens=ANSWER,
        do_sample=False,
        pad_token_id=0,
        output_logits=True,
        return_dict_in_generate=True,
    )
    return made.sequences[:, PROMPT:], torch.stack(made.logits)


def _greedy(steps: StepRunner, prompt: list[int], tokens: int, end: int | None = None) -> list[int]:
    found = [int(steps.run(prompt).argmax())]
    while len(found) < tokens and found[-1] != end:
        found.append(int(steps.run(found[-1:]).argmax()))
    return found


def test_stories260k_writes_its_documented_story(tmp_path: Path) -> None:
    data = shared_data.folder("stories260K")
    model = load_llama2c(data / "stories260K.bin", scale=1.0, dropout=0.0)
    tokenizer = load_llama2c_tokenizer(data / "tok512.bin", model.arch.vocabulary)
    graph = decoder_graphs.write(model, tmp_path, [model.arch.full]).graphs[model.arch.full]
    documented = (data / "stories260K.md").read_text()
    story = documented[documented.index("Once upon a time, there was a little girl") :].partition("\n```")[0]
    session = create_session(graph, threads=1)
    steps = StepRunner(session, Cache(heads_of(session.get_inputs()), model.arch.positions))  # type: ignore[arg-type]
    answer = _greedy(steps, [1], 256, end=1)
    assert tokenizer.decode(answer).strip() == story.strip()


def test_subnets_share_one_file_that_holds_what_the_largest_keep(tmp_path: Path) -> None:
    model = _decoder("multi-head")
    deep = Subnet.uniform((0, 1, 2), hidden=16, heads=2, ffn=11)
    wide = Subnet.uniform((1,), hidden=32, heads=4, ffn=40)
    tensors = decoder_graphs.write(model, tmp_path, [deep, wide]).weights.tensors
    assert tensors["layers.0.ffn_up.weight"].shape == (11, 16)
    assert tensors["layers.1.ffn_up.weight"].shape == (40, 32)
    assert tensors["head.weight"].shape == (tiny_decoder.VOCABULARY, 32)
    assert tensors["word.weight"].shape == (tiny_decoder.VOCABULARY, 32)
    assert len(list(tmp_path.glob("*.bin"))) == 1
