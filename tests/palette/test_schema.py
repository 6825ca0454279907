"""Tagged inputs and quantization schemes of a manifest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tiny_palette
from pydantic import TypeAdapter, ValidationError

from edgedistill.errors import PaletteError
from edgedistill.palette import load
from edgedistill.palette.input_kinds import AnyInput
from edgedistill.palette.schema import digest_of
from edgedistill.palette.weight_schemes import Quantization

_INPUTS: dict[str, dict[str, Any]] = {
    "image": {"height": 224, "width": 224, "mean": [0.5, 0.5, 0.5], "std": [0.2, 0.2, 0.2]},
    "audio": {"sampling_rate": 16_000, "max_samples": 480_000},
    "tokens": {"max_tokens": 128, "pad_token_id": 0},
}


@pytest.mark.parametrize("kind", _INPUTS)
def test_an_input_without_a_reader_is_refused_in_one_line(tmp_path: Path, kind: str) -> None:
    folder = tiny_palette.write(tmp_path / "palette")
    path = folder / "manifest.json"
    document = json.loads(path.read_text())
    document["input"] = {"kind": kind, **_INPUTS[kind]}
    document["files"] = [entry for entry in document["files"] if entry["name"] != "tokenizer.json"]
    document["digest"] = digest_of(document)
    path.write_text(json.dumps(document))
    with pytest.raises(PaletteError) as caught:
        load(folder)
    assert str(caught.value) == (f"{path}: input.kind is {kind!r}, which this edgedistill cannot read; expected text")


def test_texts_of_a_palette_without_texts_are_refused(tmp_path: Path) -> None:
    manifest = load(tiny_palette.write(tmp_path / "palette")).manifest
    tokens = TypeAdapter[Any](AnyInput).validate_python({"kind": "tokens", **_INPUTS["tokens"]})
    with pytest.raises(PaletteError, match="takes inputs of kind 'tokens'"):
        _ = manifest.model_copy(update={"input": tokens}).text_input


@pytest.mark.parametrize("tag", ["", "video", None, 1])
def test_an_unknown_kind_or_scheme_is_refused(tag: object) -> None:
    for union, key in ((AnyInput, "kind"), (Quantization, "scheme")):
        with pytest.raises(ValidationError, match="tag"):
            TypeAdapter[Any](union).validate_python({key: tag})


@pytest.mark.parametrize(
    ("scheme", "precision", "bytes_per_weight"),
    [
        ({"scheme": "none"}, "fp32", 4.0),
        ({"scheme": "int8-dynamic", "zero_point": 128}, "int8", 1.0),
        ({"scheme": "blocks", "bits": 8, "block_size": 32}, "int8", 1.0),
        ({"scheme": "blocks", "bits": 4, "block_size": 32}, "int4", 0.5),
    ],
)
def test_a_scheme_tells_its_precision(scheme: dict[str, Any], precision: str, bytes_per_weight: float) -> None:
    quantization = TypeAdapter[Any](Quantization).validate_python(scheme)
    assert (quantization.precision, quantization.bytes_per_weight) == (precision, bytes_per_weight)
    assert quantization.model_dump() == scheme


@pytest.mark.parametrize(
    "scheme",
    [
        {"scheme": "none", "bits": 4},
        {"scheme": "int8-dynamic"},
        {"scheme": "int8-dynamic", "zero_point": 256},
        {"scheme": "blocks", "bits": 3, "block_size": 32},
        {"scheme": "blocks", "bits": 4, "block_size": 0},
    ],
)
def test_parameters_are_the_scheme_s_own(scheme: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        TypeAdapter[Any](Quantization).validate_python(scheme)
