"""Estimate a palette's costs on a board from its data sheet; the result is never checked on the board.

MiniLM-L6 reached certain shares of its machine's peak rates. The work of a pass (`cost_model.PassWork`) is divided by
the same shares of the board's peak rates. Products in int8 count as no faster than in fp32: on a core without dot
products they can be slower.
"""

from __future__ import annotations

from datetime import datetime, timezone

from edgedistill.architecture import Architecture, Subnet
from edgedistill.device_profiles.boards import Board
from edgedistill.device_profiles.cost_model import PassWork
from edgedistill.device_profiles.measurement_plan import DEFAULT_LENGTHS, usable_lengths
from edgedistill.errors import BoardError
from edgedistill.palette import (
    PROFILE_VERSION,
    Conditions,
    DeviceInfo,
    DeviceProfile,
    LatencyPoint,
    Palette,
    Precision,
    SubnetEntry,
    SubnetProfile,
)

__all__ = ["estimate", "estimate_subnet"]

# 24 subnets of MiniLM-L6 in fp32 at four lengths, onnxruntime 1.32, one thread of an x86-64 with AVX2 whose best matrix
# rate was 44e9 multiply-accumulates a second, fitted by `cost_model` with a median error of 2 %: shares of that rate
# in the products with weights and in attention, rate forgone for each of a layer's hidden elements (norms, biases,
# activations), and cycles to start a layer's operators.
_PRODUCT_SHARE, _ATTENTION_SHARE, _MACS_AN_ELEMENT, _CYCLES_A_LAYER = 0.90, 0.71, 206.0, 27_000.0
# onnxruntime on Arm is assumed to reach four fifths of those shares of a core's peak.
_ARM_SHARE = 0.8
# Sequential reads of weights are assumed to reach this share of the peak bandwidth.
_BANDWIDTH_SHARE = 0.65
# Where the truth may lie, either way: our assumption for a board; the benchmark `profiles` asks it of this kind.
_FACTOR = 2.0
# Lines through eight subnets of MiniLM-L6 that share a weights file, measured on x86-64 with onnxruntime 1.32:
# megabytes and milliseconds of any session, and of each megabyte of its layers' weights. A board may load slower.
_SESSION_MB, _RESIDENT_A_MB = 20.0, 1.1
_SESSION_LOAD_MS, _LOAD_MS_A_MB = 10.0, 1.4
_WEIGHT_BYTES: dict[Precision, int] = {"fp32": 4, "int8": 1}

_METHOD = (
    "estimated: the work of a pass at the board's data-sheet rates; memory and load time from a line through an "
    f"x86-64's; p95 and p99 repeat p50, steady memory repeats peak; right within a factor of {_FACTOR:g} by our "
    "assumption; never checked on the board"
)


def estimate(palette: Palette, board: Board) -> DeviceProfile:
    """Estimate a profile of ``board``, with all its cores used, batch 1: kind "estimated", 0 samples.

    Raises:
        BoardError: the palette generates text; the rates of its passes are unknown.
    """
    if palette.manifest.generation is not None:
        raise BoardError(f"{palette.folder} generates text, whose costs are not estimated; profile it on the board")
    lengths = usable_lengths(palette, DEFAULT_LENGTHS)
    labels = len(palette.manifest.labels)
    subnets = [_subnet(entry, labels, board, lengths) for entry in palette.manifest.subnets]
    smallest = min(subnets, key=lambda subnet: subnet.latency[0].p50_ms)
    return DeviceProfile(
        schema_version=PROFILE_VERSION,
        kind="estimated",
        method=_METHOD,
        manifest_digest=palette.manifest.digest,
        device=_device(board),
        conditions=Conditions(
            threads=board.cores,
            date=datetime.now(timezone.utc).isoformat(timespec="seconds"),
            quiet=True,
            other_load=0.0,
        ),
        smallest=smallest.subnet,
        subnets=[_next_to_smallest(subnet, smallest) for subnet in subnets],
    )


