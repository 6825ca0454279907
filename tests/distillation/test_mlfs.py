"""The three stages from a checkpoint on disk: what is saved, and that stopping in between changes nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import tiny_encoder
import torch
from tokenizers import Tokenizer, pre_tokenizers
from tokenizers.models import WordLevel
from transformers import PreTrainedTokenizerFast

from edgedistill.distillation import mlfs
from edgedistill.distillation.data import ClassificationData
from edgedistill.distillation.models import resolve_model
from edgedistill.distillation.recipe import Recipe, StageRecipe
from edgedistill.errors import CheckpointError, ModelError
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet

WORDS = [f"w{i}" for i in range(40)]
STAGE = StageRecipe(epochs=1, learning_rate=0.01)
RECIPE = Recipe(rank=2, batch_size=8, teacher=STAGE, widths=STAGE, depths=STAGE)


@pytest.fixture
def model_folder(tmp_path: Path) -> Path:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path / "model", num_labels=2)
    vocabulary = {word: i for i, word in enumerate(["[PAD]", "[UNK]", *WORDS])}
    tokenizer = Tokenizer(WordLevel(vocabulary, unk_token="[UNK]"))
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    PreTrainedTokenizerFast(tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]").save_pretrained(folder)
    return folder


@pytest.fixture
def data() -> ClassificationData:
    rows = [(f"w{i % 20} w{i % 7} w{i % 3}", "even" if i % 2 == 0 else "odd") for i in range(40)]
    return ClassificationData.from_rows({"train": rows, "validation": rows[:20], "test": rows[20:]}, "rows")


def _train(supernet: Supernet, data: ClassificationData, folder: Path, stop_after: int = 2) -> None:
    class Stopped(Exception):
        pass

    def save(done: Supernet) -> None:
        checkpoint.save(done, folder)
        if done.info.stages[-1] == stop_after < 2:
            raise Stopped

    try:
        mlfs.train(supernet, data, lambda _: None, announce=lambda _: None, save=save)
    except Stopped:
        return


def _weights(folder: Path) -> dict[str, torch.Tensor]:
    return checkpoint.load(folder).model.state_dict()


@pytest.mark.parametrize("stop_after", [0, 1])
def test_training_that_stopped_after_a_stage_ends_with_the_same_weights(
    tmp_path: Path, model_folder: Path, data: ClassificationData, stop_after: int
) -> None:
    source = resolve_model(model_folder)
    _train(mlfs.begin(source, data, RECIPE), data, tmp_path / "whole")
    _train(mlfs.begin(source, data, RECIPE), data, tmp_path / "parts", stop_after)
    assert checkpoint.load(tmp_path / "parts").info.stages == list(range(stop_after + 1))
    _train(checkpoint.load(tmp_path / "parts"), data, tmp_path / "parts")
    whole, parts = _weights(tmp_path / "whole"), _weights(tmp_path / "parts")
    assert whole.keys() == parts.keys()
    for name, tensor in whole.items():
        torch.testing.assert_close(parts[name], tensor, atol=1e-5, rtol=1e-4, msg=name)
    assert checkpoint.load(tmp_path / "parts").space == checkpoint.load(tmp_path / "whole").space


def test_other_data_do_not_go_on_with_a_supernet(tmp_path: Path, model_folder: Path, data: ClassificationData) -> None:
    supernet = mlfs.begin(resolve_model(model_folder), data, RECIPE)
    rows = [("w1", "even"), ("w2", "odd")]
    other = ClassificationData.from_rows({"train": rows, "validation": rows, "test": rows}, "rows")
    with pytest.raises(CheckpointError, match="begun with other data"):
        _train(supernet, other, tmp_path / "out")


def test_a_model_without_a_tokenizer_is_refused(tmp_path: Path, data: ClassificationData) -> None:
    folder = tiny_encoder.hugging_face_checkpoint(tmp_path / "bare", num_labels=2)
    with pytest.raises(ModelError, match="has no tokenizer"):
        mlfs.begin(resolve_model(folder), data, RECIPE)
