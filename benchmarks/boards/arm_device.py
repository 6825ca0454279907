"""Answer the same texts by two subnets of a palette and swap them midway: the device's side of arm.py.

It imports nothing that the device side lacks. Usage: python arm_device.py PALETTE TEXTS FIRST SECOND. TEXTS is a JSON
list. The last line is one JSON object.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from itertools import groupby
from pathlib import Path
from typing import Any

from edgedistill.runtime import AdaptiveSession, Answer, TextClassifier

BATCH = 32  # of which a classifier makes one run
_DIGITS = 6
_COUNTED_S = 2.0


class Recording(AdaptiveSession):
    """Keeps the last answer with its outputs, of which a classifier tells only the label."""

    last: Answer

    def answer(
        self, output_names: Sequence[str] | None, feeds: Mapping[str, Any], *, deadline_ms: float | None = None
    ) -> Answer:
        """Answer as the session does, and record the logits."""
        self.last = super().answer(output_names, feeds, deadline_ms=deadline_ms)
        return self.last


@dataclass
class Found:
    """Hold the answers: labels and logits by subnet and batch, and the order of the subnets that answered."""

    labels: dict[str, dict[int, list[str]]]
    logits: dict[str, dict[int, list[list[float]]]]
    order: list[str] = field(default_factory=list)

    def add(self, batch: int, classifier: TextClassifier, texts: Sequence[str]) -> None:
        """Answer a batch, by whichever subnet."""
        labels = classifier.classify(texts)
        assert isinstance(classifier.session, Recording)
        answer = classifier.session.last
        assert {label.subnet for label in labels} == {answer.subnet}
        self.order.append(answer.subnet)
        self.labels[answer.subnet][batch] = [label.label for label in labels]
        self.logits[answer.subnet][batch] = answer.outputs[0].astype("f8").round(_DIGITS).tolist()


def main(palette: str, texts_file: str, first: str, second: str) -> None:
    """Pin the first for half of the texts, then the second for all, then the first for the rest."""
    texts = json.loads(Path(texts_file).read_text(encoding="utf-8"))
    batches = [texts[start : start + BATCH] for start in range(0, len(texts), BATCH)]
    found = Found({first: {}, second: {}}, {first: {}, second: {}})
    # By processor time, a load that emulation draws out does not overrun the limit that is meant for a device.
    with Recording(palette, only=(first, second), threads=1, clock=time.process_time) as session:
        classifier = TextClassifier(session)
        session.pin(first)
        wait_for(session, first)
        before = session.swaps
        for subnet, until in ((first, len(batches) // 2), (second, len(batches)), (first, len(batches))):
            session.pin(subnet)
            answer_until(classifier, batches, found, subnet, until)
        wait_for(session, first)
        swaps = session.swaps - before
    told = [subnet for subnet, _ in groupby(found.order)]
    assert told == [first, second, first][: len(told)], told
    assert len(told) >= 2, told
    assert swaps == 2, swaps
    print(
        json.dumps(
            {
                "machine": platform.machine(),
                "versions": {name: metadata.version(name) for name in ("onnxruntime", "numpy", "tokenizers")},
                "turns": told,
                "labels": {subnet: _joined(of) for subnet, of in found.labels.items()},
                "logits": {subnet: _joined(of) for subnet, of in found.logits.items()},
            }
        )
    )


def answer_until(
    classifier: TextClassifier, batches: Sequence[Sequence[str]], found: Found, pinned: str, until: int
) -> None:
    """Go on, whoever serves meanwhile, until the one that is pinned has answered so many batches."""
    while len(found.labels[pinned]) < until:
        done = found.labels[classifier.session.active]
        left = next((number for number in range(len(batches)) if number not in done), None)
        if left is None:  # the other one has no more to do
            time.sleep(0.1)
        else:
            found.add(left, classifier, batches[left])


def wait_for(session: AdaptiveSession, subnet: str) -> None:
    """Wait until a subnet is active and the swap to it is counted."""
    while session.active != subnet:
        time.sleep(0.1)
    time.sleep(_COUNTED_S)


def _joined(of: Mapping[int, list[Any]]) -> list[Any]:
    return [one for number in sorted(of) for one in of[number]]


if __name__ == "__main__":
    main(*sys.argv[1:])
