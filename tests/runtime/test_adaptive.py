from __future__ import annotations

import asyncio
import gc
import logging
import shutil
import subprocess
import sys
import threading
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tiny_palette
from numpy.typing import NDArray
from swap_stress import feeds_for, plain_answers, stress
from waiting import WAIT_S, wait_until

from edgedistill.errors import InputError, LoadError, PaletteError, SessionClosed
from edgedistill.palette import MANIFEST_NAME, Palette, Provenance, load, write_profile
from edgedistill.runtime import AdaptiveSession, DecisionRecord, Policy, Reason, TextClassifier
from edgedistill.runtime.onnx import create_session
from edgedistill.testing import FakeSessions


def test_it_answers_as_a_plain_session_does(tiny: Path) -> None:
    palette = load(tiny)
    feeds = feeds_for(palette, 5)
    expected = plain_answers(palette, feeds)
    with AdaptiveSession(tiny, threads=1) as session:
        assert session.active == "large"
        for feed, logits in zip(feeds, expected["large"], strict=True):
            (mine,) = session.run(["logits"], feed)
            np.testing.assert_array_equal(mine, logits)
        answer = session.answer(None, feeds[0])
    assert answer.subnet == "large"
    assert answer.latency_ms > 0


def test_it_describes_inputs_and_outputs_as_onnxruntime_does(tiny: Path) -> None:
    plain = create_session(tiny / "large.onnx", 1)
    with AdaptiveSession(tiny, threads=1) as session:
        for mine, theirs in (
            (session.get_inputs(), plain.get_inputs()),
            (session.get_outputs(), plain.get_outputs()),
        ):
            assert [(n.name, n.type, n.shape) for n in mine] == [(n.name, n.type, n.shape) for n in theirs]


def test_onnxruntimes_own_complaint_comes_through_and_harms_nothing(tiny: Path) -> None:
    feed = feeds_for(load(tiny), 1)[0]
    with AdaptiveSession(tiny, threads=1) as session:
        with pytest.raises(ValueError, match="attention_mask"):
            session.run(None, {"input_ids": feed["input_ids"]})
        assert len(session.run(None, feed)) == 1
        session.pin("small")
        wait_until(lambda: session.active == "small")


def test_no_request_is_lost_or_wrong_while_subnets_swap(tiny: Path) -> None:
    requests, swaps = stress(tiny, swaps=20, seconds=1.0)
    assert requests > 100
    assert swaps >= 20


@pytest.mark.alone
def test_requests_go_on_while_a_slow_load_runs(tiny: Path) -> None:
    sessions = FakeSessions(load_ms=400.0)
    with AdaptiveSession(tiny, create=sessions) as session:
        session.pin("small")
        wait_until(lambda: sessions.tried == ["large", "small"])
        start_s = time.perf_counter()
        slowest_ms = 0.0
        while session.active == "large" and time.perf_counter() - start_s < WAIT_S:
            slowest_ms = max(slowest_ms, session.answer(None, {}).latency_ms)
        assert time.perf_counter() - start_s > 0.2
        assert slowest_ms < 200.0
        assert session.run(None, {})[0] == ["small"]


def test_closing_waits_for_the_request_under_way(tiny: Path) -> None:
    sessions = FakeSessions({"large": 300.0})
    session = AdaptiveSession(tiny, create=sessions)
    answers: list[str] = []
    request = threading.Thread(target=lambda: answers.append(session.answer(None, {}).subnet))
    request.start()
    time.sleep(0.1)
    session.close()
    request.join(0.1)
    assert answers == ["large"]
    with pytest.raises(SessionClosed):
        session.run(None, {})


def test_a_closed_session_says_so_to_every_call(tiny: Path) -> None:
    session = AdaptiveSession(tiny, threads=1)
    session.close()
    session.close()
    for call in (lambda: session.run(None, {}), session.get_inputs, session.get_outputs, lambda: session.active):
        with pytest.raises(SessionClosed):
            call()


def test_a_forgotten_session_ends_its_thread(tiny: Path) -> None:
    before = threading.active_count()
    session = AdaptiveSession(tiny, threads=1)
    wait_until(lambda: threading.active_count() == before + 1)  # the first loads have ended
    gone = weakref.ref(session)
    del session
    gc.collect()
    assert gone() is None
    wait_until(lambda: threading.active_count() == before)


