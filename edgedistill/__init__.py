"""EdgeDistill: one pretrained transformer, a palette of subnets, and a runtime that swaps them."""

__all__ = ["__version__"]

__version__ = "0.1.0"
