"""Which subnets make the family."""

from edgedistill.search.front import Scored, choose_family, pareto_front

__all__ = ["Scored", "choose_family", "pareto_front"]