def test_a_script_that_never_closes_ends_quietly(tiny: Path) -> None:
    code = f"from edgedistill.runtime import AdaptiveSession; s = AdaptiveSession({str(tiny)!r}); s.pin('small')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0
    assert "Error" not in done.stderr
    assert "terminate" not in done.stderr


def test_a_graph_that_vanishes_keeps_the_old_one_serving(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "palette"))
    feed = feeds_for(load(folder), 1)[0]
    with AdaptiveSession(folder, threads=1) as session:
        (folder / "small.onnx").unlink()
        session.palette.graph_path("small").unlink()
        session.pin("small")
        wait_until(lambda: any(r.reason is Reason.LOAD_FAILED for r in session.decisions))
        assert session.answer(None, feed).subnet == "large"


def test_a_budget_chooses_by_the_profile_from_the_start(profiled: Callable[..., Palette]) -> None:
    palette = profiled({"name": "board"})  # p95 at 64 tokens: 5, 2.5 and 1.25 ms
    length = min(64, palette.manifest.text_input.tokenizer.max_tokens)
    assert length < 64, "below the first point counts as the first"
    for budget_ms, subnet in ((5.0, "large"), (3.0, "middle"), (0.1, "small")):
        with AdaptiveSession(palette, max_latency_ms=budget_ms, profile="board", create=FakeSessions()) as session:
            assert session.active == subnet
    assert session.decisions[0].reason is Reason.NO_FIT_SMALLEST
    with AdaptiveSession(palette, max_memory_mb=80.0, profile="board", create=FakeSessions()) as session:
        assert session.active == "middle"


def test_it_moves_by_its_own_latency(profiled: Callable[..., Palette]) -> None:
    """The whole loop with real time: slower answers move it down, faster ones up again."""
    palette = profiled({"name": "board"})
    quiet = {"large": 4.0, "middle": 2.0, "small": 1.0}
    sessions = FakeSessions(quiet)
    feed = {"input_ids": np.zeros((1, 64), np.int64)}
    with AdaptiveSession(
        palette,
        policy=Policy(max_latency_ms=30.0, dwell_s=0.1, up_dwell_s=0.2),
        profile="board",
        create=sessions,
        interval_s=0.02,
    ) as session:

        def serve_until(subnet: str) -> None:
            end_s = time.perf_counter() + WAIT_S
            while session.answer(None, feed).subnet != subnet:
                assert time.perf_counter() < end_s

        assert session.active == "large"
        sessions.latency_ms = {name: ms * 8 for name, ms in quiet.items()}
        serve_until("middle")
        sessions.latency_ms = quiet
        serve_until("large")
        assert session.swaps >= 2


def test_a_damaged_palette_is_refused(tiny: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny, tmp_path / "palette"))
    weights = bytearray((folder / "weights.bin").read_bytes())
    weights[5] ^= 1
    (folder / "weights.bin").write_bytes(weights)
    with pytest.raises(PaletteError, match="altered"):
        AdaptiveSession(folder)


def test_a_first_load_that_fails_is_told(tiny: Path) -> None:
    sessions = FakeSessions()
    sessions.fail("large")
    with pytest.raises(LoadError):
        AdaptiveSession(tiny, create=sessions)


@pytest.mark.parametrize(
    "option", [{"threads": 0}, {"interval_s": 0.0}, {"max_latency_ms": -1.0}, {"max_memory_mb": 0.0}]
)
def test_an_option_out_of_range_is_refused(tiny: Path, option: dict[str, float]) -> None:
    with pytest.raises(InputError, match=next(iter(option))):
        AdaptiveSession(tiny, **option)  # type: ignore[arg-type]


def test_an_unknown_subnet_or_profile_is_refused(tiny: Path) -> None:
    with AdaptiveSession(tiny, threads=1) as session, pytest.raises(PaletteError, match="no subnet 'huge'"):
        session.pin("huge")
    with pytest.raises(PaletteError, match="no profile 'pi9'"):
        AdaptiveSession(tiny, profile="pi9")


class Broken:
    """A real session of a subnet that breaks when told to."""

    def __init__(self, palette: Palette, broken: set[str], how: Callable[[list[Any]], list[Any]]) -> None:
        self._palette, self._broken, self._how = palette, broken, how

    def __call__(self, subnet: str) -> Any:
        return _Breaking(create_session(self._palette.graph_path(subnet), 1), subnet, self._broken, self._how)


