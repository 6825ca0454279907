"""All checks together: on every board, with one that fails, with one that hangs, with a palette that is broken."""

from __future__ import annotations

import shutil
import threading
from collections.abc import Callable, Mapping
from pathlib import Path

import pytest
import tiny_palette
from board_trees import BOARDS

from edgedistill.palette import load, write_profile
from edgedistill.runtime import doctor
from edgedistill.runtime.device import cpu_name, device_name
from edgedistill.runtime.doctor import (
    Finding,
    examination,
    examine,
    inference_checks,
    palette_health,
    processor_checks,
    sensor_checks,
)
from edgedistill.runtime.onnx import usable_cores

Tree = Mapping[str, str]
Plant = Callable[[Tree], Path]


@pytest.fixture
def no_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    """onnxruntime's trial has its own tests, and takes a second."""
    monkeypatch.setattr(inference_checks, "onnxruntime", lambda _: Finding("ok", "not tried"))
    monkeypatch.setattr(sensor_checks, "_SPAN_S", 0.0)


@pytest.mark.usefixtures("four_cores", "no_trial")
@pytest.mark.parametrize("board", BOARDS)
def test_every_check_of_every_board_comes_to_something(plant: Plant, board: str) -> None:
    checked = list(examine(root=plant(BOARDS[board])))
    assert [one.name for one in checked] == [check.name for check in doctor.machine_checks()]
    for one in checked:
        assert one.finding.state != "problem", one
        assert one.finding.summary
        assert "\n" not in one.finding.summary


@pytest.mark.usefixtures("no_trial")
@pytest.mark.parametrize("damage", ["", "nonsense\n", "9" * 70000])
def test_a_damaged_file_takes_only_its_own_check_down(plant: Plant, damage: str) -> None:
    root = plant(BOARDS["Raspberry Pi 4"] | {"proc/loadavg": damage})
    checked = {one.name: one for one in examine(root=root)}
    assert checked["run queue"].finding.state == "problem"
    assert "ValueError" in checked["run queue"].finding.summary
    assert not any(one.fatal for one in checked.values())
    assert checked["temperature"].finding.state == "ok"


@pytest.mark.usefixtures("no_trial")
def test_a_check_that_hangs_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    end = threading.Event()
    monkeypatch.setattr(examination, "_PATIENCE_S", 0.2)
    monkeypatch.setattr(processor_checks, "temperature", lambda _: end.wait() and Finding("ok", ""))
    monkeypatch.setattr(inference_checks, "onnxruntime", lambda _: 1 / 0)
    checked = {one.name: one for one in examine(root=tmp_path)}
    end.set()
    assert checked["temperature"].finding.summary == "no answer for 0.2 s"
    assert not checked["temperature"].fatal
    assert checked["onnxruntime"].finding.summary == "this check failed: ZeroDivisionError: division by zero"
    assert checked["onnxruntime"].fatal
    assert all(one.finding.fix for one in checked.values() if one.finding.state == "problem")


@pytest.fixture
def folder(tiny: Path, tmp_path: Path) -> Path:
    """A palette that may be written to."""
    return Path(shutil.copytree(tiny, tmp_path / "my palette"))


def _add_profile(folder: Path, **options: object) -> None:
    opened = load(folder)
    write_profile(opened, tiny_palette.profile(opened.manifest, **options))  # type: ignore[arg-type]


@pytest.mark.usefixtures("no_trial")
def test_a_whole_palette_without_a_profile(folder: Path) -> None:
    found = {one.name: one.finding for one in examine(folder)}
    assert found["palette"].state == "ok"
    assert "3 subnets, text-classification" in found["palette"].summary
    assert found["profile"].state == "note"
    assert found["profile"].fix == f"edgedistill profile '{folder}'"
    assert "all 3 fit" in found["subnets"].summary
    assert "by their files' sizes" in found["subnets"].summary


def test_a_broken_palette_is_one_problem(folder: Path) -> None:
    (folder / "weights.bin").write_bytes(b"")
    checks = examination.palette_checks(folder)
    assert [check.name for check in checks if check.vital] == ["palette", "subnets"]
    found = checks[0].run()
    assert found.state == "problem"
    assert "weights.bin has 0 bytes" in found.summary
    assert found.fix == "copy the folder to this machine again (rsync -a), or export the palette again"


@pytest.mark.usefixtures("no_trial")
def test_nothing_more_is_said_of_a_palette_that_is_none(tmp_path: Path) -> None:
    last = list(examine(tmp_path))[-1]
    assert (last.name, last.fatal) == ("palette", True)
    assert "not a palette" in last.finding.summary


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({}, None),
        ({"kind": "estimated"}, "estimated, not measured here"),
        ({"cpu": "Arm Cortex-A72 (asimd)"}, "measured on Arm Cortex-A72 (asimd), not on"),
    ],
)
def test_whose_profile_it_goes_by(
    folder: Path, monkeypatch: pytest.MonkeyPatch, options: dict[str, object], says: str | None
) -> None:
    monkeypatch.setattr(palette_health, "usable_cores", lambda _: 1)
    _add_profile(folder, **{"name": device_name(), "cpu": cpu_name(), **options})
    found = palette_health.profile(folder, Path("/"))
    assert found.summary.startswith(f"{device_name()}, ")
    assert found.state == ("ok" if says is None else "note")
    assert says is None or says in found.summary


def test_a_profile_with_other_threads(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(palette_health, "usable_cores", lambda _: 3)
    _add_profile(folder, name=device_name(), cpu=cpu_name())
    assert "with 1 threads, where 3 cores are usable now" in palette_health.profile(folder, Path("/")).summary
    assert usable_cores() >= 1


@pytest.mark.parametrize(
    ("available_kb", "state", "fits"),
    [
        (200_000, "ok", "all 3 fit"),
        (80_000, "note", "small fit, large, middle not"),
        (50_000, "note", "none fit, large, middle, small not"),
        (20_000, "problem", "even small takes 25 MB"),
    ],
)
def test_what_fits_into_the_memory_by_its_profile(
    folder: Path, plant: Plant, available_kb: int, state: str, fits: str
) -> None:
    _add_profile(folder, name=device_name())
    root = plant({"proc/meminfo": f"MemTotal: 9000000 kB\nMemAvailable: {available_kb} kB\n"})
    found = palette_health.memory_fit(folder, root)
    assert found.state == state
    assert fits in found.summary
