"""Which subnets make the family."""

from edgedistill.search.costs import Cost, Costs, Estimated, Fitted
from edgedistill.search.family import Against, Limits, Member, Search, Terms, search
from edgedistill.search.front import Scored, choose_family, pareto_front
from edgedistill.search.quality import scored_once
from edgedistill.search.sampling import explored

__all__ = [
    "Against",
    "Cost",
    "Costs",
    "Estimated",
    "Fitted",
    "Limits",
    "Member",
    "Scored",
    "Search",
    "Terms",
    "choose_family",
    "explored",
    "pareto_front",
    "scored_once",
    "search",
]
