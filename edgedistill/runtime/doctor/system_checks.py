"""The system and its Python."""

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
    """The board, its system, and how wide its programs' addresses are: onnxruntime has 64-bit wheels alone."""
    name = _OS_NAME.search(read_text(root / "etc/os-release") or "")
    bits = _bits(root)
    found = f"{board_name(root)}; {name[1] if name else platform.system()}, {bits}-bit"
    if bits == 64:
        return Finding("ok", found)
    # The kernel may be a 64-bit one nonetheless, as on a Raspberry Pi 4, so `uname -m` does not tell.
    return Finding("problem", f"{found}: there is no onnxruntime for 32-bit programs", image(root))


def _bits(root: Path) -> int:
    """Of the interpreter that runs this: its own file tells."""
    try:
        with (root / "proc/self/exe").open("rb") as file:
            head = file.read(len(_ELF_32))
    except OSError:
        head = b""
    if head[:4] != _ELF_32[:4]:  # not Linux
        return 8 * struct.calcsize("P")
    return 32 if head == _ELF_32 else 64


def python(root: Path) -> Finding:
    """Its version, against the least that this package takes, and whether it is a virtual environment's."""
    least = version_of(metadata.metadata("edgedistill")["Requires-Python"] or "")
    where = "the system's" if sys.prefix == sys.base_prefix else f"the environment {sys.prefix}"
    found = f"{platform.python_version()}, {where}"
    if sys.version_info[: len(least)] < least:
        return Finding("problem", f"{found}; expected {'.'.join(map(str, least))} or later", image(root))
    return Finding("ok", found)


def version_of(text: str) -> tuple[int, ...]:
    """The first version number in the text: (1, 20) of "onnxruntime>=1.20"; empty where there is none."""
    found = re.search(r"\d+(?:\.\d+)*", text)
    return tuple(int(part) for part in found[0].split(".")) if found else ()