class _Breaking:
    def __init__(self, session: Any, subnet: str, broken: set[str], how: Callable[[list[Any]], list[Any]]) -> None:
        self._session, self._subnet, self._broken, self._how = session, subnet, broken, how

    def run(self, names: Any, feeds: Any, options: Any = None) -> list[Any]:
        outputs: list[Any] = self._session.run(names, feeds, options)
        return self._how(outputs) if self._subnet in self._broken else outputs


def _raises(_: list[Any]) -> list[Any]:
    raise RuntimeError("out of memory")


def _not_finite(outputs: list[Any]) -> list[Any]:
    return [np.full_like(output, np.nan) for output in outputs]


def _one_infinite(outputs: list[Any]) -> list[Any]:
    return [np.append(output.ravel()[:-1], np.float32(np.inf)).reshape(output.shape) for output in outputs]


@pytest.mark.parametrize("how", [_raises, _not_finite, _one_infinite], ids=["raises", "not finite", "one infinite"])
def test_a_subnet_that_breaks_loses_no_request_and_is_left_alone(
    tiny: Path, how: Callable[[list[Any]], list[Any]]
) -> None:
    palette = load(tiny)
    feed = feeds_for(palette, 1)[0]
    expected = plain_answers(palette, [feed])
    broken: set[str] = set()
    with AdaptiveSession(palette, create=Broken(palette, broken, how), interval_s=0.01) as session:
        wait_until(lambda: len(session._controller.residents.names) == 2)
        assert session.answer(None, feed).subnet == "large"
        broken.add("large")
        answer = session.answer(None, feed)
        assert answer.subnet == "small"
        np.testing.assert_array_equal(answer.outputs[0], expected["small"][0])
        wait_until(lambda: session.active == "middle")
        assert any(r.reason is Reason.QUARANTINED and r.subnet == "large" for r in session.decisions)


@pytest.mark.filterwarnings("ignore:overflow encountered")
@pytest.mark.parametrize(("kind", "number"), [("f2", 6e4), ("f4", 3e38)])
def test_numbers_whose_sum_overflows_are_finite(tiny: Path, kind: str, number: float) -> None:
    palette, large = load(tiny), np.full((1, 8), number, kind)
    every = {entry.name for entry in palette.manifest.subnets}
    with AdaptiveSession(palette, create=Broken(palette, every, lambda _: [large]), interval_s=0.01) as session:
        wait_until(lambda: len(session._controller.residents.names) == 2)
        assert session.answer(None, feeds_for(palette, 1)[0]).subnet == "large"
        time.sleep(0.05)
        assert not any(r.reason is Reason.QUARANTINED for r in session.decisions)


def test_a_request_that_nothing_can_answer_puts_nothing_in_quarantine(tiny: Path) -> None:
    palette = load(tiny)
    feed = feeds_for(palette, 1)[0]
    with AdaptiveSession(palette, interval_s=0.01) as session:
        wait_until(lambda: len(session._controller.residents.names) == 2)
        with pytest.raises(ValueError, match="attention_mask"):
            session.run(None, {"input_ids": feed["input_ids"]})
        time.sleep(0.1)
        assert session.active == "large"
        assert not any(r.reason is Reason.QUARANTINED for r in session.decisions)


def test_it_answers_inside_an_event_loop(tiny: Path) -> None:
    palette = load(tiny)
    feeds = feeds_for(palette, 20)
    expected = plain_answers(palette, feeds)["large"]

    async def ask(session: AdaptiveSession) -> list[list[NDArray[Any]]]:
        return await asyncio.gather(*(session.run_async(None, feed) for feed in feeds))

    with AdaptiveSession(palette, threads=1) as session:
        for (mine,), logits in zip(asyncio.run(ask(session)), expected, strict=True):
            np.testing.assert_array_equal(mine, logits)


def test_a_call_with_a_deadline_may_be_answered_by_the_smallest(profiled: Callable[..., Palette]) -> None:
    palette = profiled({"name": "board"})  # p95 of the large one: 5 ms
    feed = {"input_ids": np.zeros((1, 64), np.int64)}
    with AdaptiveSession(palette, profile="board", create=FakeSessions(), interval_s=0.01) as session:
        wait_until(lambda: len(session._controller.residents.names) == 2)
        assert session.answer(None, feed, deadline_ms=10.0).subnet == "large"
        assert session.answer(None, feed, deadline_ms=0.001).subnet == "small"
        assert session.active == "large"


