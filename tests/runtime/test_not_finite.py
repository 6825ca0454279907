"""No pipeline returns a number that is not finite, nor an answer made from one."""

from __future__ import annotations

import json
import math
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_palette
from poisoned import poisoned
from swap_stress import feeds_for, plain_answers
from tiny_palette import LABELLED, NUMBERS, PAIRS, TAGGED, VECTORS, WIDTHS, Kind
from typer.testing import CliRunner
from waiting import wait_until

from edgedistill.cli import app
from edgedistill.errors import InputError, RunError
from edgedistill.palette import Palette, load
from edgedistill.runtime import (
    AdaptiveSession,
    Policy,
    Reason,
    SentenceEncoder,
    TextClassifier,
    TextRegressor,
    TokenClassifier,
)
from edgedistill.runtime.calibrated_scores import CalibratedScores
from edgedistill.runtime.control.failures import Failures

EVERY = tuple(WIDTHS)
QUICK: dict[str, Any] = {"threads": 1, "interval_s": 0.01, "policy": Policy(dwell_s=0.0, up_dwell_s=0.0)}
TEXTS = ["turn on the lamp", "play some music"]
PAIR_TEXTS = [("turn on the lamp", "play some music"), ("set a timer", "the lamp")]

Ask = Callable[[AdaptiveSession], Any]
KINDS: list[tuple[Kind, Ask]] = [
    (LABELLED, lambda session: TextClassifier(session).classify(TEXTS)),
    (PAIRS, lambda session: TextClassifier(session).classify(PAIR_TEXTS)),
    (NUMBERS, lambda session: TextRegressor(session).predict(TEXTS)),
    (TAGGED, lambda session: TokenClassifier(session).tag(TEXTS)),
    (VECTORS, lambda session: SentenceEncoder(session).encode(TEXTS)),
    (LABELLED, lambda session: session.run(None, feeds_for(session.palette, 1)[0])),
]
BAD = [math.nan, math.inf, -math.inf]


@pytest.mark.parametrize("number", BAD)
@pytest.mark.parametrize(("kind", "ask"), KINDS)
def test_where_no_member_is_sound_one_line_says_so(tmp_path: Path, kind: Kind, ask: Ask, number: float) -> None:
    folder = poisoned(tiny_palette.write(tmp_path / "palette", kind), EVERY, number=number)
    with AdaptiveSession(folder, **QUICK) as session:
        for _ in range(3):  # before another is in memory, and with it
            with pytest.raises(
                RunError, match=r"(large|middle|small): it answered with numbers that are not finite"
            ) as told:
                ask(session)
            assert "run 'edgedistill verify'" in str(told.value)
            assert "\n" not in str(told.value)
        wait_until(lambda: session.active == "large")


@pytest.mark.parametrize("number", BAD)
@pytest.mark.parametrize(("kind", "ask"), KINDS)
def test_another_member_answers_the_first_request_too(tmp_path: Path, kind: Kind, ask: Ask, number: float) -> None:
    folder = tiny_palette.write(tmp_path / "palette", kind)
    with AdaptiveSession(folder, threads=1, only=["small"]) as session:
        by_small = _without_latency(ask(session))
    with AdaptiveSession(folder, threads=1, only=["middle"]) as session:
        by_middle = _without_latency(ask(session))
    with AdaptiveSession(poisoned(folder, ["large"], number=number), **QUICK) as session:
        for _ in range(3):
            assert _without_latency(ask(session)) in (by_small, by_middle)
        wait_until(lambda: session.active == "middle")
        assert next(r.subnet for r in session.decisions if r.reason is Reason.QUARANTINED) == "large"


def _without_latency(answers: Any) -> str:
    if isinstance(answers, list) and isinstance(answers[0], np.ndarray):
        return repr(answers[0].tolist())
    if hasattr(answers, "vectors"):
        return repr((answers.vectors.tolist(), answers.subnets))
    return repr([replace(answer, latency_ms=0.0) for answer in answers])


def test_a_third_member_answers_where_two_are_unsound(tmp_path: Path) -> None:
    folder = poisoned(tiny_palette.write(tmp_path / "palette"), ["large", "small"])
    palette = load(folder)
    feed = feeds_for(palette, 1)[0]
    (expected,) = plain_answers(palette, [feed])["middle"]
    with AdaptiveSession(palette, **QUICK) as session:
        for _ in range(5):
            answer = session.answer(None, feed)
            assert answer.subnet == "middle"
            np.testing.assert_array_equal(answer.outputs[0], expected)
        wait_until(lambda: session.active == "middle")


