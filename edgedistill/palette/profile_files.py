"""Read and write a palette's device profiles."""

from __future__ import annotations

import os
from pathlib import Path

from edgedistill.errors import PaletteError
from edgedistill.files import write_json
from edgedistill.palette.bounded_files import file_stat, read_file
from edgedistill.palette.device_profile import PROFILE_VERSION, DeviceProfile
from edgedistill.palette.documents import parse_versioned
from edgedistill.palette.migrations import PROFILE_STEPS
from edgedistill.palette.palette_folder import PROFILES_FOLDER, Palette
from edgedistill.palette.schema import Manifest
from edgedistill.palette.values import plain_file_name
from edgedistill.printable import get_logger

__all__ = ["load_profiles", "parse_profile", "read_profile", "write_profile"]

_MAX_PROFILE_BYTES = 16 * 10**6
_MAX_PROFILES_BYTES = 64 * 10**6  # together
_EXPECTED = "expected a file that 'edgedistill profile' wrote"

_log = get_logger(__name__)
_warned: dict[Path, str] = {}


def load_profiles(folder: Path, manifest: Manifest) -> tuple[dict[str, DeviceProfile], dict[str, str]]:
    """Return the palette's own profiles by device, and what is wrong with those that are left out."""
    usable, unusable, left = dict[str, DeviceProfile](), dict[str, str](), _MAX_PROFILES_BYTES
    for path in _profile_paths(folder):
        try:
            profile = read_profile(path, left)
            left -= file_stat(path, _EXPECTED).st_size
        except PaletteError as error:
            unusable[path.stem] = str(error)
            _warn_of_profile(path, str(error))
        else:
            if profile.manifest_digest == manifest.digest:
                usable[path.stem] = profile
    return dict(sorted(usable.items())), unusable


def _profile_paths(folder: Path) -> list[Path]:
    """Return its JSON files, the smallest first, without those that are hidden, as macOS' ``._name.json`` is."""
    try:
        paths = [path for path in folder.iterdir() if path.suffix == ".json" and not path.name.startswith(".")]
    except FileNotFoundError:
        return []
    except OSError as error:
        _warn_of_profile(folder, f"it cannot be listed: {error.strerror}")
        return []
    return sorted(paths, key=lambda path: (_size(path), path))


def _size(path: Path) -> int:
    try:
        return path.stat().st_size
    except OSError:
        return 0  # whoever reads it says what is wrong


def _warn_of_profile(path: Path, error: str) -> None:
    """Say once in a process that it is left out, and again when something else is wrong with it."""
    if _warned.get(path) != error:
        _warned[path] = error
        _log.warning("%r is left out: %s", str(path), error)


def read_profile(path: Path, limit: int = _MAX_PROFILE_BYTES) -> DeviceProfile:
    """Read one profile, of whatever palette, from a file of at most ``limit`` bytes.

    Raises:
        PaletteError: it cannot be read, is damaged, or of another version.
    """
    return parse_profile(read_file(path, min(limit, _MAX_PROFILE_BYTES), _advice(path)), path)


def _advice(path: Path) -> str:
    return f"{_EXPECTED}; delete it, or profile that device again" if os.path.lexists(path) else _EXPECTED


def parse_profile(content: bytes, source: Path) -> DeviceProfile:
    """Validate the content of a profile; ``source`` names it in errors.

    Raises:
        PaletteError: it is damaged, or of another version.
    """
    again = "remove it, and run 'edgedistill profile' on that device again"
    return parse_versioned(source, content, DeviceProfile, PROFILE_VERSION, PROFILE_STEPS, again)[0]


def write_profile(
    palette: Palette, profile: DeviceProfile, *, folder: str | Path | None = None, name: str | None = None
) -> Path:
    """Put ``profile`` next to the palette (or in ``folder``), replacing this device's last one at once.

    ``name``: the file's, without its ending, where the device's own is taken.
    """
    stem = plain_file_name(name or profile.device.name)
    target = Path(folder or palette.folder / PROFILES_FOLDER) / f"{stem}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    write_json(target, profile.model_dump(mode="json"))
    return target
