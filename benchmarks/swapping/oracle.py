"""Compare the runtime with an oracle that knows every slow-down before it comes.

Claim, over recordings of real load (traces.py): the share of texts answered correctly and in time is at least 0.7 of
the way from the best single subnet in hindsight to an oracle, which takes the best subnet that will be in time for
every request. At most 1 point more requests are late than the oracle's. Next to it are the largest, the smallest, and
a simple rule: a size down after a late answer, a size up after ten that took less than 0.6 of the budget, and no load
time.

A request is eight of the test texts. The largest subnet misses the budget 30 % of the time, and the smallest must miss
it less than 1 %. The runtime is the real controller on a clock that moves as the recording did. Loads take as long as
they took here, and longer while requests were slowed.

Needs: a palette of an encoder, and the folder of data that it was trained on
Takes: about 20 minutes
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import typer
from numpy.typing import NDArray
from tokenizers import Tokenizer

from benchmarks.shared import data_sets, output
from benchmarks.shared.arguments import DataFolder, PaletteFolder, WorkFolder
from benchmarks.swapping import traces
from benchmarks.swapping.traces import Feeds, Trace
from edgedistill.palette import DeviceProfile, Palette, load
from edgedistill.runtime.control.controller import Controller
from edgedistill.runtime.control.decide import Policy
from edgedistill.runtime.device import describe_device
from edgedistill.runtime.onnx import create_session
from edgedistill.runtime.predict.candidates import together_mb
from edgedistill.runtime.predict.costs import ProfileCosts
from edgedistill.runtime.predict.slowdown import Size
from edgedistill.runtime.sensors import Readings
from edgedistill.runtime.source import Source
from edgedistill.testing import FakeClock

BATCH = 8
BATCHES = 250
QUIET_S = 20.0
LATE_LARGEST = 0.3
RESERVE_MB = 8.0
INTERVAL_S = 0.25

Choice = NDArray[np.intp]


@dataclass(frozen=True)
class World:
    """A palette's members from best to worst by validation, with their answers and costs."""

    palette: Palette
    profile: DeviceProfile
    subnets: list[str]
    right: NDArray[np.float64]  # [members, batches]: the share of each batch that is right
    memory_mb: NDArray[np.float64]
    load_s: NDArray[np.float64]
    size: Size


def batches(palette: Palette, texts: list[str]) -> Iterator[Feeds]:
    """Eight texts at a time, all padded to the same length."""
    entry = palette.manifest.text_input.tokenizer
    tokenizer = Tokenizer.from_file(str(palette.folder / entry.file))
    tokenizer.enable_truncation(entry.max_tokens)
    length = max(len(tokenizer.encode(text).ids) for text in texts)
    tokenizer.enable_padding(length=length, pad_id=entry.pad_token_id, pad_token=entry.pad_token)
    for start in range(0, len(texts), BATCH):
        found = tokenizer.encode_batch(texts[start : start + BATCH])
        made = {
            "input_ids": [e.ids for e in found],
            "attention_mask": [e.attention_mask for e in found],
            "token_type_ids": [e.type_ids for e in found],
        }
        yield {spec.name: np.array(made[spec.name], dtype=np.int64) for spec in palette.manifest.graph_inputs}


def rights(palette: Palette, subnets: list[str], feeds: list[Feeds], labels: NDArray[np.str_]) -> NDArray[np.float64]:
    """Return the share of each batch that each member labels correctly, [members, batches]."""
    names, rows = np.array(palette.manifest.labels), []
    for subnet in subnets:
        session = create_session(palette.graph_path(subnet), 1)
        answers = np.concatenate([session.run(None, feed)[0].argmax(-1) for feed in feeds])
        rows.append((names[answers] == labels).reshape(-1, BATCH).mean(-1))
    return np.array(rows)


def profile_of(palette: Palette, quiet: Trace, size: Size) -> DeviceProfile:
    """Return a profile from a quiet recording, with memory and load time of the palette's own measured profile."""
    (measured,) = (profile for profile in palette.profiles.values() if profile.kind == "measured")
    subnets = []
    for place, name in enumerate(quiet.subnets):
        p50, p95, p99 = np.percentile(quiet.latency_ms[:, place], [50, 95, 99])
        known = measured.subnet(name)
        assert known is not None
        point = {"threads": 1, "batch": size.batch, "tokens": size.tokens, "samples": len(quiet.at_s)}
        point |= {"p50_ms": p50, "low_ms": p50, "high_ms": p50, "p95_ms": p95, "p99_ms": p99}
        subnets.append(known.model_dump() | {"latency": [point]})
    return DeviceProfile.model_validate(
        measured.model_dump() | {"device": describe_device().model_dump(), "subnets": subnets}
    )


