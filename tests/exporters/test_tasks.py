"""Every task from a few steps of training to a palette: what the manifest says of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_training import RECIPE, model_folder, train

from edgedistill.data.batches import Encoded
from edgedistill.data.dataset import TaskData
from edgedistill.data.rows import Row
from edgedistill.distillation import mlfs
from edgedistill.distillation.models import resolve_model
from edgedistill.exporters import write_palette
from edgedistill.exporters.mixing import distinct_rows, measure_mixing
from edgedistill.exporters.quality import graph_outputs, qualities_of
from edgedistill.palette import Palette, load
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.tasks import TaskName, task_of

_COUNT = 40
_TEXTS = [" ".join(f"w{(i * k) % 40}" for k in range(1, 3 + i % 4)) for i in range(_COUNT)]
_OTHERS = _TEXTS[1:] + _TEXTS[:1]
_ROWS: dict[str, list[Row]] = {
    "pair": [((a, b), "same" if i % 2 else "other") for i, (a, b) in enumerate(zip(_TEXTS, _OTHERS, strict=True))],
    "labels": [
        (text, tuple(sorted({f"tens {word[1]}" for word in text.split() if len(word) == 3}))) for text in _TEXTS
    ],
    "regression": [(text, float(i % 7)) for i, text in enumerate(_TEXTS)],
    "tokens": [
        (tuple(text.split()), tuple("B-place" if word.endswith("1") else "O" for word in text.split()))
        for text in _TEXTS
    ],
    "scored embeddings": [((a, b), float(i % 5)) for i, (a, b) in enumerate(zip(_TEXTS, _OTHERS, strict=True))],
    "embeddings": [(text, None) for text in _TEXTS],
}
_TASKS: dict[str, TaskName] = {
    "pair": "text-classification",
    "labels": "multi-label-classification",
    "regression": "text-regression",
    "tokens": "token-classification",
    "scored embeddings": "sentence-embedding",
    "embeddings": "sentence-embedding",
}
_METRICS = {
    "pair": ["accuracy"],
    "labels": ["micro_f1", "macro_f1"],
    "regression": ["spearman", "pearson", "mean_absolute_error"],
    "tokens": ["entity_f1"],
    "scored embeddings": ["spearman"],
    "embeddings": ["cosine_to_teacher"],
}


def _data(kind: str) -> TaskData:
    rows, task = _ROWS[kind], _TASKS[kind]
    train: list[Row] = [(text, None) for text in _TEXTS] if task == "sentence-embedding" else rows
    return TaskData.from_rows({"train": train, "validation": rows[:30], "test": rows[30:]}, "rows", task)


def _exported(kind: str, folder: Path) -> tuple[Supernet, mlfs.EncodedData, Palette]:
    given = _data(kind)
    source = resolve_model(model_folder(folder / "model", head=""))
    supernet, _ = train(mlfs.build_supernet(source, given, RECIPE), given, folder / "supernet")
    encoded = mlfs.encode_data(supernet, given)
    subnets = [supernet.space.maxnet, supernet.space.middle(supernet.model.arch), supernet.space.minnet]
    write_palette(supernet, subnets, encoded, folder / "palette", lambda _: None)
    return supernet, encoded, load(folder / "palette")


@pytest.mark.slow
@pytest.mark.parametrize("kind", _ROWS)
def test_a_palette_of_every_task_says_what_it_is_and_how_good(kind: str, tmp_path: Path) -> None:
    supernet, encoded, palette = _exported(kind, tmp_path)
    manifest = palette.manifest
    assert manifest.task == _TASKS[kind]
    assert manifest.labels == {
        "pair": ["other", "same"],
        "labels": ["tens 1", "tens 2", "tens 3"],
        "tokens": ["B-place", "O"],
    }.get(kind, [])
    for entry in manifest.subnets:
        told = [(metric, split) for split in ("validation", "test") for metric in _METRICS[kind]]
        assert [(q.metric, q.split) for q in entry.quality] == told
        assert all(q.low <= q.value <= q.high for q in entry.quality)
        assert all(q.low < q.high for q in entry.quality if 0 < q.value < 1)
        calibration = entry.calibration
        assert (calibration is not None) == (kind in ("pair", "labels"))
        if calibration is not None:
            assert (calibration.thresholds is None) == (kind == "pair")
    assert (manifest.mixing is not None) == (manifest.task == "sentence-embedding")
    outputs = graph_outputs(palette.folder / manifest.subnets[-1].graph, encoded.test)
    assert outputs.shape == (sum(map(encoded.test.units, range(len(encoded.test)))), supernet.model.arch.outputs)
    if manifest.mixing is not None:
        torch.testing.assert_close(outputs.norm(dim=-1), torch.ones(len(outputs)))
        names = [entry.name for entry in manifest.subnets]
        assert manifest.mixing.recall[names[0]][names[0]] == 1.0
        assert all(set(row) == set(names) for row in manifest.mixing.recall.values())
        assert manifest.mixing.allowed(names[0], names[0])


def test_mixing_is_forbidden_below_the_bound_and_unknown_for_few_texts() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(200, 8)).astype(np.float32)
    turned = vectors @ np.linalg.qr(rng.normal(size=(8, 8)))[0].astype(np.float32)  # its own neighbours, elsewhere
    near = vectors + 0.01 * rng.normal(size=vectors.shape).astype(np.float32)
    mixing = measure_mixing({"max": vectors, "near": near, "turned": turned}, "validation")
    assert mixing is not None
    assert mixing.recall["turned"]["turned"] > 0.99
    assert mixing.allowed("near", "max")
    assert not mixing.allowed("turned", "max")
    assert not mixing.allowed("max", "turned")
    assert measure_mixing({"max": vectors[:10]}, "validation") is None


def test_a_text_that_is_there_twice_counts_once() -> None:
    data = Encoded(((1, 2), (3,), (1, 2), (4,)), ((0, 0), (0,), (0, 0), (0,)), None, None, 0)
    assert distinct_rows(data) == [0, 1, 3]


def test_the_interval_of_a_perfect_correlation_is_a_point() -> None:
    data = Encoded(tuple((i,) for i in range(30)), ((0,),) * 30, tuple(float(i) for i in range(30)), None, 0)
    task = task_of("text-regression")
    found, *_ = qualities_of(torch.arange(30.0)[:, None], "test", data, task, names=[], reference=None)
    assert (found.low, found.value, found.high) == (pytest.approx(1.0),) * 3
    noisy = torch.arange(30.0)[:, None] + 10 * torch.randn(30, 1, generator=torch.Generator().manual_seed(0))
    for wide in qualities_of(noisy, "test", data, task, names=[], reference=None):
        assert wide.low < wide.value < wide.high
