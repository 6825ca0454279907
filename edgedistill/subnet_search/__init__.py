"""Search the supernet for the subnets that make the family."""

from edgedistill.subnet_search.constrained_search import CostMetric, Member, Search, SearchLimits, Terms, search
from edgedistill.subnet_search.device_costs import Cost, DeviceCosts, EstimatedCosts, FittedCosts
from edgedistill.subnet_search.exploration import explore
from edgedistill.subnet_search.front import Scored, choose_family, pareto_front
from edgedistill.subnet_search.score_cache import cached_scores

__all__ = [
    "Cost",
    "CostMetric",
    "DeviceCosts",
    "EstimatedCosts",
    "FittedCosts",
    "Member",
    "Scored",
    "Search",
    "SearchLimits",
    "Terms",
    "cached_scores",
    "choose_family",
    "explore",
    "pareto_front",
    "search",
]
