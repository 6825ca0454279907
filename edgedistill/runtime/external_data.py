"""Check which files an ONNX graph reads weights from, before onnxruntime opens it.

onnxruntime up to 1.23 follows absolute paths and links, and every version reads any file next to the graph. So a
palette's graph could take weights from a file that no hash covers. This module walks the graph's protobuf as far as
tensors can lie in it, and needs no package for that. Field numbers are those of onnx.proto.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

from edgedistill.errors import LoadError, PaletteError
from edgedistill.palette.bounded_files import Stamp, file_stat, read_file, stamp

__all__ = ["check_external_data"]

_MAX_GRAPH_BYTES = 2**31  # of a protobuf
_MAX_MESSAGES = 2_000_000
_MAX_VARINT_BYTES = 10
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_EXTERNAL_DATA, _KEY, _VALUE = 13, 1, 2

# By message: the fields that lead to a tensor, and which of them may be there once.
_FIELDS: Mapping[str, Mapping[int, str]] = {
    "model": {7: "graph", 20: "training", 25: "function"},
    "training": {1: "graph", 2: "graph"},
    "function": {7: "node", 11: "attribute"},
    "graph": {1: "node", 5: "tensor", 15: "sparse"},
    "node": {5: "attribute"},
    "attribute": {5: "tensor", 6: "graph", 10: "tensor", 11: "graph", 22: "sparse", 23: "sparse"},
    "sparse": {1: "tensor", 2: "tensor"},
}
_SINGLE = {"model": {7}, "training": {1, 2}, "attribute": {5, 6, 22}, "sparse": {1, 2}}


def check_external_data(graph: Path, allowed: Collection[str] | None = None) -> None:
    """Check that a graph takes its weights only from files that it may, within their sizes.

    ``allowed``: names of files in the graph's folder, whose content the caller has checked. None for any regular file
    there that is not a link.

    Raises:
        LoadError: it names another file, reads past a file's end, or is not a graph.
    """
    try:
        ends = _ends(graph, stamp(file_stat(graph)))
        for name, end in ends.items():
            if name not in allowed if allowed is not None else not _is_plain(graph.parent, name):
                listed = "a file next to it" if allowed is None else ", ".join(sorted(allowed))
                raise LoadError(f"{graph} takes weights from {name!r}, expected {listed}; export the palette again")
            size = file_stat(graph.parent / name).st_size
            if end > size:
                raise LoadError(f"{graph} reads {end} bytes of {name}, which has {size}; export the palette again")
    except PaletteError as error:
        raise LoadError(str(error)) from error


def _is_plain(folder: Path, name: str) -> bool:
    return bool(name) and name == Path(name).name and name != ".." and not (folder / name).is_symlink()


@lru_cache(maxsize=256)
def _ends(graph: Path, version: Stamp) -> Mapping[str, int]:  # noqa: ARG001 (another version is another graph)
    """Return for each file how many of its bytes, from its start, the graph may read."""
    ends: dict[str, int] = {}
    try:
        for entries in _external_tensors(read_file(graph, _MAX_GRAPH_BYTES)):
            name, end = _place(entries)
            ends[name] = max(end, ends.get(name, 0))
    except _MalformedError as error:
        raise LoadError(f"{graph} is not a graph that can be checked: {error}; export the palette again") from error
    return ends


class _MalformedError(Exception):
    """The bytes are not an ONNX graph, or are one that no exporter writes."""


def _place(entries: Mapping[str, str]) -> tuple[str, int]:
    """Return a tensor's file, and where in it the tensor ends."""
    unknown = entries.keys() - {"location", "offset", "length", "checksum"}
    numbers = entries.get("offset", "0"), entries.get("length", "")
    if unknown or "location" not in entries or not all(re.fullmatch(r"[0-9]{1,19}", number) for number in numbers):
        raise _MalformedError(f"a tensor's external data is {dict(entries)!r}, expected location, offset and length")
    return entries["location"], int(numbers[0]) + int(numbers[1])


def _external_tensors(data: bytes) -> Iterator[dict[str, str]]:
    """Yield the external-data entries of each tensor that has any."""
    messages, count = [("model", 0, len(data))], 0
    while messages:
        kind, start, end = messages.pop()
        count += 1
        if count > _MAX_MESSAGES:
            raise _MalformedError(f"it has more than {_MAX_MESSAGES:,} parts")
        if kind == "tensor":
            entries = [_entry(data, *place) for number, *place in _parts(data, start, end) if number == _EXTERNAL_DATA]
            if entries:
                yield _unique(entries)
            continue
        messages += _children(data, kind, start, end)


def _children(data: bytes, kind: str, start: int, end: int) -> Iterator[tuple[str, int, int]]:
    """Yield the parts of a message that may lead to a tensor with external data, which needs the key "location"."""
    fields, single, seen = _FIELDS[kind], _SINGLE.get(kind, set[int]()), set[int]()
    for place, (number, first, last) in enumerate(_parts(data, start, end)):
        if place > _MAX_MESSAGES:
            raise _MalformedError(f"a {kind} has more than {_MAX_MESSAGES:,} parts")
        child = fields.get(number)
        if child is None:
            continue
        if number in single and number in seen:  # a reader would merge both
            raise _MalformedError(f"field {number} of a {kind} is there twice")
        seen.add(number)
        if data.find(b"location", first, last) >= 0:
            yield child, first, last


def _entry(data: bytes, start: int, end: int) -> tuple[str, str]:
    parts = [(number, data[first:last]) for number, first, last in _parts(data, start, end)]
    if sorted(number for number, _ in parts) != [_KEY, _VALUE]:
        raise _MalformedError("an entry of external data is not one key with one value")
    try:
        key, value = (text.decode() for _, text in sorted(parts))
    except UnicodeDecodeError as error:
        raise _MalformedError("external data are not UTF-8 text") from error
    return key, value


def _unique(entries: list[tuple[str, str]]) -> dict[str, str]:
    unique = dict(entries)
    if len(unique) != len(entries):
        raise _MalformedError("a tensor's external data has a key twice")
    return unique


def _parts(data: bytes, start: int, end: int) -> Iterator[tuple[int, int, int]]:
    """Yield number, start and end of each field of a message that is a text, bytes or a message."""
    place = start
    while place < end:
        tag, place = _varint(data, place, end)
        number, wire = tag >> 3, tag & 7
        if wire == _BYTES:
            length, place = _varint(data, place, end)
            yield number, place, min(place + length, end)
        elif wire == _VARINT:
            length, place = 0, _varint(data, place, end)[1]
        elif wire in (_FIXED64, _FIXED32):
            length = 8 if wire == _FIXED64 else 4
        else:
            raise _MalformedError(f"byte {place} has the wire type {wire}")
        place += length
        if place > end or not number:
            raise _MalformedError(f"a field ends at byte {place}, its message at {end}")


def _varint(data: bytes, place: int, end: int) -> tuple[int, int]:
    value = data[place] if place < end else 128
    if value < 128:
        return value, place + 1
    value = 0
    for shift in range(_MAX_VARINT_BYTES):
        if place + shift >= end:
            break
        byte = data[place + shift]
        value |= (byte & 127) << (7 * shift)
        if byte < 128:
            return value, place + shift + 1
    raise _MalformedError(f"the number at byte {place} does not end")
