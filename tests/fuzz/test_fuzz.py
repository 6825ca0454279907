"""Whatever a file, a text or an option holds, nothing but errors of ours comes out.

A few inputs a target, the same each time; ``python -m tests.fuzz`` tries them for minutes, `graph` among them, as
onnxruntime may end the process. What was found once is in `FOUND`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from random import Random
from typing import Any

import pytest
import tiny_palette
from fuzz import targets
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from edgedistill.errors import EdgeDistillError

_SLOW = {"model", "supernet", "options", "manifest-commands", "lines"}
_QUICK = sorted(targets.TARGETS.keys() - _SLOW - {"graph"})


def _check(target: str, content: Any) -> None:
    error = targets.outcome(targets.TARGETS[target], content)
    if error is not None and not isinstance(error, EdgeDistillError):
        raise AssertionError(f"{target}: {content!r}") from error
    assert "\n" not in str(error or "")


def _tokenizer(**changes: Any) -> bytes:
    """Return the tiny palette's tokenizer with parts of it exchanged."""
    return json.dumps(json.loads(tiny_palette.tokenizer().to_str()) | changes).encode()


def _with_tokenizer(**changes: Any) -> dict[str, Any]:
    """Return a manifest with parts of its tokenizer's entry exchanged."""
    manifest = targets.UNCHANGED["manifest-vectors"]()
    return {**manifest, "input": {**manifest["input"], "tokenizer": {**manifest["input"]["tokenizer"], **changes}}}


_LACKING = {  # the special tokens that it names
    "type": "TemplateProcessing",
    "single": [{"SpecialToken": {"id": "[CLS]", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}],
    "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
    "special_tokens": {},
}
_FAR = {"type": "WordLevel", "vocab": {"[PAD]": 0, "[UNK]": 1, "far": 2**31}, "unk_token": "[UNK]"}
FOUND: dict[str, tuple[str, Callable[[], Any]]] = {
    "messages that are a number": ("chat", lambda: ("{{ messages }}", -1.5)),
    "messages that are one": ("chat", lambda: ("{{ messages }}", {"role": "user", "content": "a"})),
    # The library panics, which is no Exception.
    "a template without its tokens": ("tokenizer", lambda: _tokenizer(post_processor=_LACKING)),
    "a template without its tokens, by words": ("tokenizer-of-words", lambda: _tokenizer(post_processor=_LACKING)),
    "a padding token without an id": ("model", lambda: ("tokenizer_config.json", b'{"pad_token": ""}')),
    "an id that takes minutes to count to": ("model", lambda: ("tokenizer.json", _tokenizer(model=_FAR))),
    "half a surrogate pair": ("model", lambda: ("tokenizer_config.json", b'{"a": "\\ud800"}')),
    "labels that are fewer than a graph's outputs": (
        "manifest-tagged",
        lambda: targets.UNCHANGED["manifest-tagged"]() | {"labels": ["batch", "tokens"]},
    ),
    "an output without a width": (
        "manifest-vectors",
        lambda: (
            targets.UNCHANGED["manifest-vectors"]()
            | {"graph_outputs": [{"name": "logits", "dtype": "float32", "shape": ["batch"]}]}
        ),
    ),
    "a length beyond 64 bits": ("manifest-vectors", lambda: _with_tokenizer(max_tokens=10**30)),
    "a padding id beyond 64 bits": ("manifest-vectors", lambda: _with_tokenizer(pad_token_id=10**30)),
    "layers that take all memory": (
        "model",
        lambda: ("config.json", targets.model_config(num_hidden_layers=4_000_000)),
    ),
    "layers of a supernet that take all memory": (
        "supernet",
        lambda: ("supernet.json", targets.supernet_of(4_000_000)),
    ),
    "a size that no tensor has": (
        "model",
        lambda: ("config.json", targets.model_config(max_position_embeddings=-(2**70))),
    ),
}


@pytest.mark.parametrize("target", _QUICK)
@settings(
    max_examples=6, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)  # fmt: skip
@given(random=st.randoms(use_true_random=False))
def test_nothing_foreign_comes_out(target: str, random: Random) -> None:
    _check(target, targets.TARGETS[target].make(random))


@pytest.mark.slow
@pytest.mark.parametrize("target", sorted(_SLOW))
@settings(
    max_examples=2, derandomize=True, database=None, deadline=None, suppress_health_check=list(HealthCheck)
)  # fmt: skip
@given(random=st.randoms(use_true_random=False))
def test_nothing_foreign_comes_out_of_what_takes_longer(target: str, random: Random) -> None:
    _check(target, targets.TARGETS[target].make(random))


@pytest.mark.parametrize("name", list(FOUND))
def test_what_was_found_once_stays_mended(name: str) -> None:
    target, content = FOUND[name]
    _check(target, content())


@pytest.mark.slow
@pytest.mark.parametrize("target", list(targets.UNCHANGED))
def test_what_inputs_are_made_of_is_fine(target: str) -> None:
    """So that an input that is refused is refused for its change."""
    assert targets.outcome(targets.TARGETS[target], targets.UNCHANGED[target]()) is None


def test_an_error_of_the_library_is_told_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    """So that the fuzzing itself can fail."""
    target = targets.Target(lambda _: None, lambda *_: {}["a"])
    monkeypatch.setitem(targets.TARGETS, "broken", target)
    with pytest.raises(AssertionError, match="broken: None"):
        _check("broken", None)
