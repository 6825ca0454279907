"""Search a supernet for the family of subnets that suits a device."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Literal, get_args

from edgedistill.errors import BoardError, InputError, SearchError
from edgedistill.workflows.capabilities import capabilities_of
from edgedistill.workflows.figures import error_in
from edgedistill.workflows.progress import ProgressCallback, silent, work
from edgedistill.workflows.supernets import load_trained
from edgedistill.workflows.task_data import read_data, recorded_source
from edgedistill.workflows.training_side import needs_training_side

if TYPE_CHECKING:
    from edgedistill.architecture import Subnet
    from edgedistill.data.dataset import TaskData
    from edgedistill.subnet_search import DeviceCosts, Member, Search, SearchLimits
    from edgedistill.supernet.checkpoint import Supernet

__all__ = ["CostMetric", "SearchOptions", "SearchResult", "find_family", "search"]

CostMetric = Literal["latency", "memory", "macs", "parameters"]


@dataclass(frozen=True, kw_only=True)
class SearchOptions:
    """How the family is chosen; `search` documents each option."""

    count: int = 8
    device: str | None = None
    profiled_palette: str | Path | None = None
    tokens: int = 64
    max_latency_ms: float | None = None
    max_memory_mb: float | None = None
    cost_metric: CostMetric | None = None
    evaluations: int = 400

    def __post_init__(self) -> None:
        """Refuse an option out of its range."""
        for name, least in (("count", 2), ("tokens", 1), ("evaluations", 4)):
            if (value := getattr(self, name)) < least:
                raise InputError(f"{name}: got {value}, expected {least} or more")
        if self.cost_metric is not None and self.cost_metric not in get_args(CostMetric):
            raise InputError(
                f"cost_metric: got {self.cost_metric!r}, expected one of {', '.join(get_args(CostMetric))}"
            )


@dataclass(frozen=True, kw_only=True)
class SearchResult:
    """The subnets that were scored on validation data, and the best of them.

    Attributes:
        metric: what ``quality`` of each member is.
        space: how many subnets there are to choose from.
        cost_metric: the cost that quality is weighed against.
        costs: where the device's figures come from; None without a device.
        scored: all subnets that were scored.
        front: those that nothing beats in both quality and cost, the most expensive first.
        family: those that `export` takes, the most expensive first.
    """

    metric: str
    space: int
    cost_metric: CostMetric
    costs: str | None
    scored: Sequence[Member]
    front: Sequence[Member]
    family: Sequence[Member]


@needs_training_side
def search(
    supernet: str | Path,
    *,
    data: str | Path | None = None,
    unlabelled: str | Path | None = None,
    device: str | None = None,
    profiled_palette: str | Path | None = None,
    max_latency_ms: float | None = None,
    max_memory_mb: float | None = None,
    tokens: int = 64,
    count: int = 8,
    evaluations: int = 400,
    cost_metric: CostMetric | None = None,
    plot: str | Path | None = None,
    progress: ProgressCallback = silent,
) -> SearchResult:
    """Score subnets on validation data, and choose the family that `export` would take.

    Scores are kept next to the supernet, so that another search, or the export, measures only what is new.

    Args:
        supernet: the folder that `train` wrote.
        data: where the training data are now, if they moved.
        unlabelled: where the texts without labels are now.
        device: a board by its name or TOML file, or a device of the ``profiled_palette`` palette.
        profiled_palette: a palette that was profiled on the device; its figures replace the estimate.
        max_latency_ms: leave out what takes longer, at ``tokens`` tokens.
        max_memory_mb: leave out what takes more memory, in 10⁶ bytes.
        tokens: the length of a text that costs are counted at.
        count: how many subnets make the family; 2 or more.
        evaluations: score at most this many subnets; of a larger space a sampler chooses them.
        cost_metric: the cost that quality is weighed against; None for latency with a device, else parameters.
        plot: draw the space, its front and the family to this file (.svg, .png).
        progress: receives each `ProgressEvent`, in this thread.

    Raises:
        InputError: an option cannot be used, or the data are not where they were.
        SearchError: no subnet keeps to the limits.
        CheckpointError: the supernet is damaged, or not trained to its end.
    """
    drawing = None if plot is None else Path(plot)
    if drawing is not None and not drawing.absolute().parent.is_dir():
        raise InputError(f"--plot: {drawing.parent} is not a folder; make it first")
    options = SearchOptions(
        count=count,
        device=device,
        profiled_palette=profiled_palette,
        tokens=tokens,
        max_latency_ms=max_latency_ms,
        max_memory_mb=max_memory_mb,
        cost_metric=cost_metric,
        evaluations=evaluations,
    )
    folder = Path(supernet)
    trained = load_trained(folder)
    rows = read_data(recorded_source(trained, data, unlabelled), progress)
    result = find_family(trained, folder, rows, options, progress)
    if drawing is not None:
        _draw(result, trained, drawing)
    return SearchResult(
        metric=trained.info.scores[-1].metric,
        space=len(trained.space),
        cost_metric=result.cost_metric,
        costs=result.source,
        scored=result.scored,
        front=result.front,
        family=result.family,
    )


def find_family(
    trained: Supernet, folder: Path, rows: TaskData, options: SearchOptions, progress: ProgressCallback = silent
) -> Search:
    """Score the subnets that have no score yet, and choose.

    Raises:
        InputError: an option cannot be used.
        SearchError: no subnet keeps to the limits.
    """
    from edgedistill.subnet_search import Terms, cached_scores, explore
    from edgedistill.subnet_search import search as choose

    costs = _costs(options, trained)  # before the long part, so that a wrong option is refused at once
    cost_metric = options.cost_metric or ("parameters" if costs is None else "latency")
    terms = Terms(trained.model.arch, options.tokens, cost_metric, _limits(options), costs)
    metrics = _validation_metrics(trained, rows)
    most = min(len(trained.space), options.evaluations)
    title = f"scoring {most} of {len(trained.space)} subnets on validation data"
    with work(progress, title, most) as scoring, cached_scores(trained, folder, metrics) as once:

        def quality(subnet: Subnet) -> float:
            scoring.advance()
            return next(iter(once(subnet).values()))

        qualities = explore(trained.space, terms, quality, options.evaluations)
        result = choose(qualities, terms, options.count)

        def with_errors(members: list[Member]) -> list[Member]:
            return [replace(member, error=error_in(once(member.subnet))) for member in members]

        return replace(result, front=with_errors(result.front), family=with_errors(result.family))


def _validation_metrics(trained: Supernet, rows: TaskData) -> Callable[[Subnet], dict[str, float]]:
    """Return what measures a subnet on validation data."""
    from edgedistill.distillation.evaluation import evaluate
    from edgedistill.distillation.mlfs import encode_data
    from edgedistill.tasks import task_of

    kind, names = task_of(trained.info.task), trained.info.labels
    validation, reference = encode_data(trained, rows).validation, trained.teacher.get("validation")

    def metrics(subnet: Subnet) -> dict[str, float]:
        return evaluate(trained.model, subnet, validation, kind, names=names, reference=reference).metrics

    return metrics


def _limits(options: SearchOptions) -> SearchLimits:
    from edgedistill.subnet_search import SearchLimits

    return SearchLimits(options.max_latency_ms, options.max_memory_mb)


def _costs(options: SearchOptions, trained: Supernet) -> DeviceCosts | None:
    """Return the device's costs: measured in the palette that was profiled there, else estimated."""
    from edgedistill.device_profiles import load_board
    from edgedistill.palette import load
    from edgedistill.runtime.profiles import choose_profile
    from edgedistill.subnet_search import EstimatedCosts, FittedCosts, SearchLimits

    on_device = options.profiled_palette or options.device
    if on_device and not capabilities_of(trained.model.arch).predicts_costs:
        raise InputError(
            "what a subnet costs on a device is predicted of encoders alone; leave out --device and "
            "--profiled-palette, and search a decoder's space against parameters or macs"
        )
    if options.profiled_palette is not None:
        palette = load(options.profiled_palette)
        profile = choose_profile(palette, options.device)
        if profile is None or profile.kind != "measured":
            raise SearchError(
                f"{options.profiled_palette} has no measured profile; run 'edgedistill profile' on the device"
            )
        return FittedCosts(trained.model.arch, palette, profile, options.tokens)
    if options.device is not None:
        try:
            return EstimatedCosts(trained.model.arch, load_board(options.device), options.tokens)
        except BoardError as error:
            raise BoardError(
                f"{error}; of a device that you measured, give the palette by --profiled-palette"
            ) from error
    if _limits(options) != SearchLimits():
        raise InputError(
            "--max-latency-ms and --max-memory-mb are of a device; say which by --device or --profiled-palette"
        )
    return None


def _draw(result: Search, trained: Supernet, plot: Path) -> None:
    from edgedistill.subnet_search.plot import plot_search

    try:
        plot_search(result, trained.info.scores[-1].metric, plot)
    except ValueError as error:
        raise InputError(f"{plot} cannot be drawn: {str(error).splitlines()[0]}") from error
