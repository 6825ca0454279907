"""Create sessions; the one place that touches onnxruntime, which is imported on use.

Any module of that name will do, whichever distribution brought it: boards' vendors build their own.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, Protocol

from edgedistill.errors import LoadError, OnnxruntimeMissing
from edgedistill.runtime.cgroup import cpu_quota
from edgedistill.runtime.engine.switches import give_back_memory, new_huge_pages, spinning
from edgedistill.runtime.external_data import check_external_data

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = [
    "LARGE_TOKENS",
    "PROVIDER",
    "OnnxSession",
    "StepSession",
    "create_session",
    "emptying_options",
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
    """Describe an input of a session or a manifest."""

    @property
    def name(self) -> str:
        """Return the name by which it is fed."""


class OnnxSession(Protocol):
    """Define the part of ``onnxruntime.InferenceSession`` that is used."""

    def run(
        self, output_names: Sequence[str] | None, input_feed: Mapping[str, Any], run_options: Any = None
    ) -> list[Any]:
        """Return outputs in the order of ``output_names``, or all of them for None."""

    def get_inputs(self) -> Sequence[Any]:
        """Return name, type and shape of each input."""

    def get_outputs(self) -> Sequence[Any]:
        """Return name, type and shape of each output."""


class StepSession(OnnxSession, Protocol):
    """Define what generation needs in addition: runs with inputs and outputs bound in place."""

    def io_binding(self) -> Any:
        """Return an ``onnxruntime.IOBinding`` of this session."""

    def run_with_iobinding(self, iobinding: Any, run_options: Any = None) -> None:
        """Run on what is bound."""


def import_onnxruntime(root: Path = Path("/")) -> ModuleType:
    """Import and return the module onnxruntime.

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
    """Return whether this is a Jetson, by its release file or its model."""
    model = root / "proc/device-tree/model"
    return (root / "etc/nv_tegra_release").exists() or (model.is_file() and b"Jetson" in model.read_bytes())


def create_session(
    path: str | Path, threads: int, *, decoder: bool = False, weights: Collection[str] | None = None
) -> OnnxSession:
    """Create a CPU session on the graph at ``path`` with ``threads`` threads of its own.

    ``decoder``: tune for decoding, where each token reads all weights. ``weights``: the files in its folder that the
    graph may read; None for any.

    Raises:
        OnnxruntimeMissing: onnxruntime cannot be imported.
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
    for key, value in spinning(decoder).items():
        options.add_session_config_entry(key, value)
    huge_pages = new_huge_pages() if decoder else None
    try:
        session: OnnxSession = onnxruntime.InferenceSession(str(path), options, providers=[PROVIDER])
    except Exception as error:  # its exceptions share no base class
        raise LoadError(f"{path} cannot be loaded: {_first_line(error)}; export the palette again") from error
    give_back_memory()  # what the load alone needed: 6 to 10 MB of MiniLM-L6's 60
    if huge_pages is not None:
        huge_pages.move()
    return session


def is_decoder(inputs: Iterable[Named]) -> bool:
    """Return whether a graph of these inputs is a decoder's, with a cache of earlier tokens."""
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
    """Return an ``onnxruntime.OrtValue`` that shares the array's memory and keeps it alive."""
    return import_onnxruntime().OrtValue.ortvalue_from_numpy(array)


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def usable_cores(root: Path = Path("/")) -> int:
    """Return the number of cores that this process may use, by affinity and the control groups' CPU quota."""
    affinity = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota(root)
    # Rounded down: one thread beyond the quota stalls all of them in every period.
    return affinity if quota is None else max(1, min(affinity, int(quota)))
