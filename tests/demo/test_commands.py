"""The demo's grammar: other words in test than in train, and nothing that word counts can read off."""

from __future__ import annotations

import re
from importlib import resources

import tomllib

from edgedistill.demo.commands import generate
from edgedistill.distillation.baseline import word_count_score

GRAMMAR = tomllib.loads(resources.files("edgedistill.demo").joinpath("commands.toml").read_text(encoding="utf-8"))


def test_the_same_seed_gives_the_same_sentences() -> None:
    assert generate(0) == generate(0)
    assert generate(0).sha256 != generate(1).sha256


def test_twenty_intents_in_every_split() -> None:
    data = generate()
    assert len(data.label_names) == 20
    for split, fewest in ((data.train, 50), (data.validation, 10), (data.test, 20)):
        assert all(split.labels.count(label) >= fewest for label in range(20))
        assert len(set(split.texts)) == len(split.texts)


def test_no_template_serves_two_splits_or_two_intents() -> None:
    templates = [
        template
        for intent in GRAMMAR["intents"].values()
        for split in ("train", "validation", "test")
        for template in intent[split]
    ]
    assert len(set(templates)) == len(templates)
    data = generate()
    assert not set(data.test.texts) & (set(data.train.texts) | set(data.validation.texts))


def test_test_sentences_take_values_that_train_never_had() -> None:
    data = generate()
    for values in GRAMMAR["unseen"].values():
        for value in values:
            assert not any(re.search(rf"\b{re.escape(value)}\b", text) for text in data.train.texts), value


def test_every_slot_is_filled_and_every_value_used() -> None:
    data = generate()
    everything = " ".join(data.train.texts + data.validation.texts + data.test.texts)
    assert "{" not in everything
    for values in (*GRAMMAR["slots"].values(), *GRAMMAR["unseen"].values()):
        assert all(value in everything for value in values)


def test_word_counts_do_not_solve_it() -> None:
    assert 0.2 < word_count_score(generate()) < 0.9
