"""Generate the demo's data: commands to a smart home, from a small grammar.

Train, validation and test use different templates, and test also uses other slot values where possible. So accuracy on
test measures how well meaning was learnt, not wording.
"""

from __future__ import annotations

import random
import re
import sys
from importlib import resources
from typing import Any

from edgedistill.data.dataset import TaskData

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

__all__ = ["generate"]

SOURCE = "demo"
_A_LABEL = {"train": 90, "validation": 20, "test": 40}
_TRIES = 20  # draws per sentence: a template without slots gives only one


def generate(seed: int = 0) -> TaskData:
    """Generate 20 intents: 1,800 sentences to train on, 400 to choose by, 800 to report on; reproducible by seed."""
    grammar = tomllib.loads(resources.files("edgedistill.demo").joinpath("commands.toml").read_text(encoding="utf-8"))
    rng = random.Random(seed)
    rows: dict[str, list[tuple[str, str]]] = {}
    for split, count in _A_LABEL.items():
        slots = grammar["slots"] | (grammar["unseen"] if split == "test" else {})
        frames = grammar["frames"]["unseen" if split == "test" else "known"]
        rows[split] = [
            (text, label)
            for label, templates in grammar["intents"].items()
            for text in _sentences(templates[split], frames, slots, count, rng)
        ]
    return TaskData.from_rows(rows, SOURCE)


def _sentences(
    templates: list[str], frames: list[str], slots: dict[str, list[str]], count: int, rng: random.Random
) -> list[str]:
    """Return up to ``count`` different sentences, the templates alternating, each in a frame."""
    framed = (rng.choice(frames).replace("{}", templates[i % len(templates)]) for i in range(_TRIES * count))
    drawn = (_fill(template, slots, rng) for template in framed)
    return list(dict.fromkeys(drawn))[:count]


def _fill(template: str, slots: dict[str, Any], rng: random.Random) -> str:
    return re.sub(r"\{(\w+)\}", lambda slot: str(rng.choice(slots[slot[1]])), template)
