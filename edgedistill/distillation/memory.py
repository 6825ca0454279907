"""Keep the allocator from giving memory back to the system between training steps."""

from __future__ import annotations

import ctypes

__all__ = ["keep_freed_memory"]

_M_TRIM_THRESHOLD, _M_TOP_PAD, _M_MMAP_THRESHOLD = -1, -2, -3  # from glibc's malloc.h
_MB = 1 << 20


def keep_freed_memory() -> None:
    """Let freed tensors be reused: a step frees and asks for the same sizes again.

    By default glibc unmaps large blocks at once, and the kernel clears new pages for them in the next step:
    a third of the time of a training step on two cores went there. Does nothing under another C library.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    for option, megabytes in ((_M_MMAP_THRESHOLD, 32), (_M_TRIM_THRESHOLD, 2047), (_M_TOP_PAD, 64)):
        mallopt(option, megabytes * _MB)
