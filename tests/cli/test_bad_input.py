"""Bad input: one clear line, a non-zero exit, no traceback, nothing half written."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from commands import invoke, one_line
from tiny_training import model_folder, rows
from waiting import wait_until

from edgedistill.distillation.resume import FOLDER
from edgedistill.palette import load
from edgedistill.runtime.profiles import choose_profile
from edgedistill.supernet import checkpoint


def _rows(folder: Path, name: str, rows: list[dict[str, str]]) -> None:
    folder.mkdir(exist_ok=True)
    (folder / f"{name}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))


GOOD = [{"text": f"say {label} {i}", "label": label} for label in ("yes", "no") for i in range(12)]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return model_folder(tmp_path_factory.mktemp("model") / "model")


@pytest.mark.parametrize(
    ("rows", "options", "says"),
    [
        (GOOD, ["--text-column", "body"], "body"),
        (GOOD, ["--label-column", "kind"], "kind"),
        ([{"text": "a", "label": "one"}] * 20, [], "one"),
        ([], [], "empty"),
    ],
    ids=["text column", "label column", "one class", "empty file"],
)
def test_data_that_cannot_be_used(
    tmp_path: Path, model: Path, rows: list[dict[str, str]], options: list[str], says: str
) -> None:
    _rows(tmp_path / "data", "train", rows)
    result = invoke("train", model, "--data", tmp_path / "data", "-o", tmp_path / "supernet", *options)
    one_line(result, says)
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_data_that_are_not_there(tmp_path: Path, model: Path) -> None:
    one_line(invoke("train", model, "--data", tmp_path / "none", "-o", tmp_path / "out"), "none")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("content", [None, "{", '{"model_type": "gpt2"}'], ids=["missing", "unreadable", "gpt2"])
def test_a_model_that_cannot_be_used(tmp_path: Path, content: str | None) -> None:
    _rows(tmp_path / "data", "train", GOOD)
    if content is not None:
        (tmp_path / "model").mkdir()
        (tmp_path / "model" / "config.json").write_text(content)
    result = invoke("train", tmp_path / "model", "--data", tmp_path / "data", "-o", tmp_path / "supernet")
    one_line(result, "model")
    assert not (tmp_path / "supernet").exists()


def test_a_supernet_that_is_not_one(tmp_path: Path) -> None:
    one_line(invoke("export", tmp_path, "-o", tmp_path / "palette"), "not a supernet")


def test_a_damaged_supernet(tmp_path: Path, workplace: Path) -> None:
    copy = tmp_path / "supernet"
    shutil.copytree(workplace / "supernet", copy)
    os.truncate(copy / "lowrank.safetensors", 1000)
    one_line(invoke("export", copy, "-o", tmp_path / "palette"), "damaged")
    assert not (tmp_path / "palette").exists()


def test_an_unknown_board(tmp_path: Path, workplace: Path) -> None:
    result = invoke("export", workplace / "supernet", "-o", tmp_path / "palette", "--device", "toaster")
    one_line(result, "toaster")
    assert not (tmp_path / "palette").exists()


def test_an_output_folder_that_holds_something_else(tmp_path: Path, workplace: Path) -> None:
    (tmp_path / "letter.txt").write_text("dear")
    data = ["--data", workplace / "commands", "--no-profile"]
    one_line(invoke("export", workplace / "supernet", "-o", tmp_path, *data), "not a palette")
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def _remove_graph(folder: Path) -> None:
    next(folder.glob("*.onnx")).unlink()


def _truncate_weights(folder: Path) -> None:
    weights = next(folder.glob("weights-*.bin"))
    os.truncate(weights, weights.stat().st_size // 2)


def _alter_weights(folder: Path) -> None:
    with next(folder.glob("weights-*.bin")).open("r+b") as file:
        file.seek(8192)
        file.write(b"\x01\x02\x03\x04")


def _unknown_key(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"colour": "blue"}))


def _not_json(folder: Path) -> None:
    (folder / "manifest.json").write_text('{"schema_version": 1,')


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (_remove_graph, "is missing"),
        (_truncate_weights, "expected"),
        (_alter_weights, "was altered"),
        (_unknown_key, "colour"),
        (_not_json, "manifest.json"),
        (lambda folder: (folder / "manifest.json").unlink(), "is not a palette"),
    ],
    ids=["missing graph", "truncated weights", "altered weights", "unknown key", "no JSON", "no manifest"],
)
def test_a_harmed_palette(tmp_path: Path, palette: Path, harm: Callable[[Path], None], says: str) -> None:
    copy = tmp_path / "palette"
    shutil.copytree(palette, copy)
    harm(copy)
    one_line(invoke("run", copy, "a text"), says)


def test_no_onnxruntime(palette: Path) -> None:
    blocked = "import sys; sys.modules['onnxruntime'] = None; from edgedistill.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", blocked, "run", palette, "a text"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "pip install" in done.stderr


def test_a_budget_that_nothing_meets_is_answered_by_the_fastest(palette: Path) -> None:
    """By the profile, at the 64 tokens that are expected before any text: which precision that is, the machine says."""
    command = ["run", palette, "turn it on", "--max-latency-ms", "0.0001", "--json"]
    result = subprocess.run([sys.executable, "-m", "edgedistill", *command], capture_output=True, text=True, check=True)
    profile = choose_profile(load(palette))
    assert profile is not None
    p50_ms = {subnet.subnet: subnet.latency_at(64).p50_ms for subnet in profile.subnets}
    assert json.loads(result.stdout)["subnet"] == min(p50_ms, key=p50_ms.__getitem__)
    assert len(result.stderr.splitlines()) == 1
    assert "no subnet meets the budget" in result.stderr


def test_one_bad_line_does_not_stop_the_others(palette: Path) -> None:
    lines = [json.dumps({"text": t}) for t in ("turn it on", "", "x" * 100_000, "stop")]
    result = invoke("run", palette, stdin="\n".join([*lines, "no json", '{"txt": "a"}']) + "\n")
    records = [json.loads(line) for line in result.stdout.splitlines()]
    assert result.exit_code == 1
    assert ["error" in record for record in records] == [False, True, False, False, True, True]
    assert records[2]["truncated"] is True
    assert "truncated" not in records[0]
    assert set(records[0]) == {"text", "label", "score", "subnet", "latency_ms"}


_TRAIN = """
from edgedistill.cli import main
from edgedistill.distillation import loop
loop._SAVED_EVERY_S = 0.0
main()
"""


@pytest.mark.slow
@pytest.mark.parametrize("saved", [False, True], ids=["at once", "after its state was saved"])
def test_ctrl_c_during_training_leaves_what_can_go_on(tmp_path: Path, saved: bool) -> None:
    """Nothing, or a supernet that the same command takes up; no scratch folder."""
    model_folder(tmp_path / "model", hidden_size=32, num_attention_heads=4)
    _rows(tmp_path / "data", "train", [{"text": text, "label": str(label)} for text, label in rows()])
    (tmp_path / "place").mkdir()
    command = ["train", "../model", "--data", "../data", "-o", "supernet", "--set", "teacher.epochs=3000"]
    with subprocess.Popen(
        [sys.executable, "-c", _TRAIN, *command], cwd=tmp_path / "place", stderr=subprocess.PIPE, text=True
    ) as process:
        try:
            rest = _interrupted(process, tmp_path / "place" / "supernet" / FOLDER if saved else None)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "interrupted" in rest
    assert "Traceback" not in rest
    assert {path.name for path in (tmp_path / "place").iterdir()} <= {"supernet"}
    if saved or (tmp_path / "place" / "supernet").exists():
        assert checkpoint.load(tmp_path / "place" / "supernet").info.stages == []


def _interrupted(process: subprocess.Popen[str], waits_for: Path | None) -> str:
    """Wait until it trains and that folder exists, send what Ctrl-C sends, and return what it says then."""
    assert process.stderr is not None
    lines = [""]
    while "stage 0 trains" not in lines[-1]:
        lines.append(process.stderr.readline())
        assert lines[-1], lines
    if waits_for is not None:
        wait_until(waits_for.exists)
    process.send_signal(signal.SIGINT)
    return process.communicate(timeout=60)[1]
