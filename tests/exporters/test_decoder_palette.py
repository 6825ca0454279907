"""A decoder's supernet becomes a palette: what its manifest says, that it verifies, and that its family can change."""

from __future__ import annotations

import random
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tiny_decoder
import torch
from tokenizers import Tokenizer
from tokenizers.models import WordLevel
from transformers import AutoModelForCausalLM, AutoTokenizer

from edgedistill.architecture import Subnet
from edgedistill.data.batches import Encoded
from edgedistill.distillation.evaluation import next_tokens_of
from edgedistill.distillation.mlfs import EncodedData
from edgedistill.errors import ExportError
from edgedistill.exporters import decoder_members, write_palette
from edgedistill.exporters.blocks import scale_name
from edgedistill.exporters.decoder_weights import DecoderWeightStore
from edgedistill.exporters.hugging_face import write_hugging_face
from edgedistill.palette import Manifest, Palette, Precision, SubnetEntry
from edgedistill.runtime.verification import verify
from edgedistill.supernet.checkpoint import DataSource, GenerationInfo, StageScore, Supernet, SupernetInfo

ALL: tuple[Precision, ...] = ("fp32", "int8", "int4")
LARGE = Subnet.uniform((0, 1, 2), hidden=32, heads=4, ffn=40)
SMALL = Subnet.uniform((0, 2), hidden=16, heads=2, ffn=11)
THIRD = Subnet.uniform((0, 2), hidden=32, heads=2, ffn=40)
CONTEXT = 24


def _supernet(name: str = "grouped") -> Supernet:
    model = tiny_decoder.decoder(tiny_decoder.ARCHITECTURES[name])
    model.freeze()
    info = SupernetInfo(
        architecture=model.arch,
        eps=model.eps,
        base_model="tiny",
        base_revision=None,
        base_sha256="0" * 64,
        task="text-generation",
        labels=[],
        max_tokens=20,
        pad_token=None,
        pad_token_id=0,
        data=DataSource(data="text", unlabelled=None, text_columns=("text",), label_column=None, sha256="1" * 64),
        recipe={},
        rank=2,
        scale=0.5,
        seed=0,
        scores=[_score(stage) for stage in (0, 1)],
        versions={},
        generation=GenerationInfo(context_tokens=CONTEXT, eos_token_ids=[2], bos_token_id=1, chat_template="{{ x }}"),
    )
    words = {f"w{i}": i for i in range(tiny_decoder.VOCABULARY)}
    return Supernet(model, tiny_decoder.SPACE, info, Tokenizer(WordLevel(words, unk_token="w0")))


def _score(stage: int) -> StageScore:
    figures = {"metric": "next_token_accuracy", "validation": 0.5, "test": 0.5, "curve": [], "steps": 1, "flops": 1}
    return StageScore(stage=stage, wall_s=1.0, **figures)


def _rows(seed: int) -> Encoded:
    rng = random.Random(seed)
    ids = tuple(tuple(rng.randrange(tiny_decoder.VOCABULARY) for _ in range(20)) for _ in range(6))
    told = tuple(tuple(range(len(row) - 1)) for row in ids)
    return Encoded(ids, tuple((0,) * len(row) for row in ids), tuple(row[1:] for row in ids), told, 0)


@pytest.fixture(scope="module")
def rows() -> EncodedData:
    return EncodedData(_rows(0), _rows(1), _rows(2))


@pytest.fixture(scope="module")
def manifest(tmp_path_factory: pytest.TempPathFactory, rows: EncodedData) -> Manifest:
    folder = tmp_path_factory.mktemp("palette") / "palette"
    return write_palette(_supernet(), [LARGE, SMALL], rows, folder, lambda _: None, precisions=ALL).manifest


def _entry(manifest: Manifest, subnet: Subnet, precision: Precision) -> SubnetEntry:
    return next(e for e in manifest.subnets if (e.config, e.precision) == (subnet, precision))


def test_the_manifest_says_what_generating_needs(manifest: Manifest) -> None:
    assert manifest.task == "text-generation"
    assert manifest.generation is not None
    assert manifest.generation.model_dump() == {
        "context_tokens": CONTEXT,
        "eos_token_ids": [2],
        "bos_token_id": 1,
        "chat_template": "{{ x }}",
        "head_size": 8,
    }
    assert [spec.name for spec in manifest.graph_inputs] == [
        "input_ids", "seqlens_k", "total_sequence_length", "logit_positions"
    ]  # fmt: skip
    assert [entry.name for entry in manifest.subnets] == [
        f"{subnet.name}{suffix}" for suffix in ("", "-int8", "-int4") for subnet in (LARGE, SMALL)
    ]
    small = _entry(manifest, SMALL, "fp32")
    assert [layer.kv_heads for layer in small.layers] == [1, 1]
    assert small.cache_bytes_a_token == 2 * 4 * 8 * 2
    sizes = [_entry(manifest, LARGE, precision).size_mb for precision in ALL]
    assert sizes == sorted(sizes, reverse=True)
    assert len({entry.weights for entry in manifest.subnets}) == 3


