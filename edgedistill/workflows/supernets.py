"""Trained supernets, and their subnets by name."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, get_args

from edgedistill.errors import CheckpointError, InputError
from edgedistill.palette import Precision

if TYPE_CHECKING:
    from edgedistill.architecture import Subnet
    from edgedistill.supernet.checkpoint import Supernet

__all__ = ["PRECISIONS", "find_subnet", "load_trained", "plain_name"]

PRECISIONS: tuple[Precision, ...] = get_args(Precision)


def load_trained(folder: Path) -> Supernet:
    """Load a supernet whose stages are all done.

    Raises:
        CheckpointError: it is none, or not trained to its end.
    """
    from edgedistill.distillation.mlfs import STAGES
    from edgedistill.supernet import checkpoint

    supernet = checkpoint.load(folder)
    if len(supernet.info.stages) < len(STAGES):
        raise CheckpointError(f"{folder} is not trained to the end; run the same 'edgedistill train' again")
    return supernet


def plain_name(member: str) -> str:
    """Return a subnet's name without its precision."""
    for precision in PRECISIONS:
        member = member.removesuffix(f"-{precision}")
    return member


def find_subnet(trained: Supernet, name: str) -> Subnet:
    """Return the subnet of the space that has this name.

    Raises:
        InputError: none has.
    """
    subnet = next((config for config in trained.space if config.name == name), None)
    if subnet is None:
        examples = ", ".join([trained.space.maxnet.name, trained.space.minnet.name])
        raise InputError(
            f"no subnet {name!r} in this space of {len(trained.space)}; there are, for example, {examples}"
        )
    return subnet
