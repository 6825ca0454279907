from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import stories_palette

from edgedistill.palette import Palette, load
from edgedistill.runtime.onnx import create_session

Continue = Callable[[str, list[int], int], list[int]]


@pytest.fixture(scope="session")
def stories(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a palette of real weights; tests that change it copy it first."""
    return stories_palette.write(tmp_path_factory.mktemp("stories") / "palette")


@pytest.fixture(scope="session")
def plainly(stories: Path) -> Continue:
    """The likeliest tokens by a plain session of one subnet, which reads everything again for each of them."""
    palette = load(stories)
    sessions = {entry.name: create_session(palette.graph_path(entry.name), 1) for entry in palette.manifest.subnets}

    def go_on(subnet: str, ids: list[int], count: int) -> list[int]:
        known = list(ids)
        for _ in range(count):
            known.append(int(plain_logits(palette, sessions[subnet], known).argmax()))
        return known[len(ids) :]

    return go_on


def plain_logits(palette: Palette, session: object, ids: list[int]) -> np.ndarray:
    count = len(ids)
    feeds = {
        "input_ids": np.array([ids]),
        "seqlens_k": np.array([count - 1], np.int32),
        "total_sequence_length": np.array(count, np.int32),
        "logit_positions": np.array([count - 1]),
    }
    for node in session.get_inputs():  # type: ignore[attr-defined]
        if node.name.startswith("past_"):
            feeds[node.name] = np.zeros((1, node.shape[1], count, node.shape[3]), np.float32)
    logits: np.ndarray = session.run(["logits"], feeds)[0]  # type: ignore[attr-defined]
    return logits[0, -1]
