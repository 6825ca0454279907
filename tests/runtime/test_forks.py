"""A forked process answers as its parent does, adapts, and ends; the parent goes on unharmed."""

from __future__ import annotations

import copy
import pickle
import subprocess
import sys
from pathlib import Path

import pytest
import stories_palette

from edgedistill.errors import InputError
from edgedistill.runtime import TextClassifier, TextGenerator

PROMPT = "Once upon a time"

# Each script ends by itself, as workers do, and not by os._exit; a child that hangs is killed by its alarm.
_HEAD = """
import os, signal, sys, threading, time
from edgedistill.errors import SessionClosed
from edgedistill.runtime import AdaptiveSession, TextClassifier, TextGenerator
TEXTS = ["turn on the lamp", "play some music"]
def forked():
    child = os.fork()
    if child == 0:
        signal.alarm(30)
    return child
def status(child):
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
def until(condition):
    end_s = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < end_s
        time.sleep(0.005)
"""


@pytest.fixture(scope="module")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a palette of real weights that generates."""
    return stories_palette.write(tmp_path_factory.mktemp("stories") / "palette")


def _run(script: str, palette: Path) -> str:
    command = [sys.executable, "-W", "ignore::DeprecationWarning", "-c", _HEAD + script, str(palette)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "terminate" not in done.stderr
    return done.stdout


@pytest.mark.parametrize("threads", [1, 2])
def test_a_forked_process_answers_adapts_and_ends(tiny: Path, threads: int) -> None:
    _run(
        f"""
classifier = TextClassifier(sys.argv[1], threads={threads}, interval_s=0.01)
session = classifier.session
expected = [(one.label, one.score) for one in classifier.classify(TEXTS)]
child = forked()
if child == 0:
    assert [(one.label, one.score) for one in classifier.classify(TEXTS)] == expected
    session.pin("small")
    until(lambda: session.active == "small")
    assert classifier.classify(TEXTS)[0].subnet == "small"
    grandchild = forked()
    if grandchild == 0:
        assert session.active == "small", "the pin holds"
        sys.exit(6)
    assert status(grandchild) == 6
    sys.exit(7)
assert status(child) == 7
assert session.active == "large"
assert [(one.label, one.score) for one in classifier.classify(TEXTS)] == expected
session.pin("middle")
until(lambda: session.active == "middle")
""",
        tiny,
    )


def test_a_forked_process_that_asks_nothing_ends_too_and_so_does_one_that_closes(tiny: Path) -> None:
    _run(
        """
session = AdaptiveSession(sys.argv[1], threads=2)
for closes in (False, True):
    child = forked()
    if child == 0:
        if closes:
            session.close()
            try:
                session.active
            except SessionClosed:
                sys.exit(3)
        sys.exit(3)
    assert status(child) == 3
child = forked()
if child == 0:
    del session
    sys.exit(4)
assert status(child) == 4
session.close()
child = forked()
if child == 0:
    try:
        session.active
    except SessionClosed as error:
        sys.exit(5 if "closed" in str(error) else 1)
assert status(child) == 5
""",
        tiny,
    )


def test_forks_while_requests_and_loads_flow(tiny: Path) -> None:
    _run(
        """
classifier = TextClassifier(sys.argv[1], threads=1, interval_s=0.01)
session = classifier.session
is_over, counts = threading.Event(), [0, 0]
def request(place):
    while not is_over.is_set():
        assert classifier.classify(TEXTS)[0].label
        counts[place] += 1
def swap():
    while not is_over.is_set():
        for name in session.subnets:
            session.pin(name)
            time.sleep(0.02)
threads = [threading.Thread(target=request, args=(place,)) for place in (0, 1)] + [threading.Thread(target=swap)]
for thread in threads:
    thread.start()
for turn in range(3):
    until(lambda: session.swaps > 2 * turn)
    child = forked()
    if child == 0:
        assert classifier.classify(TEXTS)[0].label
        sys.stdout.flush()
        sys.exit(8)
    assert status(child) == 8
before = list(counts)
until(lambda: all(now > then for now, then in zip(counts, before)))
is_over.set()
for thread in threads:
    thread.join()
classifier.close()
""",
        tiny,
    )


def test_a_fork_under_a_load_that_hangs_says_so_in_the_child(tiny: Path) -> None:
    _run(
        """
from edgedistill.runtime import forks
from edgedistill.testing import FakeSessions
forks._WAIT_S = 0.1
fakes, go_on = FakeSessions(), threading.Event()
def create(subnet):
    if subnet != "large":
        go_on.wait()
    return fakes(subnet)
session = AdaptiveSession(sys.argv[1], create=create, interval_s=0.01)
until(lambda: session._controller._loader.is_busy)
child = forked()
if child == 0:
    try:
        session.run(None, {})
    except SessionClosed as error:
        sys.exit(9 if "post_fork" in str(error) else 1)
assert status(child) == 9
go_on.set()
assert session.run(None, {})[0] == ["large"]
""",
        tiny,
    )


def test_a_text_under_way_goes_on_in_the_parent_alone(stories: Path) -> None:
    _run(
        f"""
generator = TextGenerator(sys.argv[1], threads=2, interval_s=0.01)
whole = generator.generate({PROMPT!r}, max_new_tokens=20).text
stream, later = (generator.stream({PROMPT!r}, max_new_tokens=20) for _ in range(2))
first = next(stream)
child = forked()
if child == 0:
    for text in (stream, later):
        try:
            next(text)
            sys.exit(1)
        except SessionClosed as error:
            assert "before a fork" in str(error)
    assert generator.generate({PROMPT!r}, max_new_tokens=20).text == whole
    assert generator.cached_tokens == 0
    sys.exit(2)
assert status(child) == 2
assert first + "".join(stream) == whole
assert "".join(later) == whole
""",
        stories,
    )


def test_pools_of_forked_processes(tiny: Path) -> None:
    _run(
        """
import multiprocessing
from concurrent.futures import ProcessPoolExecutor
classifier = TextClassifier(sys.argv[1], threads=2, interval_s=0.01)
expected = classifier.classify(TEXTS)[0].label
def ask(_):
    return classifier.classify(TEXTS)[0].label
context = multiprocessing.get_context("fork")
with ProcessPoolExecutor(2, mp_context=context) as pool:
    assert list(pool.map(ask, range(4))) == [expected] * 4
process = context.Process(target=ask, args=(0,))
process.start()
process.join(30)
assert process.exitcode == 0
""",
        tiny,
    )


def test_nothing_open_is_pickled_or_copied(tiny: Path, stories: Path) -> None:
    with TextClassifier(tiny, threads=1) as classifier, TextGenerator(stories, threads=1) as generator:
        for value in (classifier, classifier.session, generator):
            for call in (pickle.dumps, copy.copy, copy.deepcopy):
                if call is copy.copy and value is classifier:
                    continue  # two classes over one session
                with pytest.raises(InputError, match=r"cannot be pickled, .* give other processes the palette's path"):
                    call(value)  # type: ignore[operator]
        with pytest.raises(InputError, match="begin it in the process that reads it"):
            pickle.dumps(generator.stream(PROMPT))
