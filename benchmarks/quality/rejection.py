"""Check that every member accepts the same share of out-of-scope texts.

Claim: at false-accept rates of 20, 10, 5 and 2 %, the largest member and every other accept the same share of
CLINC150's out-of-scope test texts, to one point, in fp32 and in int8. The labels are the pinned member's own. The
smallest subnet always decides what is accepted.

For comparison: what each member's own threshold would accept at the same rate; how far sampling error alone would move
the member furthest from the largest, by bootstrap; how well each member's energies and probabilities separate texts in
scope from others (area under the ROC curve); the calibration error before and after; and how much longer one text
takes because the smallest subnet runs too (both in turn, one thread).

Needs: clinc150, with sst2 and stsb next to it, which lend out-of-scope texts; the palette of `separate-distillation`
with the same DATA, WORK and --share
Takes: about 20 minutes
"""

from __future__ import annotations

import json
import time
import timeit
from collections.abc import Iterator
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score

from benchmarks.shared import data_sets, output, training_runs
from benchmarks.shared.arguments import DataFolder, Share, WorkFolder
from edgedistill.data.batches import Encoded, encode
from edgedistill.data.dataset import Split
from edgedistill.distillation import mlfs
from edgedistill.exporters import write_palette
from edgedistill.exporters.quality import graph_outputs
from edgedistill.palette import Palette
from edgedistill.runtime import AdaptiveSession, TextClassifier
from edgedistill.runtime.calibrated_scores import CalibratedScores, energy
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet

PASSING = (0.2, 0.1, 0.05, 0.02)
LENT = {"sst2": "text", "stsb": "sentence1"}  # data sets of another domain, and their column
LENT_TEXTS = 1000  # of each
DRAWS = 2000
TIMED = 100  # texts

_Logits = NDArray[np.float32]


def main(data_folder: DataFolder, work: WorkFolder, share: Share = 1.0) -> None:
    """Export with out-of-scope texts, and save what is accepted of the others."""
    known, data = data_sets.read(data_folder)
    supernet = checkpoint.load(training_runs.trained_palette(known, work, share))
    teacher = training_runs.teacher(known, data, work)
    family = [supernet.model.arch.full, *training_runs.reference_subnets(teacher).values(), supernet.space.minnet]
    given = [*_texts(data_folder, "oos_train"), *_texts(data_folder, "oos_validation"), *_lent(data_folder)]
    palette = write_palette(
        supernet,
        family,
        mlfs.encode_data(supernet, data),
        work / "rejection",
        output.log,
        precisions=("fp32", "int8"),
        out_of_scope=_rows(supernet, given),
    )
    entries = palette.manifest.subnets
    out, within = _rows(supernet, list(_texts(data_folder, "oos_test"))), mlfs.encode_data(supernet, data).test
    result: dict[str, Any] = {"data": known.name, "share": share, "precision": training_runs.PRECISION}
    result |= {"texts": len(given), "asked": len(out), "members": {}}
    logits = {
        entry.name: (_logits(palette, entry.name, out), _logits(palette, entry.name, within)) for entry in entries
    }
    for entry in entries:
        assert entry.calibration is not None
        result["members"][entry.name] = entry.calibration.model_dump(exclude={"energies"}) | {
            "area_by_energy": _area(*map(energy, logits[entry.name])),
            "area_by_probability": _area(
                *(
                    CalibratedScores(palette.manifest, None).probabilities(entry.name, of).max(-1)
                    for of in logits[entry.name]
                )
            ),
        }
    result["accepting"] = {str(passing): _passed(palette, logits, passing) for passing in PASSING}
    energies = np.stack([energy(of) for of, _ in logits.values()])
    result["by_chance"] = {
        passing: _by_chance(energies, of[entries[0].name]["out_of_scope"])
        for passing, of in result["accepting"].items()
    }
    texts = list(_texts(data_folder, "oos_test"))
    with AdaptiveSession(palette) as session:
        result |= {"smallest": _floor(session), "classified": _classified(session, texts)}
    result["second_run"] = {e.name: _second_run(palette, e.name, texts) for e in entries if e.precision == "fp32"}
    output.save_result(f"rejection-{known.name}", result)


