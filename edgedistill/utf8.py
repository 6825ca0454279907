"""Read text as people's programs write it: UTF-8 with or without a byte order mark at the very beginning.

A mark anywhere else is text and stays. UTF-16 and UTF-32 are read where a mark says so; other encodings cannot be told
apart, and are refused with the line and a command that converts the file.
"""

from __future__ import annotations

import codecs
from pathlib import Path

__all__ = ["UTF8", "NotUtf8", "decode_text", "read_text_file"]

UTF8 = "utf-8-sig"
"""The codec for streams: it skips one mark at the beginning."""
_MARKED = (  # the mark of UTF-32 begins with that of UTF-16
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)


class NotUtf8(ValueError):
    """Bytes that are not text in a known encoding. The message says where, and what converts them."""


def read_text_file(path: Path) -> str:
    """Read a small file, with every line end as a line feed.

    Raises:
        OSError: it cannot be read.
        NotUtf8: it is not text.
    """
    return decode_text(path.read_bytes()).replace("\r\n", "\n").replace("\r", "\n")


def decode_text(content: bytes) -> str:
    """Decode UTF-8, or what a byte order mark says; without the mark.

    Raises:
        NotUtf8: it is neither.
    """
    codec = next((codec for mark, codec in _MARKED if content.startswith(mark)), UTF8)
    try:
        return content.decode(codec)
    except UnicodeDecodeError as error:
        if codec == UTF8:
            raise NotUtf8(_describe(content, error.start)) from error
        raise NotUtf8(f"it begins with the mark of {codec.upper()} and is damaged; save it as UTF-8") from error


def _describe(content: bytes, place: int) -> str:
    """Name the first line and byte that are not UTF-8, and the command that helps if an 8-bit encoding was meant."""
    place += 3 * content.startswith(codecs.BOM_UTF8)  # the codec counts from behind the mark
    lines = content[:place].splitlines()
    number = len(lines) + (not lines or content[:place].endswith((b"\n", b"\r")))
    byte = content[place : place + 1]
    letter = byte.decode("cp1252", "ignore")
    meaning = f", {letter!r} in Windows-1252" if letter.isprintable() and letter else ""
    return (
        f"line {number} is not UTF-8 (byte 0x{byte.hex()}{meaning}); save the file as UTF-8, "
        "or if it is Windows-1252: iconv -f WINDOWS-1252 -t UTF-8 OLD > NEW"
    )
