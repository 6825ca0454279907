"""``inspect`` shows what is there; ``verify`` finds what is not as it was."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path

import onnx
import pytest
import tiny_palette
from commands import invoke, one_line

from edgedistill.palette import Manifest, Probes, load, write_profile


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_palette.write(tmp_path / "palette")


def _replace(folder: Path, name: str, content: bytes) -> None:
    """Another content in a file's place, and a manifest that agrees with it: only its meaning is at fault."""
    (folder / name).write_bytes(content)
    document = json.loads((folder / "manifest.json").read_text())
    (entry,) = (entry for entry in document["files"] if entry["name"] == name)
    entry.update(size_bytes=len(content), sha256=hashlib.sha256(content).hexdigest())
    sealed = Manifest.model_validate_json(json.dumps(document)).sealed()
    (folder / "manifest.json").write_text(sealed.model_dump_json())


def test_inspect_shows_subnets_files_origin_and_devices(folder: Path) -> None:
    palette = load(folder)
    for name in ("pi", "jetson"):
        write_profile(palette, tiny_palette.profile(palette.manifest, name=name, kind="estimated"))
    shown = invoke("inspect", folder)
    assert shown.exit_code == 0, shown.output
    for word in ("large", "middle", "small", "weights.bin", "3 graphs", "text-classification", "estimated on b"):
        assert word in shown.stdout
    document = json.loads(invoke("inspect", folder, "--json").stdout)
    assert document["digest"] == palette.manifest.digest
    assert document["devices"] == {"pi": "estimated", "jetson": "estimated"}
    assert {entry["name"] for entry in document["files"]} == {entry.name for entry in palette.manifest.files}
    one_line(invoke("inspect", folder, "--device", "toaster"), "toaster")
    one_line(invoke("inspect", folder.parent), "is not a palette")


def test_a_palette_that_is_as_it_was_verifies(folder: Path) -> None:
    done = invoke("verify", folder, "--json")
    assert done.exit_code == 0, done.output
    checked = json.loads(done.stdout)["subnets"]
    assert [one["subnet"] for one in checked] == list(tiny_palette.WIDTHS)
    assert all(one["fault"] is None and one["difference"] < 1e-5 for one in checked)
    assert "✓" in invoke("verify", folder).stdout


@pytest.mark.parametrize("command", [("verify",), ("run", "turn on the lamp")])
def test_a_pinned_digest_is_compared(folder: Path, command: tuple[str, ...]) -> None:
    digest = load(folder).manifest.digest
    name, *texts = command
    assert invoke(name, folder, *texts, "--digest", digest).exit_code == 0
    one_line(invoke(name, folder, *texts, "--digest", "0" * 64), f"has the digest {digest}, but {'0' * 64} is pinned")
    one_line(invoke(name, folder, *texts, "--digest", "latest"), "expected the 64 hexadecimal digits")


def test_a_subnet_that_answers_otherwise_is_named(folder: Path) -> None:
    probes = json.loads((folder / "probes.json").read_text())
    probes["answers"]["middle"][0] += 0.1
    _replace(folder, "probes.json", json.dumps(probes).encode())
    done = invoke("verify", folder)
    one_line(done, "middle: its answers differ by ")
    assert "✗" in done.stdout


def test_probes_that_do_not_fit(folder: Path) -> None:
    answers = json.loads((folder / "probes.json").read_text())["answers"]
    unasked = Probes(inputs={}, answers=answers)
    _replace(folder, "probes.json", unasked.model_dump_json().encode())
    one_line(invoke("verify", folder), "large: it does not run")
    of_others = Probes(inputs={}, answers={"large": answers["large"]})
    _replace(folder, "probes.json", of_others.model_dump_json().encode())
    one_line(invoke("verify", folder), "is not of this palette's subnets")
    _replace(folder, "probes.json", b"{")
    one_line(invoke("verify", folder), "probes.json")


def test_a_graph_that_does_not_load_or_asks_for_more_is_named(folder: Path) -> None:
    _replace(folder, "small.onnx", b"no graph at all")
    one_line(invoke("verify", folder), "small: ")
    graph = onnx.load(folder / "middle.onnx", load_external_data=False)
    graph.graph.input[0].name = "other"
    for node in graph.graph.node:
        for place, name in enumerate(node.input):
            node.input[place] = "other" if name == "input_ids" else name
    _replace(folder, "middle.onnx", graph.SerializeToString())
    one_line(invoke("verify", folder), "(and 1 more)")


def test_an_altered_file_is_named(folder: Path) -> None:
    content = bytearray((folder / "weights.bin").read_bytes())
    content[10] ^= 1
    (folder / "weights.bin").write_bytes(content)
    one_line(invoke("verify", folder), "weights.bin was altered")
