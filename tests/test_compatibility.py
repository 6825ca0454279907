"""Hold the code to COMPATIBILITY.md: palettes of the schema before open, verify, and answer as they did."""

from __future__ import annotations

import importlib
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import readme

from edgedistill.errors import PaletteError
from edgedistill.palette import PROFILE_VERSION, SCHEMA_VERSION, load, read_profile
from edgedistill.palette.migrations import MANIFEST_STEPS, PROFILE_STEPS
from edgedistill.palette.schema import digest_of
from edgedistill.runtime import AdaptiveSession, TextClassifier
from edgedistill.runtime.verification import TOLERANCE, verify

PALETTES = Path(__file__).parent / "palettes"


@pytest.fixture
def palette(tmp_path: Path) -> Path:
    """Copy the palette of schema 7, which was exported and profiled by version 0.1.0."""
    return Path(shutil.copytree(PALETTES / "schema-7", tmp_path / "palette"))


def test_a_palette_of_schema_7_verifies(palette: Path) -> None:
    assert [profile.device.name for profile in load(palette).profiles.values()] == ["vm"]
    assert [checked.fault for checked in verify(load(palette))] == [None] * 6


def test_members_of_schema_7_give_the_answers_that_were_recorded(palette: Path) -> None:
    recorded = json.loads((PALETTES / "schema-7-answers.json").read_text(encoding="utf-8"))
    assert len(recorded["answers"]) == 6
    for entry in load(palette).manifest.subnets:
        expected = recorded["answers"][entry.name]
        with AdaptiveSession(palette, only=[entry.name], threads=1) as session:
            answers = TextClassifier(session).classify(recorded["texts"])
        assert [answer.label for answer in answers] == [label for label, _ in expected]
        scores = [score for _, score in expected]
        assert [answer.score for answer in answers] == pytest.approx(scores, abs=TOLERANCE[entry.precision])


def _rewrite(path: Path, change: Callable[[dict[str, Any]], object]) -> None:
    """Change a JSON file; a manifest keeps a digest that fits."""
    document = json.loads(path.read_text(encoding="utf-8"))
    change(document)
    if "digest" in document:
        document["digest"] = digest_of(document)
    path.write_text(json.dumps(document), encoding="utf-8")


def test_a_palette_of_schema_7_has_the_tags_of_the_present_schema(palette: Path) -> None:
    manifest = load(palette).manifest
    assert manifest.schema_version == SCHEMA_VERSION
    assert manifest.text_input.tokenizer.max_tokens == 128
    assert [entry.quantization.model_dump() for entry in manifest.subnets] == (
        [{"scheme": "none"}] * 3 + [{"scheme": "int8-dynamic", "zero_point": 128}] * 3
    )


def test_a_migrated_palette_keeps_its_digest_until_it_is_written_again(palette: Path) -> None:
    recorded = json.loads((palette / "manifest.json").read_text(encoding="utf-8"))["digest"]
    manifest = load(palette, digest=recorded).manifest
    (palette / "manifest.json").write_text(manifest.sealed().model_dump_json(), encoding="utf-8")
    again = load(palette).manifest
    assert again.digest != recorded
    assert again == manifest.sealed()


@pytest.mark.parametrize(
    ("precision", "scheme"),
    [
        ("fp32", {"scheme": "none"}),
        ("int8", {"scheme": "blocks", "bits": 8, "block_size": 32}),
        ("int4", {"scheme": "blocks", "bits": 4, "block_size": 32}),
    ],
)
def test_weights_of_a_generating_palette_of_schema_7_are_in_blocks(
    palette: Path, precision: str, scheme: dict[str, Any]
) -> None:
    def generate(document: dict[str, Any]) -> None:
        document["task"], document["labels"] = "text-generation", []
        document["generation"] = {
            "context_tokens": 64, "eos_token_ids": [2], "bos_token_id": None, "chat_template": None, "head_size": 8,
        }  # fmt: skip
        for entry in document["subnets"]:
            entry.update(precision=precision, cache_bytes_a_token=64, calibration=None)

    _rewrite(palette / "manifest.json", generate)
    assert {entry.quantization.model_dump_json() for entry in load(palette).manifest.subnets} == {
        json.dumps(scheme, separators=(",", ":"))
    }


