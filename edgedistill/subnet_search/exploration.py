"""Which subnets of a space are scored: all of them, or where they are too many those that a sampler asks for."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from edgedistill.architecture import SearchSpace, Subnet
from edgedistill.subnet_search.constrained_search import Terms

if TYPE_CHECKING:
    import optuna

__all__ = ["explore"]

_TRIES = 5  # of the sampler for each score, since it asks again for what it liked


def explore(space: SearchSpace, terms: Terms, quality: Callable[[Subnet], float], most: int) -> dict[Subnet, float]:
    """Scores of the whole space, or of about ``most`` of its subnets that keep to the limits.

    Those are the largest, the smallest, and what Optuna's multi-objective TPE takes to be better or cheaper than what
    it has seen. The same arguments and scores give the same subnets.
    """
    if len(space) <= most:
        return {subnet: quality(subnet) for subnet in space}
    ends = (space.maxnet, space.minnet)
    members = {subnet: terms.member(subnet) for subnet in space}
    allowed = {subnet for subnet, member in members.items() if terms.allow(member)}
    if len(allowed) <= most:
        return {subnet: quality(subnet) for subnet in members if subnet in allowed or subnet in ends}
    found = {subnet: quality(subnet) for subnet in ends}
    study = _study(most)
    for _ in range(_TRIES * most):
        if len(found) >= most:
            break
        trial = study.ask()
        subnet = _suggested(trial, space)
        if subnet in allowed and subnet not in found:
            found[subnet] = quality(subnet)
        # What breaks the limits is told to be as bad as the worst, so that the sampler learns to leave it alone.
        value = found[subnet] if subnet in allowed else min(found.values())
        study.tell(trial, [value, members[subnet].measure(terms.against)])
    return found


def _study(most: int) -> optuna.Study:
    """To raise quality and to lower cost; a quarter of it is drawn at random, before the sampler knows anything."""
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    sampler = optuna.samplers.TPESampler(n_startup_trials=most // 4, multivariate=True, seed=0)
    return optuna.create_study(directions=["maximize", "minimize"], sampler=sampler)


def _suggested(trial: optuna.Trial, space: SearchSpace) -> Subnet:
    """Each choice by its place, since neighbours are alike."""
    kept = space.layers[trial.suggest_int("depth", 0, len(space.layers) - 1)]
    hidden, heads, ffn = (
        choices[trial.suggest_int(name, 0, len(choices) - 1)]
        for name, choices in (("hidden", space.hidden), ("heads", space.heads), ("ffn", space.ffn))
    )
    return Subnet.uniform(kept, hidden=hidden, heads=heads, ffn=ffn)
