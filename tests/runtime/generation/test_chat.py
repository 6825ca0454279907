from __future__ import annotations

import shutil
import sys
from pathlib import Path
from typing import Any

import pytest
import tiny_palette

from edgedistill.errors import InputError, PaletteError
from edgedistill.palette import load
from edgedistill.runtime import TextGenerator
from edgedistill.runtime.generation.chat import render

TEMPLATE = """{{ bos_token }}{% for message in messages %}
{% if message.role == 'system' and not loop.first %}{{ raise_exception('the system speaks first') }}{% endif %}
<{{ message['role'] }}>{{ message['content'] | trim }}</s>
{% endfor %}
{% if add_generation_prompt %}<assistant>{% endif %}"""
TALK = [{"role": "system", "content": "Be <brief>. "}, {"role": "user", "content": "Who is Lily?"}]
TOKENS = {"bos_token": "<s>"}


def test_messages_become_what_the_template_says() -> None:
    written = render(TEMPLATE, TALK, TOKENS)
    assert written == "<s><system>Be <brief>.</s>\n<user>Who is Lily?</s>\n<assistant>"
    assert render("{{ messages | tojson }}", TALK[1:], {}) == '[{"role": "user", "content": "Who is Lily?"}]'


@pytest.mark.parametrize(
    ("messages", "says"),
    [
        ([], "expected a list of at least one"),
        ("hello", "expected a list of at least one"),
        (["hello"], "message 1 is a str"),
        ([*TALK, {"role": "user"}], "message 3 is not a message"),
        ([{"role": "user", "content": 3}], "message 1 is not a message"),
        (TALK[::-1], "refuses these messages: the system speaks first"),
    ],
)
def test_what_is_no_chat_is_refused(messages: Any, says: str) -> None:
    with pytest.raises(InputError, match=says):
        render(TEMPLATE, messages, TOKENS)


@pytest.mark.parametrize(
    "template",
    [
        "{{ messages.__class__.__mro__[1].__subclasses__() }}",
        "{{ ''.__class__.__base__ }}{{ cycler.__init__.__globals__.os.popen('id').read() }}",
        "{{ dict.__init__.__globals__ }}",
        "{{ strftime_now.__globals__.json }}",
        "{% set n = namespace() %}{% set n.__class__ = 1 %}",
        "{{ messages.append(1) }}",
        "{% for",
        "{{ 1 + messages }}",
    ],
)
def test_a_template_cannot_reach_out_and_is_blamed_in_one_line(template: str) -> None:
    with pytest.raises(PaletteError, match="the palette's chat template is faulty") as raised:
        render(template, TALK, TOKENS)
    assert "\n" not in str(raised.value)


def test_a_template_that_fails_at_some_messages_alone_blames_them() -> None:
    template = "{% for m in messages %}{{ m.content + '' }}{% endfor %}"
    with pytest.raises(InputError, match="chat template fails at these messages: TypeError"):
        render(template, [{"role": "user", "content": [{"type": "text", "text": "hi"}]}], TOKENS)


def test_without_jinja_one_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "edgedistill.runtime.generation.templates", raising=False)
    monkeypatch.delattr("edgedistill.runtime.generation.templates", raising=False)
    monkeypatch.setitem(sys.modules, "jinja2.sandbox", None)
    with pytest.raises(InputError, match=r"pip install 'edgedistill\[chat\]'"):
        render(TEMPLATE, TALK, TOKENS)


def test_a_palette_with_a_template_chats(stories: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(stories, tmp_path / "palette"))
    generation = load(folder).manifest.generation
    assert generation is not None
    template = "{{ bos_token }}{% for m in messages %} {{ m.role }}: {{ m.content }}\n{% endfor %} assistant:"
    tiny_palette.reseal(folder, generation=generation.model_copy(update={"chat_template": template}))
    with TextGenerator(folder, threads=1) as generator:
        ids = generator.chat_prompt(TALK[1:])
        assert ids[0] == 1
        assert ids.count(1) == 1, "the template begins the text, not the tokenizer"
        assert generator._prompts._tokenizer.decode(ids).strip() == "user: Who is Lily?\n assistant:"
        found = generator.chat(TALK[1:], max_new_tokens=5)
        assert found.token_ids == generator.generate(ids, max_new_tokens=5).token_ids


def test_a_palette_without_a_template_says_so(stories: Path) -> None:
    with TextGenerator(stories, threads=1) as generator, pytest.raises(InputError, match="no chat template"):
        generator.chat(TALK)
