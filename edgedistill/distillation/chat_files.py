"""Read a checkpoint's chat template, and try it: on a device nobody could mend it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from edgedistill.printable import get_logger
from edgedistill.runtime.generation.chat import template_fault

__all__ = ["chat_template"]

_log = get_logger(__name__)


def chat_template(folder: Path, wrapper: Any) -> str | None:
    """Return the template that transformers uses for chats without tools; None where there is none.

    Of several templates it is the one called ``default``. A template that fails is kept, with a warning: the model
    answers prompts all the same.
    """
    template = wrapper.chat_template
    if isinstance(template, dict):
        if "default" not in template:
            _log.warning(
                "%s has the chat templates %s and none called default; a palette of it takes no chats",
                folder,
                ", ".join(sorted(template)) or "of no name",
            )
        template = template.get("default")
    if not isinstance(template, str):
        return None
    fault = template_fault(template, wrapper.special_tokens_map)
    if fault is not None:
        _log.warning("%s: the chat template %s; a palette of it takes no chats", folder, fault)
    return template
