"""Draws against a plain definition: every token's probability, worked out one by one."""

from __future__ import annotations

import itertools
import math
from collections import Counter

import numpy as np
import pytest

from edgedistill.errors import InputError
from edgedistill.runtime.generation.token_sampling import Sampler, Sampling, probabilities


def plain(logits: list[float], temperature: float, top_k: int | None, top_p: float | None) -> dict[int, float]:
    """By the definition: softmax, the k likeliest, of them the fewest that hold p; what is left, scaled to 1."""
    weights = {token: math.exp((logit - max(logits)) / temperature) for token, logit in enumerate(logits)}
    kept = sorted(weights, key=lambda token: -weights[token])[:top_k]
    whole = sum(weights[token] for token in kept)
    nucleus: list[int] = []
    for token in kept:
        if top_p not in (None, 1.0) and sum(weights[one] for one in nucleus) / whole >= top_p:
            break
        nucleus.append(token)
    rest = sum(weights[token] for token in nucleus)
    return {token: weights[token] / rest for token in nucleus}


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    list(itertools.product((0.3, 1.0, 2.5), (None, 1, 3, 10, 99), (None, 0.01, 0.4, 0.9, 0.999, 1.0))),
)
def test_probabilities_are_those_of_the_definition(temperature: float, top_k: int | None, top_p: float | None) -> None:
    rng = np.random.default_rng(7)
    for size in (1, 2, 12, 40):
        logits = (3 * rng.normal(size=size)).astype(np.float32)
        tokens, shares = probabilities(logits, Sampling(temperature, top_k, top_p))
        expected = plain(logits.tolist(), temperature, top_k, top_p)
        assert dict(zip(tokens.tolist(), shares.tolist(), strict=True)) == pytest.approx(expected, rel=1e-9)


def test_zero_takes_the_likeliest_whatever_else_is_asked_for() -> None:
    logits = np.array([0.1, 3.0, 2.9], np.float32)
    assert {Sampler(Sampling(0.0, top_k=3, top_p=0.1, seed=seed)).pick(logits) for seed in range(20)} == {1}


def test_draws_come_as_often_as_they_should_and_again_with_the_same_seed() -> None:
    logits = np.log(np.array([0.5, 0.3, 0.15, 0.05], np.float32))
    sampler = Sampler(Sampling(1.0, top_k=3, seed=3))
    drawn = [sampler.pick(logits) for _ in range(4000)]
    counts = Counter(drawn)
    for token, share in plain(logits.tolist(), 1.0, 3, None).items():
        assert counts[token] / 4000 == pytest.approx(share, abs=0.03)
    assert counts[3] == 0
    again = Sampler(Sampling(1.0, top_k=3, seed=3))
    assert [again.pick(logits) for _ in range(4000)] == drawn


def test_equal_logits_are_all_drawn() -> None:
    sampler = Sampler(Sampling(1.0, top_p=0.99, seed=0))
    assert {sampler.pick(np.zeros(5, np.float32)) for _ in range(200)} == {0, 1, 2, 3, 4}


@pytest.mark.parametrize(
    ("option", "value"),
    [
        ("temperature", -0.1),
        ("temperature", math.nan),
        ("temperature", math.inf),
        ("top_k", 0),
        ("top_p", 0.0),
        ("top_p", 1.01),
        ("top_p", math.nan),
        ("seed", -1),
    ],
)
def test_a_value_out_of_range_is_refused(option: str, value: float) -> None:
    with pytest.raises(InputError, match=option):
        Sampling(**{option: value})  # type: ignore[arg-type]


@pytest.mark.parametrize("temperature", [0.0, 1.0])
def test_logits_that_are_no_numbers_give_no_token_and_minus_infinity_is_never_drawn(temperature: float) -> None:
    sampler = Sampler(Sampling(temperature, seed=0))
    for broken in (math.nan, math.inf):
        assert sampler.pick(np.array([1, broken, 3], np.float32)) is None
    assert sampler.pick(np.full(3, -math.inf, np.float32)) is None
    assert {sampler.pick(np.array([-math.inf, 2, -math.inf], np.float32)) for _ in range(20)} == {1}
