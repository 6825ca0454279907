"""Messages of a chat as the prompt that a model was trained with, by the palette's template.

Templates are Jinja's, which the device side does without otherwise: it is imported here, and only here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from edgedistill.errors import InputError

__all__ = ["Message", "render"]

Message = Mapping[str, str]
"""Of a ``role`` ("system", "user", "assistant") and its ``content``."""


def render(template: str, messages: Sequence[Message], special_tokens: Mapping[str, str]) -> str:
    """The prompt, which ends where the assistant's answer begins.

    It is rendered in Jinja's sandbox, as templates come with models: they may not reach out of it.

    Args:
        template: the palette's.
        messages: oldest first.
        special_tokens: ``bos_token`` and ``eos_token``, as far as there are any.

    Raises:
        InputError: the messages are none, or the template refuses them; or Jinja is not installed.
    """
    _check(messages)
    try:
        from jinja2.sandbox import ImmutableSandboxedEnvironment
    except ImportError as error:
        raise InputError(
            "the palette's chat template needs jinja2, which is not installed; install it with: "
            "pip install 'edgedistill[chat]', or give a prompt that is written as the model wants it"
        ) from error
    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
    )
    environment.filters["tojson"] = _to_json
    environment.globals["raise_exception"] = _refuse
    try:
        return environment.from_string(template).render(
            messages=[dict(message) for message in messages], add_generation_prompt=True, **special_tokens
        )
    except Exception as error:  # a template's own, and what Python raises at what it does
        raise InputError(f"the palette's chat template refuses these messages: {error}") from error


def _check(messages: Sequence[Message]) -> None:
    if isinstance(messages, str) or not messages:
        raise InputError("messages are none; expected a list of at least one {'role': ..., 'content': ...}")
    for place, message in enumerate(messages, start=1):
        is_message = isinstance(message, Mapping) and all(
            isinstance(message.get(key), str) for key in ("role", "content")
        )
        if not is_message:
            raise InputError(f"message {place} is no message; expected {{'role': 'user', 'content': 'a text'}}")


def _to_json(value: Any, indent: int | None = None) -> str:
    """Jinja's own escapes what HTML would misread, which a prompt has as it is."""
    import json

    return json.dumps(value, ensure_ascii=False, indent=indent)


def _refuse(message: str) -> NoReturn:
    from jinja2.exceptions import TemplateError

    raise TemplateError(message)
