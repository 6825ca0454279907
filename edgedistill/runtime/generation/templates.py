"""Provide the Jinja environment of chat templates, as transformers has it, for chats without tools.

Templates come with models, so they run in Jinja's sandbox. Import this where a chat is rendered: it needs jinja2.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from functools import lru_cache
from importlib.metadata import version
from typing import Any, NoReturn

from jinja2 import Template, nodes
from jinja2.exceptions import SecurityError, TemplateError
from jinja2.ext import Extension
from jinja2.parser import Parser
from jinja2.sandbox import ImmutableSandboxedEnvironment
from jinja2.utils import Namespace

__all__ = ["Refusal", "compiled", "filled"]

if tuple(map(int, version("jinja2").split(".")[:3])) < (3, 1, 6):
    raise ImportError("jinja2 before 3.1.6 lets templates out of its sandbox")


class Refusal(TemplateError):
    """A template's own ``raise_exception``: it refuses these messages."""


@lru_cache(maxsize=8)
def compiled(source: str) -> Template:
    """Compile a template.

    Raises:
        TemplateError: it is not valid Jinja.
    """
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[_GenerationBlock, "jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals |= {
        "raise_exception": _refuse,
        "strftime_now": _strftime_now,
        "dict": _Dict(),
        "namespace": _Namespace,
    }
    return environment.from_string(source)


def filled(template: Template, messages: Sequence[Mapping[str, Any]], special_tokens: Mapping[str, str]) -> str:
    """Return the prompt, which ends where the assistant's answer begins."""
    return template.render(messages=messages, tools=None, documents=None, add_generation_prompt=True, **special_tokens)


class _GenerationBlock(Extension):
    """``{% generation %}``, which marks what is learned from in training, and writes its content."""

    tags = {"generation"}  # noqa: RUF012 (as Jinja declares it)

    def parse(self, parser: Parser) -> nodes.Node:
        """Read the block."""
        line = next(parser.stream).lineno
        body = parser.parse_statements(("name:endgeneration",), drop_needle=True)
        return nodes.CallBlock(self.call_method("write"), [], [], body).set_lineno(line)

    def write(self, caller: Callable[[], str]) -> str:
        """Return the block's content."""
        return caller()


class _Dict:
    """``dict`` without the type's own attributes."""

    def __call__(self, *args: Any, **items: Any) -> dict[Any, Any]:
        return dict(*args, **items)

    def fromkeys(self, *args: Any) -> dict[Any, Any]:
        """Return a dictionary of these keys."""
        return dict.fromkeys(*args)


class _Namespace(Namespace):
    """Jinja's, without names that begin with an underscore: those are Python's."""

    def __init__(*args: Any, **items: Any) -> None:  # an item may be called self
        self, values = args[0], dict(*args[1:], **items)
        for name in values:
            _check_name(name)
        Namespace.__init__(self, values)

    def __setitem__(self, name: str, value: Any) -> None:
        _check_name(name)
        super().__setitem__(name, value)


def _check_name(name: object) -> None:
    if isinstance(name, str) and name.startswith("_"):
        raise SecurityError(f"a namespace may not have the name {name!r}, which begins with an underscore")


def _to_json(
    value: Any,
    ensure_ascii: bool = False,
    indent: int | str | None = None,
    separators: tuple[str, str] | None = None,
    sort_keys: bool = False,
) -> str:
    """Return the value as JSON. Jinja's own filter escapes what HTML would misread; a prompt has it as it is."""
    return json.dumps(value, ensure_ascii=ensure_ascii, indent=indent, separators=separators, sort_keys=sort_keys)


def _refuse(message: str) -> NoReturn:
    raise Refusal(message)


def _strftime_now(format_: str) -> str:
    return datetime.now().strftime(format_)
