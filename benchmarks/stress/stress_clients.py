"""Send the requests of a stress run, and check their answers."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from edgedistill.palette import Palette
from edgedistill.runtime import AdaptiveSession
from edgedistill.runtime.onnx import create_session

THREADS = TASKS = 8
REQUESTS = 24  # different ones
LONGEST, LARGEST = 32, 2  # tokens, batch
REST_S = 0.1  # of a client after a request: the loads need some of the CPU too
TOLERANCE = 1e-6
_LAST_S = 30.0  # a request that takes longer is lost

Feeds = dict[str, NDArray[np.int64]]
Expected = dict[tuple[str, str], list[NDArray[Any]]]  # by the palette's digest and the subnet, one for each request


@dataclass(frozen=True)
class World:
    """Hold the requests, and the answer of each subnet of each palette."""

    feeds: list[Feeds]
    expected: Expected


@dataclass
class Client:
    """One after another's requests, and how they went."""

    seed: int
    sent: int = 0
    answered: int = 0
    wrong: int = 0
    unknown: int = 0
    errors: list[str] = field(default_factory=list)
    subnets: set[tuple[str, str]] = field(default_factory=set)

    def ask(self, session: AdaptiveSession, world: World, deadline_ms: float | None = None) -> None:
        """Send one request, and compare the answer with its subnet's."""
        which = self._next(world)
        try:
            answer = session.answer(None, world.feeds[which], deadline_ms=deadline_ms)
        except Exception as error:  # noqa: BLE001 (whatever it is, a request was lost)
            self.errors.append(repr(error))
            return
        self.answered += 1
        by = answer.palette.manifest.digest, answer.subnet
        self.subnets.add(by)
        if by in world.expected:
            self.wrong += not _equal(answer.outputs, world.expected[by][which])
        else:
            self.unknown += 1

    async def ask_without_name(self, session: AdaptiveSession, world: World) -> None:
        """Send one request, and compare the answer with all subnets': `run_async` does not name the subnet."""
        which = self._next(world)
        try:
            outputs = await session.run_async(None, world.feeds[which])
        except Exception as error:  # noqa: BLE001
            self.errors.append(repr(error))
            return
        self.answered += 1
        self.wrong += not any(_equal(outputs, answers[which]) for answers in world.expected.values())

    def _next(self, world: World) -> int:
        self.sent += 1
        return (self.seed + 7 * self.sent) % len(world.feeds)

    def in_thread(self, session: AdaptiveSession, world: World, stop: threading.Event) -> None:
        """Ask until told to stop; every fifth time in a hurry, which is for the smallest subnet to answer."""
        while not stop.is_set():
            self.ask(session, world, 0.01 if self.sent % 5 == 0 else None)
            time.sleep(REST_S)

    async def in_task(self, session: AdaptiveSession, world: World, stop: threading.Event) -> None:
        """Send requests in an event loop, in both of the ways that there are."""
        while not stop.is_set():
            if self.sent % 2:
                await self.ask_without_name(session, world)
            else:
                await asyncio.to_thread(self.ask, session, world)
            await asyncio.sleep(REST_S)


@contextmanager
def crowd(session: AdaptiveSession, world: World, clients: Sequence[Client]) -> Iterator[None]:
    """Let all clients send requests within the block, half of them from one event loop; those that hang are lost."""
    stop = threading.Event()

    async def tasks() -> None:
        await asyncio.gather(*(client.in_task(session, world, stop) for client in clients[THREADS:]))

    threads = [threading.Thread(target=c.in_thread, args=(session, world, stop)) for c in clients[:THREADS]]
    threads.append(threading.Thread(target=asyncio.run, args=(tasks(),)))
    for thread in threads:
        thread.daemon = True
        thread.start()
    try:
        yield
    finally:
        stop.set()
        end_s = time.monotonic() + _LAST_S
        for thread in threads:
            thread.join(max(0.0, end_s - time.monotonic()))


def make_feeds(palette: Palette) -> list[Feeds]:
    """Return random requests [1 to 2 sequences, up to 32 tokens], each sequence padded by another length."""
    rng = np.random.default_rng(0)
    return [_feed(palette, rng) for _ in range(REQUESTS)]


def _feed(palette: Palette, rng: np.random.Generator) -> Feeds:
    longest = min(LONGEST, palette.manifest.text_input.tokenizer.max_tokens)
    shape = int(rng.integers(1, LARGEST + 1)), int(rng.integers(2, longest + 1))
    lengths = rng.integers(1, shape[1] + 1, shape[0])
    made = {
        "input_ids": rng.integers(0, 1000, shape),
        "attention_mask": (np.arange(shape[1]) < lengths[:, None]).astype(np.int64),
        "token_type_ids": np.zeros(shape, np.int64),
    }
    return {spec.name: made[spec.name] for spec in palette.manifest.graph_inputs}


def plain_answers(palette: Palette, feeds: list[Feeds]) -> Expected:
    """Return the answer of a plain session of each subnet to each request."""
    answers: Expected = {}
    for entry in palette.manifest.subnets:
        session = create_session(palette.graph_path(entry.name), 1)
        answers[palette.manifest.digest, entry.name] = [session.run(None, feed)[0] for feed in feeds]
    return answers


def check_distinct(expected: Expected) -> None:
    """Check that an answer of another subnet, or of another palette's, would show."""
    for one, other in combinations(expected, 2):
        for mine, theirs in zip(expected[one], expected[other], strict=True):
            assert not _equal([mine], theirs), f"{one} and {other} answer alike"


def tally(clients: list[Client]) -> dict[str, int]:
    """Count what became of all requests."""
    sent = sum(client.sent for client in clients)
    return {
        "requests": sent,
        "lost": sent - sum(client.answered for client in clients),
        "wrong": sum(client.wrong for client in clients),
        "unknown": sum(client.unknown for client in clients),
        "subnets_that_answered": len({by for client in clients for by in client.subnets}),
    }


def _equal(outputs: list[Any], expected: NDArray[Any]) -> bool:
    """Compare to the tolerance; another shape, or not a number, is not equal."""
    (mine,) = outputs
    return mine.shape == expected.shape and bool(np.abs(mine - expected).max() <= TOLERANCE)
