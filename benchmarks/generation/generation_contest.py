"""Run several engines against each other: each in a fresh process, which answers while the others wait.

On a shared host one process differs by ten percent from minute to minute, so claims of a few percent need this. All
engines of a precision are open at once and answer in turn, in another order each turn. Tokens count only if the
processor kept the best pace that any engine met (`edgedistill/device_profiles/timed_runs.py`). Figures are compared
turn by turn. Every round starts fresh processes, since the place of a process in memory is luck that stays with it.
"""

from __future__ import annotations

import json
import random
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import median
from typing import Any, TextIO

import numpy as np
from numpy.typing import NDArray

from benchmarks.shared import output
from edgedistill.device_profiles.timed_runs import TimedRuns

KEYS = ("first_ms", "token_ms")
_ASLEEP_S = 0.1  # after which no thread of the one before looks for work any more

Run = dict[str, Any]
"""Of a round and a contender: by prompt its answers, and milliseconds by turn; and its memory."""


@dataclass(frozen=True)
class Contender:
    """A way to run a model, by an interpreter, and what it is asked: token ids by prompt.

    Those of one group are open at once, and it must hold what they are compared with.
    """

    python: str
    way: str
    model: Any
    prompts: Mapping[str, Sequence[int]]
    group: str


class Opened:
    """A contender's process: what it was asked first, and its errors."""

    def __init__(self, process: subprocess.Popen[str], errors: TextIO, job: Mapping[str, Any]) -> None:
        self._process, self._errors = process, errors
        self.memory: dict[str, float] = self._told(job)

    def answer(self, prompt: str) -> dict[str, Any]:
        """Answer a prompt: ``ids``, ``first_ms``, and for each further token ``tokens_ms`` and ``looks_us``."""
        time.sleep(_ASLEEP_S)
        found: dict[str, Any] = self._told(prompt)
        return found

    def end(self) -> None:
        """Let it say what memory it took, and go."""
        self.memory |= self._told(None)

    def _told(self, line: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(line) + "\n")
        self._process.stdin.flush()
        said = self._process.stdout.readline()
        if not said:
            self._errors.seek(0)
            raise RuntimeError(f"{str(line)[:200]}: {self._errors.read()[-2000:]}")
        return json.loads(said)


@contextmanager
def opened(one: Contender, threads: int, tokens: int, capacity: int) -> Iterator[Opened]:
    """Start the process, and wait until it is ready to answer."""
    job = {"way": one.way, "model": one.model, "prompts": one.prompts}
    job |= {"threads": threads, "tokens": tokens, "capacity": capacity}
    with (
        tempfile.TemporaryFile("w+") as errors,
        subprocess.Popen(
            [one.python, _script()], stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=errors, text=True
        ) as process,
    ):
        try:
            yield Opened(process, errors, job)
        finally:
            process.kill()


def versions(python: str) -> dict[str, str]:
    """Return the versions of the engines that an interpreter has."""
    done = subprocess.run([python, _script()], input="", capture_output=True, text=True, check=True)
    found: dict[str, str] = json.loads(done.stdout)
    return found


def _script() -> str:
    return str(Path(__file__).with_name("generation_worker.py"))


@dataclass(frozen=True)
class Contest:
    """Describe how the engines meet.

    Attributes:
        tokens: of an answer.
        turns: of a round, in each of which everyone answers every prompt.
        capacity: tokens that there is room for, of those who want to know beforehand.
    """

    tokens: int
    turns: int
    capacity: int

    def rounds(
        self, found: Mapping[str, Contender], threads: int, rounds: int, takes_part: Callable[[str, int], bool]
    ) -> dict[str, list[Run]]:
        """Run the rounds: a contender takes part in one by its name and the round's number."""
        order, runs = random.Random(threads), {name: list[Run]() for name in found}
        for number in range(rounds):
            names = sorted((name for name in found if takes_part(name, number)), key=lambda name: found[name].group)
            for _, group in groupby(names, key=lambda name: found[name].group):
                met = self._met({name: found[name] for name in group}, threads, order)
                for name, run in met.items():
                    runs[name].append(run)
                output.log(f"{threads} threads, round {number + 1} of {rounds}: {_line(met)}")
        return runs

    def _met(self, group: Mapping[str, Contender], threads: int, order: random.Random) -> dict[str, Run]:
        with ExitStack() as stack:
            processes = {
                name: stack.enter_context(opened(one, threads, self.tokens, self.capacity))
                for name, one in order.sample(list(group.items()), len(group))
            }
            turns = []
            for _ in range(self.turns):
                names = order.sample(list(processes), len(processes))
                turns.append(
                    {name: {prompt: processes[name].answer(prompt) for prompt in group[name].prompts} for name in names}
                )
            for one in processes.values():
                one.end()
            memory = {name: one.memory for name, one in processes.items()}
        return {name: run | {"memory": memory[name]} for name, run in _by_name(turns).items()}


def _by_name(turns: Sequence[Mapping[str, Mapping[str, Any]]]) -> dict[str, Run]:
    """Return the runs by contender, prompt and turn, with the median time of tokens during which the pace was kept."""
    places = [(name, prompt) for name, prompts in turns[0].items() for prompt in prompts]
    further = TimedRuns([(name, prompt, turn) for name, prompt in places for turn in range(len(turns))])
    for number, turn in enumerate(turns):
        for name, prompt in places:
            for ms, look_us in zip(turn[name][prompt]["tokens_ms"], turn[name][prompt]["looks_us"], strict=True):
                further.add((name, prompt, number), ms, look_us)
    further.judge()
    found: dict[str, Run] = {name: {"prompts": {}} for name in turns[0]}
    for name, prompt in places:
        given = [turn[name][prompt] for turn in turns]
        found[name]["prompts"][prompt] = {
            "answers": [one["ids"] for one in given],
            "first_ms": [one["first_ms"] for one in given],
            "token_ms": [median(further.counted((name, prompt, number))) for number in range(len(turns))],
        }
    return found


def _line(met: Mapping[str, Run]) -> str:
    tokens_ms = {name: [median(of["token_ms"]) for of in run["prompts"].values()] for name, run in met.items()}
    return ", ".join(f"{name} {max(of_prompts):.1f} ms a token" for name, of_prompts in tokens_ms.items())


def times(runs: Sequence[Run], prompt: str, key: str) -> NDArray[np.float64]:
    """Milliseconds [r] by round, the median of its turns."""
    return np.array([median(run["prompts"][prompt][key]) for run in runs], np.float64)


def ratios(runs: Sequence[Run], others: Sequence[Run], prompt: str, key: str) -> NDArray[np.float64]:
    """Return times over the others' [r] by round, the median of its turns, without rounds that either missed."""
    both = zip(runs, others, strict=False)
    pairs = [(one["prompts"][prompt][key], other["prompts"][prompt][key]) for one, other in both]
    return np.array([np.median(np.divide(own, others)) for own, others in pairs], np.float64)


def spread(values: Any) -> list[float]:
    """Median and quartiles."""
    return [round(float(value), 3) for value in np.percentile(values, [50, 25, 75])]
