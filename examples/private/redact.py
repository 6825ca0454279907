"""Take the entities out of a text before it leaves the device, and what the model cannot read.

Usage: python redact.py [--min-quality 0.9] PALETTE [COMMAND...] < TEXT
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from collections import Counter

from edgedistill.errors import EdgeDistillError, InputError
from edgedistill.palette import Palette, load
from edgedistill.printable import printable
from edgedistill.runtime import TokenClassifier

# Python counts four control characters as blanks; here they are text, which must be read.
PARAGRAPH = re.compile(r"(\n[^\S\x1c-\x1f]*\n)")
BLANK = re.compile(r"[^\S\x1c-\x1f]*")


def good_enough(palette: Palette, quality: float) -> list[str]:
    """Return the subnets that may serve, so that a latency budget does not trade leaks for speed."""
    found = [entry.name for entry in palette.manifest.subnets if entry.score("validation") >= quality]
    if not found:
        raise InputError(f"no subnet has a quality of {quality} on validation; 'edgedistill inspect' shows them")
    return found


def redacted(tagger: TokenClassifier, text: str) -> str:
    """Redact the text paragraph by paragraph: all of it, or nothing."""
    parts = PARAGRAPH.split(text)
    places = [place for place, part in enumerate(parts) if not BLANK.fullmatch(part)]
    if not places:
        raise InputError("there is no text on standard input")
    counts: Counter[str] = Counter()
    for number, (place, found) in enumerate(zip(places, tagger.tag([parts[p] for p in places]), strict=True), start=1):
        try:
            parts[place] = found.redacted()
        except InputError as error:
            raise InputError(f"paragraph {number}: {error}; nothing was handed on") from error
        counts.update(entity.label for entity in found.entities)
        counts.update("unread" for _ in found.unread)
    shown = ", ".join(f"{count} {printable(label)}" for label, count in counts.items())
    print("redacted:", shown or "nothing", file=sys.stderr)
    return "".join(parts)


def hand_on(text: str, command: list[str]) -> int:
    """Print it, or give it to the command's standard input; the exit status."""
    if command:
        return subprocess.run(command, input=text.encode(), check=False).returncode
    with open(1, "wb", closefd=False) as output:
        output.write(text.encode())
    return 0


def main() -> int:
    """Redact, and only then hand on."""
    parser = argparse.ArgumentParser(description="Redact standard input, then print it or hand it to a command.")
    parser.add_argument("palette")
    parser.add_argument("--min-quality", type=float, default=0.9, help="F1 on validation that a subnet must have")
    parser.add_argument("command", nargs=argparse.REMAINDER, help="what to hand the text to")
    given = parser.parse_args()
    palette = load(given.palette)
    with TokenClassifier(palette, only=good_enough(palette, given.min_quality)) as tagger:
        text = redacted(tagger, sys.stdin.buffer.read().decode("utf-8-sig"))
    return hand_on(text, given.command)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except UnicodeDecodeError:
        sys.exit("redact: standard input is not UTF-8; nothing was handed on")
    except BrokenPipeError:
        sys.exit(141)  # as a shell reports a program whose reader has enough
    except (EdgeDistillError, OSError) as error:
        sys.exit(f"redact: {error}")
