"""EdgeDistill: one pretrained transformer, a palette of subnets, and a runtime that swaps them.

`train`, `search`, `export`, `extract` and `profile` do what the commands of these names do; `open_palette` reads a
palette. They print nothing: give ``progress=TerminalProgress()``, or a function that takes each `ProgressEvent`.
What serves requests is in `edgedistill.runtime`. Nothing is imported before it is used.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from edgedistill.cli.terminal_progress import TerminalProgress
    from edgedistill.distillation.recipe import Recipe
    from edgedistill.errors import EdgeDistillError
    from edgedistill.palette import DeviceProfile, Palette
    from edgedistill.palette import load as open_palette
    from edgedistill.workflows.exporting import ExportResult, export
    from edgedistill.workflows.extracting import extract
    from edgedistill.workflows.profiling import profile
    from edgedistill.workflows.progress import ProgressEvent
    from edgedistill.workflows.searching import SearchResult, search
    from edgedistill.workflows.training import TrainResult, train

__all__ = [
    "DeviceProfile",
    "EdgeDistillError",
    "ExportResult",
    "Palette",
    "ProgressEvent",
    "Recipe",
    "SearchResult",
    "TerminalProgress",
    "TrainResult",
    "__version__",
    "export",
    "extract",
    "open_palette",
    "profile",
    "search",
    "train",
]

__version__ = "0.2.0"

_PLACES = {
    "DeviceProfile": "palette:DeviceProfile",
    "EdgeDistillError": "errors:EdgeDistillError",
    "ExportResult": "workflows.exporting:ExportResult",
    "Palette": "palette:Palette",
    "ProgressEvent": "workflows.progress:ProgressEvent",
    "Recipe": "distillation.recipe:Recipe",
    "SearchResult": "workflows.searching:SearchResult",
    "TerminalProgress": "cli.terminal_progress:TerminalProgress",
    "TrainResult": "workflows.training:TrainResult",
    "export": "workflows.exporting:export",
    "extract": "workflows.extracting:extract",
    "open_palette": "palette:load",
    "profile": "workflows.profiling:profile",
    "search": "workflows.searching:search",
    "train": "workflows.training:train",
}


def __getattr__(name: str) -> Any:
    """Import a public name when it is used."""
    if name not in _PLACES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from importlib import import_module

    module, _, attribute = _PLACES[name].partition(":")
    value = getattr(import_module(f"{__name__}.{module}"), attribute)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    """List the public names."""
    return sorted(__all__)
