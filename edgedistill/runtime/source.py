"""Provide the subnets of a palette: their costs here, and their sessions."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import dataclass

from edgedistill.errors import PaletteError
from edgedistill.palette import Palette
from edgedistill.runtime.onnx import OnnxSession
from edgedistill.runtime.predict.candidates import Candidate, smallest
from edgedistill.runtime.predict.costs import Costs
from edgedistill.runtime.predict.slowdown import Size
from edgedistill.runtime.sessions import LoadedSubnet
from edgedistill.runtime.snapshot import restore

__all__ = ["Source"]


@dataclass(frozen=True)
class Source:
    """Load subnets of one palette.

    Attributes:
        costs: the expected costs of each subnet here.
        create: creates the session of a subnet by name.
        only: the subnets that may serve; None for all.
        palette: the palette; None in a test without one.
    """

    costs: Costs
    create: Callable[[str], OnnxSession]
    only: Collection[str] | None = None
    palette: Palette | None = None

    def candidates(self, size: Size) -> list[Candidate]:
        """Return the subnets that may serve, with their figures for requests of that size."""
        return [c for c in self.costs.candidates(size) if self.only is None or c.name in self.only]

    def fallback(self, size: Size, allowed: Callable[[str], bool]) -> str:
        """Return the name of the smallest subnet that is allowed, or if none is, of all."""
        every = self.candidates(size)
        return smallest([c for c in every if allowed(c.name)] or every).name

    def load(self, subnet: str, on_drained: Callable[[], None]) -> LoadedSubnet:
        """Load a subnet. Its files are checked before and after: a replacement may be under way.

        Raises:
            LoadError: it cannot be loaded.
            PaletteError: its files were replaced.
        """
        self._check(subnet)
        session = self.create(subnet)
        self._check(subnet)
        return LoadedSubnet(subnet, session, on_drained, self)

    def _check(self, subnet: str) -> None:
        if self.palette is None:
            return
        try:
            self.palette.check_member(subnet)
        except PaletteError:
            restore(self.palette)
            self.palette.check_member(subnet)
