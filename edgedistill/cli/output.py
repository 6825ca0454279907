"""Print for the commands: text for people, shown as it is, and JSON for programs.

Strings come from palettes, boards, models and files of others. Here none of them is markup or steers a terminal: a
style is given beside its text, never within it.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterable
from typing import Any

from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, RenderableType  # noqa: TID251 (here it is made safe)
from rich.segment import Segment
from rich.status import Status
from rich.text import Text

from edgedistill.printable import printable

__all__ = ["Terminal", "console", "lines", "print_json", "print_json_line", "print_text", "standard_output", "styled"]

_STAND_INS = {"✓": "+", "✗": "x", "…": "~"}


class Terminal(Console):
    """A console that shows strings literally, in one line each, with escapes for what does not show itself."""

    def __init__(self, *, stderr: bool = False) -> None:
        super().__init__(stderr=stderr, markup=False, emoji=False, highlight=False)

    def render_str(self, text: str, **options: Any) -> Text:
        """Return a text that fits in one line; `lines` makes one of several."""
        return super().render_str(printable(text), **options)

    def render(self, renderable: RenderableType, options: ConsoleOptions | None = None) -> Iterable[Segment]:
        """Yield what is shown; rich's own control codes are the only ones."""
        for segment in super().render(renderable, options):
            yield segment if segment.control else segment._replace(text=self._fit(segment.text))

    def busy(self, text: str) -> Status:
        """Return a context manager that shows ``text`` beside a spinner."""
        return self.status(styled(text), spinner="line" if self.options.ascii_only else "dots")

    def _fit(self, text: str) -> str:
        """Return ``text`` as the stream can take it, in as many columns."""
        shown = printable(text, "\n")
        try:
            shown.encode(self.encoding)
        except UnicodeEncodeError:
            return "".join(self._stand_in(char) for char in shown)
        return shown

    def _stand_in(self, char: str) -> str:
        try:
            char.encode(self.encoding)
        except UnicodeEncodeError:
            return _STAND_INS.get(char, "?" * cell_len(char))
        return char


console = Terminal(stderr=True)


def standard_output() -> Terminal:
    """Return a console on standard output."""
    return Terminal()


def styled(*parts: str | tuple[str, str]) -> Text:
    """Return one line of these parts, each a text or a text and its style."""
    return Text.assemble(*(printable(p) if isinstance(p, str) else (printable(p[0]), p[1]) for p in parts))


def lines(parts: Iterable[str | Text]) -> Text:
    """Return one line for each of ``parts``."""
    return Text("\n").join(styled(part) if isinstance(part, str) else part for part in parts)


def print_json(document: dict[str, Any]) -> None:
    """Print the one document of ``--json``."""
    _write_utf8(_json(document, indent=1) + "\n")


def print_json_line(record: dict[str, Any]) -> None:
    """Print one record of JSON Lines at once."""
    _write_utf8(_json(record) + "\n")
    sys.stdout.flush()


def print_text(text: str) -> None:
    """Print a text of several lines, or a piece of one, at once: as UTF-8 unless somebody watches."""
    shown = printable(text, "\n\t")
    if sys.stdout is not None and sys.stdout.isatty():
        sys.stdout.write(shown)
    else:
        _write_utf8(shown)
    sys.stdout.flush()


def _json(document: dict[str, Any], indent: int | None = None) -> str:
    """Return JSON in which characters that do not show themselves are JSON's own escapes, which mean the same."""
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    if text.isprintable():
        return text
    return re.sub(r"[^\n -~]", lambda match: _as_json(match[0]), text)


def _as_json(char: str) -> str:
    return char if printable(char) == char else json.dumps(char)[1:-1].replace("\x7f", "\\u007f")


def _write_utf8(text: str) -> None:
    """Write to standard output in UTF-8, whatever the locale."""
    buffer = getattr(sys.stdout, "buffer", None)
    if buffer is None:  # replaced by something for text alone
        sys.stdout.write(text)
        return
    sys.stdout.flush()
    buffer.write(text.encode())
