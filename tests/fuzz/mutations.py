"""Random changes of documents and bytes, as a function of a random source that hypothesis may take the place of."""

from __future__ import annotations

import copy
from random import Random
from typing import Any

__all__ = ["bytes_of", "document", "text", "value"]

_STRINGS = ["", " ", "a", "0", "-1", "none", "null", "../x", "/etc/passwd", "a\nb", "\x1b[31m", "é", "\u202e", "\0"]
_STRINGS += ["x" * 300, "\ud800", "{", "[PAD]", "😀", "text", "nan", "1e999", "weights.bin", "l1-d1-h1-f1"]
_NUMBERS = [0, 1, -1, 2, 3, 7, 100, 2**31, 2**31 - 1, -(2**31), 2**63, -(2**63) - 1, 10**30, 0.0, -0.0, 0.5, 1.0, 1.5]
_NUMBERS += [-1.5, 1e-300, 1e38, 1e308, float("inf"), float("-inf"), float("nan")]
_PARTS = [
    b"",
    b"\0",
    b"\xff",
    b"\xef\xbb\xbf",
    b"{",
    b"}",
    b"[" * 50,
    b'"',
    b",",
    b"\n",
    b"\r",
    b"-1",
    b"1e999",
    b"\\ud800",
]
_CHARACTERS = "ab \t\n\r\0\x1b\x7f\u200b\u200d\u202e\ufeffé中ß\u0301😀👩\u2028'\"\\{}%$#<>[]()|,.;:!?0123456789\ud800"
_WORDS = ["turn", "on", "lamp", "music", "[CLS]", "[SEP]", "[PAD]", "{{", "{%", "<|im_end|>", "\n", "a"]


def value(random: Random, depth: int = 0) -> Any:
    """Return some value that JSON can hold."""
    kind = random.randrange(7 if depth < 2 else 5)
    if kind < 2:
        return random.choice(_NUMBERS)
    if kind < 4:
        return random.choice(_STRINGS)
    if kind == 4:
        return random.choice([None, True, False])
    items = [value(random, depth + 1) for _ in range(random.randrange(4))]
    return items if kind == 5 else {random.choice(_STRINGS): item for item in items}


def document(given: Any, random: Random) -> Any:
    """Return a copy of a JSON document with one to three of its values changed, removed, added or exchanged."""
    changed = [copy.deepcopy(given)]
    for _ in range(random.choice([1, 1, 1, 2, 3])):
        _change(changed, random)
    return changed[0]


def _change(root: list[Any], random: Random) -> None:
    places = list(_places(root))
    container, key = random.choice(places)
    kind = random.randrange(8)
    if kind == 0 and container is not root:
        del container[key]
    elif kind == 1 and isinstance(container[key], dict):
        container[key][random.choice(_STRINGS)] = value(random)
    elif kind == 1 and isinstance(container[key], list):
        container[key].insert(random.randrange(len(container[key]) + 1), value(random))
    elif kind == 2:
        other, name = random.choice(places)
        container[key] = copy.deepcopy(other[name])
    elif kind in (3, 4):
        container[key] = _near(container[key], random)
    else:
        container[key] = value(random)


def _places(container: Any) -> Any:
    """Give every value's container and its key there."""
    keys = list(container) if isinstance(container, dict) else range(len(container))
    for key in keys:
        yield container, key
        if isinstance(container[key], dict | list):
            yield from _places(container[key])


def _near(old: Any, random: Random) -> Any:
    """Return a value like the old one."""
    if isinstance(old, bool):
        return not old
    if isinstance(old, int | float):
        return random.choice([old + 1, old - 1, -old, old * 2, old / 2, old * 10**6, float(old), str(old)])
    if isinstance(old, str):
        at = random.randrange(len(old) + 1)
        return random.choice([old[:at], old[:at] + random.choice(_STRINGS) + old[at:], old.upper(), old * 2])
    if isinstance(old, list):
        return random.choice([old * 2, old[:1], old[::-1], []])
    return value(random)


def bytes_of(given: bytes, random: Random) -> bytes:
    """Return the bytes with one to four cuts, repeats, flips or insertions."""
    content = bytearray(given)
    for _ in range(random.randrange(1, 5)):
        at = random.randrange(len(content) + 1)
        end = min(len(content), at + random.choice([1, 1, 2, 8, 100]))
        kind = random.randrange(5)
        if kind == 0:
            del content[at:end]
        elif kind == 1:
            content[at:at] = content[at:end]
        elif kind == 2 and at < len(content):
            content[at] ^= 1 << random.randrange(8)
        elif kind == 3 and random.random() < 0.2:
            del content[at:]
        else:
            content[at:at] = random.choice(_PARTS)
    return bytes(content)


def text(random: Random) -> str:
    """Return some text: words, and characters that are seldom met."""
    parts = [
        random.choice(_WORDS) if random.random() < 0.5 else chr_of(random)
        for _ in range(random.choice([0, 1, 3, 10, 40]))
    ]
    return random.choice(["", " "]).join(parts)


def chr_of(random: Random) -> str:
    """Return some character."""
    return random.choice(_CHARACTERS) if random.random() < 0.7 else chr(random.randrange(0x110000))