def test_only_some_may_serve(tiny: Path) -> None:
    with AdaptiveSession(tiny, only=["middle", "small"], create=FakeSessions()) as session:
        assert session.active == "middle"
    with AdaptiveSession(tiny, only={"large"}, create=FakeSessions(), interval_s=0.01) as session:
        time.sleep(0.1)
        assert session.active == "large"
        assert session.subnets == ("large",)
        with pytest.raises(InputError, match="only large may"):
            session.pin("small")
    with pytest.raises(PaletteError, match="no subnet 'huge'"):
        AdaptiveSession(tiny, only=["huge"])
    with pytest.raises(InputError, match="only"):
        AdaptiveSession(tiny, only=[])


def test_it_tells_why(profiled: Callable[..., Palette]) -> None:
    told: list[DecisionRecord] = []
    palette = profiled({"name": "board"})
    options = {"max_latency_ms": 3.0, "profile": "board", "create": FakeSessions(), "interval_s": 3600.0}
    with AdaptiveSession(palette, on_decision=told.append, **options) as session:  # type: ignore[arg-type]
        explanation = session.explain()
    assert tuple(told) == session.decisions
    assert (told[0].subnet, told[0].reason) == ("middle", Reason.FIRST)
    # Once the fallback is in memory, too, the controller looks again and keeps what serves.
    assert explanation.splitlines()[:2] in (["middle answers", "middle: first"], ["middle answers", "middle: keep"])
    assert "large: p95 5.0 ms, 100 MB: too-slow" in explanation


def replaced(folder: Path, change: Callable[[Path], object]) -> None:
    """Write a palette anew beside the old one, change it, and put its manifest in place last, as an export does."""
    fresh = tiny_palette.write(folder.parent / f"{folder.name}-new")
    change(fresh)
    for path in sorted(fresh.iterdir(), key=lambda path: path.name == MANIFEST_NAME):
        path.replace(folder / path.name)
    fresh.rmdir()


def test_a_new_palette_is_proven_and_then_served(tmp_path: Path) -> None:
    folder = tiny_palette.write(tmp_path / "palette")
    feed = feeds_for(load(folder), 1)[0]
    with AdaptiveSession(folder, threads=1, interval_s=0.01) as session:
        old = session.answer(None, feed)
        replaced(folder, lambda _: None)
        wait_until(lambda: session.palette is not old.palette)
        wait_until(lambda: session.answer(None, feed).palette is not old.palette)
        assert session.decisions[-1].reason in (Reason.RELOADED, Reason.KEEP)
        assert session.answer(None, feed).subnet == "large"


def _truncated(folder: Path) -> None:
    (folder / "large.onnx").write_bytes(b"")


def _other_answers(folder: Path) -> None:
    probes = load(folder).probes()
    for answers in probes.answers.values():
        answers[0] += 1.0
    (folder / "probes.json").write_text(probes.model_dump_json())
    tiny_palette.reseal(folder)


def _other_labels(folder: Path) -> None:
    tiny_palette.reseal(folder, labels=list(reversed(tiny_palette.LABELS)))


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (_truncated, "0 bytes"),
        (_other_answers, "differ"),
        (_other_labels, "the labels"),
        (tiny_palette.calibrate, "out of scope"),
    ],
)
def test_a_new_palette_that_is_broken_is_not_served(
    tmp_path: Path, change: Callable[[Path], object], says: str, caplog: pytest.LogCaptureFixture
) -> None:
    folder = tiny_palette.write(tmp_path / "palette")
    feed = feeds_for(load(folder), 1)[0]
    with caplog.at_level(logging.WARNING), AdaptiveSession(folder, threads=1, interval_s=0.01) as session:
        old = session.answer(None, feed)
        replaced(folder, change)
        wait_until(lambda: any(r.reason is Reason.RELOAD_FAILED for r in session.decisions))
        time.sleep(1.2)  # it is told once
        new = session.answer(None, feed)
        assert new.palette is old.palette
        np.testing.assert_array_equal(new.outputs[0], old.outputs[0])
    warnings = [r.getMessage() for r in caplog.records if "new palette" in r.getMessage()]
    assert len(warnings) == 1
    assert says in warnings[0]


