"""Files of text, compressed or not: their characters and their lines."""

from __future__ import annotations

import bz2
import gzip
import lzma
import re
import zlib
from collections.abc import Callable
from pathlib import Path

from edgedistill.errors import DataError
from edgedistill.utf8 import NotUtf8, decode_text

__all__ = ["COMPRESSIONS", "empty", "lines_of", "read_lines", "read_text"]

_LINE_END = re.compile(r"\r\n|\r|\n")  # within a text other marks, as U+2028, end no line


def _read_zstd(path: Path) -> bytes:
    import pyarrow

    with pyarrow.CompressedInputStream(str(path), "zstd") as stream:
        return bytes(stream.read())


def _read_with(opened: Callable[[Path], gzip.GzipFile | bz2.BZ2File | lzma.LZMAFile]) -> Callable[[Path], bytes]:
    def read(path: Path) -> bytes:
        with opened(path) as file:
            return file.read()

    return read


COMPRESSIONS: dict[str, Callable[[Path], bytes]] = {
    ".gz": _read_with(gzip.GzipFile),
    ".bz2": _read_with(bz2.BZ2File),
    ".xz": _read_with(lzma.LZMAFile),
    ".zst": _read_zstd,
}
"""Readers of compressed files, by the last suffix of their names."""


def read_text(path: Path) -> str:
    """Read the whole file, decompressed, its line ends as they are.

    Raises:
        DataError: it is missing, damaged, or not text.
    """
    expand = COMPRESSIONS.get(path.suffix.lower())
    try:
        content = path.read_bytes() if expand is None else expand(path)
    except (OSError, EOFError, ValueError, zlib.error, lzma.LZMAError) as error:
        reason = getattr(error, "strerror", None) or str(error) or type(error).__name__
        what = "" if expand is None else f", compressed as {path.suffix.lower()}"
        raise DataError(f"{path} cannot be read: {reason}; expected text in UTF-8{what}") from error
    try:
        text = decode_text(content)
    except NotUtf8 as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if "\0" in text:
        number = len(_LINE_END.findall(text, 0, text.index("\0"))) + 1
        raise DataError(
            f"{path} cannot be read: line {number} has a NUL byte, as UTF-16 has without a byte order mark; "
            "save the file as UTF-8"
        )
    return text


def read_lines(path: Path) -> list[tuple[int, str]]:
    """Read (number from 1, text) of every line that is not blank.

    Raises:
        DataError: the file is missing, a folder, empty, or not text.
    """
    if not path.is_file():
        raise DataError(
            f"{path} is {'a folder' if path.is_dir() else 'not there'}; expected a file of texts, one a line"
        )
    return lines_of(read_text(path), path)


def lines_of(text: str, path: Path) -> list[tuple[int, str]]:
    """Return (number from 1, text) of every line that is not blank.

    Raises:
        DataError: there is none.
    """
    lines = [(number, line) for number, line in enumerate(_LINE_END.split(text), 1) if line.strip()]
    if not lines:
        raise empty(path)
    return lines


def empty(place: str | Path) -> DataError:
    """Make the error of a file without rows."""
    return DataError(f"{place} is empty; expected rows with a text")
