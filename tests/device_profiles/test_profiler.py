from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

import psutil
import pytest
import tiny_palette

from edgedistill.device_profiles import conditions, profile
from edgedistill.errors import EdgeDistillError, InputError, PaletteError
from edgedistill.palette import DeviceProfile, Palette, load, write_profile

pytestmark = pytest.mark.slow

LENGTHS = (8, 16)


@pytest.fixture(scope="module")
def palette(tmp_path_factory: pytest.TempPathFactory) -> Palette:
    return load(tiny_palette.write(tmp_path_factory.mktemp("profiler") / "palette"))


@pytest.fixture(scope="module")
def progress() -> list[tuple[int, int]]:
    return []


@pytest.fixture(scope="module")
def measured(palette: Palette, progress: list[tuple[int, int]]) -> DeviceProfile:
    """One real run, with real processes and sessions, for all tests that only look at it."""
    seen = progress.append
    return profile(
        palette,
        lengths=LENGTHS,
        batches=(2, 1),
        threads=(1, 2),
        rounds=25,
        width=1e-9,
        on_progress=lambda *step: seen(step),
    )


def test_every_subnet_and_shape_is_there(measured: DeviceProfile) -> None:
    expected = [(threads, batch, tokens) for threads in (1, 2) for batch in (1, 2) for tokens in LENGTHS]
    assert [subnet.subnet for subnet in measured.subnets] == list(tiny_palette.WIDTHS)
    for subnet in measured.subnets:
        assert [(p.threads, p.batch, p.tokens) for p in subnet.latency] == expected
        assert {20 <= p.samples <= 25 for p in subnet.latency} == {True}
        assert not subnet.predicted


def test_figures_are_positive_and_percentiles_in_order(measured: DeviceProfile) -> None:
    for subnet in measured.subnets:
        assert subnet.load_ms > 0
        assert 0 < subnet.steady_mb <= subnet.peak_mb <= subnet.with_smallest_mb < 200
        for point in subnet.latency:
            assert 0 < point.p50_ms <= point.p95_ms <= point.p99_ms
            assert 0 < point.low_ms <= point.p50_ms <= point.high_ms


def test_it_says_what_it_is_and_under_which_conditions(palette: Palette, measured: DeviceProfile) -> None:
    assert measured.kind == "measured"
    assert measured.manifest_digest == palette.manifest.digest
    assert measured.conditions.threads == 1
    assert 0 <= measured.conditions.other_load <= 1
    assert measured.conditions.kept_pace is not None
    assert 0 < measured.conditions.kept_pace <= 1
    assert measured.conditions.quiet is (measured.conditions.other_load < 0.1)
    assert datetime.fromisoformat(measured.conditions.date).tzinfo is not None


def test_progress_counts_up_to_its_total(measured: DeviceProfile, progress: list[tuple[int, int]]) -> None:
    total = len(tiny_palette.WIDTHS) + 2 * 25
    assert [step for step, _ in progress] == list(range(total + 1))
    assert {of for _, of in progress} == {total}


def test_other_devices_profiles_are_left_alone(palette: Palette, measured: DeviceProfile) -> None:
    other = write_profile(palette, tiny_palette.profile(palette.manifest, name="elsewhere"))
    before = other.read_bytes()
    write_profile(palette, measured)
    assert other.read_bytes() == before
    assert load(palette.folder).profiles == {
        "elsewhere": tiny_palette.profile(palette.manifest, name="elsewhere"),
        measured.device.name: measured,
    }


def test_a_length_beyond_the_palettes_longest_becomes_the_longest(palette: Palette) -> None:
    found = profile(palette, lengths=(16, 64, 128), threads=(1,), rounds=1)
    assert {point.tokens for subnet in found.subnets for point in subnet.latency} == {tiny_palette.MAX_TOKENS}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"lengths": (16, 0)}, "lengths: got 16, 0, expected numbers of 1 or more"),
        ({"lengths": ()}, "lengths: got none"),
        ({"batches": (0,)}, "batches: got 0"),
        ({"threads": (-1,)}, "threads: got -1"),
        ({"rounds": 0}, "rounds: got 0"),
        ({"width": 0.0}, r"width: got 0\.0"),
    ],
)
def test_a_count_below_one_is_refused(palette: Palette, options: dict[str, int], told: str) -> None:
    with pytest.raises(InputError, match=told):
        profile(palette, **options)  # type: ignore[arg-type]


