"""Profile a palette on a board from the workstation: copy it, measure there, and fetch the profile.

One SSH connection does it all, by `remote.sh`, which is sent first. The palette follows on standard input; progress
comes back on standard error, the profile on standard output. A board needs `sh`, `tar` and EdgeDistill.
"""

from __future__ import annotations

import re
import shlex
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import metadata, resources
from pathlib import Path

from edgedistill.device_profiles import ssh
from edgedistill.device_profiles.profile_store import store_profile
from edgedistill.device_profiles.remote_pipe import ERROR
from edgedistill.errors import InputError, PaletteError, RemoteError
from edgedistill.palette import MANIFEST_NAME, PROFILE_VERSION, DeviceProfile, Palette, parse_profile

__all__ = ["default_requirement", "profile_remotely"]

_MARKER = "-- the profile --"
_CHUNK = 1 << 16


def default_requirement() -> str:
    """Return the requirement that installs this machine's EdgeDistill on a board."""
    return f"edgedistill[cpu]=={metadata.version('edgedistill')}"


def profile_remotely(
    palette: Palette,
    host: str,
    arguments: Sequence[str],
    *,
    install: str | None = None,
    folder: Path | None = None,
    on_progress: Callable[[str], None],
) -> DeviceProfile:
    """Run ``edgedistill profile`` with these ``arguments`` on ``host``; write and return the profile.

    Args:
        palette: the palette to profile; the profile is written next to it.
        host: a host as ``ssh`` accepts it, or ``user@host:port``.
        arguments: options of the command.
        install: a requirement for pip, or a wheel on this machine, installed on the board first, in
            ``~/.local/share/edgedistill/venv``. Nothing else is left behind there.
        folder: where to write the profile instead.
        on_progress: gets lines for people; one names the profile's file if another board has its name.

    Raises:
        InputError: the host is not valid, or the wheel is not a file.
        RemoteError: the board is not reachable or not suitable, or the command failed there.
    """
    names = [MANIFEST_NAME, *(entry.name for entry in palette.manifest.files)]
    files = {f"palette/{name}": palette.folder / name for name in names}
    if install is not None and install.endswith(".whl"):
        wheel = Path(install)
        if not wheel.is_file():
            raise InputError(f"--install: {wheel} is not a file; expected a wheel or a requirement for pip")
        files[wheel.name] = wheel
        install = wheel.name
    archive = _Archive(files)
    script = _script(archive.size, install or "", arguments)
    try:
        answer = ssh.run(host, script, archive.chunks(on_progress), on_progress)
    except RemoteError as error:
        if "No such option" not in str(error):
            raise
        raise RemoteError(f"{error}; {_advice()}") from error
    profile = _read(host, answer, palette)
    try:
        name_warning = store_profile(palette, profile, folder)
    except ValueError as error:
        raise RemoteError(f"{host}: it calls itself {profile.device.name!r}, which cannot name a file") from error
    if name_warning is not None:
        on_progress(f"{ERROR}{name_warning}")
    return profile


def _script(size: int, requirement: str, arguments: Sequence[str]) -> str:
    variables = {"size": str(size), "requirement": requirement, "default": default_requirement(), "marker": _MARKER}
    lines = [*(f"{name}={shlex.quote(value)}" for name, value in variables.items()), f"set -- {shlex.join(arguments)}"]
    text = resources.files("edgedistill.device_profiles").joinpath("remote.sh").read_text(encoding="utf-8")
    return "\n".join([*lines, text])


class _Archive:
    """Produce files, by their names in the archive, in tar's format; the size is available in advance."""

    def __init__(self, files: Mapping[str, Path]) -> None:
        self._members: list[tuple[bytes, Path, int]] = []
        for name, path in files.items():
            info = tarfile.TarInfo(name)
            info.size = path.stat().st_size
            self._members.append((info.tobuf(tarfile.GNU_FORMAT), path, info.size))
        content = sum(len(header) + size + _padding(size) for header, _, size in self._members)
        self._end = bytes(2 * tarfile.BLOCKSIZE)
        self.size = content + len(self._end)

    def chunks(self, on_progress: Callable[[str], None]) -> Iterator[bytes]:
        """Yield the archive, and report progress at most twenty times."""
        sent, report_at = 0, 0.0
        for chunk in self._pieces():
            if sent >= report_at:
                on_progress(f"copying: {sent / 1e6:.0f} of {self.size / 1e6:.0f} MB")
                report_at = sent + max(self.size / 20, 1e6)
            yield chunk
            sent += len(chunk)

    def _pieces(self) -> Iterator[bytes]:
        for header, path, size in self._members:
            yield header
            with path.open("rb") as file:
                while chunk := file.read(_CHUNK):
                    yield chunk
            yield bytes(_padding(size))
        yield self._end


def _padding(size: int) -> int:
    return -size % tarfile.BLOCKSIZE


def _advice() -> str:
    return f"install this EdgeDistill there: --install '{default_requirement()}'"


def _read(host: str, answer: bytes, palette: Palette) -> DeviceProfile:
    """Return the profile after the marker, which follows what the board's login shell printed."""
    text = answer.replace(b"\r\n", b"\n").rpartition(f"{_MARKER}\n".encode())[2]
    try:
        profile = parse_profile(text, Path(host))
    except PaletteError as error:
        version = re.search(rb'"schema_version":\s*(\d{1,9})', text)
        is_other = version is not None and int(version[1]) != PROFILE_VERSION
        fault = f"of version {version[1].decode()}" if version and is_other else "damaged"
        raise RemoteError(f"{host}: its profile is {fault}, expected version {PROFILE_VERSION}; {_advice()}") from error
    if profile.manifest_digest != palette.manifest.digest:
        raise RemoteError(f"{host}: its profile is of another palette; {_advice()}")
    measured = [subnet.subnet for subnet in profile.subnets]
    expected = [entry.name for entry in palette.manifest.subnets]
    if sorted(measured) != sorted(expected) or profile.smallest not in expected:
        raise RemoteError(f"{host}: its profile is not of the palette's {len(expected)} subnets; {_advice()}")
    return profile
