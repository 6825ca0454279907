"""Write a new profile next to a palette without replacing another machine's of the same name."""

from __future__ import annotations

from itertools import count
from pathlib import Path

from edgedistill.errors import PaletteError
from edgedistill.palette import DeviceInfo, DeviceProfile, Palette, plain_file_name, read_profile, write_profile

__all__ = ["store_profile"]


def store_profile(palette: Palette, profile: DeviceProfile, folder: Path | None = None) -> str | None:
    """Write ``profile``, replacing the earlier one of the same machine; return a warning if the name is taken.

    Boards often share a name: every new Raspberry Pi is ``raspberrypi``. Then the file's name gets a number.

    Raises:
        ValueError: the machine's name cannot be a file name.
    """
    target = folder or palette.profiles_folder
    own = plain_file_name(profile.device.name)
    names = (own if number == 1 else f"{own}-{number}" for number in count(1))
    name = next(name for name in names if _is_free(target / f"{name}.json", profile.device))
    path = write_profile(palette, profile, folder=target, name=name)
    palette.profiles[path.stem] = profile
    if name == own:
        return None
    other = palette.profiles[own].device.board if own in palette.profiles else "another machine"
    return f"{own} names the profile of another machine here ({other}); this one's is {path.name}"


def _is_free(path: Path, device: DeviceInfo) -> bool:
    """Return whether only this machine's earlier profile, or a file that is not a profile, is at ``path``."""
    try:
        other = read_profile(path).device
    except PaletteError:
        return True
    return (other.board, other.cpu, other.cores) == (device.board, device.cpu, device.cores)
