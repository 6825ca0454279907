"""Scores of subnets: every unit once and in order, by labels or by a teacher."""

from __future__ import annotations

import random
from dataclasses import replace

import pytest
import tiny_encoder
import torch
from torch.nn import functional as F

from edgedistill.data.batches import Encoded
from edgedistill.distillation.evaluation import evaluate, outputs_of
from edgedistill.errors import DataError
from edgedistill.supernet.model import ElasticTransformer
from edgedistill.tasks import task_of

FULL = tiny_encoder.ARCH.full
CLASSES, NUMBERS = task_of("text-classification"), task_of("text-regression")
TAGS, VECTORS = task_of("token-classification"), task_of("sentence-embedding")


def _rows(count: int = 150) -> Encoded:
    """More than a batch, of unequal lengths, so that batches are not in the rows' order."""
    rng = random.Random(0)
    ids = tuple(tuple(rng.randrange(50) for _ in range(rng.randint(2, 9))) for _ in range(count))
    return Encoded(ids, tuple((0,) * len(row) for row in ids), None, None, 0)


def _encoder(**changes: object) -> ElasticTransformer:
    """The tiny encoder with another head."""
    model = ElasticTransformer(replace(tiny_encoder.ARCH, **changes), dropout=0.5)  # type: ignore[arg-type]
    generator = torch.Generator().manual_seed(0)
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1:
            parameter.data.fill_(float(name.endswith("norm.weight")))
        else:  # small behind the embeddings, so that what is answered depends on what is asked
            spread = 1.0 if name.startswith("embeddings") else 0.15
            parameter.data = torch.randn(parameter.shape, generator=generator) * spread
    model.freeze()
    return model.train()  # evaluation has to turn dropout off itself


def _alone(model: ElasticTransformer, ids: tuple[int, ...]) -> torch.Tensor:
    inputs = torch.tensor([ids])
    with torch.no_grad():
        result: torch.Tensor = model.eval()(inputs, torch.ones_like(inputs), torch.zeros_like(inputs), FULL).logits[0]
    return result


def test_outputs_are_in_the_order_of_the_rows() -> None:
    model, data = _encoder(), _rows()
    found = outputs_of(model, FULL, data)
    assert len(set(found.argmax(-1).tolist())) > 1
    torch.testing.assert_close(found, torch.stack([_alone(model, ids) for ids in data.ids]), atol=1e-5, rtol=1e-5)


def test_outputs_of_words_are_in_the_order_of_rows_and_words() -> None:
    model = _encoder(pooling="each", dense=None)
    rows = _rows()
    words = tuple(tuple(range(0, len(ids), 2))[: row % 4] for row, ids in enumerate(rows.ids))  # some have none
    data = replace(rows, words=words)
    wanted = torch.cat([_alone(model, ids)[list(at)] for ids, at in zip(data.ids, words, strict=True)])
    torch.testing.assert_close(outputs_of(model, FULL, data), wanted, atol=1e-5, rtol=1e-5)


def test_a_score_by_labels() -> None:
    model, rows = _encoder(), _rows()
    outputs = outputs_of(model, FULL, rows)
    labels = outputs.argmax(-1)
    labels[:30] = (labels[:30] + 1) % 5
    score = evaluate(model, FULL, replace(rows, labels=tuple(labels.tolist())), CLASSES, names="abcde")
    assert (score.metric, score.value) == ("accuracy", 0.8)
    assert set(score.metrics) == {"accuracy", "f1", "matthews"}
    assert score.loss == pytest.approx(float(F.cross_entropy(outputs, labels)), rel=1e-4)


def test_a_score_of_tags() -> None:
    model, rows = _encoder(pooling="each", dense=None), _rows(20)
    data = replace(rows, words=tuple((0, 1) for _ in rows.ids))
    found = outputs_of(model, FULL, data).argmax(-1).view(-1, 2)
    names = ("O", "B-a", "I-a", "B-b", "I-b")
    score = evaluate(model, FULL, replace(data, labels=tuple(map(tuple, found.tolist()))), TAGS, names=names)
    assert len(found.unique()) > 1
    assert score.metrics == {"entity_f1": 1.0, "accuracy": 1.0}


def test_a_score_of_numbers() -> None:
    model, rows = _encoder(outputs=1), _rows()
    numbers = outputs_of(model, FULL, rows)[:, 0]
    score = evaluate(model, FULL, replace(rows, labels=tuple((2 * numbers).tolist())), NUMBERS, names=())
    assert score.value == pytest.approx(1.0)
    assert score.loss == pytest.approx(float(numbers.square().mean()), rel=1e-4)


def test_without_labels_a_teacher_says_what_is_right() -> None:
    model, data = _encoder(), _rows()
    teacher = outputs_of(model, FULL, data)
    own = evaluate(model, FULL, data, CLASSES, names="abcde", reference=teacher)
    assert own.metrics == {"agreement": 1.0}
    assert own.loss == pytest.approx(0.0, abs=1e-6)
    small = evaluate(model, tiny_encoder.SPACE.minnet, data, CLASSES, names="abcde", reference=teacher)
    assert small.value < 1.0
    assert small.loss > 0.01
    with pytest.raises(DataError, match="only be scored against a teacher"):
        evaluate(model, FULL, data, CLASSES, names="abcde")


def test_pairs_of_sentences_are_scored_by_their_cosines() -> None:
    model, rows = _encoder(outputs=24, pooling="mean", dense=None, normalise=True), _rows(40)
    vectors = outputs_of(model, FULL, rows)
    cosines = (vectors[::2] * vectors[1::2]).sum(-1)
    data = replace(rows, labels=tuple(cosines.repeat_interleave(2).tolist()))
    score = evaluate(model, FULL, data, VECTORS, names=())
    assert score.value > 0.99  # cosines that are almost the same may change places
    assert score.loss == pytest.approx(1 - score.value)
    taught = evaluate(model, FULL, data, VECTORS, names=(), reference=-vectors)
    assert (taught.metric, taught.loss) == ("spearman", pytest.approx(4.0))
