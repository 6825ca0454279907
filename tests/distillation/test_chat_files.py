"""Chat templates as checkpoints have them: in the tokenizer's settings, in files, by names, and faulty."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import tiny_training

from edgedistill.distillation.chat_files import chat_template
from edgedistill.distillation.tokenizer_files import read_tokenizer

WORKS = "{% for m in messages %}{{ m.content }}{% endfor %}"


def _settings(folder: Path, **changes: Any) -> None:
    path = folder / "tokenizer_config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | changes))


def _read(folder: Path) -> str | None:
    return chat_template(folder, read_tokenizer(folder)[0])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tiny_training.model_folder(tmp_path / "model")


def test_it_is_the_settings_or_a_file_s(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    assert _read(folder) is None
    _settings(folder, chat_template=WORKS)
    assert _read(folder) == WORKS
    (folder / "chat_template.jinja").write_text(WORKS + "!")
    assert _read(folder) == WORKS + "!"
    assert not caplog.records


def test_of_several_it_is_the_default(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    named = [{"name": "tool_use", "template": "{{ tools }}"}, {"name": "default", "template": WORKS}]
    _settings(folder, chat_template=named)
    assert _read(folder) == WORKS
    (folder / "chat_template.jinja").write_text(WORKS + "!")
    (folder / "additional_chat_templates").mkdir()
    (folder / "additional_chat_templates" / "rag.jinja").write_text("{{ documents }}")
    assert _read(folder) == WORKS + "!"
    assert not caplog.records


def test_without_a_default_there_is_none_and_a_warning(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    _settings(folder, chat_template=[{"name": "tool_use", "template": WORKS}, {"name": "rag", "template": WORKS}])
    with caplog.at_level(logging.WARNING):
        assert _read(folder) is None
    assert "has the chat templates rag, tool_use and none called default" in caplog.text


@pytest.mark.parametrize(
    ("template", "says"),
    [
        ("{% for", "is faulty: TemplateSyntaxError"),
        ("{% unknown %}", "is faulty: TemplateSyntaxError: Encountered unknown tag 'unknown'"),
        ("{{ a.b.c }}", "is faulty: UndefinedError: 'a' is undefined"),
        ("{{ raise_exception('no') }}", "refuses a chat of one message: no"),
        ("hello", "leaves out what the user says"),
    ],
)
def test_a_template_that_cannot_work_is_reported(
    folder: Path, caplog: pytest.LogCaptureFixture, template: str, says: str
) -> None:
    _settings(folder, chat_template=template)
    with caplog.at_level(logging.WARNING):
        assert _read(folder) == template
    assert f"the chat template {says}" in caplog.text
    assert "a palette of it takes no chats" in caplog.text