def test_only_members_that_may_serve_are_loaded_for_it(tmp_path: Path) -> None:
    folder = poisoned(tiny_palette.write(tmp_path / "palette"), ["large"])
    with AdaptiveSession(folder, threads=1, only=["large"]) as session, pytest.raises(RunError, match="large"):
        TextClassifier(session).classify(TEXTS)


def _with_profile(folder: Path) -> Palette:
    palette = load(folder)
    profile = tiny_palette.profile(palette.manifest)
    return Palette(palette.folder, palette.manifest, {profile.device.name: profile})


@pytest.mark.parametrize(
    ("budget_mb", "unsound", "answers"), [(100.0, "large", {"small", "middle"}), (30.0, "small", set())]
)
def test_the_memory_budget_says_which_may_be_loaded(
    tmp_path: Path, budget_mb: float, unsound: str, answers: set[str]
) -> None:
    folder = poisoned(tiny_palette.write(tmp_path / "palette"), [unsound])
    policy = Policy(max_memory_mb=budget_mb)
    session = AdaptiveSession(_with_profile(folder), profile="here", **(QUICK | {"policy": policy}))
    with session:
        session.pin(unsound)
        wait_until(lambda: session.active == unsound)
        for _ in range(2):
            if answers:
                assert TextClassifier(session).classify(TEXTS)[0].subnet in answers
            else:
                with pytest.raises(RunError, match=unsound):
                    TextClassifier(session).classify(TEXTS)


def test_one_bad_row_makes_another_member_answer_the_whole_batch(tmp_path: Path) -> None:
    folder = poisoned(tiny_palette.write(tmp_path / "palette"), ["large"], word="music")
    with TextClassifier(folder, **QUICK) as classifier:
        assert classifier.classify([TEXTS[0]])[0].subnet == "large"
        found = classifier.classify(TEXTS)
        assert len({label.subnet for label in found}) == 1
        assert found[0].subnet != "large"
        assert all(math.isfinite(label.score) for label in found)


def test_a_request_at_fault_is_an_error_and_the_others_are_answered_by_the_best(tmp_path: Path) -> None:
    folder = poisoned(tiny_palette.write(tmp_path / "palette"), EVERY, word="music")
    with TextClassifier(folder, **QUICK) as classifier:
        with pytest.raises(RunError, match="not finite"):
            classifier.classify(TEXTS)
        wait_until(lambda: classifier.session.active == "large")
        assert classifier.classify([TEXTS[0]])[0].subnet == "large"


def test_after_a_request_at_fault_none_is_loaded_for_the_next_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = poisoned(tiny_palette.write(tmp_path / "palette"), EVERY, word="music")
    with TextClassifier(folder, **QUICK) as classifier:
        controller = classifier.session._controller
        for _ in range(2):
            with pytest.raises(RunError, match="not finite"):
                classifier.classify(TEXTS)
            wait_until(lambda: classifier.session.active == "large" and not controller._failures.has_pardons)
        begun: list[str] = []
        monkeypatch.setattr(Failures, "_put_in_quarantine", lambda _, subnet, *__: begun.append(subnet.name))
        with pytest.raises(RunError, match="not finite"):
            classifier.classify(TEXTS)
        assert begun == []


def test_an_unsound_judge_and_an_unsound_answer_to_a_deadline(tmp_path: Path) -> None:
    folder = tiny_palette.write(tmp_path / "palette")
    tiny_palette.calibrate(folder)
    poisoned(folder, ["small"])
    with TextClassifier(_with_profile(folder), false_accept_rate=0.5, profile="here", **QUICK) as classifier:
        wait_until(lambda: len(classifier.session._controller.residents.names) == 2)
        (label,) = classifier.classify([TEXTS[0]], deadline_ms=1e-3)
        assert (label.subnet, math.isfinite(label.score)) == ("large", True)
        assert isinstance(label.accepted, bool)


def test_finite_logits_have_finite_scores_at_any_temperature(tmp_path: Path) -> None:
    folder = tiny_palette.calibrate(tiny_palette.write(tmp_path / "palette"))
    manifest = load(folder).manifest
    entry = manifest.subnets[0]
    assert entry.calibration is not None
    tiny = entry.model_copy(update={"calibration": entry.calibration.model_copy(update={"temperature": 1e-300})})
    scores = CalibratedScores(manifest.model_copy(update={"subnets": [tiny]}), None)
    logits = np.array([[3e38, -3e38, 1.0], [2.0, 2.0, 1.0]], np.float32)
    np.testing.assert_array_equal(scores.probabilities("large", logits), [[1, 0, 0], [0.5, 0.5, 0]])


