"""Plot a search: the scored subnets, their front, and the family."""

from __future__ import annotations

import warnings
from pathlib import Path

from edgedistill.places import install, scratch_folder
from edgedistill.printable import printable
from edgedistill.subnet_search.constrained_search import CostMetric, Member, Search

__all__ = ["plot_search"]

_UNITS: dict[CostMetric, tuple[str, float]] = {
    "latency": ("milliseconds a text", 1.0),
    "memory": ("memory in MB", 1.0),
    "macs": ("millions of multiply-accumulates a text", 1e6),
    "parameters": ("millions of parameters in the layers", 1e6),
}


def plot_search(result: Search, metric: str, path: Path) -> None:
    """Write the plot, as an SVG or in the format of the file's ending.

    Raises:
        OSError: it cannot be written there.
        ValueError: pictures cannot be of that kind.
        InputError: another command is writing there.
    """
    from matplotlib import rc_context

    # A dollar sign in a name does not begin a formula.
    with rc_context({"text.parse_math": False, "text.usetex": False}), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing")  # a box stands for it
        _plot(result, printable(metric), None if result.source is None else printable(result.source), path)


def _plot(result: Search, metric: str, source: str | None, path: Path) -> None:
    from matplotlib.figure import Figure

    unit, scale = _UNITS[result.cost_metric]

    def places(members: list[Member]) -> tuple[list[float], list[float]]:
        return [m.measure(result.cost_metric) / scale for m in members], [100 * m.quality for m in members]

    figure = Figure(figsize=(8, 5), layout="constrained")
    axes = figure.add_subplot()
    axes.scatter(*places(result.scored), s=12, color="0.65", label=f"all {len(result.scored)} subnets that were scored")
    axes.plot(*places(result.front), color="tab:blue", linewidth=1, label="the best at each cost")
    axes.scatter(*places(result.family), s=45, facecolors="none", edgecolors="tab:red", label="the family")
    for x, y, member in zip(*places(result.family), result.family, strict=True):
        axes.annotate(member.subnet.name, (x, y), (4, -10), textcoords="offset points", fontsize=7)
    axes.set_xscale("log")
    axes.set_xlabel(unit if source is None else f"{unit}\n{source}")
    axes.set_ylabel(f"{metric.replace('_', ' ')} on validation, %")
    axes.legend(loc="lower right", fontsize=8)
    with scratch_folder(path) as scratch:
        figure.savefig(scratch / path.name)
        install(scratch / path.name, path)
