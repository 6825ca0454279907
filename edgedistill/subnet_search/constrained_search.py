"""Choose the family under limits of latency and memory."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from edgedistill.architecture import Architecture, Subnet
from edgedistill.errors import SearchError
from edgedistill.subnet_search.device_costs import Cost, DeviceCosts
from edgedistill.subnet_search.front import Scored, choose_family, pareto_front

__all__ = ["CostMetric", "Member", "Search", "SearchLimits", "Terms", "search"]

CostMetric = Literal["latency", "memory", "macs", "parameters"]


@dataclass(frozen=True, slots=True)
class SearchLimits:
    """Limit what a member may cost on the device; None for no limit."""

    max_latency_ms: float | None = None
    max_memory_mb: float | None = None

    def allow(self, cost: Cost) -> bool:
        """Return whether a cost is within both limits."""
        slow = self.max_latency_ms is not None and cost.latency_ms > self.max_latency_ms
        large = self.max_memory_mb is not None and cost.memory_mb > self.max_memory_mb
        return not slow and not large


@dataclass(frozen=True, slots=True)
class Member:
    """Hold a subnet's quality on validation data and its cost (None: without a device).

    ``error``: for a regression, the mean absolute error on validation data, in the unit of the labels.
    """

    subnet: Subnet
    quality: float
    layer_parameters: int
    macs: int
    cost: Cost | None
    error: float | None = None

    def measure(self, cost_metric: CostMetric) -> float:
        """Return its cost by the search's metric.

        Raises:
            SearchError: that metric needs a device.
        """
        if cost_metric == "parameters":
            return self.layer_parameters
        if cost_metric == "macs":
            return self.macs
        if self.cost is None:
            raise SearchError(f"a search by {cost_metric} needs a device; give --device, or --cost-metric parameters")
        return self.cost.latency_ms if cost_metric == "latency" else self.cost.memory_mb


@dataclass(frozen=True)
class Terms:
    """Hold the terms on which subnets are compared.

    Attributes:
        arch: the supernet's architecture.
        tokens: the length at which MACs are counted.
        cost_metric: the cost metric.
        limits: limits on the device of ``model``.
        model: costs on the device; None without one.

    Raises:
        SearchError: limits need a device.
    """

    arch: Architecture
    tokens: int
    cost_metric: CostMetric
    limits: SearchLimits
    model: DeviceCosts | None

    def __post_init__(self) -> None:
        if self.model is None and self.limits != SearchLimits():
            raise SearchError("limits of latency and memory are a device's; say which by --device")

    @property
    def source(self) -> str | None:
        """Return the source of device figures; None without any."""
        return None if self.model is None else self.model.source

    def member(self, subnet: Subnet, quality: float = float("nan")) -> Member:
        """Return a subnet with all its costs."""
        parameters, macs = self.arch.layer_parameters(subnet), self.arch.macs(subnet, tokens=self.tokens)
        return Member(subnet, quality, parameters, macs, None if self.model is None else self.model.predict(subnet))

    def allow(self, member: Member) -> bool:
        """Return whether a member is within the limits."""
        return member.cost is None or self.limits.allow(member.cost)


@dataclass(frozen=True)
class Search:
    """Hold the result: all scored members, their front, and the family, the last two from expensive to cheap.

    ``cost_metric`` is the cost metric, ``source`` the source of device figures, None without any.
    """

    cost_metric: CostMetric
    source: str | None
    scored: list[Member]
    front: list[Member]
    family: list[Member]


def search(qualities: Mapping[Subnet, float], terms: Terms, count: int) -> Search:
    """Choose a family of at most ``count`` subnets within the limits, evenly spread in cost over their front.

    ``qualities``: validation quality of every subnet that may be chosen.

    Raises:
        SearchError: no subnet is within the limits (the message has the lowest costs), or ``cost_metric`` needs a
            device.
    """
    members = [terms.member(subnet, quality) for subnet, quality in qualities.items()]
    allowed = {member.subnet: member for member in members if terms.allow(member)}
    if not allowed:
        raise SearchError(_why_none(members, terms.limits, terms.source or ""))
    scored = [Scored(member.subnet, member.measure(terms.cost_metric), member.quality) for member in allowed.values()]
    chosen, front = choose_family(scored, count), pareto_front(scored)[::-1]
    return Search(
        terms.cost_metric,
        terms.source,
        members,
        [allowed[s.subnet] for s in front],
        [allowed[s.subnet] for s in chosen],
    )


def _why_none(members: list[Member], limits: SearchLimits, source: str) -> str:
    """Return a message with the lowest costs next to the limits."""
    costs = [member.cost for member in members if member.cost is not None]
    fastest, smallest = min(cost.latency_ms for cost in costs), min(cost.memory_mb for cost in costs)
    limited = [
        f"{limit:g} {unit} (the least is {least:g})"
        for limit, unit, least in (
            (limits.max_latency_ms, "ms", fastest),
            (limits.max_memory_mb, "MB", smallest),
        )
        if limit is not None
    ]
    return f"no subnet keeps to {' and '.join(limited)}, {source}; allow more, or train a space with smaller members"
