"""Describe boards as data, profile a palette on a device, and estimate boards that are not available."""

if __name__ != "edgedistill.device_profiles":  # reached through the link at the root: every module would load twice
    raise ImportError(
        "import edgedistill.device_profiles, not device_profiles: the folder at the root is a link for readers"
    )

from edgedistill.device_profiles.boards import Board, load_board, shipped_boards
from edgedistill.device_profiles.estimator import estimate, estimate_subnet
from edgedistill.device_profiles.profiler import profile

__all__ = ["Board", "estimate", "estimate_subnet", "load_board", "profile", "shipped_boards"]