def test_quality_is_what_torch_measures_with_an_interval(manifest: Manifest, rows: EncodedData) -> None:
    model = _supernet().model
    for subnet in (LARGE, SMALL):
        entry = _entry(manifest, subnet, "fp32")
        found = {(quality.metric, quality.split): quality for quality in entry.quality}
        for split in ("validation", "test"):
            for metric, value in next_tokens_of(model, subnet, getattr(rows, split)).metrics().items():
                quality = found[metric, split]
                assert quality.value == pytest.approx(value, rel=1e-4)
                assert quality.low <= quality.value <= quality.high
                assert quality.low < quality.high
                assert quality.examples == 6
        assert entry.quality[0].metric == "next_token_accuracy"


@pytest.mark.parametrize("name", ["grouped", "normed", "multi-query", "multi-head"])
def test_every_member_answers_as_recorded_and_damage_is_told(
    name: str, rows: EncodedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    palette = write_palette(_supernet(name), [LARGE, SMALL], rows, tmp_path / "p", lambda _: None, precisions=ALL)
    checked = list(verify(palette))
    assert len(checked) == 6
    assert [one.fault for one in checked] == [None] * 6
    probes = palette.probes()
    other = dict(probes.answers)
    other[LARGE.name] = (np.array(other[LARGE.name]) + 1.0).tolist()
    monkeypatch.setattr(Palette, "probes", lambda _: probes.model_copy(update={"answers": other}))
    assert [one.subnet for one in verify(palette) if one.fault is not None] == [LARGE.name]


def test_the_same_supernet_gives_the_same_bytes(rows: EncodedData, tmp_path: Path) -> None:
    folders = [
        write_palette(_supernet(), [SMALL], rows, tmp_path / name, lambda _: None, precisions=("fp32", "int4")).folder
        for name in ("one", "two")
    ]
    first, second = ({path.name: path.read_bytes() for path in folder.iterdir()} for folder in folders)
    assert first == second


def test_a_family_changes_over_the_same_weights(
    rows: EncodedData, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    old = write_palette(_supernet("normed"), [LARGE, SMALL], rows, tmp_path / "p", lambda _: None, precisions=ALL)
    scored: list[Path] = []
    real = decoder_members.graph_figures

    def counted(graph: Path, *rest: object) -> object:
        scored.append(graph)
        return real(graph, *rest)  # type: ignore[arg-type]

    monkeypatch.setattr(decoder_members, "graph_figures", counted)
    family = [LARGE, THIRD]
    written = write_palette(_supernet("normed"), family, rows, old.folder, lambda _: None, precisions=ALL, changing=old)
    new = written.manifest
    assert {entry.weights for entry in new.subnets} == {entry.weights for entry in old.manifest.subnets}
    assert {path.name.partition("-fp32")[0].partition("-int")[0] for path in scored} == {THIRD.name}
    for precision in ALL:
        assert _entry(new, LARGE, precision) == _entry(old.manifest, LARGE, precision)
    other = replace(_supernet("normed"), model=tiny_decoder.decoder(tiny_decoder.ARCHITECTURES["normed"], seed=1))
    other.model.freeze()
    with pytest.raises(ExportError, match="was exported from another supernet"):
        write_palette(other, family, rows, old.folder, lambda _: None, precisions=ALL, changing=written)


def test_texts_out_of_scope_are_refused(rows: EncodedData, tmp_path: Path) -> None:
    with pytest.raises(ExportError, match="for classifiers to reject"):
        write_palette(_supernet(), [SMALL], rows, tmp_path / "p", lambda _: None, out_of_scope=rows.test)
    assert not (tmp_path / "p").exists()


@torch.no_grad()
def test_a_subnet_is_written_as_transformers_own(tmp_path: Path) -> None:
    supernet = _supernet()
    write_hugging_face(supernet, THIRD, tmp_path / "model")
    theirs = AutoModelForCausalLM.from_pretrained(tmp_path / "model").eval()
    ids, mask = tiny_decoder.inputs(1, 9)
    expected = supernet.model.logits(ids, torch.ones_like(mask), THIRD)
    torch.testing.assert_close(theirs(ids, attention_mask=torch.ones_like(mask)).logits, expected, atol=1e-4, rtol=1e-4)
    assert theirs.generation_config.eos_token_id == [2]
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "model")
    assert (tokenizer.eos_token, tokenizer.bos_token, tokenizer.chat_template) == ("w2", "w1", "{{ x }}")


@pytest.mark.parametrize("precision", ["int8", "int4"])
def test_the_order_of_what_a_graph_holds_is_the_models(precision: Precision) -> None:
    """And no set's, which differs between processes: the same supernet would make other files each time."""
    store = DecoderWeightStore.of(_supernet().model, precision)
    scales = [scale_name(name) for name in store.bits]
    assert len(scales) > 10
    held = [name for name in store.extents(SMALL) if name in scales]
    assert held == [name for name in scales if name in held]
    assert len(held) > 10
