"""A crude guess of what a palette costs on a board that is not at hand. Never checked on the board.

A roofline: a pass takes as long as its multiply-accumulates at the attainable rate, or as reading the layers'
weights once at the attainable bandwidth, whichever is longer, and a little more for each layer. Products in int8
are taken to be no faster than in fp32: on a core without dot products they can be slower.
"""

from __future__ import annotations

from datetime import datetime, timezone

from edgedistill.device_profiles.boards import Board
from edgedistill.device_profiles.cost_model import Work
from edgedistill.device_profiles.plan import DEFAULT_LENGTHS, usable_lengths
from edgedistill.manifest import (
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
from edgedistill.subnet import Architecture, SubnetConfig

__all__ = ["estimate", "estimate_subnet"]

# MiniLM-L6 reached 0.76 of the measured matrix rate at 128 tokens (onnxruntime 1.32, x86-64, two cores); that
# fp32 matrix products reach 0.8 of a core's peak on Arm is our assumption.
_COMPUTE_SHARE = 0.76 * 0.8
# Of the peak bandwidth, what reading in order attains: our assumption.
_BANDWIDTH_SHARE = 0.65
# About fifteen operators a layer, a few microseconds each to start: our assumption.
_LAYER_MS = 0.05
# Lines through eight subnets of MiniLM-L6 that share a weights file, measured on x86-64 with onnxruntime 1.32:
# megabytes and milliseconds of any session, and of each megabyte of its layers' weights. A board may load slower.
_SESSION_MB, _RESIDENT_A_MB = 20.0, 1.1
_SESSION_LOAD_MS, _LOAD_MS_A_MB = 10.0, 1.4
_WEIGHT_BYTES: dict[Precision, int] = {"fp32": 4, "int8": 1}

_METHOD = (
    "estimated: a roofline of the board's data-sheet figures; memory and load time from a line through "
    "an x86-64's; p95 and p99 repeat p50, steady memory repeats peak; never checked on the board"
)


def estimate(palette: Palette, board: Board) -> DeviceProfile:
    """What each subnet may cost on ``board``, all its cores used, batch 1: kind "estimated", 0 samples."""
    lengths = usable_lengths(palette, DEFAULT_LENGTHS)
    labels = len(palette.manifest.labels)
    subnets = [_subnet(entry, labels, board, lengths) for entry in palette.manifest.subnets]
    smallest = min(subnets, key=lambda found: found.latency[0].p50_ms)
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
        subnets=[_beside(found, smallest) for found in subnets],
    )


def _beside(found: SubnetProfile, smallest: SubnetProfile) -> SubnetProfile:
    """As if they shared nothing in memory."""
    both_mb = found.peak_mb if found is smallest else found.peak_mb + smallest.peak_mb
    return found.model_copy(update={"with_smallest_mb": round(both_mb, 1)})


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
    arch: Architecture, subnet: SubnetConfig, board: Board, *, tokens: int, precision: Precision = "fp32"
) -> tuple[float, float]:
    """Milliseconds at ``tokens`` tokens, and megabytes, that a subnet may cost on ``board``: the same roofline."""
    parameters = arch.layer_parameters(subnet)
    latency_ms = _roofline_ms(arch.macs(subnet, tokens=tokens), parameters, len(subnet.layers), precision, board)
    return round(latency_ms, 3), _memory_mb(_weights_mb(parameters, precision))


def _subnet(entry: SubnetEntry, labels: int, board: Board, lengths: tuple[int, ...]) -> SubnetProfile:
    weights_mb, work = _weights_mb(entry.layer_parameters, entry.precision), Work.of_entry(entry, labels)

    def latency_ms(tokens: int) -> float:
        macs = work.macs(tokens)
        return _roofline_ms(macs, entry.layer_parameters, len(entry.layers), entry.precision, board)

    return SubnetProfile(
        subnet=entry.name,
        precision=entry.precision,
        latency=[_point(board.cores, tokens, latency_ms(tokens)) for tokens in lengths],
        load_ms=round(_SESSION_LOAD_MS + _LOAD_MS_A_MB * weights_mb, 1),
        cold_load_ms=round(_SESSION_LOAD_MS + _LOAD_MS_A_MB * weights_mb, 1),
        peak_mb=_memory_mb(weights_mb),
        steady_mb=_memory_mb(weights_mb),
        with_smallest_mb=_memory_mb(weights_mb),
    )


def _weights_mb(layer_parameters: int, precision: Precision) -> float:
    return _WEIGHT_BYTES[precision] * layer_parameters / 1e6


def _memory_mb(weights_mb: float) -> float:
    return round(_SESSION_MB + _RESIDENT_A_MB * weights_mb, 1)


def _point(threads: int, tokens: int, ms: float) -> LatencyPoint:
    ms = round(ms, 3)
    figures = dict.fromkeys(("p50_ms", "low_ms", "high_ms", "p95_ms", "p99_ms"), ms)
    return LatencyPoint(threads=threads, batch=1, tokens=tokens, samples=0, **figures)


def _roofline_ms(macs: float, layer_parameters: int, layers: int, precision: Precision, board: Board) -> float:
    macs_per_ms = board.cores * board.clock_ghz * 1e6 * board.macs_per_cycle * _COMPUTE_SHARE
    bytes_per_ms = board.memory_bandwidth_gb_s * 1e6 * _BANDWIDTH_SHARE
    read_ms = _WEIGHT_BYTES[precision] * layer_parameters / bytes_per_ms
    return max(macs / macs_per_ms, read_ms) + _LAYER_MS * layers
