"""The family under constraints: what fits, what its cost is counted in, and what it would take otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgedistill.architecture import Architecture, Subnet
from edgedistill.errors import SearchError
from edgedistill.subnet_search.device_costs import Cost, DeviceCosts
from edgedistill.subnet_search.front import Scored, choose_family, pareto_front

__all__ = ["Against", "Member", "Search", "SearchLimits", "Terms", "search"]

Against = Literal["latency", "memory", "macs", "parameters"]


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """What a member may cost on the device; None for no limit."""

    max_latency_ms: float | None = None
    max_memory_mb: float | None = None

    def allow(self, cost: Cost) -> bool:
        """Whether it keeps to both."""
        slow = self.max_latency_ms is not None and cost.latency_ms > self.max_latency_ms
        large = self.max_memory_mb is not None and cost.memory_mb > self.max_memory_mb
        return not slow and not large


@dataclass(frozen=True, slots=True)
class Member:
    """A subnet of the space: its quality on validation data, and what it costs (None: no device was named).

    ``error``: of a regression the mean absolute error there, in the unit of the labels.
    """

    subnet: Subnet
    quality: float
    layer_parameters: int
    macs: int
    cost: Cost | None
    error: float | None = None

    def measure(self, against: Against) -> float:
        """Its cost in the unit that the search goes by.

        Raises:
            SearchError: that unit needs a device.
        """
        if against == "parameters":
            return self.layer_parameters
        if against == "macs":
            return self.macs
        if self.cost is None:
            raise SearchError(f"a search against {against} needs a device; give --device, or --against parameters")
        return self.cost.latency_ms if against == "latency" else self.cost.memory_mb


@dataclass(frozen=True)
class Terms:
    """By what subnets are compared.

    Attributes:
        arch: the supernet's.
        tokens: the length that MACs are counted at.
        against: what cost is.
        limits: on the device that ``model`` knows.
        model: costs on the device; None without one.

    Raises:
        SearchError: there are limits, but no device.
    """

    arch: Architecture
    tokens: int
    against: Against
    limits: SearchLimits
    model: DeviceCosts | None

    def __post_init__(self) -> None:
        if self.model is None and self.limits != SearchLimits():
            raise SearchError("limits of latency and memory are a device's; say which by --device")

    @property
    def source(self) -> str | None:
        """Where device figures come from; None where there are none."""
        return None if self.model is None else self.model.source

    def member(self, subnet: Subnet, quality: float = float("nan")) -> Member:
        """The subnet with all that it costs."""
        parameters, macs = self.arch.layer_parameters(subnet), self.arch.macs(subnet, tokens=self.tokens)
        return Member(subnet, quality, parameters, macs, None if self.model is None else self.model.of(subnet))

    def allow(self, member: Member) -> bool:
        """Whether it keeps to the limits."""
        return member.cost is None or self.limits.allow(member.cost)


@dataclass(frozen=True)
class Search:
    """What was found: all that was scored, its front, and the family, the last two dearest first.

    ``against`` says what cost is; ``source`` where device figures come from, None where there are none.
    """

    against: Against
    source: str | None
    scored: list[Member]
    front: list[Member]
    family: list[Member]


def search(qualities: Mapping[Subnet, float], terms: Terms, count: int) -> Search:
    """The family of at most ``count`` subnets that keep to the limits, spread evenly in cost over their front.

    ``qualities``: on validation data, of every subnet that may be chosen.

    Raises:
        SearchError: nothing keeps to the limits (the message says what the cheapest takes), or ``against`` needs a
            device.
    """
    members = [terms.member(subnet, quality) for subnet, quality in qualities.items()]
    allowed = {member.subnet: member for member in members if terms.allow(member)}
    if not allowed:
        raise SearchError(_why_none(members, terms.limits, terms.source or ""))
    scored = [Scored(member.subnet, member.measure(terms.against), member.quality) for member in allowed.values()]
    chosen, front = choose_family(scored, count), pareto_front(scored)[::-1]
    return Search(
        terms.against, terms.source, members, [allowed[s.subnet] for s in front], [allowed[s.subnet] for s in chosen]
    )


def _why_none(members: list[Member], limits: SearchLimits, source: str) -> str:
    """What the fastest and the smallest take, beside the limits."""
    costs = [member.cost for member in members if member.cost is not None]
    fastest, smallest = min(cost.latency_ms for cost in costs), min(cost.memory_mb for cost in costs)
    asked = [
        f"{limit:g} {unit} (the least is {least:g})"
        for limit, unit, least in (
            (limits.max_latency_ms, "ms", fastest),
            (limits.max_memory_mb, "MB", smallest),
        )
        if limit is not None
    ]
    return f"no subnet keeps to {' and '.join(asked)}, {source}; allow more, or train a space with smaller members"
