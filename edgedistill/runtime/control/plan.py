"""Plan how to get to the subnet that was decided for: a pure function of what is in memory and on its way there.

`plan` returns the next action. After an exchange, or a change of the fallback, the situation is another one, so that
whoever executes actions plans again. Any other action ends the step.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from edgedistill.runtime.control.decide import Policy, Reason, fits_with
from edgedistill.runtime.predict.candidates import Candidate
from edgedistill.runtime.sensors import Readings

__all__ = [
    "NEW_PALETTE",
    "URGENT",
    "Action",
    "DropFallback",
    "Exchange",
    "KeepAsFallback",
    "Load",
    "LoadFirst",
    "Prove",
    "Situation",
    "Target",
    "Wait",
    "has_just_run_short",
    "plan",
]

NEW_PALETTE = "a new palette"  # the loader's name of its proof; no subnet's name has a space
# For these reasons the fallback takes over at once, until the target is loaded.
URGENT = frozenset({Reason.TOO_SLOW, Reason.LOW_MEMORY, Reason.QUARANTINED, Reason.NO_FIT_SMALLEST})


class Target(NamedTuple):
    """The subnet that was decided for, why, and since when: since the decision, or once it serves, since then."""

    subnet: str
    since_s: float
    reason: Reason


@dataclass(frozen=True, slots=True, kw_only=True)
class Situation:
    """The subnets in memory, and on their way there.

    Attributes:
        target: the subnet that was decided for.
        live: the subnet that serves; None before the first.
        fallback: the fallback subnet that is in memory, which may be the live one; None without one.
        smallest: the subnet that should be the fallback.
        held: the subnets in memory, those that drain included.
        is_draining: whether a subnet that was retired is still in memory.
        loading: what is being loaded.
        may_load: whether another load may begin.
        is_palette_due: whether a new palette waits for its proof.
        last_exchange_s: when the live subnet was exchanged last; None before the first exchange.
        figures: memory and latency of each subnet, by name.
    """

    target: Target
    live: str | None
    fallback: str | None
    smallest: str
    held: Sequence[str] = ()
    is_draining: bool = False
    loading: Sequence[str] = ()
    may_load: bool = True
    is_palette_due: bool = False
    last_exchange_s: float | None = None
    figures: Mapping[str, Candidate]

    def has_room_for(self, *subnets: str, free_mb: float | None, policy: Policy) -> bool:
        """Return whether these can be loaded beside all that is in memory, and on its way there."""
        loading = [name for name in self.loading if name not in subnets]
        loaded = [self.figures[name] for name in (*self.held, *loading) if name in self.figures]
        fresh = [self.figures[name] for name in subnets]
        return all(
            fits_with(candidate, [*loaded, *fresh[:place]], free_mb, policy) for place, candidate in enumerate(fresh)
        )


class LoadFirst(NamedTuple):
    """Load the first subnet and wait for it: nothing serves until then."""

    subnet: str


class Exchange(NamedTuple):
    """Let the fallback serve. ``is_bridge``: until the target is loaded."""

    subnet: str
    is_bridge: bool = False


class KeepAsFallback(NamedTuple):
    """Keep the live subnet as the fallback."""

    subnet: str


class DropFallback(NamedTuple):
    """Drop the fallback, so that a new palette has room; its proof follows once that has drained."""

    subnet: str


class Load(NamedTuple):
    """Load a subnet in the background."""

    subnet: str


class Prove(NamedTuple):
    """Prove the new palette in the background: its smallest subnet, and the one of this name (None: no other)."""

    subnet: str | None


class Wait(NamedTuple):
    """Change nothing in this step."""


Action = LoadFirst | Exchange | KeepAsFallback | DropFallback | Load | Prove | Wait


def plan(at: Situation, readings: Readings, policy: Policy, now_s: float) -> Action:
    """Return the next action towards the target."""
    if at.live is None:
        return LoadFirst(at.target.subnet)
    exchange = _exchange(at, at.live, readings, policy)
    if exchange is not None:
        return exchange
    load = _load(at, at.live, readings, policy, now_s)
    name = NEW_PALETTE if isinstance(load, Prove | DropFallback) else None if load is None else load.subnet
    # A load that has begun cannot be stopped.
    return Wait() if load is None or not at.may_load or name in at.loading else load


def _exchange(at: Situation, live: str, readings: Readings, policy: Policy) -> Exchange | KeepAsFallback | None:
    """Return what to do with the subnets in memory; None if they are in their places."""
    target, fallback = at.target.subnet, at.fallback
    if fallback == target:
        return None if live == target else Exchange(target)
    if live == at.smallest and fallback != live:
        return KeepAsFallback(live)
    if fallback in (None, live) or target == live:
        return None
    assert fallback is not None
    has_room = at.has_room_for(target, free_mb=readings.free_mb, policy=policy)
    return Exchange(fallback, is_bridge=True) if at.target.reason in URGENT or not has_room else None


def _load(
    at: Situation, live: str, readings: Readings, policy: Policy, now_s: float
) -> Load | Prove | DropFallback | None:
    """Return what to load next: the target, then a new palette, then the fallback."""
    target, fallback = at.target.subnet, at.fallback
    lacks_fallback = fallback != at.smallest
    if target not in (live, fallback):
        if live == fallback and has_just_run_short(at.target, at.last_exchange_s, now_s, policy):
            return None
        if at.has_room_for(target, free_mb=readings.free_mb, policy=policy):
            return Load(target)
        if lacks_fallback:
            return Load(at.smallest)
        # Nothing else can be given back once the fallback is alone in memory.
        return Load(target) if live == fallback and not at.is_draining else None
    if at.is_palette_due:
        return _prove(at, live, policy)
    has_room = lacks_fallback and at.has_room_for(at.smallest, free_mb=readings.free_mb, policy=policy)
    return Load(at.smallest) if has_room else None


def _prove(at: Situation, live: str, policy: Policy) -> Prove | DropFallback:
    """Return how to prove a new palette: by as many of its subnets as the memory budget allows beside the old ones."""
    pair = dict.fromkeys((live, at.smallest))
    if at.has_room_for(*pair, free_mb=None, policy=policy):
        return Prove(live)
    if at.fallback in (None, live) or at.has_room_for(at.smallest, free_mb=None, policy=policy):
        return Prove(None)
    assert at.fallback is not None
    return DropFallback(at.fallback)


def has_just_run_short(target: Target, last_exchange_s: float | None, now_s: float, policy: Policy) -> bool:
    """Return whether the fallback took over a moment ago for a lack of memory.

    Memory may go on falling, and no load can be stopped. So free memory is read again first.
    """
    if target.reason is not Reason.LOW_MEMORY or last_exchange_s is None:
        return False
    return now_s - last_exchange_s < policy.dwell_s
