"""Training from a checkpoint on disk: what is saved, and that an interruption anywhere changes nothing."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import tiny_encoder
import torch
from tiny_training import RECIPE, data, model_folder, rows, same_weights, train, train_with_kills

from edgedistill.data.dataset import TaskData
from edgedistill.distillation import loop, mlfs
from edgedistill.distillation.models import ResolvedModel, resolve_model
from edgedistill.distillation.recipe import Recipe, StageRecipe
from edgedistill.errors import CheckpointError, DataError, ModelError, RecipeError, TrainingError
from edgedistill.supernet import checkpoint


@pytest.fixture
def source(tmp_path: Path) -> ResolvedModel:
    return resolve_model(model_folder(tmp_path / "model"))


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder).model.state_dict()


@pytest.mark.slow
@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"teacher_source": "maxnet", "maxnet": True, "alternate": False, "features": "projections"},
        dict.fromkeys(("widths", "depths"), StageRecipe(epochs=1, learning_rate=0.01)) | {"patience": 1},
        {"micro_batch": 3, "optimizer": "sgd"},
    ],
    ids=["low rank", "maxnet teaches", "full after stage 0", "parts"],
)
def test_a_run_killed_at_any_step_ends_with_the_weights_of_one_left_alone(
    tmp_path: Path, source: ResolvedModel, monkeypatch: pytest.MonkeyPatch, changes: dict[str, Any]
) -> None:
    recipe = Recipe.model_validate(RECIPE.model_dump() | {"dropout": 0.2} | changes)
    whole, log = train(mlfs.build_supernet(source, data(), recipe), data(), tmp_path / "whole")
    parts, _ = train_with_kills(
        lambda: mlfs.build_supernet(source, data(), recipe), data(), tmp_path / "parts", monkeypatch
    )
    same_weights(_weights(tmp_path / "parts"), _weights(tmp_path / "whole"), 0.0)
    assert parts.space == whole.space
    assert [(s.curve, s.flops, s.steps) for s in parts.info.scores] == [
        (s.curve, s.flops, s.steps) for s in whole.info.scores
    ]
    assert not (tmp_path / "parts" / "resume").exists()
    assert {report.stage for report in log.reports} == {0, 1, 2}


def test_a_loss_that_is_no_number_leaves_what_was_saved(
    tmp_path: Path, source: ResolvedModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "supernet"
    train(mlfs.build_supernet(source, data(), RECIPE), data(), folder, until=0)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    real = loop.StageLoop._reduce

    def diverge(self: loop.StageLoop, sums: dict[str, torch.Tensor]) -> dict[str, float]:
        bad = {"minnet": float("nan")} if self.position.step == 3 else {}
        return real(self, sums) | bad

    monkeypatch.setattr(loop.StageLoop, "_reduce", diverge)
    message = "stage 1 diverged at step 4: a loss is not a number; lower the learning rate"
    with pytest.raises(TrainingError, match=message):
        train(checkpoint.load(folder), data(), folder)
    assert checkpoint.load(folder).info.stages == [0]
    assert (folder / "supernet.json").read_bytes() != before["supernet.json"]  # put in order since
    monkeypatch.undo()
    trained, _ = train(checkpoint.load(folder), data(), folder)
    assert trained.info.stages == [0, 1, 2]


def test_a_damaged_state_is_refused_by_its_name(tmp_path: Path, source: ResolvedModel) -> None:
    folder = tmp_path / "supernet"
    supernet = mlfs.build_supernet(source, data(), RECIPE)
    checkpoint.save(supernet, folder)
    (folder / "resume").mkdir()
    (folder / "resume" / "state.safetensors").write_bytes(b"no tensors")
    with pytest.raises(CheckpointError, match=r"state\.safetensors is damaged; delete it"):
        train(supernet, data(), folder)


def test_other_data_do_not_go_on_with_a_supernet(tmp_path: Path, source: ResolvedModel) -> None:
    supernet = mlfs.build_supernet(source, data(), RECIPE)
    few = rows(2)
    other = TaskData.from_rows({"train": few, "validation": few, "test": few}, "rows")
    with pytest.raises(DataError, match="is not what the supernet was begun with"):
        train(supernet, other, tmp_path / "out")


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path / "bare", num_labels=2)
    with pytest.raises(ModelError, match="has no tokenizer"):
        mlfs.build_supernet(resolve_model(folder), data(), RECIPE)


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"head_shares": (1.0, 0.5)}, "head_shares: 0.5 of 3 is not a whole number"),
        ({"hidden_shares": (1.0, 0.7)}, "hidden_shares: 0.7 of 24 is not a whole number"),
        ({"rank": 9}, r"rank is 9, over the narrowest matrix \(8\)"),
    ],
)
def test_widths_and_ranks_that_the_model_has_not_are_refused(
    source: ResolvedModel, changes: dict[str, Any], says: str
) -> None:
    with pytest.raises(RecipeError, match=says):
        mlfs.build_supernet(source, data(), Recipe.model_validate(RECIPE.model_dump() | changes))


def test_texts_without_labels_are_enough_for_a_model_that_knows_the_task(tmp_path: Path) -> None:
    """Nothing trains in stage 0, the teacher's head stays, and the score is agreement with it."""
    source = resolve_model(model_folder(tmp_path / "model"))
    made: list[Any] = [(text, None) for text, _ in rows()]
    texts = TaskData.from_rows(
        {"train": made, "validation": made[:20], "test": made[20:]}, None, label_names=("even", "odd"), unlabelled="t"
    )
    supernet, log = train(mlfs.build_supernet(source, texts, RECIPE), texts, tmp_path / "supernet")
    assert {report.stage for report in log.reports} == {1, 2}
    assert [score.metric for score in supernet.info.scores] == ["agreement"] * 3
    assert supernet.info.scores[0].test == 1.0
    assert set(checkpoint.load(tmp_path / "supernet").teacher) == {"train", "validation", "test"}


