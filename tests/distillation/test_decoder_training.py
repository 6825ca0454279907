"""MLFS of a decoder: it learns, a killed run ends as one left alone, and what it begins and ends with is on disk."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_decoder
import tiny_text
import torch
from tiny_text import RECIPE, STAGE, data
from tiny_training import same_weights, train, train_with_kills

from edgedistill.architecture import Subnet
from edgedistill.data.batches import make_batch
from edgedistill.data.packing import pack
from edgedistill.distillation import mlfs, unit_outputs
from edgedistill.distillation.evaluation import evaluate
from edgedistill.distillation.models import ResolvedModel, resolve_model
from edgedistill.distillation.recipe import Recipe
from edgedistill.distillation.supernet_build import build_standalone_supernet
from edgedistill.distillation.unit_outputs import UnitOutputs, sum_over_units, unit_outputs_of
from edgedistill.errors import RecipeError
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet
from edgedistill.supernet.random_weights import random_decoder
from edgedistill.supernet.slicing import full_tensors
from edgedistill.tasks import task_of

TASK = task_of("text-generation")


@pytest.fixture
def source(tmp_path: Path) -> ResolvedModel:
    return resolve_model(tiny_text.model_folder(tmp_path / "model"))


def _recipe(**changes: Any) -> Recipe:
    return Recipe.model_validate(RECIPE.model_dump() | changes)


def _losses(supernet: Supernet) -> list[float]:
    """Of the maxnet and of a small subnet, on test."""
    rows, arch = mlfs.encode_data(supernet, data()).test, supernet.model.arch
    kept = supernet.space.layers[-1] if len(supernet.space.layers) > 1 else (0, 2)
    small = Subnet.uniform(kept, hidden=arch.hidden, heads=2, ffn=20)
    return [evaluate(supernet.model, subnet, rows, TASK, names=()).loss for subnet in (arch.full, small)]


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"alpha": 0.5, "alternate": False, "maxnet": True, "teacher_source": "maxnet"},
        {"alpha": 0.0, "order": "prefix"},
    ],
    ids=["teacher alone", "maxnet teaches", "labels alone, prefix"],
)
def test_every_stage_learns(tmp_path: Path, source: ResolvedModel, changes: dict[str, Any]) -> None:
    stages = {name: STAGE.model_copy(update={"epochs": 4}) for name in ("teacher", "widths", "depths")}
    recipe = _recipe(**stages, **changes)
    begun = mlfs.build_supernet(source, data(), recipe)
    at_first = _losses(begun)
    taught, _ = train(begun, data(), tmp_path / "out", until=0)
    after_0 = _losses(taught)
    assert after_0[0] < at_first[0] - 0.5
    trained, log = train(checkpoint.load(tmp_path / "out"), data(), tmp_path / "out")
    full, small = _losses(trained)
    assert small < after_0[1] - 0.3
    assert full < after_0[0] + 0.15
    assert {report.stage for report in log.reports} == {1, 2}
    scores = trained.info.scores
    assert [set(score.metrics) for score in scores] == [{"next_token_accuracy", "perplexity"}] * 3
    assert scores[0].metric == "next_token_accuracy"


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [{"dropout": 0.2}, {"random_weights": True, "teacher_source": "maxnet", "maxnet": True, "alternate": False}],
    ids=["frozen teacher", "random weights, maxnet teaches"],
)
def test_a_run_killed_at_any_step_ends_with_the_weights_of_one_left_alone(
    tmp_path: Path, source: ResolvedModel, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    recipe = _recipe(**changes)
    whole, _ = train(mlfs.build_supernet(source, data(), recipe), data(), tmp_path / "whole")
    parts, _ = train_with_kills(
        lambda: mlfs.build_supernet(source, data(), recipe), data(), tmp_path / "parts", monkeypatch
    )
    same_weights(*(checkpoint.load(tmp_path / name).model.state_dict() for name in ("parts", "whole")), 0.0)
    assert parts.space == whole.space
    assert [(s.curve, s.flops) for s in parts.info.scores] == [(s.curve, s.flops) for s in whole.info.scores]


def test_chunks_of_units_have_the_loss_and_the_gradients_of_all_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    model = tiny_decoder.decoder(tiny_decoder.ARCHITECTURES["grouped"], pairs=1)
    rows = pack(_words(), [tiny_text.text(200)], "text", vocabulary=tiny_decoder.VOCABULARY, tokens=16, pad=0, ends=())
    batch, mixed = make_batch(rows, range(4)), TASK.mixed_sum(0.7, 2.0)
    found = []
    for held in (1 << 23, 7 * tiny_decoder.VOCABULARY):
        monkeypatch.setattr(unit_outputs, "_MAX_OUTPUTS_AT_ONCE", held)
        teacher = unit_outputs_of(model, batch, model.arch.full).detached()
        loss = sum_over_units(mixed, unit_outputs_of(model, batch, tiny_decoder.SPACE.minnet), teacher, batch.labels)
        loss.backward()
        trained = {name: p for name, p in model.named_parameters() if p.requires_grad and p.grad is not None}
        found.append((loss.detach(), {name: p.grad for name, p in trained.items()}))
        model.zero_grad()
    (whole, gradients), (parts, others) = found
    torch.testing.assert_close(parts, whole)
    assert gradients.keys() == others.keys()
    assert "head.pairs.0.B" in gradients
    for name, gradient in gradients.items():
        torch.testing.assert_close(others[name], gradient, atol=1e-5, rtol=1e-4)


def _words() -> Any:
    from tokenizers import Tokenizer, pre_tokenizers
    from tokenizers.models import WordLevel

    made = Tokenizer(
        WordLevel({"[UNK]": 0} | {word: i for i, word in enumerate(tiny_text.WORDS, 3)}, unk_token="[UNK]")
    )
    made.pre_tokenizer = pre_tokenizers.WhitespaceSplit()
    return made


def test_the_mixed_loss_is_its_definition() -> None:
    """(1 − α)·cross-entropy + α·T²·KL(teacher‖ours), summed."""
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(5, 7, generator=generator) for _ in range(2))
    labels = torch.arange(5)
    loss = sum_over_units(TASK.mixed_sum(0.7, 2.0), UnitOutputs.computed(ours), UnitOutputs.computed(theirs), labels)
    hard = -ours.softmax(-1).log()[labels, labels].sum()
    p, q = (theirs / 2).softmax(-1), (ours / 2).softmax(-1)
    torch.testing.assert_close(loss, 0.3 * hard + 0.7 * 4 * (p * (p / q).log()).sum())


def test_a_supernet_of_a_decoder_knows_how_to_generate(tmp_path: Path, source: ResolvedModel) -> None:
    (source.folder / "generation_config.json").write_text('{"eos_token_id": [2, 7]}')
    supernet = mlfs.build_supernet(source, data(), RECIPE)
    checkpoint.save(supernet, tmp_path / "out")
    again = checkpoint.load(tmp_path / "out")
    assert again.info == supernet.info
    assert again.info.pad_token is None
    generation = again.info.generation
    assert generation is not None
    assert (generation.context_tokens, generation.eos_token_ids, generation.bos_token_id) == (40, [2, 7], 1)
    assert again.model.arch == again.info.architecture


def test_the_frozen_teacher_is_the_model_as_stage_0_left_it(tmp_path: Path, source: ResolvedModel) -> None:
    trained, _ = train(mlfs.build_supernet(source, data(), RECIPE), data(), tmp_path / "out", until=0)
    kept = checkpoint.load(tmp_path / "out").teacher
    state = full_tensors(trained.model)
    same_weights(dict(kept), state, 0.0)
    as_it_is, _ = train(
        mlfs.build_supernet(source, data(), _recipe(fine_tuned=True)), data(), tmp_path / "known", until=0
    )
    assert as_it_is.info.scores[0].steps == 0


def test_random_weights_have_the_models_shape_and_all_train(tmp_path: Path, source: ResolvedModel) -> None:
    recipe = _recipe(random_weights=True, teacher=STAGE.model_copy(update={"epochs": 4}))
    begun, pretrained = mlfs.build_supernet(source, data(), recipe), mlfs.build_supernet(source, data(), RECIPE)
    assert begun.model.arch == pretrained.model.arch
    assert not torch.equal(begun.model.word.weight, pretrained.model.word.weight)
    before = {name: tensor.clone() for name, tensor in begun.model.state_dict().items()}
    same_weights(mlfs.build_supernet(source, data(), recipe).model.state_dict(), before, 0.0)
    first = _losses(begun)[0]
    trained, _ = train(begun, data(), tmp_path / "out", until=0)
    after = trained.model.state_dict()
    assert all(not torch.equal(after[name], tensor) for name, tensor in before.items())
    assert _losses(trained)[0] < first - 0.3


def test_a_subnet_alone_can_begin_at_random() -> None:
    arch = tiny_decoder.ARCHITECTURES["grouped"]
    alone = arch.alone(tiny_decoder.SPACE.minnet)
    model = random_decoder(alone, seed=3)
    assert sum(p.numel() for p in model.parameters()) == arch.total_parameters(tiny_decoder.SPACE.minnet)
    wide = random_decoder(replace(alone, hidden=512, ffn=2048, layers=8), seed=3).layers[0]
    assert float(wide.ffn_up.weight.std()) == pytest.approx(0.02, rel=0.05)
    assert float(wide.ffn_down.weight.std()) == pytest.approx(0.02 / 4, rel=0.05)


@pytest.mark.parametrize("seed", [None, 3])
def test_a_subnet_is_trained_alone(tmp_path: Path, source: ResolvedModel, seed: int | None) -> None:
    supernet = mlfs.build_supernet(source, data(), RECIPE)
    subnet = Subnet.uniform((0, 2), hidden=32, heads=2, ffn=20)
    alone = build_standalone_supernet(supernet, subnet, seed)
    ids, mask = tiny_decoder.inputs(3, 9)
    with torch.no_grad():
        own, sliced = alone.model.logits(ids, mask, alone.model.arch.full), supernet.model.logits(ids, mask, subnet)
    assert torch.allclose(own, sliced, atol=1e-4) == (seed is None)
    rows = mlfs.encode_data(alone, data()).test
    before = evaluate(alone.model, alone.space.maxnet, rows, TASK, names=()).loss
    trained, _ = train(alone, data(), tmp_path / "alone", until=0)
    assert evaluate(trained.model, trained.space.maxnet, rows, TASK, names=()).loss < before
    assert torch.equal(trained.model.word.weight, supernet.model.word.weight) == (seed is None)


def test_what_a_decoder_cannot_learn_by_is_refused(source: ResolvedModel) -> None:
    features = {"maxnet": True, "alternate": False, "features": "relations"}
    with pytest.raises(RecipeError, match='features is "relations": a decoder learns from outputs alone'):
        mlfs.build_supernet(source, data(), _recipe(**features))
    with pytest.raises(ValueError, match="random weights know no task"):
        _recipe(random_weights=True, fine_tuned=True)
