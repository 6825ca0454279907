"""Which subnets make the family."""

from edgedistill.subnet_search.costs import Cost, Costs, Estimated, Fitted
from edgedistill.subnet_search.family import Against, Limits, Member, Search, Terms, search
from edgedistill.subnet_search.front import Scored, choose_family, pareto_front
from edgedistill.subnet_search.quality import scored_once
from edgedistill.subnet_search.sampling import explored

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
