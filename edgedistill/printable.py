"""Show strings of others, of a palette, a board, a model or a file's name, without letting them steer a terminal."""

from __future__ import annotations

import logging
import traceback
import unicodedata

__all__ = ["get_logger", "printable"]

# Controls, formats such as a change of direction, half surrogates, private and unassigned ones, line separators.
_HIDDEN = frozenset({"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"})
_JOINERS = "\u200c\u200d"  # Persian, Indic scripts and emoji are written with them


def printable(text: str, layout: str = "") -> str:
    r"""Return ``text`` with every character that does not show itself as a visible escape such as ``\x1b``.

    ``layout``: those of them that may stay, such as a newline where a text has several lines.
    """
    if text.isprintable():
        return text
    return "".join(char if char in layout or _shows(char) else _escape(char) for char in text)


def _shows(char: str) -> bool:
    return unicodedata.category(char) not in _HIDDEN or char in _JOINERS


def _escape(char: str) -> str:
    return char.encode("unicode_escape").decode("ascii")


class _Printable(logging.Filter):
    """Make each record's message, and a traceback with it, fit for a log before any handler sees them."""

    def filter(self, record: logging.LogRecord) -> bool:
        record.msg, record.args = printable(record.getMessage()), None
        if record.exc_info and not record.exc_text:
            lines = traceback.format_exception(*record.exc_info)
            record.exc_text = printable("".join(lines).rstrip(), "\n\t")
        return True


_PRINTABLE = _Printable()


def get_logger(name: str) -> logging.Logger:
    """Return the logger of a module; strings of others in its records are escaped, whoever handles them."""
    logger = logging.getLogger(name)  # noqa: TID251
    logger.addFilter(_PRINTABLE)
    return logger
