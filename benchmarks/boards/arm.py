"""Check that Arm boards answer as this machine does.

Claim: for 500 test sentences, a Raspberry Pi 4 (no int8 dot product) and a Raspberry Pi 5 (with it) give this
machine's labels in fp32, and an accuracy within 0.5 points of it in int8. Subnets swap there while sentences are
answered.

Both boards are emulated, with the packages that they would install. The largest and the smallest subnet answer in both
precisions, in the same batches everywhere, since int8 scales activations by the batch. Emulation does not show speed
or memory, so neither is kept. Every run stays in WORK; remove WORK to measure another version of EdgeDistill.

EMULATOR is the command that runs `BOARD PROGRAM ARGUMENTS` by the Python of a board (pi4 or pi5) that has every
package of the device side but ours.

Needs: a classifier's palette and its test texts; emulators of both boards
Takes: about an hour
"""

from __future__ import annotations

import hashlib
import json
import platform
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any, get_args

import numpy as np
from numpy.typing import NDArray

from benchmarks.boards.install_size import build_wheel
from benchmarks.shared import output
from benchmarks.shared.arguments import DataFolder, Emulator, PaletteFolder, WorkFolder
from edgedistill.palette import Palette, Precision, load

BOARDS = ("pi4", "pi5")
SENTENCES = 500
_PROGRAM = "arm_device.py"

_Run = dict[str, Any]  # what the program printed


def sentences(data: Path) -> tuple[list[str], list[str]]:
    """Texts and labels of the same choice each time; short ones first, which pads little."""
    lines = (data / "test.jsonl").read_text(encoding="utf-8").splitlines()
    chosen = np.random.default_rng(0).permutation(len(lines))[:SENTENCES]
    rows = sorted((json.loads(lines[i]) for i in chosen), key=lambda row: len(row["text"]))
    return [row["text"] for row in rows], [row["label"] for row in rows]


def unpack(work: Path) -> Path:
    """Unpack our wheel into a folder, with the program next to it, which finds it there."""
    folder = work / "site"
    if not folder.exists():
        with zipfile.ZipFile(build_wheel(work / "wheel")) as wheel:
            wheel.extractall(folder)
    shutil.copy(Path(__file__).with_name(_PROGRAM), folder)
    return folder / _PROGRAM


def ends(palette: Palette, precision: Precision) -> tuple[str, str]:
    """Return the smallest subnet and the largest."""
    entries = sorted((e for e in palette.manifest.subnets if e.precision == precision), key=lambda entry: entry.macs)
    return entries[0].name, entries[-1].name


def run(command: Sequence[str], palette: Palette, texts: Path, subnets: tuple[str, str], file: Path) -> _Run:
    """Run both subnets on one machine and return their answers, or read those of an earlier run."""
    if not file.exists():
        output.log(f"{file.stem}: {' and '.join(subnets)}")
        asked = [*command, str(palette.folder.resolve()), str(texts), *subnets]
        done = subprocess.run(asked, stdout=subprocess.PIPE, text=True, check=True)
        file.write_text(done.stdout.splitlines()[-1], encoding="utf-8")
    found: _Run = json.loads(file.read_text(encoding="utf-8"))
    return found


def compared(runs: dict[str, _Run], here: str, subnet: str, labels: Sequence[str]) -> dict[str, Any]:
    """Compare one subnet's accuracy on each machine, and where the boards differ from this one."""
    said = {name: np.array(of["labels"][subnet]) for name, of in runs.items()}
    logits = {name: np.array(of["logits"][subnet]) for name, of in runs.items()}
    accuracy = {name: float((of == np.array(labels)).mean()) for name, of in said.items()}
    return {
        "accuracy": accuracy,
        "boards": {
            name: {
                "points": round(100 * (accuracy[name] - accuracy[here]), 2),
                "other_labels": _others(said[name] != said[here], logits[name], logits[here]),
                "largest_difference": round(float(np.abs(logits[name] - logits[here]).max()), 5),
            }
            for name in BOARDS
        },
    }


def _others(differ: NDArray[np.bool_], there: NDArray[np.float64], here: NDArray[np.float64]) -> list[list[float]]:
    """Return, for each sentence with another label, the margin of the best logit here and there."""
    return [[round(_margin(logits[row]), 5) for logits in (here, there)] for row in np.flatnonzero(differ)]


def _margin(logits: NDArray[np.float64]) -> float:
    second, best = np.sort(logits)[-2:]
    return float(best - second)


def held(members: dict[str, Any], precision: Precision) -> bool:
    """Return whether the claim holds for the members of a precision."""
    boards = [of for member in members.values() for of in member["boards"].values()]
    if precision == "fp32":
        return not any(of["other_labels"] for of in boards)
    return all(abs(of["points"]) <= 0.5 for of in boards)


def main(data_folder: DataFolder, palette_folder: PaletteFolder, work: WorkFolder, emulator: Emulator) -> None:
    """Answer in both precisions on both boards and here, and save the comparison."""
    palette = load(palette_folder)
    texts, labels = sentences(data_folder)
    file = work / "texts.json"
    file.write_text(json.dumps(texts), encoding="utf-8")
    program, here = str(unpack(work)), platform.machine()
    commands: dict[str, list[str]] = {here: [sys.executable, program]} | {b: [*emulator, b, program] for b in BOARDS}
    key = hashlib.sha256(f"{palette.manifest.digest}{texts}".encode()).hexdigest()[:12]
    result: dict[str, Any] = {"data": data_folder.name, "sentences": len(texts), "machines": {}, "precisions": {}}
    for precision in get_args(Precision):
        subnets = ends(palette, precision)
        runs = {
            name: run(command, palette, file, subnets, work / f"{name}-{precision}-{key}.json")
            for name, command in commands.items()
        }
        result["machines"] |= {name: {"machine": of["machine"], **of["versions"]} for name, of in runs.items()}
        members = {subnet: compared(runs, here, subnet, labels) for subnet in subnets}
        result["precisions"][precision] = {
            "held": held(members, precision),
            "turns": {name: of["turns"] for name, of in runs.items()},
            "members": members,
        }
        output.log(f"{precision}: {result['precisions'][precision]}")
    output.save_result("arm", result)
