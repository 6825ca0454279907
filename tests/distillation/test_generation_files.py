"""How a checkpoint says that text is generated: ends are kept, what forces tokens is refused, the rest is said."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import tiny_text

from edgedistill.distillation import mlfs
from edgedistill.distillation.models import resolve_model
from edgedistill.errors import ModelError
from edgedistill.supernet.checkpoint import GenerationInfo


def _begin(folder: Path) -> GenerationInfo:
    generation = mlfs.build_supernet(resolve_model(folder), tiny_text.data(), tiny_text.RECIPE).info.generation
    assert generation is not None
    return generation


def _note(folder: Path, **settings: Any) -> Path:
    tiny_text.model_folder(folder)
    (folder / "generation_config.json").write_text(json.dumps(settings))
    return folder


@pytest.mark.parametrize(("named", "ends"), [([5, 2], [2, 5]), (7, [2, 7]), (None, [2])])
def test_a_text_ends_at_the_tokenizers_end_and_at_those_that_the_note_names(
    tmp_path: Path, named: object, ends: list[int]
) -> None:
    assert _begin(_note(tmp_path / "model", eos_token_id=named)).eos_token_ids == ends


def test_without_a_note_config_json_names_the_ends(tmp_path: Path) -> None:
    folder = tiny_text.model_folder(tmp_path / "model", eos_token_id=[4, 6])
    (folder / "generation_config.json").unlink()
    assert _begin(folder).eos_token_ids == [2, 4, 6]


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("suppress_tokens", [3]),
        ("begin_suppress_tokens", [3]),
        ("bad_words_ids", [[3]]),
        ("forced_bos_token_id", 3),
        ("forced_eos_token_id", 3),
        ("sequence_bias", [[[3], 1.0]]),
        ("no_repeat_ngram_size", 2),
        ("min_length", 5),
        ("min_new_tokens", 5),
        ("num_beams", 4),
        ("guidance_scale", 1.5),
        ("stop_strings", ["w3"]),
        ("eos_token_id", ["2"]),
    ],
)
def test_what_forces_or_forbids_tokens_is_refused_with_its_key(tmp_path: Path, key: str, value: object) -> None:
    with pytest.raises(ModelError, match=rf"generation_config\.json: {key} is"):
        _begin(_note(tmp_path / "model", **{key: value}))


def test_what_changes_nothing_is_taken(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    neutral = {"suppress_tokens": [], "min_length": 0, "num_beams": 1, "guidance_scale": 1.0, "use_cache": True}
    with caplog.at_level(logging.WARNING):
        _begin(_note(tmp_path / "model", **neutral, do_sample=False, repetition_penalty=1.0))
    assert not caplog.records


def test_how_tokens_are_drawn_is_said_to_be_the_callers(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        _begin(_note(tmp_path / "model", do_sample=True, temperature=0.7, repetition_penalty=1.1))
    assert "do_sample and repetition_penalty is not applied by a palette" in caplog.text


def test_a_damaged_note_is_refused(tmp_path: Path) -> None:
    folder = tiny_text.model_folder(tmp_path / "model")
    (folder / "generation_config.json").write_text("[")
    with pytest.raises(ModelError, match=r"generation_config\.json cannot be read as JSON"):
        _begin(folder)
