"""The boards' pages: what they show runs here, but for what only a board has, which is looked at."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import programs
import pytest
import readme
from conftest import run_shell
from typer.main import get_command

from edgedistill.cli import app

PAGES = ["docs/raspberry-pi.md", "docs/jetson.md"]
MARKS = {"run", "install", "board"}

Block = tuple[str, str]


def blocks(page: str) -> list[Block]:
    """All of a page: the mark above each, and its code."""
    text = (readme.ROOT / page).read_text(encoding="utf-8")
    return re.findall(r"(?:<!-- (\w+) -->\n)?```\w*\n(.*?)```", text, re.DOTALL)


def marked(page: str, mark: str) -> list[str]:
    return [code for known, code in blocks(page) if known == mark]


@pytest.fixture
def place(tmp_path: Path, palette: Path) -> Path:
    """What was copied onto the board."""
    (tmp_path / "examples").symlink_to(programs.EXAMPLES)
    subprocess.run(["cp", "-r", palette, tmp_path / "palette"], check=True)
    return tmp_path


@pytest.mark.parametrize("page", PAGES)
def test_every_block_is_of_a_kind_that_is_tested(page: str) -> None:
    assert {mark for mark, _ in blocks(page)} == MARKS


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_a_page_s_commands_run_one_after_the_other(place: Path, page: str) -> None:
    scripts = marked(page, "run")
    assert len(scripts) >= 2
    done = [run_shell(script, place) for script in scripts]
    assert all(one.returncode == 0 for one in done), done
    told = "".join(one.stdout + one.stderr for one in done)
    for says in ("onnxruntime", "✓", "p50 ms", "lines in time"):
        assert says in told
    assert list((place / "palette" / "profiles").glob("*.json"))


@pytest.mark.parametrize("page", PAGES)
def test_what_only_a_board_has_is_sound_as_far_as_can_be_seen(page: str) -> None:
    """The shell takes it, the files of ours are there, and our own commands have these options."""
    commands = dict(get_command(app).commands)  # type: ignore[attr-defined]
    for code in marked(page, "board"):
        parsed = subprocess.run(["bash", "-n", "-c", code], capture_output=True, text=True, check=False)
        assert parsed.returncode == 0, parsed.stderr
        for path in re.findall(r"examples/[\w./]+", code):
            assert (readme.ROOT / path).exists(), path
        for line in re.findall(r"\bedgedistill (\w+ .*)", code):
            name, *words = line.split()
            if name in commands:
                commands[name].make_context(name, words)


@pytest.mark.parametrize("page", PAGES)
def test_the_service_s_folders_are_those_of_its_unit(page: str) -> None:
    (service,) = (code for code in marked(page, "board") if "systemctl" in code and "serve.py" in code)
    unit = (programs.EXAMPLES / "low_latency" / "edgedistill.service").read_text()
    (python, program, palette) = re.findall(r"/opt/edgedistill/[\w./]+", re.search("ExecStart=(.*)", unit)[1])  # type: ignore[index]
    assert python == "/opt/edgedistill/venv/bin/python"
    assert f"python3 -m venv {Path(python).parent.parent}" in service
    assert f"{Path(program).name} {Path(palette).name} {Path(program).parent}/" in service
    cores = int(re.search(r"CPUQuota=(\d+)00%", unit)[1])  # type: ignore[index]
    assert f"edgedistill profile {palette} --threads {cores}" in service


def test_the_boards_are_installed_alike() -> None:
    (here,), (there,) = (marked(page, "install") for page in PAGES)
    assert here == there


@pytest.mark.parametrize("folder", ["raspberry_pi", "jetson"])
def test_an_example_s_page_leads_to_the_board_s(folder: str) -> None:
    page = programs.EXAMPLES / folder / "README.md"
    for link in re.findall(r"\]\((.+?)\)", page.read_text()):
        assert (page.parent / link).is_file(), link
    assert f"docs/{folder.replace('_', '-')}.md" in page.read_text()


@pytest.mark.parametrize("page", PAGES)
def test_a_page_s_links_lead_somewhere(page: str) -> None:
    for link in re.findall(r"\]\(([^h].+?)\)", (readme.ROOT / page).read_text()):
        assert (readme.ROOT / "docs" / link).resolve().is_file(), link


@pytest.mark.slow
@pytest.mark.long
def test_the_install_works_in_an_empty_home(tmp_path: Path) -> None:
    """By the wheel that is built from this tree, found before any index's."""
    wheels = tmp_path / "wheels"
    build = [sys.executable, "-m", "build", "--no-isolation", "--outdir", wheels, readme.ROOT]
    subprocess.run(build, check=True, capture_output=True)
    environment = os.environ | {
        "HOME": str(tmp_path),
        "PIP_FIND_LINKS": str(wheels),
        "COLUMNS": "300",
        "PIP_CONSTRAINT": str(readme.ROOT / "constraints.txt"),
    }
    script = marked(PAGES[0], "install")[0]
    done = subprocess.run(
        ["bash", "-euc", script], cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"the environment {tmp_path}/edgedistill" in done.stdout
