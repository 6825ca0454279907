"""Back off exponentially from subnets that failed."""

from __future__ import annotations

__all__ = ["Backoff"]

_MAX_DOUBLINGS = 60  # years of failures must not overflow


class Backoff:
    """Count consecutive failures by subnet, and delay retries by ``first_s``, then twice that, up to ``longest_s``."""

    def __init__(self, first_s: float = 1.0, longest_s: float = 60.0) -> None:
        self._first_s, self._longest_s = first_s, longest_s
        self._failures: dict[str, int] = {}
        self._until_s: dict[str, float] = {}

    def failed(self, subnet: str, now_s: float) -> int:
        """Record a failure; return how many there were in a row."""
        if now_s > self._until_s.get(subnet, now_s) + self._longest_s:
            self._failures.pop(subnet, None)  # long ago
        count = self._failures.get(subnet, 0) + 1
        self._failures[subnet] = count
        self._until_s[subnet] = now_s + min(self._longest_s, self._first_s * 2.0 ** min(count - 1, _MAX_DOUBLINGS))
        return count

    def succeeded(self, subnet: str) -> None:
        """Forget the failures of a subnet."""
        self._failures.pop(subnet, None)
        self._until_s.pop(subnet, None)

    def forget(self) -> None:
        """Forget all failures."""
        self._failures.clear()
        self._until_s.clear()

    def allows(self, subnet: str, now_s: float) -> bool:
        """Return whether a subnet may be tried now."""
        return now_s >= self._until_s.get(subnet, now_s)
