"""A decoder through the commands: searched, exported, inspected, verified, extracted; and what is refused in a line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import tiny_text
from commands import invoke, one_line
from transformers import AutoModelForCausalLM

from edgedistill.distillation.recipe import recipe_as_toml
from edgedistill.palette import load


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with a trained supernet."""
    folder = tmp_path_factory.mktemp("decoder")
    tiny_text.model_folder(folder / "model")
    tiny_text.write(folder / "text")
    (folder / "recipe.toml").write_text(recipe_as_toml(tiny_text.RECIPE))
    options = ("--task", "text-generation", "--data", folder / "text", "--recipe", folder / "recipe.toml")
    trained = invoke("train", folder / "model", *options, "-o", folder / "supernet")
    assert trained.exit_code == 0, trained.output
    return folder


def test_a_supernet_becomes_a_palette_that_verifies(place: Path, tmp_path: Path) -> None:
    found = json.loads(invoke("search", place / "supernet", "--count", 3, "--json").stdout)
    exported = invoke("export", place / "supernet", "-o", tmp_path / "p", "--count", 3, "--no-profile", "--json")
    assert exported.exit_code == 0, exported.output
    palette = load(tmp_path / "p")
    names = [member["name"] for member in found["family"]]
    assert [entry.name for entry in palette.manifest.subnets] == [
        f"{name}{suffix}" for suffix in ("", "-int8", "-int4") for name in names
    ]
    checked = json.loads(invoke("verify", tmp_path / "p", "--json").stdout)
    assert all(one["fault"] is None for one in checked["subnets"])
    shown = invoke("inspect", tmp_path / "p")
    assert "perplexity on test" in shown.output
    document = json.loads(invoke("inspect", tmp_path / "p", "--json").stdout)
    assert document["generation"]["context_tokens"] == palette.manifest.generation.context_tokens  # type: ignore[union-attr]
    dropped = invoke("export", place / "supernet", "-o", tmp_path / "p", "--drop", f"{names[1]}-int4", "--no-profile")
    assert dropped.exit_code == 0, dropped.output
    assert [entry.config.name for entry in load(tmp_path / "p").manifest.subnets] == [names[0], names[2]] * 3


def test_a_subnet_is_extracted_for_transformers(place: Path, tmp_path: Path) -> None:
    family = json.loads(invoke("search", place / "supernet", "--count", 2, "--json").stdout)["family"]
    name = family[0]["name"]
    extracted = invoke("extract", place / "supernet", name, "--format", "hf", "-o", tmp_path / "model")
    assert extracted.exit_code == 0, extracted.output
    assert AutoModelForCausalLM.from_pretrained(tmp_path / "model").config.model_type == "llama"
    one_line(invoke("extract", place / "supernet", name, "-o", tmp_path / "x.onnx"), "take --format hf")
    one_line(
        invoke("extract", place / "supernet", f"{name}-int4", "--format", "hf", "-o", tmp_path / "y"),
        "leave '-int4' away",
    )


@pytest.mark.parametrize(
    ("asked", "said"),
    [
        (("--precision", "int2"), "--precision: got 'int2', expected fp32 or int8 or int4 of a supernet for text-gen"),
        (("--device", "pi5"), "--device: of an encoder alone; leave it out, and run 'edgedistill profile'"),
        (
            ("--vocabulary", 10),
            "a tokenizer of type WordLevel cannot be trimmed; supported are WordPiece, BPE, Unigram",
        ),
        (
            ("--keep-fp32", "layers.7"),
            "there is no 'layers.7' to keep in fp32; the parts are embeddings, head, layers.0",
        ),
    ],
)
def test_what_an_export_of_a_decoder_does_not_do_is_one_line(
    place: Path, tmp_path: Path, asked: tuple[object, ...], said: str
) -> None:
    one_line(invoke("export", place / "supernet", "-o", tmp_path / "p", "--count", 2, "--no-profile", *asked), said)
    assert not (tmp_path / "p").exists()


def test_costs_on_a_device_are_not_predicted(place: Path) -> None:
    one_line(invoke("search", place / "supernet", "--device", "pi5"), "predicted of encoders alone")
