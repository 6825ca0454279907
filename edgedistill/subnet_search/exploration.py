"""Score the subnets of a space: all of them, or if they are too many those that a sampler suggests."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgedistill.architecture import SearchSpace, Subnet
from edgedistill.subnet_search.constrained_search import Terms

if TYPE_CHECKING:
    import optuna

__all__ = ["explore"]

_TRIES = 5  # suggestions per score, since the sampler repeats itself


def explore(space: SearchSpace, terms: Terms, quality: Callable[[Subnet], float], most: int) -> dict[Subnet, float]:
    """Return scores of the whole space, or of about ``most`` of its subnets within the limits.

    Those are the largest, the smallest, and what Optuna's multi-objective TPE expects to be better or cheaper than the
    others so far. The same arguments and scores give the same subnets.
    """
    if len(space) <= most:
        return {subnet: quality(subnet) for subnet in space}
    ends = (space.maxnet, space.minnet)
    members = {subnet: terms.member(subnet) for subnet in space}
    allowed = {subnet for subnet, member in members.items() if terms.allow(member)}
    if len(allowed) <= most:
        return {subnet: quality(subnet) for subnet in members if subnet in allowed or subnet in ends}
    scores = {subnet: quality(subnet) for subnet in ends}
    study = _study(most)
    for _ in range(_TRIES * most):
        if len(scores) >= most:
            break
        trial = study.ask()
        subnet = _suggested(trial, space)
        if subnet in allowed and subnet not in scores:
            scores[subnet] = quality(subnet)
        # Subnets beyond the limits are reported as bad as the worst, so that the sampler learns to avoid them.
        value = scores[subnet] if subnet in allowed else min(scores.values())
        study.tell(trial, [value, members[subnet].measure(terms.cost_metric)])
    return scores


def _study(most: int) -> optuna.Study:
    """Create a study that raises quality and lowers cost; a quarter of it is random, to start the sampler."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(n_startup_trials=most // 4, multivariate=True, seed=0)
    return optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)


def _suggested(trial: optuna.Trial, space: SearchSpace) -> Subnet:
    """Suggest each choice by its index, since neighbours are similar."""
    layers = space.layers[trial.suggest_int("depth", 0, len(space.layers) - 1)]
    hidden, heads, ffn = (
        choices[trial.suggest_int(name, 0, len(choices) - 1)]
        for name, choices in (("hidden", space.hidden), ("heads", space.heads), ("ffn", space.ffn))
    )
    return Subnet.uniform(layers, hidden=hidden, heads=heads, ffn=ffn)
