"""Check the system and its Python."""

from __future__ import annotations

import platform
import re
import struct
import sys
from importlib import metadata
from pathlib import Path

from edgedistill.runtime.device import board_name
from edgedistill.runtime.doctor.finding import Finding, image
from edgedistill.runtime.kernel_files import read_text

__all__ = ["python", "system", "version_of"]

_ELF_32 = b"\x7fELF\x01"
_OS_NAME = re.compile(r'^PRETTY_NAME="?([^"\n]+)', re.MULTILINE)


def system(root: Path) -> Finding:
    """Check that the system runs 64-bit programs: onnxruntime only has 64-bit wheels."""
    name = _OS_NAME.search(read_text(root / "etc/os-release") or "")
    bits = _bits(root)
    summary = f"{board_name(root)}; {name[1] if name else platform.system()}, {bits}-bit"
    if bits == 64:
        return Finding("ok", summary)
    # The kernel may still be a 64-bit one, as on a Raspberry Pi 4, so `uname -m` does not show it.
    return Finding("problem", f"{summary}: onnxruntime has no build for 32-bit programs", image(root))


def _bits(root: Path) -> int:
    """Return the word size of this interpreter, from its own file."""
    try:
        with (root / "proc/self/exe").open("rb") as file:
            head = file.read(len(_ELF_32))
    except OSError:
        head = b""
    if head[:4] != _ELF_32[:4]:  # not Linux
        return 8 * struct.calcsize("P")
    return 32 if head == _ELF_32 else 64


def python(root: Path) -> Finding:
    """Check Python's version against the lowest that this package supports, and report its environment."""
    least = version_of(metadata.metadata("edgedistill")["Requires-Python"] or "")
    where = "the system's" if sys.prefix == sys.base_prefix else f"the environment {sys.prefix}"
    summary = f"{platform.python_version()}, {where}"
    if sys.version_info[: len(least)] < least:
        return Finding("problem", f"{summary}; expected {'.'.join(map(str, least))} or later", image(root))
    return Finding("ok", summary)


def version_of(text: str) -> tuple[int, ...]:
    """Return the first version number in the text: (1, 20) of "onnxruntime>=1.20"; empty without one."""
    match = re.search(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in match[0].split(".")) if match else ()
