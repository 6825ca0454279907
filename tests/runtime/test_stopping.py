"""A graph that never ends can be left: by Ctrl-C, by close(), after a while by the runtime itself."""

from __future__ import annotations

import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny_palette
from looping import bottomless, looping
from swap_stress import feeds_for
from waiting import wait_until

from edgedistill.errors import LoadError, SessionClosed
from edgedistill.palette import load
from edgedistill.runtime import AdaptiveSession, Reason, TextClassifier, residents, stopping
from edgedistill.runtime.control import background
from edgedistill.runtime.stopping import Stop, apart, run_options
from edgedistill.runtime.verification import verify


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """Runs may take 0.3 s, and requests have as long to end in."""
    monkeypatch.setattr(stopping, "RUN_LIMIT_S", 0.3)
    monkeypatch.setattr(background, "CLOSING_S", 0.3)


def test_work_apart_gives_its_result_and_its_errors() -> None:
    here = threading.get_ident()
    assert apart(threading.get_ident) != here
    for error in (ValueError("x"), KeyboardInterrupt()):
        with pytest.raises(type(error)) as raised:
            apart(lambda error=error: _raise(error))  # type: ignore[misc]
        assert raised.value is error


def _raise(error: BaseException) -> None:
    raise error


def test_work_apart_that_takes_too_long_is_left_behind() -> None:
    go_on = threading.Event()
    with pytest.raises(LoadError, match=r"it takes over 0\.05 s"):
        apart(go_on.wait, 0.05)
    go_on.set()


def test_what_was_stopped_begins_no_run() -> None:
    assert run_options() is None, "outside of such work"
    stop = Stop()
    with stop.here():
        options = run_options()
        assert not options.terminate
        stop.stop()
        assert options.terminate
        with pytest.raises(LoadError, match="stopped"):
            run_options()
    assert run_options() is None


@pytest.mark.usefixtures("impatient")
def test_a_subnet_that_loops_in_its_first_run_cannot_be_loaded(tmp_path: Path) -> None:
    folder = looping(tiny_palette.write(tmp_path / "palette"))
    expected = rf"^loading (large|middle|small) of {re.escape(str(folder))} takes over 0\.3 s; 'edgedistill verify'"
    with pytest.raises(LoadError, match=expected):
        AdaptiveSession(folder, threads=1)


@pytest.mark.usefixtures("impatient")
def test_verify_reports_what_does_not_end(tmp_path: Path) -> None:
    folder = looping(tiny_palette.write(tmp_path / "palette"), ["middle"])
    checked = {one.subnet: one.fault for one in verify(load(folder))}
    assert checked["middle"] == "it takes over 0.3 s"
    assert (checked["large"], checked["small"]) == (None, None)


@pytest.mark.parametrize("endless", [looping, bottomless])
def test_close_leaves_a_proof_that_never_ends(tmp_path: Path, endless: Callable[[Path], Path]) -> None:
    folder = tiny_palette.write(tmp_path / "palette")
    code = f"""
import sys, time
sys.path.insert(0, {str(Path(__file__).parents[1])!r})
import looping, tiny_palette
from pathlib import Path
from edgedistill.palette import load
from edgedistill.runtime import AdaptiveSession
folder = Path({str(folder)!r})
session = AdaptiveSession(folder, threads=1, interval_s=0.01)
provenance = load(folder).manifest.provenance.model_copy(update={{"seed": 9}})
looping.{endless.__name__}(folder)
tiny_palette.reseal(folder, provenance=provenance)
while not session._controller._loader.names:
    time.sleep(0.01)
time.sleep(0.5)
start_s = time.monotonic()
session.close()
print(time.monotonic() - start_s)
sys.exit(3)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 3, done.stderr
    assert float(done.stdout) < 5.0


@pytest.mark.usefixtures("impatient")
def test_a_proof_that_loops_is_ended_and_the_old_palette_serves(tmp_path: Path) -> None:
    folder = tiny_palette.write(tmp_path / "palette")
    provenance = load(folder).manifest.provenance.model_copy(update={"seed": 9})
    with AdaptiveSession(folder, threads=1, interval_s=0.01) as session:
        looping(folder)
        tiny_palette.reseal(folder, provenance=provenance)
        wait_until(lambda: any(r.reason is Reason.RELOAD_FAILED for r in session.decisions))
        wait_until(lambda: not session._controller._loader.names)
        assert len(session.run(None, feeds_for(session.palette, 1)[0])) == 1


@pytest.mark.usefixtures("impatient")
def test_close_ends_a_request_that_never_would(tmp_path: Path) -> None:
    folder = looping(tiny_palette.write(tmp_path / "palette"), word="music")
    classifier = TextClassifier(folder, threads=1, interval_s=0.01)
    errors: list[Exception] = []
    request = threading.Thread(target=lambda: errors.append(_error_of(lambda: classifier.classify(["music"]))))
    request.start()
    wait_until(lambda: classifier.session._controller.residents.is_held_by(request.ident or 0))
    classifier.close()
    request.join(20)
    assert [type(error) for error in errors] == [SessionClosed]


def _error_of(call: Callable[[], object]) -> Exception:
    try:
        call()
    except Exception as error:
        return error
    raise AssertionError("it answered")


def test_requests_have_long_enough_to_end_in() -> None:
    assert background.CLOSING_S == 30.0
    assert residents._STOPPED_RUN_S == 1.0


@pytest.mark.parametrize("endless", [looping, bottomless])
def test_ctrl_c_ends_a_script_in_its_first_load(tmp_path: Path, endless: Callable[[Path], Path]) -> None:
    folder = endless(tiny_palette.write(tmp_path / "palette"))
    code = f"""
import threading
from edgedistill.runtime import AdaptiveSession, stopping
begun = threading.Timer(0.5, print, ("loading",), {{"flush": True}})
begun.start()
AdaptiveSession({str(folder)!r}, threads=1)
"""
    script = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    assert script.stdout is not None
    assert script.stdout.readline() == "loading\n"
    time.sleep(0.5)
    script.send_signal(signal.SIGINT)
    _, errors = script.communicate(timeout=20)
    assert script.returncode == -signal.SIGINT, errors
    assert errors.splitlines()[-1] == "KeyboardInterrupt"
