"""Where subnets come from: a palette, what each of its members costs here, and how a session of one is made."""

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
    """One palette's subnets.

    Attributes:
        costs: what is expected of each here.
        create: makes the session of a subnet by name.
        only: the subnets that may serve; None for all.
        palette: whose they are; None in a test without one.
    """

    costs: Costs
    create: Callable[[str], OnnxSession]
    only: Collection[str] | None = None
    palette: Palette | None = None

    def candidates(self, size: Size) -> list[Candidate]:
        """Those that may serve, with their figures for requests of that size."""
        return [c for c in self.costs.candidates(size) if self.only is None or c.name in self.only]

    def fallback(self, size: Size, allowed: Callable[[str], bool]) -> str:
        """Return the name of the smallest subnet that is allowed, or if none is, of all."""
        every = self.candidates(size)
        return smallest([c for c in every if allowed(c.name)] or every).name

    def load(self, subnet: str, on_drained: Callable[[], None]) -> LoadedSubnet:
        """Into memory. Its files must be what they were, before and after: others may be on their way in.

        Raises:
            LoadError: it cannot be.
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
