"""Profile a palette: measure it on this machine, or over SSH on a board."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from edgedistill.errors import InputError
from edgedistill.palette import load
from edgedistill.places import lock
from edgedistill.workflows.progress import ProgressCallback, silent, warn, work

if TYPE_CHECKING:
    from edgedistill.palette import DeviceProfile, Palette

__all__ = ["profile"]

_LEAST_FULL_SPEED_SHARE = 0.5  # of the timed runs; below it there is a warning


def profile(
    palette: str | Path | Palette,
    *,
    profiles: str | Path | None = None,
    lengths: Sequence[int] | None = None,
    batches: Sequence[int] | None = None,
    threads: Sequence[int] | None = None,
    quick: bool = False,
    ssh: str | None = None,
    install: str | None = None,
    progress: ProgressCallback = silent,
) -> DeviceProfile:
    """Measure every subnet's latency, load time and memory; write the profile next to the palette, and return it.

    Interrupted on this machine, the same call continues where it was.

    Args:
        palette: its folder, or what `open_palette` gave.
        profiles: the folder to write the profile to; None for the palette's own.
        lengths: tokens of a sequence; None for 16, 64 and 128.
        batches: sequences in a run; None for 1.
        threads: threads of a session; None for all cores that this process may use.
        quick: measure a few subnets at the ends of lengths and batches, and predict the rest.
        ssh: measure on this board: host, ``user@host:port``, or a Host of ``~/.ssh/config``.
        install: with ``ssh``, install this there first: a requirement for pip, or a wheel.
        progress: receives each `ProgressEvent`, in this thread.

    Raises:
        InputError: an option cannot be used, or another process writes there.
        PaletteError: the palette is damaged.
        OnnxruntimeMissing: onnxruntime cannot be imported.
        RemoteError: the board cannot be reached, or the work failed there.
    """
    from edgedistill.palette import Palette

    if install is not None and ssh is None:
        raise InputError("--install is for the board of --ssh; here, use pip")
    opened = palette if isinstance(palette, Palette) and profiles is None else load(_folder(palette), profiles=profiles)
    numbers = {"lengths": lengths, "batches": batches, "threads": threads}
    shape = {name: tuple(values) for name, values in numbers.items() if values is not None}
    with lock(_written_place(opened)):
        if ssh is None:
            return _profile_here(opened, progress, quick=quick, **shape)
        options = [f"--{name}={','.join(map(str, values))}" for name, values in shape.items()]
        return _profile_there(opened, ssh, [*options, *["--quick"] * quick], install, progress)


def _written_place(palette: Palette) -> Path:
    """Return what to lock: the palette, or the folder elsewhere that its profiles go to."""
    inside = palette.profiles_folder.parent == palette.folder
    return palette.folder if inside else palette.profiles_folder


def _folder(palette: str | Path | Palette) -> str | Path:
    return palette if isinstance(palette, str | Path) else palette.folder


def _profile_there(
    palette: Palette, host: str, options: Sequence[str], install: str | None, progress: ProgressCallback
) -> DeviceProfile:
    """Measure on the board; each line that it reports is the ``detail`` of an event."""
    from edgedistill.device_profiles.remote import profile_remotely

    with work(progress, f"{host}: connecting") as remote:
        measured = profile_remotely(
            palette,
            host,
            options,
            install=install,
            folder=palette.profiles_folder,
            on_progress=lambda line: remote.move(0, detail=f"{host}: {line}"),
        )
    _warn_of_doubts(measured, progress)
    return measured


def _profile_here(palette: Palette, progress: ProgressCallback, **options: Any) -> DeviceProfile:
    """Measure with these ``options`` of `device_profiles.profile`, and write the profile next to the palette's."""
    from edgedistill.device_profiles import profile as measure
    from edgedistill.device_profiles.profile_store import store_profile
    from edgedistill.runtime.device import device_name

    unfinished = palette.profiles_folder / f".{device_name()}.unfinished"
    with work(progress, "profiling this machine", 1) as profiling:
        measured = measure(palette, unfinished=unfinished, on_progress=profiling.move, **options)
    name_warning = store_profile(palette, measured)
    unfinished.unlink(missing_ok=True)
    if name_warning is not None:
        warn(progress, name_warning)
    _warn_of_doubts(measured, progress)
    return measured


def _warn_of_doubts(profile: DeviceProfile, progress: ProgressCallback) -> None:
    """Say why the figures may not be the device's at its best."""
    conditions = profile.conditions
    if profile.device.emulated:
        warn(
            progress,
            "that machine emulates another: its figures say nothing of a board, and no session goes by them",
        )
    if not conditions.quiet:
        warn(progress, f"{profile.device.name} was not quiet: other work used {conditions.other_load:.0%} of it")
    if conditions.kept_pace is not None and conditions.kept_pace < _LEAST_FULL_SPEED_SHARE:
        warn(
            progress,
            f"its processor kept its best pace during {conditions.kept_pace:.0%} of the runs; latencies are of those "
            "alone. A host may share it, or its clock change",
        )
    if conditions.throttled:
        warn(progress, "its processor was slowed down meanwhile, by heat or want of power")