def test_what_lies_in_the_folder_of_a_refused_palette_is_never_loaded(tmp_path: Path) -> None:
    folder = tiny_palette.write(tmp_path / "palette")
    feed = feeds_for(load(folder), 1)[0]
    expected = plain_answers(load(folder), [feed])["middle"][0]
    with AdaptiveSession(folder, threads=1, interval_s=0.01) as session:
        old = session.answer(None, feed)
        replaced(folder, _other_labels)
        (folder / "middle.onnx").write_bytes((folder / "small.onnx").read_bytes())
        session.pin("middle")
        wait_until(lambda: session.active == "middle")  # of the old palette's copy
        new = session.answer(None, feed)
        assert new.palette is old.palette
        np.testing.assert_array_equal(new.outputs[0], expected)


def test_a_signal_handler_may_close_it_in_the_middle_of_a_request(tiny: Path) -> None:
    code = """
import os, signal, sys, threading
from edgedistill.runtime import AdaptiveSession
from edgedistill.testing import FakeSessions
session = AdaptiveSession(sys.argv[1], create=FakeSessions({"large": 500.0}))
signal.signal(signal.SIGTERM, lambda *_: session.close())
threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGTERM)).start()
print(session.answer(None, {}).subnet)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (0, "large\n")


def test_the_interpreter_may_end_during_a_load(tiny: Path) -> None:
    code = """
import sys, time
from edgedistill.palette import load
from edgedistill.runtime import AdaptiveSession
from edgedistill.runtime.onnx import create_session
palette = load(sys.argv[1])
def slow(subnet):
    for _ in range(1 if subnet == "large" else 2000):
        session = create_session(palette.graph_path(subnet), 1)
    return session
session = AdaptiveSession(palette, create=slow)
session.pin("middle")
time.sleep(0.3)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, str(tiny)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stderr


def test_an_interrupt_leaves_no_subnet_held(tiny: Path) -> None:
    def interrupt(_: str) -> Any:
        raise KeyboardInterrupt

    with AdaptiveSession(tiny, threads=1, interval_s=0.01) as session:
        feed = feeds_for(session.palette, 1)[0]
        for deadline_ms in (None, 15.0):
            with pytest.raises((KeyboardInterrupt, TypeError)):
                session.answer(interrupt, feed, deadline_ms=deadline_ms)  # type: ignore[arg-type]
            with pytest.raises(BaseException):  # noqa: B017, PT011
                session.answer(None, _Interrupting(), deadline_ms=deadline_ms)
        assert not session._controller.residents.is_held_by(threading.get_ident())


class _Interrupting(dict):  # type: ignore[type-arg]
    def __iter__(self) -> Any:
        raise KeyboardInterrupt

    def items(self) -> Any:
        raise KeyboardInterrupt

    def values(self) -> Any:
        raise KeyboardInterrupt


def test_onnxruntimes_own_values_are_taken(tiny: Path) -> None:
    import onnxruntime

    palette = load(tiny)
    feed = feeds_for(palette, 1)[0]
    with AdaptiveSession(palette, threads=1) as session:
        expected = session.run(None, feed)[0]
        values = {name: onnxruntime.OrtValue.ortvalue_from_numpy(array) for name, array in feed.items()}
        np.testing.assert_array_equal(session.run(None, values)[0], expected)


