"""``run --prompt``: a text while it comes, one line for machines, and what is refused."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import stories_palette
import tiny_palette
from commands import invoke, one_line
from stories_palette import LARGE

PROMPT = "Once upon a time"
# Its steps are told, and take so long that they can be interrupted.
# A test run in the background of a shell ignores SIGINT, and its children would too.
_SLOW = """
import signal, sys, time
signal.signal(signal.SIGINT, signal.default_int_handler)
from edgedistill.cli import main
from edgedistill.runtime.engine.step_runner import StepRunner
run = StepRunner.run
def slow(*args):
    print("a step", file=sys.stderr, flush=True)
    time.sleep(0.1)
    return run(*args)
StepRunner.run = slow
sys.exit(main())
"""


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return stories_palette.write(tmp_path_factory.mktemp("stories") / "palette")


def test_the_text_is_on_standard_output_and_nothing_else(stories: Path) -> None:
    done = invoke("run", stories, "--prompt", PROMPT, "--max-new-tokens", 25)
    assert done.exit_code == 0, done.output
    assert done.stdout.startswith(", there was a little girl named Lily.")
    assert done.stdout.endswith("\n")
    assert "length: 25 tokens, " in done.stderr
    assert f"{LARGE} 25" in done.stderr


def test_a_line_for_machines(stories: Path) -> None:
    done = invoke("run", stories, "--prompt", PROMPT, "--stop", " Lily", "--stop", "never", "--seed", 1, "--json")
    (line,) = done.stdout.splitlines()
    record = json.loads(line)
    assert record["prompt"] == PROMPT
    assert record["text"] == ", there was a little girl named"
    assert record["reason"] == "stop"
    assert record["subnets"] == [[LARGE, len(record["token_ids"])]]
    assert record["first_token_ms"] > 0 < record["tokens_per_s"]


@pytest.mark.slow
@pytest.mark.parametrize("as_json", [False, True])
def test_an_interrupt_ends_it_cleanly(stories: Path, as_json: bool) -> None:
    arguments = ["run", str(stories), "--prompt", PROMPT, *(["--json"] if as_json else [])]
    process = subprocess.Popen(
        [sys.executable, "-u", "-c", _SLOW, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    steps = 0
    while steps < 8:  # of which the first warm two subnets up
        line = process.stderr.readline()
        assert line, "it ended before it could be interrupted"
        steps += "a step" in line
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert "interrupted" in err
    if as_json:
        assert json.loads(out)["reason"] == "cancelled"
    else:
        assert "cancelled: " in err


@pytest.mark.parametrize(
    ("given", "says"),
    [
        ([], "give --prompt"),
        (["hello"], "no use for texts; give --prompt"),
        (["--prompt", "a", "--pair"], "no use for --pair"),
        (["--prompt", "a", "--max-latency-ms", "3"], "no use for --max-latency-ms"),
        (["--prompt", ""], "the prompt is empty"),
        (["--prompt", "a " * 500], "tokens; the model takes"),
        (["--prompt", "a", "--max-new-tokens", "0"], "max_new_tokens is 0"),
        (["--prompt", "a", "--top-p", "2"], "top_p is 2.0"),
        (["--prompt", "a", "--chat"], "no chat template"),
        (["--prompt", "a", "--min-tokens-per-s", "-1"], "min_tokens_per_s is -1.0"),
    ],
)
def test_what_does_not_go_together_is_refused(stories: Path, given: list[str], says: str) -> None:
    one_line(invoke("run", stories, *given), says)


def test_other_palettes_take_no_prompt(tmp_path: Path) -> None:
    folder = tiny_palette.write(tmp_path / "palette")
    one_line(invoke("run", folder, "--prompt", "a"), "for text-classification, which has no use for --prompt")
    one_line(invoke("run", folder, "a", "--top-k", "3"), "no use for --top-k")


def test_the_help_has_an_example() -> None:
    assert "--prompt" in invoke("run", "--help").stdout