@pytest.mark.parametrize(
    ("version", "reason"),
    [
        (6, "schema_version is 6, expected one of 8, 7; export the palette again"),
        (9, "schema_version is 9, expected one of 8, 7; it is newer than this edgedistill: update that"),
    ],
)
def test_a_palette_of_any_other_schema_is_refused_in_one_line(palette: Path, version: int, reason: str) -> None:
    _rewrite(palette / "manifest.json", lambda document: document.update(schema_version=version))
    with pytest.raises(PaletteError) as caught:
        load(palette)
    assert str(caught.value) == f"{palette / 'manifest.json'}: {reason}"


@pytest.mark.parametrize(
    ("change", "reason"),
    [
        (lambda d: d.update(input={"kind": "text", "texts": 1, "tokenizer": d["tokenizer"]}), "texts: Extra inputs"),
        (lambda d: d.update(graph_inputs=[]), "inputs: Extra inputs are not permitted"),
        (lambda d: d["subnets"][0].update(quantization={"scheme": "none"}), "precision: Extra inputs"),
        (lambda d: d["subnets"][0].update(precision="int5"), "quantization: Input tag 'int5'"),
        (lambda d: d["subnets"][0].update(precision=[8]), "subnets.0.quantization"),
        (lambda d: d["subnets"][0].pop("precision"), "subnets.0.quantization: Field required"),
        (lambda d: d.pop("texts"), "input.text.texts: Field required"),
        (lambda d: d.update(subnets={}), "subnets: Input should be a valid"),
        (lambda d: d["subnets"].append(None), "subnets.6: Input should be an object"),
        (lambda d: d.update(labels=["even"]), "needs two or more"),
    ],
)
def test_a_bad_manifest_of_schema_7_is_refused_in_one_line(
    palette: Path, change: Callable[[dict[str, Any]], object], reason: str
) -> None:
    _rewrite(palette / "manifest.json", change)
    with pytest.raises(PaletteError) as caught:
        load(palette)
    assert reason in str(caught.value)
    assert "\n" not in str(caught.value)


def test_an_edited_manifest_of_schema_7_is_noticed(palette: Path) -> None:
    path = palette / "manifest.json"
    path.write_text(path.read_text(encoding="utf-8").replace('"odd"', '"add"'), encoding="utf-8")
    with pytest.raises(PaletteError, match="digest does not match"):
        load(palette)


def test_a_profile_of_the_version_before_is_read_and_others_are_not(palette: Path) -> None:
    path = palette / "profiles" / "vm.json"
    assert json.loads(path.read_text(encoding="utf-8"))["schema_version"] == PROFILE_VERSION - 1
    assert read_profile(path).schema_version == PROFILE_VERSION
    _rewrite(path, lambda document: document.update(schema_version=PROFILE_VERSION - 2))
    with pytest.raises(PaletteError, match=r"schema_version is 5, expected one of 7, 6; remove it"):
        read_profile(path)
    _rewrite(path, lambda document: document.update(schema_version=PROFILE_VERSION - 1, subnets=[None]))
    with pytest.raises(PaletteError, match=r"subnets\.0: Input should be an object"):
        read_profile(path)


def _promised() -> str:
    return (readme.ROOT / "COMPATIBILITY.md").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("file", "version", "steps"),
    [("manifest.json", SCHEMA_VERSION, MANIFEST_STEPS), ("profiles/<device>.json", PROFILE_VERSION, PROFILE_STEPS)],
)
def test_the_schemas_that_are_promised_are_read(file: str, version: int, steps: dict[int, object]) -> None:
    assert list(steps) == [version - 1]
    assert f"| `{file}` | {version} | {version}, {version - 1} |" in _promised()


def test_the_python_and_onnxruntime_that_are_promised_are_the_package_s() -> None:
    project = (readme.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    (python,) = re.findall(r"support Python (\S+) and later", _promised())
    (onnxruntime,) = re.findall(r"onnxruntime (\S+) or later", _promised())
    assert f'requires-python = ">={python}"' in project
    assert f'cpu = ["onnxruntime>={onnxruntime}"]' in project


def test_the_public_modules_that_are_promised_have_public_names() -> None:
    (line,) = re.findall(r"`__all__` of (.*?), and the options", _promised(), re.DOTALL)
    modules = re.findall(r"`([\w.]+)`", line)
    assert modules == ["edgedistill", "edgedistill.runtime", "edgedistill.testing"]
    for module in modules:
        assert importlib.import_module(module).__all__


def test_the_readme_leads_to_the_promises_and_their_links_exist() -> None:
    assert "(COMPATIBILITY.md)" in (readme.ROOT / "README.md").read_text(encoding="utf-8")
    for link in re.findall(r"\]\(([^)]+)\)", _promised()):
        assert (readme.ROOT / link).is_file(), link