def _floor(session: AdaptiveSession) -> str:
    """Return the subnet that decides what is accepted, once it is in memory."""
    while (fallback := session.fallback) is None:
        time.sleep(0.01)
    return fallback


def _serve(session: AdaptiveSession, name: str) -> None:
    session.pin(name)
    while session.active != name:
        time.sleep(0.01)


def _classified(session: AdaptiveSession, texts: list[str]) -> dict[str, dict[str, float]]:
    """Return by false-accept rate the share of these texts that the classifier accepts while each member answers."""
    names = [entry.name for entry in session.palette.manifest.subnets]
    found: dict[str, dict[str, float]] = {str(passing): {} for passing in PASSING}
    for name, passing in product(names, PASSING):
        _serve(session, name)
        answers = TextClassifier(session, false_accept_rate=passing).classify(texts)
        assert {one.subnet for one in answers} == {name}
        found[str(passing)][name] = float(np.mean([one.accepted for one in answers]))
    return found


def _second_run(palette: Palette, name: str, texts: list[str]) -> list[float]:
    """Return how many times as long a text takes: median and quartiles."""
    ratios = []
    with AdaptiveSession(palette, threads=1) as session:
        _serve(session, name)
        _floor(session)
        ways = [TextClassifier(session, false_accept_rate=0.05), TextClassifier(session)]
        for text in texts[:TIMED]:
            took_s = [min(timeit.repeat(lambda: way.classify([text]), number=1, repeat=3)) for way in ways]  # noqa: B023
            ratios.append(took_s[0] / took_s[1])
    return [round(float(value), 3) for value in np.percentile(ratios, [50, 25, 75])]


def _passed(palette: Palette, logits: dict[str, tuple[_Logits, _Logits]], passing: float) -> dict[str, Any]:
    """Shares of texts out of scope and within it that each member accepts, by its own energies and the first one's."""
    scores, first = CalibratedScores(palette.manifest, passing), palette.manifest.subnets[0].name
    return {
        name: {
            "out_of_scope": float(scores.accepted(name, out).mean()),
            "in_scope": float(scores.accepted(name, within).mean()),
            "out_of_scope_by_the_first": float(scores.accepted(first, out).mean()),
        }
        for name, (out, within) in logits.items()
    }


def _by_chance(energies: NDArray[np.float64], share: float) -> dict[str, float]:
    """Return the largest difference from the first of members [m, texts] that all accept ``share`` of the texts."""
    passing = energies < np.quantile(energies, share, axis=1, keepdims=True)
    rng, texts = np.random.default_rng(0), energies.shape[1]
    drawn = np.array([passing[:, rng.integers(0, texts, texts)].mean(1) for _ in range(DRAWS)])
    median, most = np.percentile(np.abs(drawn - drawn[:, :1]).max(1), (50, 95))
    return {"median": round(float(median), 4), "p95": round(float(most), 4)}


def _logits(palette: Palette, name: str, rows: Encoded) -> _Logits:
    found: _Logits = graph_outputs(palette.graph_path(name), rows).numpy()
    return found


def _area(out: NDArray[np.float64], within: NDArray[np.float64]) -> float:
    labels = np.r_[np.zeros(len(out)), np.ones(len(within))]
    return round(float(roc_auc_score(labels, np.r_[out, within])), 4)


def _rows(supernet: Supernet, texts: list[str]) -> Encoded:
    info = supernet.info
    return encode(
        supernet.tokenizer, Split(tuple(texts), None), info.task, max_tokens=info.max_tokens, pad=info.pad_token_id
    )


def _texts(folder: Path, name: str, column: str = "text") -> Iterator[str]:
    with (folder / f"{name}.jsonl").open(encoding="utf-8") as file:
        yield from (json.loads(line)[column] for line in file)


def _lent(data_folder: Path) -> Iterator[str]:
    """Sentences of other domains, of more than three words."""
    rng = np.random.default_rng(0)
    for name, column in LENT.items():
        texts = [text for text in _texts(data_folder.parent / name, "train", column) if len(text.split()) > 3]
        yield from (texts[i] for i in rng.permutation(len(texts))[:LENT_TEXTS])