def _next_to_smallest(subnet: SubnetProfile, smallest: SubnetProfile) -> SubnetProfile:
    """Fill in the memory next to the smallest subnet, as if they shared none."""
    both_mb = subnet.peak_mb if subnet is smallest else subnet.peak_mb + smallest.peak_mb
    return subnet.model_copy(update={"with_smallest_mb": round(both_mb, 1)})


def _device(board: Board) -> DeviceInfo:
    return DeviceInfo(
        name=board.name,
        board=board.title,
        cpu=board.cpu,
        cores=board.cores,
        memory_mb=board.memory_mb,
        system="not at hand",
        onnxruntime="not at hand",
        provider="CPUExecutionProvider",
    )


def estimate_subnet(
    arch: Architecture, subnet: Subnet, board: Board, *, tokens: int, precision: Precision = "fp32"
) -> tuple[float, float]:
    """Estimate a subnet's milliseconds at ``tokens`` tokens and its megabytes on ``board``, as `estimate` does."""
    parameters = arch.layer_parameters(subnet)
    work = PassWork.of(subnet, parameters, float(arch.attention_macs(subnet, tokens=1)))
    return round(_latency_ms(work, tokens, precision, board), 3), _memory_mb(_weights_mb(parameters, precision))


def _subnet(entry: SubnetEntry, labels: int, board: Board, lengths: tuple[int, ...]) -> SubnetProfile:
    weights_mb, work = _weights_mb(entry.layer_parameters, entry.precision), PassWork.of_entry(entry, labels)
    load_ms = round(_SESSION_LOAD_MS + _LOAD_MS_A_MB * weights_mb, 1)
    return SubnetProfile(
        subnet=entry.name,
        latency=[_point(board.cores, n, _latency_ms(work, n, entry.precision, board)) for n in lengths],
        load_ms=load_ms,
        cold_load_ms=load_ms,
        peak_mb=_memory_mb(weights_mb),
        steady_mb=_memory_mb(weights_mb),
        with_smallest_mb=_memory_mb(weights_mb),
        predicted=True,
    )


def _weights_mb(layer_parameters: int, precision: Precision) -> float:
    return _WEIGHT_BYTES[precision] * layer_parameters / 1e6


def _memory_mb(weights_mb: float) -> float:
    return round(_SESSION_MB + _RESIDENT_A_MB * weights_mb, 1)


def _point(threads: int, tokens: int, ms: float) -> LatencyPoint:
    figures = dict.fromkeys(("p50_ms", "p95_ms", "p99_ms"), ms) | {"low_ms": ms / _FACTOR, "high_ms": ms * _FACTOR}
    rounded = {name: round(value, 3) for name, value in figures.items()}
    return LatencyPoint(threads=threads, batch=1, tokens=tokens, samples=0, **rounded)


def _latency_ms(work: PassWork, tokens: int, precision: Precision, board: Board) -> float:
    """Return the milliseconds of one sequence on all cores; kinds of work do not overlap."""
    macs_per_ms = board.cores * board.clock_ghz * 1e6 * board.macs_per_cycle * _arm_share(board)
    products = tokens * work.parameters / _PRODUCT_SHARE
    attention = tokens**2 * work.attention_macs / _ATTENTION_SHARE
    elements = tokens * work.layers * work.hidden * _MACS_AN_ELEMENT
    bytes_per_ms = board.memory_bandwidth_gb_s * 1e6 * _BANDWIDTH_SHARE
    return (
        (products + attention + elements) / macs_per_ms
        + _WEIGHT_BYTES[precision] * work.parameters / bytes_per_ms
        + _CYCLES_A_LAYER * work.layers / (board.clock_ghz * 1e6)
    )


def _arm_share(board: Board) -> float:
    return _ARM_SHARE if "asimd" in (board.simd or []) else 1.0