def test_nothing_is_redacted_by_scores_that_are_not_finite(tmp_path: Path) -> None:
    folder = tiny_palette.write(tmp_path / "palette", TAGGED)
    with TokenClassifier(folder, threads=1) as tagger:
        (found,) = tagger.tag(["turn on the lamp"])
    assert found.redacted() == "turn on the [thing]"
    for number in BAD:
        words = (*found.words[:-1], replace(found.words[-1], score=number))
        with pytest.raises(RunError, match="not finite"):
            replace(found, words=words).redacted()


@pytest.mark.parametrize("unsound", [EVERY, ("large",)])
def test_the_redactor_hands_on_nothing_that_was_not_read(tmp_path: Path, unsound: tuple[str, ...]) -> None:
    folder = poisoned(tiny_palette.write(tmp_path / "palette", TAGGED), unsound)
    script = Path(__file__).parents[2] / "examples" / "private" / "redact.py"
    done = subprocess.run(
        [sys.executable, script, "--min-quality", "0", folder],
        input=b"turn on the lamp and music timer",
        capture_output=True,
        check=False,
    )
    if unsound == EVERY:
        assert (done.returncode, done.stdout) == (1, b"")
        assert b"numbers that are not finite" in done.stderr.splitlines()[-1]
    else:
        assert (done.returncode, done.stdout) == (0, b"turn on the [thing] and [thing] [place]")


def test_run_writes_an_error_for_that_line_and_answers_the_others(tmp_path: Path) -> None:
    folder = poisoned(tiny_palette.write(tmp_path / "palette"), EVERY, word="music")
    lines = "".join(json.dumps({"text": text}) + "\n" for text in (*TEXTS, TEXTS[0]))
    done = CliRunner().invoke(app, ["run", str(folder)], input=lines)
    first, second, third = map(json.loads, done.stdout.splitlines())
    assert done.exit_code == 1
    assert "label" in first
    assert "label" in third
    assert second.keys() == {"text", "error"}
    assert "not finite" in second["error"]


@pytest.mark.parametrize("deadline", [math.nan, np.float32("nan"), "20", True, np.True_, [20.0]])
def test_a_deadline_that_is_not_a_number_is_refused_everywhere(tmp_path: Path, deadline: Any) -> None:
    for place, (kind, ask) in enumerate(DEADLINES):
        with AdaptiveSession(tiny_palette.write(tmp_path / f"{place}", kind), threads=1) as session:
            with pytest.raises(InputError, match=r"deadline_ms is .*; expected a number of milliseconds"):
                ask(session, deadline)
            for fine in (np.float32(20.0), np.int64(20), -1.0, math.inf):
                ask(session, fine)


DEADLINES: list[tuple[Kind, Callable[[AdaptiveSession, Any], Any]]] = [
    (LABELLED, lambda session, ms: TextClassifier(session).classify(TEXTS, deadline_ms=ms)),
    (NUMBERS, lambda session, ms: TextRegressor(session).predict(TEXTS, deadline_ms=ms)),
    (TAGGED, lambda session, ms: TokenClassifier(session).tag(TEXTS, deadline_ms=ms)),
    (VECTORS, lambda session, ms: SentenceEncoder(session).encode(TEXTS, deadline_ms=ms)),
    (LABELLED, lambda session, ms: session.run(None, feeds_for(session.palette, 1)[0], deadline_ms=ms)),
    (LABELLED, lambda session, ms: session.answer(None, feeds_for(session.palette, 1)[0], deadline_ms=ms)),
]


@pytest.mark.parametrize("value", [math.nan, "20", True, -1.0])
@pytest.mark.parametrize(
    "option", ["max_latency_ms", "max_memory_mb", "max_first_token_ms", "max_temperature_c", "reserve_mb", "headroom"]
)
def test_a_budget_that_is_not_a_number_is_refused(option: str, value: Any) -> None:
    with pytest.raises(InputError, match=option):
        Policy(**{option: value})
    assert Policy(max_latency_ms=np.float32(20.0)).max_latency_ms == 20.0  # type: ignore[arg-type]
