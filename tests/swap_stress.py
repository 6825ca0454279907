"""Requests from many threads while the subnet that answers them is exchanged."""

from __future__ import annotations

import threading
import time
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from waiting import wait_until

from edgedistill.palette import Palette, load
from edgedistill.runtime import AdaptiveSession
from edgedistill.runtime.onnx import create_session

Feeds = dict[str, NDArray[np.int64]]


def feeds_for(palette: Palette, count: int, *, tokens: int = 14) -> list[Feeds]:
    """Random requests that any palette's graphs take: [1 to 3 sequences, 3 to ``tokens`` tokens]."""
    rng = np.random.default_rng(0)
    shapes = [(int(rng.integers(1, 4)), int(rng.integers(3, tokens + 1))) for _ in range(count)]
    fills = {"attention_mask": lambda s: np.ones(s, np.int64), "token_type_ids": lambda s: np.zeros(s, np.int64)}
    ids = {"input_ids": lambda s: rng.integers(0, 14, s)}
    return [{spec.name: (ids | fills)[spec.name](shape) for spec in palette.manifest.graph_inputs} for shape in shapes]


def plain_answers(palette: Palette, feeds: list[Feeds]) -> dict[str, list[NDArray[np.float32]]]:
    """What a plain session of each subnet answers."""
    answers = {}
    for entry in palette.manifest.subnets:
        session = create_session(palette.graph_path(entry.name), 1)
        answers[entry.name] = [session.run(None, feed)[0] for feed in feeds]
    return answers


def stress(folder: Path, *, swaps: int, seconds: float) -> tuple[int, int]:
    """Eight threads of requests while pins swap the subnet; how many were answered, after how many swaps."""
    palette = load(folder)
    feeds = feeds_for(palette, 40)
    expected = plain_answers(palette, feeds)
    names = [entry.name for entry in palette.manifest.subnets]
    stop = threading.Event()
    failures: list[str] = []
    answered = [0] * 8

    def requests(session: AdaptiveSession, place: int) -> None:
        rng = np.random.default_rng(place)
        try:
            while not stop.is_set():
                which = int(rng.integers(len(feeds)))
                answer = session.answer(None, feeds[which])
                gap = float(np.abs(answer.outputs[0] - expected[answer.subnet][which]).max())
                if not gap <= 1e-6:
                    failures.append(f"{answer.subnet} was off by {gap}")
                answered[place] += 1
        except Exception as error:
            failures.append(repr(error))

    with AdaptiveSession(palette, threads=1) as session:
        threads = [threading.Thread(target=requests, args=(session, place)) for place in range(8)]
        for thread in threads:
            thread.start()
        end_s = time.perf_counter() + seconds
        turn = 0
        while session.swaps < swaps or time.perf_counter() < end_s:
            turn += 1
            wanted = names[turn % len(names)]
            session.pin(wanted)
            wait_until(lambda wanted=wanted: session.active == wanted)  # type: ignore[misc]
        stop.set()
        for thread in threads:
            thread.join()
        swapped = session.swaps
    assert failures == []
    assert all(count > 0 for count in answered)
    return sum(answered), swapped