@dataclass(frozen=True)
class Setting:
    """One recording, and what counts as answered."""

    world: World
    trace: Trace
    budget_ms: float

    @property
    def free_mb(self) -> NDArray[np.float64]:
        """Free memory at each request, by the sensors' last word."""
        places = np.maximum(0, np.searchsorted(self.trace.read_s, self.trace.at_s, side="right") - 1)
        values = [r.free_mb if r.free_mb is not None else np.inf for r in self.trace.readings]
        return np.array(values)[places]

    @property
    def served(self) -> NDArray[np.bool_]:
        """Return whether each member would be in time, and in memory by itself, [requests, members]."""
        fits: NDArray[np.bool_] = self.world.memory_mb[None] <= self.free_mb[:, None]
        return (self.trace.latency_ms <= self.budget_ms) & fits

    def scored(self, choice: Choice, lost: NDArray[np.bool_] | None = None) -> dict[str, float]:
        """Return the share of texts that are correct and in time, and of requests that were not served in time."""
        rows = np.arange(len(choice))
        served = self.served[rows, choice]
        if lost is not None:
            served = served & ~lost
        right = self.world.right[choice, rows % self.world.right.shape[1]]
        return {"right_in_time": float((served * right).mean()), "late": float(1 - served.mean())}

    def oracle(self) -> Choice:
        """Choose the first member, from the best on, that will be served, or else the last."""
        served = self.served
        found: Choice = np.where(served.any(1), served.argmax(1), served.shape[1] - 1)
        return found

    def rule(self) -> Choice:
        """Choose a size down after a late answer, and a size up after ten quick ones."""
        place, quick, found = 0, 0, []
        for latency_ms in self.trace.latency_ms:
            found.append(place)
            quick = quick + 1 if latency_ms[place] < 0.6 * self.budget_ms else 0
            if latency_ms[place] > self.budget_ms:
                place, quick = min(place + 1, len(self.world.subnets) - 1), 0
            elif quick >= 10:
                place, quick = max(place - 1, 0), 0
        return np.array(found)

    def ours(self) -> tuple[Choice, NDArray[np.bool_], int]:
        """Return the controller's choice, where it held more memory than was free, and how often it swapped."""
        return _Replay(self).run()


class _Session:
    """Stands for a subnet; the replay knows how long it takes."""

    def __init__(self, name: str) -> None:
        self.name = name

    def run(self, *_: object) -> list[Any]:
        return []

    def get_inputs(self) -> list[Any]:
        return []

    def get_outputs(self) -> list[Any]:
        return []


class _Replay:
    """Moves a controller's clock through a recording: its steps, its loads, and the requests."""

    def __init__(self, setting: Setting) -> None:
        self._setting, self._trace, self._world = setting, setting.trace, setting.world
        self._clock = FakeClock(0.0)
        self._loads: list[tuple[float, Callable[[], None]]] = []
        self._request = 0
        self._next_step_s = 0.0
        self._costs = ProfileCosts(self._world.palette.manifest, self._world.profile)
        self._controller = Controller(
            source=Source(self._costs, _Session, set(self._world.subnets)),
            sensors=self,
            policy=Policy(max_latency_ms=setting.budget_ms, reserve_mb=RESERVE_MB),
            clock=self._clock,
            size=self._world.size,
            spawn=self._spawn,
        )

    def read(self) -> Readings:
        """Return the readings as if the recorder's sessions were another's and the controller's own were ours."""
        place = max(0, int(np.searchsorted(self._trace.read_s, self._clock(), side="right")) - 1)
        seen = self._trace.readings[place]
        free_mb = None if seen.free_mb is None else max(0.0, seen.free_mb - self._held_mb())
        return Readings(other_load=seen.other_load, free_mb=free_mb)

    def _held_mb(self) -> float:
        held = self._controller.residents.held if hasattr(self, "_controller") else []
        return together_mb([self._costs.candidate(name, self._world.size) for name in held])

    def _spawn(self, work: Callable[[], None]) -> None:
        place = self._world.subnets.index(self._controller._loader.names[-1])
        profiled = self._world.profile.subnets[place].latency[0].p50_ms
        slower = max(1.0, float(self._trace.latency_ms[self._request, place]) / profiled)
        self._loads.append((self._clock() + slower * float(self._world.load_s[place]), work))

    def run(self) -> tuple[Choice, NDArray[np.bool_], int]:
        choice, lost = [], []
        free_mb = self._setting.free_mb
        for self._request, at_s in enumerate(self._trace.at_s):  # noqa: B020 (where the replay stands)
            self._advance(float(at_s))
            with self._controller.lease() as leased:
                place = self._world.subnets.index(leased.name)
                latency_ms = float(self._trace.latency_ms[self._request, place])
                self._clock.sleep(latency_ms / 1e3)
            self._controller.observe(self._clock(), leased, self._world.size, latency_ms)
            choice.append(place)
            lost.append(self._held_mb() > free_mb[self._request])
        return np.array(choice), np.array(lost), self._controller.swaps

    def _advance(self, until_s: float) -> None:
        """Step when a step is due, and when a load ends."""
        while True:
            due_s = min([self._next_step_s, *(at_s for at_s, _ in self._loads)])
            if due_s > until_s:
                break
            self._clock.now_s = max(self._clock.now_s, due_s)
            for ended in [found for found in self._loads if found[0] <= self._clock.now_s]:
                self._loads.remove(ended)
                ended[1]()
            if self._next_step_s <= self._clock.now_s:
                self._next_step_s = self._clock.now_s + INTERVAL_S
            self._controller.step()
        self._clock.now_s = max(self._clock.now_s, until_s)


