"""How long a subnet that could not be loaded is left alone: longer after each failure."""

from __future__ import annotations

__all__ = ["Backoff"]

_FIRST_S = 1.0
_LONGEST_S = 60.0


class Backoff:
    """Failures in a row by subnet, and when each may be tried again."""

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}
        self._until_s: dict[str, float] = {}

    def failed(self, subnet: str, now_s: float) -> int:
        """Note a failure; how many there were in a row."""
        count = self._failures.get(subnet, 0) + 1
        self._failures[subnet] = count
        self._until_s[subnet] = now_s + min(_LONGEST_S, _FIRST_S * 2.0 ** (count - 1))
        return count

    def succeeded(self, subnet: str) -> None:
        """Forget its failures."""
        self._failures.pop(subnet, None)
        self._until_s.pop(subnet, None)

    def allows(self, subnet: str, now_s: float) -> bool:
        """Whether it may be tried now."""
        return now_s >= self._until_s.get(subnet, now_s)
