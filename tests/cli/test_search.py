"""``search`` on a trained supernet: limits of a board, a picture, and scores that are asked for once."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from commands import invoke, one_line

from edgedistill.subnet_search.score_cache import QUALITY


def _search(workplace: Path, *options: object) -> tuple[object, ...]:
    return ("search", workplace / "supernet", "--data", workplace / "commands", *options)


@pytest.mark.slow
def test_a_search_within_a_boards_limits(workplace: Path, tmp_path: Path) -> None:
    assert (workplace / "supernet" / QUALITY).is_file()  # the export searched already
    free = json.loads(invoke(*_search(workplace, "--device", "pi5", "--json")).stdout)
    assert "never checked" in free["costs"]
    assert free["cost_metric"] == "latency"
    limit = free["family"][2]["latency_ms"]
    picture = tmp_path / "front.svg"
    options = ("--device", "pi5", "--max-latency-ms", limit, "--count", 4, "--plot", picture)
    shown = invoke(*_search(workplace, *options))
    assert shown.exit_code == 0, shown.output
    for word in ("largest: ", "middle: ", "smallest: ", "on the front"):
        assert word in " ".join(shown.stdout.split())
    within = json.loads(invoke(*_search(workplace, *options, "--json")).stdout)
    assert len(within["family"]) == 4
    assert all(member["latency_ms"] <= limit for member in within["family"])
    drawn = picture.read_text()
    assert drawn.rstrip().endswith("</svg>")
    assert drawn.count("<path") > 36


def test_figures_of_a_measured_palette_replace_the_estimate(workplace: Path) -> None:
    found = json.loads(invoke(*_search(workplace, "--profiled-palette", workplace / "palette", "--json")).stdout)
    assert "subnets measured on" in found["costs"]
    assert all(member["latency_ms"] > 0 for member in found["family"])


@pytest.mark.slow
def test_what_cannot_be_met_or_asked_is_said_in_one_line(workplace: Path, tmp_path: Path) -> None:
    one_line(invoke(*_search(workplace, "--device", "pi5", "--max-latency-ms", 0.001)), "the least is")
    one_line(invoke(*_search(workplace, "--max-latency-ms", 5)), "--device or --profiled-palette")
    one_line(invoke(*_search(workplace, "--cost-metric", "memory")), "needs a device")
    one_line(invoke(*_search(workplace, "--device", "toaster")), "--profiled-palette")
    one_line(invoke(*_search(workplace, "--plot", tmp_path / "front.xyz")), "cannot be drawn")
    one_line(invoke("search", tmp_path), "not a supernet")


@pytest.mark.slow
def test_an_export_takes_the_family_that_was_searched_for(workplace: Path, tmp_path: Path) -> None:
    """Under limits the maxnet may be left out."""
    shutil.copytree(workplace / "supernet", tmp_path / "supernet")
    free = json.loads(invoke(*_search(workplace, "--device", "pi5", "--json")).stdout)
    memory_mb = sorted({member["memory_mb"] for member in free["family"]})
    limit_mb = (memory_mb[-2] + memory_mb[-1]) / 2
    options = ("--data", workplace / "commands", "--device", "pi5", "--max-memory-mb", limit_mb, "--count", 3)
    found = json.loads(invoke("search", tmp_path / "supernet", *options, "--json").stdout)
    written = invoke(
        "export", tmp_path / "supernet", "-o", tmp_path / "palette", *options, "--no-profile", "--json",
        "--precision", "fp32",
    )  # fmt: skip
    assert written.exit_code == 0, written.output
    names = [subnet["name"] for subnet in json.loads(written.stdout)["subnets"]]
    assert names == [member["name"] for member in found["family"]]
    assert "l6-d48-h12-f192" not in names


@pytest.mark.slow
def test_a_trimmed_vocabulary_makes_smaller_files_and_says_what_it_costs(real_workplace: Path, tmp_path: Path) -> None:
    workplace = real_workplace
    written = invoke(
        "export", workplace / "supernet", "-o", tmp_path / "small", "--data", workplace / "commands", "--no-profile",
        "--vocabulary", 15000, "--count", 2, "--precision", "fp32", "--json",
    )  # fmt: skip
    assert written.exit_code == 0, written.output
    small = {one["name"]: one for one in json.loads(written.stdout)["subnets"]}
    whole = {
        one["name"]: one for one in json.loads(invoke("inspect", workplace / "palette", "--json").stdout)["subnets"]
    }
    (name,) = small.keys() & whole.keys() & {"l6-d384-h12-f1536"}
    assert small[name]["size_mb"] < 0.8 * whole[name]["size_mb"]
    assert small[name]["layer_parameters"] == whole[name]["layer_parameters"]
    assert abs(small[name]["accuracy"] - whole[name]["accuracy"]) < 0.06
    assert invoke("verify", tmp_path / "small").exit_code == 0
    assert invoke("run", tmp_path / "small", "zyx turn off the lamp").exit_code == 0