@contextlib.contextmanager
def _busy_processes() -> Iterator[None]:
    spin = "import sys; print(flush=True)\nwhile True: pass"
    half = max(1, (os.cpu_count() or 1) // 2)  # of the cores, so that the profiler has the others
    busy = [subprocess.Popen([sys.executable, "-c", spin], stdout=subprocess.PIPE) for _ in range(half)]
    try:
        for process in busy:
            assert process.stdout is not None
            process.stdout.readline()
        yield
    finally:
        for process in busy:
            process.kill()
            process.communicate()


def test_a_busy_neighbour_makes_it_not_quiet(palette: Palette) -> None:
    with _busy_processes():
        found = profile(palette, lengths=(16,), threads=(1,), rounds=1)
    assert found.conditions.other_load > 0.25
    assert not found.conditions.quiet


def test_our_own_work_is_no_other_load(monkeypatch: pytest.MonkeyPatch) -> None:
    machine_busy_s = iter([100.0, 107.0] * 2)
    monkeypatch.setattr(conditions, "_busy_s", lambda: next(machine_busy_s))
    assert conditions.OtherLoad().since_start(our_cpu_s=7.0)[0] == 0.0
    assert conditions.OtherLoad().since_start(our_cpu_s=0.0)[0] == 7.0


def test_a_graph_that_cannot_be_loaded_is_one_line(tmp_path: Path) -> None:
    tiny = load(tiny_palette.write(tmp_path / "palette"))
    (tiny.folder / "middle.onnx").write_bytes(b"")
    files = [
        entry.model_copy(update=tiny_palette._file(tiny.folder / entry.name).model_dump())
        for entry in tiny.manifest.files
    ]
    broken = Palette(tiny.folder, tiny.manifest.model_copy(update={"files": files}).sealed(), {})
    with pytest.raises(EdgeDistillError, match=r"several subnets failed: .*middle\.onnx cannot be loaded") as raised:
        profile(broken, lengths=(16,), threads=(1,), rounds=1)
    assert "\n" not in str(raised.value)


def test_an_altered_file_is_refused_before_anything_runs(tmp_path: Path) -> None:
    tiny = load(tiny_palette.write(tmp_path / "palette"))
    weights = tiny.folder / "weights.bin"
    weights.write_bytes(bytes(weights.stat().st_size))
    steps: list[tuple[int, int]] = []
    with pytest.raises(PaletteError, match=r"weights\.bin was altered"):
        profile(tiny, on_progress=lambda *step: steps.append(step))
    assert steps == []


def test_a_worker_that_is_killed_is_told(palette: Palette) -> None:
    def kill_in_the_first_round(done: int, total: int) -> None:
        if done == 1:
            for child in psutil.Process().children():
                child.kill()

    with pytest.raises(EdgeDistillError, match="killed by signal 9; is there enough memory"):
        profile(palette, lengths=(16,), threads=(1,), width=1e-9, rounds=10**6, on_progress=kill_in_the_first_round)


def test_an_interrupt_leaves_no_process_behind(palette: Palette) -> None:
    def interrupt(done: int, total: int) -> None:
        if done:
            raise KeyboardInterrupt

    before = set(psutil.Process().children())
    with pytest.raises(KeyboardInterrupt):
        profile(palette, lengths=(16,), threads=(1,), width=1e-9, rounds=10**6, on_progress=interrupt)
    assert set(psutil.Process().children()) <= before


def test_what_was_interrupted_goes_on_where_it_was(palette: Palette, tmp_path: Path) -> None:
    """What is measured is kept, and taken for the same question alone."""
    file = tmp_path / "profiles" / ".unfinished"
    asked: dict[str, Any] = {"lengths": (8,), "threads": (1,), "rounds": 3, "unfinished": file}

    def interrupt(done: int, total: int) -> None:
        if done == total - 1:  # two of three subnets are loaded
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        profile(palette, **asked, on_progress=interrupt)
    kept = json.loads(file.read_text())["pieces"]
    assert list(kept) == ["latency 1 0", "memory large", "memory middle"]
    found = profile(palette, **asked)
    assert profile(palette, **asked).subnets == found.subnets  # nothing is lost before the caller has written it
    large = found.subnet("large")
    assert large is not None
    assert large.latency[0].model_dump(mode="json") == kept["latency 1 0"]["result"]["latency"]["large"][0]

    begun: list[int] = []

    def begin(done: int, total: int) -> None:
        begun.append(done)
        if len(begun) == 2:
            raise KeyboardInterrupt

    for content in (json.dumps({"key": "of another question", "pieces": {"latency 1 0": {}}}), "damaged"):
        file.write_text(content)
        begun.clear()
        with pytest.raises(KeyboardInterrupt):
            profile(palette, **asked, on_progress=begin)
        assert begun == [0, 1]  # from the start, and it does not fail
    assert profile(palette, **asked).subnet("large") is not None


@pytest.mark.alone
def test_a_quick_profile_measures_the_ends_and_predicts_between(palette: Palette) -> None:
    found = profile(palette, lengths=(4, 8, 16), threads=(1,), rounds=20, quick=True)
    assert found.kind == "quick"
    assert "predicted" in found.method
    for subnet in found.subnets:
        assert [(point.tokens, point.samples > 0) for point in subnet.latency] == [(4, True), (8, False), (16, True)]
        first, between, last = subnet.latency
        assert between.low_ms < between.p50_ms < between.high_ms
        assert 0.5 * min(first.p50_ms, last.p50_ms) < between.p50_ms < 2 * max(first.p50_ms, last.p50_ms)
