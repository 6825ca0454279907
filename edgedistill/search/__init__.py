"""Which subnets make the family."""

from edgedistill.search.costs import Cost, CostModel, Estimated, Fitted
from edgedistill.search.family import Against, Limits, Member, Search, search
from edgedistill.search.front import Scored, choose_family, pareto_front
from edgedistill.search.quality import scored_once

__all__ = [
    "Against",
    "Cost",
    "CostModel",
    "Estimated",
    "Fitted",
    "Limits",
    "Member",
    "Scored",
    "Search",
    "choose_family",
    "pareto_front",
    "scored_once",
    "search",
]
