"""Render a chat as the prompt that a model was trained with, by the palette's template.

Templates need Jinja, which nothing else on the device side needs: it is only imported here.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import ModuleType
from typing import Any

from edgedistill.errors import InputError, PaletteError
from edgedistill.runtime.generation.messages import Message, as_data

__all__ = ["Message", "render", "render_data", "template_fault"]

_TRIAL = "hello there"
_TRIALS: tuple[list[dict[str, Any]], ...] = (
    [{"role": "user", "content": _TRIAL}],
    [{"role": "system", "content": "Be brief."}, {"role": "user", "content": _TRIAL}],
    [{"role": "user", "content": [{"type": "text", "text": _TRIAL}]}],
)


def render(template: str, messages: Sequence[Message], special_tokens: Mapping[str, str]) -> str:
    """Return the prompt, which ends where the assistant's answer begins.

    It is what transformers renders with ``add_generation_prompt=True`` and no tools.

    Args:
        template: the palette's.
        messages: oldest first.
        special_tokens: ``bos_token``, ``eos_token`` and the like, as far as there are any.

    Raises:
        InputError: the list of messages is empty, the template refuses them, or jinja2 is not installed.
        PaletteError: the template fails at any chat.
    """
    return render_data(template, as_data(messages), special_tokens)


def render_data(template: str, messages: Sequence[Mapping[str, Any]], special_tokens: Mapping[str, str]) -> str:
    """Render messages that `as_data` returned; the errors are those of `render`."""
    jinja = _jinja()
    try:
        return str(jinja.filled(jinja.compiled(template), messages, special_tokens))
    except jinja.Refusal as refusal:
        raise InputError(f"the palette's chat template refuses these messages: {refusal}") from refusal
    except Exception as error:  # what Jinja and Python raise at what a template does
        fault = template_fault(template, special_tokens)
        if fault is not None:
            raise PaletteError(
                f"the palette's chat template {fault}; give a prompt that is written as the model expects it"
            ) from error
        raise InputError(f"the palette's chat template fails at these messages: {_line(error)}") from error


def template_fault(template: str, special_tokens: Mapping[str, str]) -> str | None:
    """Return why no chat can be rendered, by trial chats; None if one can.

    Raises:
        InputError: jinja2 is not installed.
    """
    jinja, faults = _jinja(), list[str]()
    for messages in _TRIALS:
        try:
            text = str(jinja.filled(jinja.compiled(template), messages, special_tokens))
        except jinja.Refusal as refusal:
            faults.append(f"refuses a chat of one message: {refusal}")
        except Exception as error:  # noqa: BLE001 (what Jinja and Python raise at what a template does)
            faults.append(f"is faulty: {_line(error)}")
        else:
            if _TRIAL in text.lower():
                return None
            faults.append("leaves out what the user says")
    return faults[0]


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {' '.join(str(error).split())}"


def _jinja() -> ModuleType:
    try:
        from edgedistill.runtime.generation import templates
    except ImportError as error:
        raise InputError(
            "the palette's chat template needs jinja2 3.1.6 or newer; install it with: "
            "pip install 'edgedistill[chat]', or give a prompt that is written as the model expects it"
        ) from error
    return templates