def test_a_model_with_no_head_for_the_task_cannot_teach_alone(tmp_path: Path) -> None:
    source = resolve_model(model_folder(tmp_path / "model", outputs=3))
    with pytest.raises(ModelError, match=r"has 3 outputs .*; the data have 2 labels \(even, odd\)"):
        mlfs.build_supernet(source, data(), RECIPE.model_copy(update={"fine_tuned": True}))


def test_a_recipe_that_changed_since_stage_0_has_its_frozen_teacher(tmp_path: Path, source: ResolvedModel) -> None:
    """As a benchmark does that trains one teacher for several recipes; without the maxnet nothing else teaches."""
    moving = Recipe.model_validate(
        RECIPE.model_dump() | {"teacher_source": "maxnet", "maxnet": True, "alternate": False}
    )
    supernet, _ = train(mlfs.build_supernet(source, data(), moving), data(), tmp_path / "supernet", until=0)
    assert not supernet.teacher
    info = supernet.info.model_copy(update={"recipe": RECIPE.model_dump(mode="json")})
    trained, log = train(replace(supernet, info=info), data(), tmp_path / "supernet")
    assert set(trained.teacher) == {"train"}
    assert {name for report in log.reports for name in report.losses} == {"minnet", "random"}


@pytest.mark.slow
def test_a_recipe_in_which_the_maxnet_teaches_has_no_use_for_stored_answers(
    tmp_path: Path, source: ResolvedModel
) -> None:
    """The other way round: what a frozen teacher answered must not teach where the maxnet is to."""
    moving = Recipe.model_validate(
        RECIPE.model_dump() | {"teacher_source": "maxnet", "maxnet": True, "alternate": False}
    )
    train(mlfs.build_supernet(source, data(), moving), data(), tmp_path / "never")
    supernet, _ = train(mlfs.build_supernet(source, data(), RECIPE), data(), tmp_path / "stored", until=0)
    assert set(supernet.teacher) == {"train"}
    info = supernet.info.model_copy(update={"recipe": moving.model_dump(mode="json")})
    train(replace(supernet, info=info), data(), tmp_path / "stored")
    same_weights(_weights(tmp_path / "stored"), _weights(tmp_path / "never"), 0.0)