def world_of(palette: Palette, data_folder: Path, work: Path) -> tuple[World, Feeds]:
    """Return the members in fp32, from best to worst, and the batch that recordings run."""
    _, data = data_sets.read(data_folder)
    labels = data.test.labels
    assert labels is not None
    chosen = np.random.default_rng(0).permutation(len(labels))[: BATCH * BATCHES]
    texts = [str(data.test.texts[row]) for row in chosen]
    feeds = list(batches(palette, texts))
    entries = [entry for entry in palette.manifest.subnets if entry.precision == "fp32"]
    entries.sort(key=lambda entry: (-entry.score("validation"), entry.macs))
    subnets = [entry.name for entry in entries]
    size = Size(*next(iter(feeds[0].values())).shape)
    quiet = _quiet(palette, subnets, feeds[0], work)
    profile = profile_of(palette, quiet, size)
    names = np.array([data.label_names[int(labels[row])] for row in chosen])
    return (
        World(
            palette,
            profile,
            subnets,
            rights(palette, subnets, feeds, names),
            np.array([of.peak_mb for of in profile.subnets]),
            np.array([of.load_ms / 1e3 for of in profile.subnets]),
            size,
        ),
        feeds[0],
    )


def _quiet(palette: Palette, subnets: list[str], feeds: Feeds, work: Path) -> Trace:
    path = work / "quiet.npz"
    if not path.exists():
        work.mkdir(parents=True, exist_ok=True)
        traces.record(palette, subnets, feeds, iter([(QUIET_S, lambda: None)])).save(path)
    return Trace.load(path)


def compared(settings: Iterable[Setting]) -> dict[str, Any]:
    """Compare every contender over all requests of these recordings."""
    every = list(settings)
    world = every[0].world
    ours = [setting.ours() for setting in every]
    scores = {
        "oracle": _pooled([(s, s.oracle(), None) for s in every]),
        "ours": _pooled([(s, choice, lost) for s, (choice, lost, _) in zip(every, ours, strict=True)]),
        "rule": _pooled([(s, s.rule(), None) for s in every]),
    }
    fixed = {
        name: _pooled([(s, np.full(len(s.trace.at_s), place), None) for s in every])
        for place, name in enumerate(world.subnets)
    }
    best = max(fixed, key=lambda name: fixed[name]["right_in_time"])
    span = scores["oracle"]["right_in_time"] - fixed[best]["right_in_time"]
    return {
        "contenders": scores,
        "fixed": fixed,
        "best_fixed": best,
        "regained": round((scores["ours"]["right_in_time"] - fixed[best]["right_in_time"]) / span, 3) if span else None,
        "late_more_than_oracle": round(scores["ours"]["late"] - scores["oracle"]["late"], 4),
        "swaps": sum(swaps for _, _, swaps in ours),
    }


def _pooled(runs: list[tuple[Setting, Choice, NDArray[np.bool_] | None]]) -> dict[str, float]:
    weights = [len(choice) for _, choice, _ in runs]
    found = [setting.scored(choice, lost) for setting, choice, lost in runs]
    return {key: round(float(np.average([of[key] for of in found], weights=weights)), 4) for key in found[0]}


def _budget_ms(world: World, recordings: Iterable[Trace]) -> float:
    """Return the budget that the largest misses 30 % of the time, in time or memory."""
    largest = int(np.argmax([of.latency[0].p50_ms for of in world.profile.subnets]))
    taken = [
        np.where(world.memory_mb[largest] <= Setting(world, trace, 0.0).free_mb, trace.latency_ms[:, largest], np.inf)
        for trace in recordings
    ]
    return float(np.nextafter(np.quantile(np.concatenate(taken), 1 - LATE_LARGEST, method="lower"), 0))


def main(
    data_folder: DataFolder,
    palette_folder: PaletteFolder,
    work: WorkFolder,
    seconds: Annotated[float, typer.Option(min=1, help="length of each of four recordings")] = 160,
) -> None:
    """Record what is missing, replay it, and save the comparison."""
    palette = load(palette_folder)
    world, feeds = world_of(palette, data_folder, work)
    recordings = traces.recorded(palette, world.subnets, feeds, work, seconds)
    budget_ms = _budget_ms(world, recordings.values())
    settings = {kind: Setting(world, trace, budget_ms) for kind, trace in recordings.items()}
    accuracy = {name: round(float(of.mean()), 4) for name, of in zip(world.subnets, world.right, strict=True)}
    result = {
        "budget_ms": round(budget_ms, 2),
        "request": {"texts": BATCH, "tokens": world.size.tokens},
        "accuracy": accuracy,
        "seconds": {kind: round(float(trace.at_s[-1]), 1) for kind, trace in recordings.items()},
        "all": compared(settings.values()),
        "each": {kind: compared([setting]) for kind, setting in settings.items()},
    }
    output.save_result("oracle", result)
