"""Switch platform-specific improvements of onnxruntime on and off.

Each is on by default. The environment variable EDGEDISTILL_DISABLE turns some of them off by name, separated by commas:
"huge-pages", "malloc-trim", "spinning" and "direct-run". It is read whenever a session is created.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Mapping, Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from edgedistill.errors import InputError

if TYPE_CHECKING:
    from edgedistill.runtime.engine.huge_pages import HugePages

__all__ = ["DISABLE", "direct_run", "give_back_memory", "is_enabled", "new_huge_pages", "spinning"]

DISABLE = "EDGEDISTILL_DISABLE"
_SWITCHES = frozenset({"huge-pages", "malloc-trim", "spinning", "direct-run"})


def is_enabled(switch: str) -> bool:
    """Return whether a switch is on.

    Raises:
        InputError: EDGEDISTILL_DISABLE names an unknown switch.
    """
    return switch not in _disabled(os.environ.get(DISABLE, ""))


@lru_cache(maxsize=4)
def _disabled(setting: str) -> frozenset[str]:
    names = frozenset(filter(None, map(str.strip, setting.split(","))))
    unknown = sorted(names - _SWITCHES)
    if unknown:
        raise InputError(f"{DISABLE} names {unknown[0]!r}; expected some of {', '.join(sorted(_SWITCHES))}")
    return names


def new_huge_pages() -> HugePages | None:
    """Return what moves memory allocated from now on to huge pages; None if switched off."""
    if not is_enabled("huge-pages"):
        return None
    from edgedistill.runtime.engine.huge_pages import HugePages  # only decoders need it

    return HugePages()


def give_back_memory() -> None:
    """Return memory of loads and dropped sessions to the system, which glibc keeps otherwise.

    No garbage collection: a session is in no cycle, and a full collection would stop every request.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None and is_enabled("malloc-trim"):
        trim(0)


def spinning(decoder: bool) -> dict[str, str]:
    """Return onnxruntime's options for how long idle threads spin; none if switched off.

    Threads that spin after a run take the cores from whoever is next; within a run they may, for a moment. After a
    token the next one starts within a fifth of a millisecond. For a decoder of 135 M parameters on two threads,
    spinning until then saves 5 % of a token's time in fp32 and 0 to 2 % in four bits, and costs 3 ms of a core after
    the last token. onnxruntime's default, 57 ms of a core, saves 0 to 3 % more.
    """
    if not is_enabled("spinning"):
        return {}
    if decoder:
        return {"session.intra_op.spin_duration_us": "1000"}
    return {"session.force_spinning_stop": "1", "session.intra_op.spin_duration_us": "50"}


def direct_run(session: Any, provider: str) -> tuple[Callable[[Sequence[str], Mapping[str, Any], Any], list[Any]], int]:
    """Return the session's `run` without onnxruntime's Python around it, and the number of inputs that it needs.

    In each run, that Python looks up every input's name and type, whether the graph is on WebGPU, and the kind of
    feeds: 7 µs of a request. On the CPU only the clear error for a missing input is lost, so the caller must compare
    the number of inputs. Any other session's own `run` is returned with a number that no feeds have, and so it is if
    switched off.
    """
    # A subclass from elsewhere may do more in its run.
    if type(session).__module__.partition(".")[0] == "onnxruntime" and is_enabled("direct-run"):
        inner = getattr(session, "_sess", None)  # private: it may go
        if inner is not None and session.get_providers() == [provider]:
            return inner.run, len(session.get_inputs())
    return session.run, -1
