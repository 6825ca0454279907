"""Profile a palette on a board from the workstation: copy it there, measure there, bring the profile back.

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
from edgedistill.manifest import MANIFEST_NAME, PROFILE_VERSION, DeviceProfile, Palette, parse_profile

__all__ = ["default_requirement", "profile_remotely"]

_MARKER = "-- the profile --"
_CHUNK = 1 << 16


def default_requirement() -> str:
    """What pip installs on a board that shall have the same EdgeDistill as this machine."""
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
    """Run ``edgedistill profile`` with these ``arguments`` on ``host``; the profile, written beside the palette.

    ``host``: as ``ssh`` takes it, or ``user@host:port``. ``install``: a requirement for pip, or a wheel of this
    machine, which is installed there first, in ``~/.local/share/edgedistill/venv``. ``folder``: the profile goes there
    instead. ``on_progress`` gets lines for people; one names the profile's file if another board has its name. On the
    board nothing else is left behind, however this ends.

    Raises:
        InputError: the host cannot be one, or the wheel is no file.
        RemoteError: no connection, a board that is not fit, or a failure there, in one line.
    """
    names = [MANIFEST_NAME, *(entry.name for entry in palette.manifest.files)]
    files = {f"palette/{name}": palette.folder / name for name in names}
    if install is not None and install.endswith(".whl"):
        wheel = Path(install)
        if not wheel.is_file():
            raise InputError(f"--install: {wheel} is no file; expected a wheel or a requirement for pip")
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
        taken = store_profile(palette, profile, folder)
    except ValueError as error:
        raise RemoteError(f"{host}: it calls itself {profile.device.name!r}, which cannot name a file") from error
    if taken is not None:
        on_progress(f"{ERROR}{taken}")
    return profile


def _script(size: int, requirement: str, arguments: Sequence[str]) -> str:
    known = {"size": str(size), "requirement": requirement, "default": default_requirement(), "marker": _MARKER}
    lines = [*(f"{name}={shlex.quote(value)}" for name, value in known.items()), f"set -- {shlex.join(arguments)}"]
    text = resources.files("edgedistill.device_profiles").joinpath("remote.sh").read_text(encoding="utf-8")
    return "\n".join([*lines, text])


class _Archive:
    """Files in tar's format, in pieces, with its size known before; names are those in the archive."""

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
        """All of it; tells how far it is, twenty times at most."""
        sent, tell_at = 0, 0.0
        for chunk in self._pieces():
            if sent >= tell_at:
                on_progress(f"copying: {sent / 1e6:.0f} of {self.size / 1e6:.0f} MB")
                tell_at = sent + max(self.size / 20, 1e6)
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
    """Return the profile behind the marker; what a board's login shell wrote stands before it."""
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
