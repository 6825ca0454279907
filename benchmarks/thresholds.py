"""One threshold keeps its meaning whichever member answers.

Claim: a score that is set on the palette's largest member, so that 20, 10 or 5 % of texts out of scope pass, lets
a share through that differs by at most a point at every other member, on CLINC150's out-of-scope test texts, in
fp32 and in int8; beside it the same score used as it is, and the calibration error of each member before and after.

Usage: python benchmarks/thresholds.py DATA WORK [SHARE], after separate_distillation.py with the same ones, whose
palette is exported. DATA is the clinc150 folder; sst2 and stsb lie beside it, and lend texts that are out of scope.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import lab
import numpy as np
from numpy.typing import NDArray

from edgedistill.distillation import mlfs
from edgedistill.distillation.batches import Encoded, encode
from edgedistill.distillation.data import Split
from edgedistill.distillation.tasks import task_of
from edgedistill.exporters import write_palette
from edgedistill.exporters.quality import graph_outputs
from edgedistill.manifest import Palette
from edgedistill.runtime.calibration import Scores
from edgedistill.supernet import checkpoint
from edgedistill.supernet.checkpoint import Supernet

PASSING = (0.2, 0.1, 0.05)
LENT = {"sst2": "text", "stsb": "sentence1"}  # data sets of another domain, and their column
LENT_TEXTS = 1000  # of each


def main(data_folder: str, work_folder: str, share: str = "1") -> None:
    """Export with texts out of scope; keep what passes of the others."""
    known, data = lab.read(Path(data_folder))
    work = Path(work_folder)
    teacher = lab.teacher(known, data, work)
    supernet = checkpoint.load(work / f"{teacher.name}-palette-{float(share):g}")
    family = [supernet.model.arch.full, *lab.reference_subnets(teacher).values()]
    given = [*_texts(Path(data_folder), "oos_train"), *_texts(Path(data_folder), "oos_validation"), *_lent(data_folder)]
    palette = write_palette(
        supernet,
        family,
        mlfs.encode_data(supernet, data),
        work / "thresholds",
        lab.say,
        precisions=("fp32", "int8"),
        out_of_scope=_rows(supernet, given),
    )
    out, within = _rows(supernet, list(_texts(Path(data_folder), "oos_test"))), mlfs.encode_data(supernet, data).test
    rejection = palette.manifest.rejection
    assert rejection is not None
    reference = palette.manifest.subnet(rejection.reference).calibration
    assert reference is not None
    result: dict[str, Any] = {"data": known.name, "share": float(share), "texts": len(given), "asked": len(out)}
    result["members"] = {
        entry.name: entry.calibration.model_dump(exclude={"percentiles"})
        for entry in palette.manifest.subnets
        if entry.calibration is not None
    }
    scores = {name: (_scores(palette, name, out), _scores(palette, name, within)) for name in result["members"]}
    result["thresholds"] = {
        str(passing): _passed(palette, scores, reference.percentiles[round(100 * (1 - passing))]) for passing in PASSING
    }
    lab.keep(f"thresholds-{known.name}", result)


def _passed(
    palette: Palette, scores: dict[str, tuple[NDArray[np.float64], NDArray[np.float64]]], threshold: float
) -> dict[str, Any]:
    """Shares of texts out of scope and within it that each member accepts, by the threshold carried and as it is."""
    carried = Scores(palette.manifest, threshold)
    members = {
        name: {
            "out_of_scope": float((out >= carried.least(name)).mean()),
            "in_scope": float((within >= carried.least(name)).mean()),
            "out_of_scope_uncarried": float((out >= threshold).mean()),
        }
        for name, (out, within) in scores.items()
    }
    return {"score": threshold, "members": members}


def _scores(palette: Palette, name: str, rows: Encoded) -> NDArray[np.float64]:
    """The member's scores, by its calibration."""
    logits = graph_outputs(palette.graph_path(name), rows, task_of(palette.manifest.task)).numpy()
    scores: NDArray[np.float64] = Scores(palette.manifest, None).of(name, logits).max(-1)
    return scores


def _rows(supernet: Supernet, texts: list[str]) -> Encoded:
    info = supernet.info
    return encode(
        supernet.tokenizer, Split(tuple(texts), None), info.task, max_tokens=info.max_tokens, pad=info.pad_token_id
    )


def _texts(folder: Path, name: str, column: str = "text") -> Iterator[str]:
    with (folder / f"{name}.jsonl").open(encoding="utf-8") as file:
        yield from (json.loads(line)[column] for line in file)


def _lent(data_folder: str) -> Iterator[str]:
    """Sentences of other domains, of more than three words."""
    rng = np.random.default_rng(0)
    for name, column in LENT.items():
        texts = [text for text in _texts(Path(data_folder).parent / name, "train", column) if len(text.split()) > 3]
        yield from (texts[i] for i in rng.permutation(len(texts))[:LENT_TEXTS])


if __name__ == "__main__":
    main(*sys.argv[1:])
