"""The one place that touches onnxruntime, imported on use: how sessions are made, and how their memory returns.

Any module of that name will do, whichever distribution brought it: boards' vendors build their own.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from edgedistill.errors import LoadError, OnnxruntimeMissing
from edgedistill.runtime.cgroup import cpu_quota
from edgedistill.runtime.external_data import check_external_data
from edgedistill.runtime.huge_pages import HugePages

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "LARGE_TOKENS",
    "PROVIDER",
    "OnnxSession",
    "StepSession",
    "create_session",
    "direct_run",
    "emptying_options",
    "give_back_memory",
    "import_onnxruntime",
    "is_decoder",
    "is_jetson",
    "make_run_options",
    "ort_value",
    "usable_cores",
]

PROVIDER = "CPUExecutionProvider"
LARGE_TOKENS = 512


class Named(Protocol):
    """An input, as a session or a manifest tells it."""

    @property
    def name(self) -> str:
        """By which it is fed."""


class OnnxSession(Protocol):
    """What we need of an ``onnxruntime.InferenceSession``."""

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any], run_options: Any = None
    ) -> list[Any]:
        """Outputs in the order of ``output_names``, or all of them for None."""

    def get_inputs(self) -> Sequence[Any]:
        """Name, type and shape of each input."""

    def get_outputs(self) -> Sequence[Any]:
        """Name, type and shape of each output."""


class StepSession(OnnxSession, Protocol):
    """What generation needs beside that: runs whose inputs and outputs stay where they are."""

    def io_binding(self) -> Any:
        """An ``onnxruntime.IOBinding`` of this session."""

    def run_with_iobinding(self, iobinding: Any, run_options: Any = None) -> None:
        """Run on what is bound."""


def import_onnxruntime(root: Path = Path("/")) -> ModuleType:
    """The module onnxruntime.

    Raises:
        OnnxruntimeMissing: it cannot be imported; the message names this board's install.
    """
    try:
        import onnxruntime
    except ImportError as error:
        raise OnnxruntimeMissing(f"onnxruntime cannot be imported ({error}); {_install_line(root)}") from error
    module: ModuleType = onnxruntime
    return module


def _install_line(root: Path) -> str:
    line = "install it with: pip install 'edgedistill[cpu]'"
    if is_jetson(root):
        return f"{line}, in an environment without the onnxruntime-gpu that NVIDIA builds: each overwrites the other"
    return line


def is_jetson(root: Path) -> bool:
    """By its release file, or by its model."""
    model = root / "proc/device-tree/model"
    return (root / "etc/nv_tegra_release").exists() or (model.is_file() and b"Jetson" in model.read_bytes())


def create_session(
    path: str | Path, threads: int, *, decoder: bool = False, weights: Collection[str] | None = None
) -> OnnxSession:
    """Create a CPU session on the graph at ``path`` with ``threads`` threads of its own.

    ``decoder``: it is one's, and serves texts: token after token, each a reading of all weights. ``weights``: the files
    in its folder that the graph may read; None for any.

    Raises:
        OnnxruntimeMissing: no onnxruntime.
        LoadError: onnxruntime refuses the graph or its weights, or the graph names another file.
    """
    onnxruntime = import_onnxruntime()
    path = Path(path).absolute()
    check_external_data(path, weights)
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only
    options.intra_op_num_threads = threads
    options.inter_op_num_threads = 1
    # Patterns keep one plan for each shape. The arena saves a request up to some percent; weights stay out of it, so
    # that they go back with the session, and `emptying_options` empty it after large requests.
    options.enable_mem_pattern = False
    options.add_session_config_entry("session.use_device_allocator_for_initializers", "1")
    for key, value in _spinning(decoder).items():
        options.add_session_config_entry(key, value)
    huge_pages = HugePages() if decoder else None
    try:
        session: OnnxSession = onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])
    except Exception as error:  # its exceptions share no base class
        raise LoadError(f"{path} cannot be loaded: {_first_line(error)}; export the palette again") from error
    give_back_memory()  # what the load alone needed: 6 to 10 MB of MiniLM-L6's 60
    if huge_pages is not None:
        huge_pages.move()
    return session


def _spinning(decoder: bool) -> dict[str, str]:
    """How long a pool's idle threads look for work before they sleep.

    Where they spin on after a run they take the cores from whoever is next; within one they may, for a moment. Behind a
    token the next one is under way in a fifth of a millisecond: to stay awake until then saves a token of a decoder of
    135 M parameters 5 % of its time in fp32 on two threads, 0 to 2 % in four bits, and costs 3 ms of a core behind its
    last one. onnxruntime's default, 57 ms of a core, saves 0 to 3 % more.
    """
    if decoder:
        return {"session.intra_op.spin_duration_us": "1000"}
    return {"session.force_spinning_stop": "1", "session.intra_op.spin_duration_us": "50"}


def direct_run(session: OnnxSession) -> tuple[Callable[[Sequence[str], Mapping[str, Any], Any], list[Any]], int]:
    """The session's `run` without onnxruntime's Python around it, and how many inputs that has to be given.

    That Python asks, in each run, for every input's name and type, whether there is a graph on WebGPU, and whose values
    are fed: 7 µs of a request. On the CPU nothing is lost with it but a clear error where an input is missing, so that
    their number is to be looked at. Any other session's own `run`, and a number that no feeds have.
    """
    given: Any = session
    if type(given).__module__.partition(".")[0] == "onnxruntime":  # a class made of it elsewhere may do more in its run
        inner = getattr(given, "_sess", None)  # private: it may go
        if inner is not None and given.get_providers() == [PROVIDER]:
            return inner.run, len(given.get_inputs())
    return session.run, -1


def is_decoder(inputs: Iterable[Named]) -> bool:
    """Whether a graph of these inputs is a decoder's, which takes a few tokens beside a cache of those before."""
    return any(node.name == "total_sequence_length" for node in inputs)


@cache
def emptying_options() -> Any:
    """Return the shared options of a run of more than `LARGE_TOKENS` tokens in all: it leaves no memory behind."""
    return make_run_options(emptying=True)


def make_run_options(*, emptying: bool = False) -> Any:
    """Return new options of runs, which may be ended by setting their ``terminate``."""
    options = import_onnxruntime().RunOptions()
    if emptying:
        options.add_run_config_entry("memory.enable_memory_arena_shrinkage", "cpu:0")
    return options


def ort_value(array: NDArray[Any]) -> Any:
    """An ``onnxruntime.OrtValue`` that lies where the array does, and holds on to it."""
    return import_onnxruntime().OrtValue.ortvalue_from_numpy(array)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def usable_cores(root: Path = Path("/")) -> int:
    """Cores that this process may use: its affinity mask, and no more than its control groups' CPU quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    # Rounded down: a thread more than the quota pays for stalls all of them in every period.
    return affinity if quota is None else max(1, min(affinity, int(quota)))


def give_back_memory() -> None:
    """Return what loads and dropped sessions left behind to the system: glibc keeps it until told otherwise.

    No garbage collection: a session is in no cycle, and a full collection would stop every request.
    """
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None) if os.name == "posix" else None
    if trim is not None:
        trim(0)
