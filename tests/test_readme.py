"""What the README shows, runs. (Its `run` block, trained in fewer steps, makes the palette that other tests use.)"""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import readme
import tiny_palette
import tiny_text
from commands import run_block
from conftest import run_shell, write_commands
from tiny_training import model_folder, rows

from edgedistill.palette import load
from edgedistill.supernet import checkpoint

SHORT_RECIPE = "rank = 8\nbatch_size = 8\n" + "".join(
    f"{stage} = {{epochs = 1, min_steps = 1}}\n" for stage in ("teacher", "widths", "depths")
)


@pytest.mark.long
def test_the_commands_run_as_they_stand(tmp_path: Path) -> None:
    write_commands(tmp_path / "commands")
    done = run_shell(readme.block("run"), tmp_path)
    assert done.returncode == 0, done.stderr
    scores = [score.test for score in checkpoint.load(tmp_path / "supernet").info.scores]
    assert min(scores) > 0.9, scores
    assert "lights_off" in done.stdout


@pytest.mark.slow
def test_the_python_snippet_answers(real_workplace: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-c", readme.block("python")], cwd=real_workplace, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    assert len(done.stdout.splitlines()) == 3


@pytest.mark.parametrize(
    ("mark", "says"),
    [("policy", " answers\n"), ("limits", "fan_rpm 1200, limit below 500: kept"), ("testing", " no-fit-smallest")],
)
def test_the_snippets_of_the_runtimes_page_run(workplace: Path, mark: str, says: str) -> None:
    code = readme.block(mark, "docs/runtime.md")
    done = subprocess.run([sys.executable, "-c", code], cwd=workplace, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert says in done.stdout


def test_the_snippet_of_the_security_page_runs(tmp_path: Path) -> None:
    tiny_palette.write(tmp_path / "palette")
    code = readme.block("pinned", "docs/security.md")
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (0, "large\n"), done.stderr


@pytest.mark.slow
def test_the_commands_for_other_tasks_run(tmp_path: Path) -> None:
    """On small random models under the names that the README uses: a folder comes before the hub's name."""
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128}
    model_folder(tmp_path / "sentence-transformers" / "all-MiniLM-L6-v2", head="", **sizes)
    model_folder(tmp_path / "my-classifier", **sizes)
    (tmp_path / "pairs").mkdir()
    lines = [{"sentence1": f"w{i % 9} w3", "sentence2": f"w{i % 7} w4", "score": i % 5} for i in range(40)]
    for split in ("train", "validation", "test"):
        (tmp_path / "pairs" / f"{split}.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    (tmp_path / "texts.txt").write_text("".join(f"w{i} w{i % 7}\n" for i in range(60)))
    script = readme.block("tasks")
    assert script.count("--set rank=8") == 1
    run_block(script.replace("--set rank=8", "--set rank=8 --set teacher.min_steps=1"), tmp_path)
    assert checkpoint.load(tmp_path / "scorer").info.recipe["rank"] == 8
    assert checkpoint.load(tmp_path / "taught").info.scores[2].metric == "agreement"


@pytest.mark.slow
def test_the_functions_train_export_and_answer(tmp_path: Path) -> None:
    """On a small random model and few rows, under the names that the README uses."""
    sizes = {"hidden_size": 64, "num_attention_heads": 4, "intermediate_size": 128}
    model_folder(tmp_path / "sentence-transformers" / "all-MiniLM-L6-v2", **sizes)
    (tmp_path / "commands").mkdir()
    lines = "".join(json.dumps({"text": text, "label": label}) + "\n" for text, label in rows())
    (tmp_path / "commands" / "train.jsonl").write_text(lines)
    (tmp_path / "recipe.toml").write_text(SHORT_RECIPE)
    code = readme.block("api")
    assert len(code.splitlines()) <= 15
    done = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    label, score, subnet = done.stdout.split()
    assert label in {"even", "odd"}
    assert 0.5 <= float(score) <= 1
    assert subnet in {entry.name for entry in load(tmp_path / "palette").manifest.subnets}
    assert "stage 2: subnets of every width and depth" in done.stderr


@pytest.mark.slow
def test_the_page_of_decoders_runs(tmp_path: Path) -> None:
    """On a small random model and little text, under the names that the page uses."""
    sizes = {"hidden_size": 64, "head_dim": 16, "num_attention_heads": 4, "num_key_value_heads": 2}
    tiny_text.model_folder(tmp_path / "smollm", **sizes, intermediate_size=128, max_position_embeddings=256)
    tiny_text.write(tmp_path / "wikitext", words=2000)
    script, steps = readme.block("commands", "docs/decoders.md"), "--set widths.min_steps=20"
    assert script.count(steps) == 1
    run_block(script.replace(steps, f"{steps} --set batch_size=4"), tmp_path)
    code = readme.block("python", "docs/decoders.md")
    said = subprocess.run([sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert said.returncode == 0, said.stderr
    assert re.search(r" (eos|length|stop) \[\('l", said.stdout)


def test_the_two_commands_name_real_extras_and_commands() -> None:
    project = (readme.ROOT / "pyproject.toml").read_text(encoding="utf-8")
    for mark, extra in (("demo", "demo"), ("tests", "dev")):
        assert f'-e ".[{extra}]"' in readme.block(mark)
        assert re.search(rf"^{extra} = \[", project, re.MULTILINE)


def test_every_folder_on_the_map_exists() -> None:
    text = (readme.ROOT / "README.md").read_text(encoding="utf-8")
    rows = [line for line in text.splitlines() if line.startswith("| `")]
    assert len(rows) > 8
    for row in rows:
        for name in re.findall(r"`([\w/.]+)`", row.split("|")[1]):
            beside = readme.ROOT / "edgedistill" / name
            assert (readme.ROOT / name).exists() or beside.exists(), name


def test_every_file_that_the_contributors_page_names_exists() -> None:
    text = (readme.ROOT / "CONTRIBUTING.md").read_text(encoding="utf-8")
    paths = set(
        re.findall(r"`((?:\.ci|benchmarks|docs|edgedistill|research|scripts|tests)/[\w./]*|\w+\.(?:md|toml))`", text)
    )
    assert len(paths) > 20
    assert [path for path in sorted(paths) if not (readme.ROOT / path).exists()] == []
