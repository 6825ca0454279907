"""Each platform switch can be turned off, and a misspelt one is refused."""

from __future__ import annotations

import ctypes
from pathlib import Path

import pytest

from edgedistill.errors import InputError
from edgedistill.runtime import onnx as ours
from edgedistill.runtime.engine import switches


@pytest.mark.parametrize("setting", ["huge-pages", "malloc-trim", "spinning", "direct-run", "spinning, direct-run,"])
def test_what_is_disabled_is_off_and_the_others_are_on(setting: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(switches.DISABLE, setting)
    off = {name for name in ("huge-pages", "malloc-trim", "spinning", "direct-run") if not switches.is_enabled(name)}
    assert off == {name.strip() for name in setting.split(",") if name}
    assert (switches.new_huge_pages() is None) == ("huge-pages" in off)
    assert (switches.spinning(decoder=True) == {}) == ("spinning" in off)


def test_a_session_runs_as_onnxruntime_has_it_without_direct_runs(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    session = ours.create_session(tiny / "large.onnx", 1)
    assert switches.direct_run(session, ours.PROVIDER)[1] > 0
    monkeypatch.setenv(switches.DISABLE, "direct-run")
    assert switches.direct_run(session, ours.PROVIDER) == (session.run, -1)


def test_no_memory_is_trimmed_when_that_is_off(monkeypatch: pytest.MonkeyPatch) -> None:
    trims: list[int] = []

    class Libc:
        malloc_trim = staticmethod(trims.append)

    monkeypatch.setattr(ctypes, "CDLL", lambda _: Libc)
    switches.give_back_memory()
    monkeypatch.setenv(switches.DISABLE, "malloc-trim")
    switches.give_back_memory()
    assert trims == [0]


def test_an_unknown_switch_is_refused(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(switches.DISABLE, "hugepages")
    with pytest.raises(InputError, match="EDGEDISTILL_DISABLE names 'hugepages'; expected some of direct-run, huge-pa"):
        ours.create_session(tiny / "large.onnx", 1)
