"""Streaming evaluation of decoders, against transformers' own loss and a whole matrix of logits."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest
import tiny_decoder
import torch

from edgedistill.data.batches import Encoded, make_batch
from edgedistill.distillation import next_tokens
from edgedistill.distillation.evaluation import evaluate, next_tokens_of
from edgedistill.supernet.pretrained_decoder import load_causal_hugging_face, load_pretrained_decoder
from edgedistill.tasks import task_of

TASK = task_of("text-generation")


def _rows(rows: int = 9, tokens: int = 12) -> Encoded:
    generator = torch.Generator().manual_seed(0)
    ids = torch.randint(0, tiny_decoder.VOCABULARY, (rows, tokens), generator=generator).tolist()
    return Encoded(
        tuple(map(tuple, ids)),
        ((0,) * tokens,) * rows,
        tuple(tuple(row[1:]) for row in ids),
        (tuple(range(tokens - 1)),) * rows,
        0,
    )


@pytest.mark.parametrize("name", ["llama", "gpt2", "gpt_bigcode", "qwen3"])
def test_the_loss_is_transformers_own(tmp_path: Path, name: str) -> None:
    folder, rows = tiny_decoder.checkpoint(tmp_path, name), _rows()
    model = load_pretrained_decoder(folder, scale=1.0, dropout=0.5)
    score = evaluate(model, model.arch.full, rows, TASK, names=())
    ids = make_batch(rows, range(len(rows))).input_ids
    with torch.no_grad():
        theirs = float(load_causal_hugging_face(folder)(input_ids=ids, labels=ids).loss)
    assert score.loss == pytest.approx(theirs, rel=1e-5)
    assert score.metrics["perplexity"] == pytest.approx(math.exp(theirs), rel=1e-4)
    assert score.metric == "next_token_accuracy"


@pytest.mark.parametrize("held", [1, 1 << 24])
def test_a_few_logits_at_a_time_score_as_all_together(monkeypatch: pytest.MonkeyPatch, held: int) -> None:
    monkeypatch.setattr(next_tokens, "_MAX_LOGITS_AT_ONCE", held)
    model, rows = tiny_decoder.decoder(tiny_decoder.ARCHITECTURES["grouped"]), _rows()
    for subnet in (model.arch.full, tiny_decoder.SPACE.minnet):
        batch = make_batch(rows, range(len(rows)))
        with torch.no_grad():
            logits = model.logits(batch.input_ids, batch.attention_mask, subnet)[:, :-1].flatten(0, 1)
        labels = batch.input_ids[:, 1:].flatten()
        score = evaluate(model, subnet, rows, TASK, names=())
        assert score.loss == pytest.approx(float(torch.nn.functional.cross_entropy(logits, labels)), rel=1e-5)
        assert score.value == pytest.approx(float((logits.argmax(-1) == labels).float().mean()))
        assert TASK.metrics(logits.numpy(), rows.labels, ()) == pytest.approx(score.metrics, rel=1e-5)


def test_figures_of_some_rows_are_those_rows_alone() -> None:
    model, rows = tiny_decoder.decoder(tiny_decoder.ARCHITECTURES["normed"]), _rows()
    figures = next_tokens_of(model, model.arch.full, rows)
    some = next_tokens_of(model, model.arch.full, rows.subset([2, 5]))
    assert figures.metrics(np.array([2, 5])) == pytest.approx(some.metrics(), rel=1e-6)
    assert figures.tokens.tolist() == [11.0] * 9
