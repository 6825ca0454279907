"""Define what a check finds, and the commands that several checks advise."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from edgedistill.runtime.onnx import is_jetson
from edgedistill.runtime.sensors.thermal import is_raspberry_pi

__all__ = ["Finding", "State", "boot_option", "image", "unread"]

State = Literal["ok", "note", "problem"]

_PI_OPTIONS = ("boot/firmware/cmdline.txt", "boot/cmdline.txt")  # since Bookworm, and before
_JETSON_OPTIONS = "boot/extlinux/extlinux.conf"


@dataclass(frozen=True, slots=True)
class Finding:
    """Hold the result of a check.

    ``summary``: one line. ``fix``: a command, or a line and the file that it belongs in; None if nothing is wrong. With
    a "note" EdgeDistill runs, but less well or with fewer readings; a "problem" must be fixed.
    """

    state: State
    summary: str
    fix: str | None = None


def image(root: Path) -> str:
    """Return how to install a suitable system on this board."""
    if is_raspberry_pi(root):
        return "write the SD card again with the image 'Raspberry Pi OS (64-bit)', by Raspberry Pi Imager"
    if is_jetson(root):
        return "install JetPack 6 or later, by NVIDIA's SDK Manager or SD card image"
    return "install a 64-bit system with Python 3.10 or later"


def boot_option(root: Path, option: str) -> str:
    """Return how to give the kernel an option at boot."""
    for name in _PI_OPTIONS:
        if (root / name).is_file():
            return f"sudo sed -i '1 s/$/ {option}/' /{name} && sudo reboot"
    if (root / _JETSON_OPTIONS).is_file():
        return f"sudo sed -i '/^ *APPEND / s/$/ {option}/' /{_JETSON_OPTIONS} && sudo reboot"
    return f"add {option} to the kernel's command line in the boot loader's settings, then: sudo reboot"


def unread(root: Path, *patterns: str, lost: str | None = None) -> Finding:
    """Return why a sensor that reads the files of these patterns below ``root`` has no reading.

    It is a note if ``lost`` names what the reading would be useful for.
    """
    state: State = "ok" if lost is None else "note"
    tail = "" if lost is None else f"; {lost}"
    paths = [path for pattern in patterns for path in sorted(root.glob(pattern))]
    if not paths:
        return Finding(state, f"none here: no {' and no '.join(f'/{name}' for name in patterns)}{tail}")
    for path in paths:
        shown = f"/{path.relative_to(root)}"
        try:
            with path.open("rb") as file:
                file.read(1)
        except PermissionError:
            return Finding("note", f"{shown} may not be read by this user{tail}", f"sudo chmod a+r {shown}")
        except OSError as error:
            return Finding(state, f"{shown}: {error.strerror}{tail}")
    return Finding(state, f"no figure in /{paths[0].relative_to(root)}{tail}")
