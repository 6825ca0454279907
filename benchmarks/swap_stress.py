"""Requests from eight threads while subnets swap: none may be lost, none wrong.

Claim: each answer equals (to 1e-6) that of a plain onnxruntime session on the subnet that it names, over at
least 20 swaps. The last line is one JSON object; the exit code tells whether the claim held.
"""

from __future__ import annotations

import argparse
import json
import sys
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedistill.manifest import Palette, load
from edgedistill.runtime import AdaptiveSession
from edgedistill.runtime.onnx import create_session

THREADS = 8
REQUESTS = 64  # different ones
FEWEST_SWAPS = 20
TOLERANCE = 1e-6

Feeds = dict[str, NDArray[np.int64]]
Answers = dict[str, list[NDArray[Any]]]


def make_feeds(palette: Palette) -> list[Feeds]:
    """Random requests [1 to 4 sequences, up to 64 tokens], each sequence padded by another length."""
    rng = np.random.default_rng(0)
    return [_feed(palette, rng) for _ in range(REQUESTS)]


def _feed(palette: Palette, rng: np.random.Generator) -> Feeds:
    shape = int(rng.integers(1, 5)), int(rng.integers(2, min(64, palette.manifest.tokenizer.max_tokens) + 1))
    lengths = rng.integers(1, shape[1] + 1, shape[0])
    made = {
        "input_ids": rng.integers(0, 1000, shape),
        "attention_mask": (np.arange(shape[1]) < lengths[:, None]).astype(np.int64),
        "token_type_ids": np.zeros(shape, np.int64),
    }
    return {spec.name: made[spec.name] for spec in palette.manifest.inputs}


def plain_answers(palette: Palette, feeds: list[Feeds]) -> Answers:
    """What a plain session of each subnet answers to each request."""
    answers: Answers = {}
    for entry in palette.manifest.subnets:
        session = create_session(palette.graph_path(entry.name), 1)
        answers[entry.name] = [session.run(None, feed)[0] for feed in feeds]
    return answers


@dataclass
class Client:
    """One thread's requests and how they went."""

    seed: int
    requests: int = 0
    lost: int = 0
    wrong: int = 0
    errors: list[str] = field(default_factory=list)

    def send(self, session: AdaptiveSession, feeds: list[Feeds], expected: Answers, stop: threading.Event) -> None:
        """Send requests until told to stop."""
        rng = np.random.default_rng(self.seed)
        while not stop.is_set():
            which = int(rng.integers(len(feeds)))
            self.requests += 1
            try:
                answer = session.answer(None, feeds[which])
            except Exception as error:  # noqa: BLE001 (whatever it is, a request was lost)
                self.lost += 1
                self.errors.append(repr(error))
                continue
            gap = np.abs(answer.outputs[0] - expected[answer.subnet][which]).max()
            self.wrong += not gap <= TOLERANCE


def swap_around(session: AdaptiveSession, seconds: float) -> None:
    """Pin one subnet after another, evenly over the time, twice as many as are claimed."""
    names = [entry.name for entry in session.palette.manifest.subnets]
    end_s = time.monotonic() + seconds
    turn = 0
    while time.monotonic() < end_s:
        turn += 1
        session.pin(names[turn % len(names)])
        time.sleep(min(seconds / (2 * FEWEST_SWAPS), max(0.0, end_s - time.monotonic())))


def stress(folder: Path, seconds: float) -> dict[str, int]:
    """Requests, and how many were lost or wrong, over how many swaps."""
    palette = load(folder)
    feeds = make_feeds(palette)
    expected = plain_answers(palette, feeds)
    stop = threading.Event()
    clients = [Client(seed) for seed in range(THREADS)]
    with AdaptiveSession(palette, threads=1) as session:
        threads = [threading.Thread(target=c.send, args=(session, feeds, expected, stop)) for c in clients]
        for thread in threads:
            thread.start()
        swap_around(session, seconds)
        stop.set()
        for thread in threads:
            thread.join()
        swaps = session.swaps
    for line in sorted({error for client in clients for error in client.errors}):
        print(line, file=sys.stderr)
    sums = {name: sum(getattr(client, name) for client in clients) for name in ("requests", "lost", "wrong")}
    return {**sums, "swaps": swaps}


def main() -> int:
    """Run the stress and print its figures."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("palette", type=Path, help="a palette's folder, of at least two subnets")
    parser.add_argument("--seconds", type=float, default=60.0)
    arguments = parser.parse_args()
    figures = stress(arguments.palette, arguments.seconds)
    print(json.dumps(figures))
    held = figures["lost"] == figures["wrong"] == 0 and figures["swaps"] >= FEWEST_SWAPS
    return 0 if held else 1


if __name__ == "__main__":
    sys.exit(main())
