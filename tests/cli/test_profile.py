"""``edgedistill profile``, on the tiny palette."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import readme
import tiny_palette
from commands import invoke, one_line
from conftest import run_shell

from edgedistill.palette import load, write_profile
from edgedistill.runtime.device import device_name


@pytest.fixture
def palette(tmp_path: Path) -> Path:
    return tiny_palette.write(tmp_path / "palette")


@pytest.mark.slow
def test_every_length_batch_and_number_of_threads_is_measured(palette: Path) -> None:
    done = invoke("profile", palette, "--lengths", "4,8", "--batches", "1,2", "--threads", "2,1", "--json")
    document = json.loads(done.stdout)
    assert document["profile"]["kind"] == "measured"
    assert set(document["profile"]["conditions"]) >= {"quiet", "temperature_c", "clock_mhz", "throttled"}
    (found,) = load(palette).profiles.values()
    points = [(p.threads, p.batch, p.tokens) for p in found.subnets[0].latency]
    assert points == [(threads, batch, tokens) for threads in (2, 1) for batch in (1, 2) for tokens in (4, 8)]
    assert [path.name for path in (palette / "profiles").iterdir()] == [f"{device_name()}.json"]


@pytest.mark.slow
def test_a_quick_one_says_what_it_is(palette: Path) -> None:
    done = invoke("profile", palette, "--lengths", "4,8,16", "--quick")
    assert "measured or predicted on" in done.output
    (found,) = load(palette).profiles.values()
    assert found.kind == "quick"


@pytest.mark.slow
def test_a_processor_that_seldom_kept_its_pace_is_told_of(palette: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A neighbour on a shared host cannot be had here."""
    monkeypatch.setattr("edgedistill.device_profiles.profiler.mean", lambda _shares: 0.25)
    assert "its processor kept its best pace during 25% of the runs" in " ".join(
        invoke("profile", palette, "--lengths", "4").output.split()
    )


def test_two_are_shown_side_by_side(palette: Path, tmp_path: Path) -> None:
    found = load(palette)
    before = tiny_palette.profile(found.manifest, name="before")
    first = write_profile(found, before, folder=tmp_path)
    second = write_profile(found, tiny_palette.profile(found.manifest, name="after", p50_ms=6.0), folder=tmp_path)
    document = json.loads(invoke("profile", palette, "--compare", first, "--compare", second, "--json").stdout)
    assert document["median_ratio"] == 1.5
    assert len(document["points"]) == 6
    assert {row["differs"] for row in document["points"]} == {True}
    shown = invoke("profile", palette, "--compare", first, "--compare", second).stdout
    assert "1.50 times as long as the first at the median" in shown
    # One file is held beside the palette's own.
    one_line(invoke("profile", palette, "--compare", first), "no profile of this machine to compare with")
    write_profile(found, tiny_palette.profile(found.manifest, name=device_name()))
    document = json.loads(invoke("profile", palette, "--compare", first, "--json").stdout)
    assert document["median_ratio"] == 1.0
    assert {row["differs"] for row in document["points"]} == {False}


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (("--lengths", "4,0"), "lengths: got 4, 0, expected numbers of 1 or more"),
        (("--threads", "1,many"), "--threads: got '1,many', expected whole numbers with commas between them"),
        (("--compare", "nowhere.json"), "nowhere.json is missing"),
        (("--compare", "a", "--compare", "b", "--compare", "c"), "--compare: got 3 files, expected one or two"),
    ],
)
def test_what_cannot_be_done_is_one_line(palette: Path, options: tuple[str, ...], told: str) -> None:
    one_line(invoke("profile", palette, *options), told)


@pytest.mark.slow
def test_the_commands_of_the_profiles_page_run(tmp_path: Path) -> None:
    tiny_palette.write(tmp_path / "palette")
    done = run_shell(readme.block("profile", "docs/profiles.md"), tmp_path)
    assert done.returncode == 0, done.stderr
    (found,) = load(tmp_path / "palette").profiles.values()
    assert {(point.batch, point.threads) for point in found.subnets[0].latency} == {(1, 1), (4, 1)}