def test_a_pin_that_a_new_palette_has_not_is_no_more(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    def without_large(folder: Path) -> None:
        manifest = load(folder).manifest
        files = [entry for entry in manifest.files if entry.name != "large.onnx"]
        probes = load(folder).probes()
        del probes.answers["large"]
        (folder / "probes.json").write_text(probes.model_dump_json())
        tiny_palette.reseal(folder, subnets=manifest.subnets[1:], files=files)
        (folder / "large.onnx").unlink()

    folder = tiny_palette.write(tmp_path / "palette")
    with caplog.at_level(logging.WARNING), AdaptiveSession(folder, threads=1, interval_s=0.01) as session:
        feed = feeds_for(session.palette, 1)[0]
        session.pin("large")
        replaced(folder, without_large)
        wait_until(lambda: session.active == "middle")
        assert session.answer(None, feed).subnet == "middle"
        session._controller.pin("large")  # as a pin ends that was checked against the palette before
        wait_until(lambda: caplog.text.count("which was pinned") == 2)
        session.pin("small")
        wait_until(lambda: session.active == "small")
    assert "failed" not in caplog.text


def test_profiles_in_another_folder_are_those_of_the_next_palette_too(tmp_path: Path) -> None:
    folder = tiny_palette.write(tmp_path / "palette")
    write_profile(load(folder), tiny_palette.profile(load(folder).manifest, name="board"), folder=tmp_path / "profiles")
    opened = load(folder, profiles=tmp_path / "profiles")
    with AdaptiveSession(opened, threads=1, interval_s=0.01, profile="board") as session:
        replaced(folder, lambda _: None)
        wait_until(lambda: session.palette is not opened)


def test_a_new_palette_whose_manifest_came_first_is_served_once_it_is_whole(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Written over the old files, one at a time, the worst order first, and interrupted in the middle of a file."""
    folder = tiny_palette.write(tmp_path / "palette")
    fresh = _with_other_answers(tmp_path / "fresh")
    with caplog.at_level(logging.WARNING), AdaptiveSession(folder, threads=1, interval_s=0.01) as session:
        feed = feeds_for(session.palette, 1)[0]
        old = session.answer(None, feed)
        shutil.copyfile(fresh / MANIFEST_NAME, folder / MANIFEST_NAME)
        wait_until(lambda: any(r.reason is Reason.RELOAD_FAILED for r in session.decisions))
        weights = (fresh / "weights.bin").read_bytes()
        (folder / "weights.bin").write_bytes(weights[:100])
        np.testing.assert_array_equal(session.run(None, feed)[0], old.outputs[0])
        for path in fresh.iterdir():
            shutil.copyfile(path, folder / path.name)
        wait_until(lambda: session.palette.manifest.digest == load(fresh).manifest.digest)
        wait_until(lambda: session.answer(None, feed).palette is session.palette)
        np.testing.assert_array_equal(session.run(None, feed)[0], plain_answers(load(fresh), [feed])["large"][0])
    warnings = [message for message in caplog.messages if "new palette" in message]
    assert len(warnings) == 1
    assert "until its files are those that it lists" in warnings[0]


def _with_other_answers(folder: Path) -> Path:
    """Write a palette whose members answer otherwise, from files of the same names; its path."""
    tiny_palette.write(folder)
    weights = np.fromfile(folder / "weights.bin", np.float32)
    (2 * weights).tofile(folder / "weights.bin")
    probes = load(folder, profiles=folder).probes()
    rows = {name: np.array(values) for name, values in probes.inputs.items()}
    answers = {name: one[0].ravel().tolist() for name, one in plain_answers(load(folder), [rows]).items()}
    (folder / "probes.json").write_text(probes.model_copy(update={"answers": answers}).model_dump_json())
    return tiny_palette.reseal(folder)


def test_a_pinned_palette_is_not_replaced_by_another(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    folder = tiny_palette.write(tmp_path / "palette")
    digest = load(folder).manifest.digest
    with caplog.at_level(logging.WARNING), AdaptiveSession(folder, digest=digest, interval_s=0.01) as session:
        replaced(folder, lambda fresh: tiny_palette.reseal(fresh, provenance=_of_another_seed(fresh)))
        wait_until(lambda: any(r.reason is Reason.RELOAD_FAILED for r in session.decisions))
        assert session.palette.manifest.digest == digest
        replaced(folder, lambda _: None)  # the pinned one
        wait_until(lambda: session.decisions[-1].reason is not Reason.RELOAD_FAILED)
        session.run(None, feeds_for(session.palette, 1)[0])
    assert ["is pinned" in message for message in caplog.messages if "new palette" in message] == [True]
    with pytest.raises(PaletteError, match="is pinned"):
        AdaptiveSession(folder, digest="0" * 64)
    with pytest.raises(PaletteError, match="is pinned"):
        TextClassifier(folder, digest="0" * 64)


def _of_another_seed(folder: Path) -> Provenance:
    return load(folder).manifest.provenance.model_copy(update={"seed": 1})


def test_a_relative_palette_swaps_and_reloads_after_chdir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tiny_palette.write(tmp_path / "v1")
    tiny_palette.reseal(tiny_palette.write(tmp_path / "v2"), provenance=_of_another_seed(tmp_path / "v1"))
    Path("current").symlink_to("v1")
    with AdaptiveSession("current", threads=1, interval_s=0.01) as session:
        (tmp_path / "elsewhere").mkdir()
        monkeypatch.chdir(tmp_path / "elsewhere")
        session.pin("small")
        wait_until(lambda: session.active == "small")
        (tmp_path / "next").symlink_to("v2")
        (tmp_path / "next").rename(tmp_path / "current")
        wait_until(lambda: session.palette.manifest.digest == load(tmp_path / "v2").manifest.digest)
        assert session.palette.profiles_folder == tmp_path / "current" / "profiles"
