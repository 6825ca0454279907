"""Compare two palettes of the same supernet, as two versions of the package exported them.

Claim: a change of the package leaves weights files and graphs as they are, byte for byte, and each member's answers bit
for bit. The older palette may be of the schema before.

Needs: two palettes of one supernet
Takes: less than a minute
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from numpy.typing import NDArray

from benchmarks.shared.arguments import PaletteFolder
from edgedistill.exporters.decoder_steps import Steps
from edgedistill.palette import Manifest, Palette, SubnetEntry, load
from edgedistill.runtime.onnx import create_session

NewPalette = Annotated[Path, typer.Argument(metavar="NEW", help="the folder of the other palette", exists=True)]
_ROWS, _LENGTHS = 2, (1, 7, 16)


def _hashes(manifest: Manifest) -> dict[str, str]:
    return {entry.name: entry.sha256 for entry in manifest.files}


def _answers(palette: Palette, entry: SubnetEntry) -> list[NDArray[np.float32]]:
    """Return the outputs for token ids drawn at random, the same for every palette."""
    rng, graph = np.random.default_rng(0), palette.graph_path(entry.name)
    largest_id = max(int(token) for rows in palette.probes().inputs.values() for row in rows for token in row)
    lengths = [min(length, palette.manifest.max_tokens) for length in _LENGTHS]
    if palette.manifest.generation is not None:
        texts = [rng.integers(0, largest_id + 1, length).tolist() for length in lengths]
        return [
            Steps(graph, length, 1).step(tokens, range(length)) for tokens, length in zip(texts, lengths, strict=True)
        ]
    session = create_session(graph, threads=1)
    outputs = []
    for length in lengths:
        ids = rng.integers(0, largest_id + 1, (_ROWS, length))
        feeds = {"input_ids": ids, "attention_mask": np.ones_like(ids), "token_type_ids": np.zeros_like(ids)}
        outputs.append(session.run(["logits"], {node.name: feeds[node.name] for node in session.get_inputs()})[0])
    return outputs


def _compared(old: Palette, new: Palette, name: str) -> dict[str, bool]:
    before, after = old.manifest.subnet(name), new.manifest.subnet(name)
    hashes = _hashes(old.manifest), _hashes(new.manifest)
    pairs = zip(_answers(old, before), _answers(new, after), strict=True)
    return {
        "weights": hashes[0][before.weights] == hashes[1][after.weights],
        "graph": hashes[0][before.graph] == hashes[1][after.graph],
        "recorded": old.probes().answers[name] == new.probes().answers[name],
        "answers": all(np.array_equal(one, other) for one, other in pairs),
        "entry": before == after,
    }


def main(old_folder: PaletteFolder, new_folder: NewPalette) -> int:
    """Print what is equal of each member; return 1 where its weights or answers differ."""
    old, new = load(old_folder), load(new_folder)
    for palette in (old, new):
        palette.check_hashes()
    names = [[entry.name for entry in palette.manifest.subnets] for palette in (old, new)]
    if names[0] != names[1]:
        print(f"other members: {names[0]} and {names[1]}")
        return 1
    differs = False
    for name in names[0]:
        equal = _compared(old, new, name)
        print(name, *(f"{part}: {'equal' if same else 'DIFFERS'}" for part, same in equal.items()), sep="  ")
        differs |= not all(equal[part] for part in ("weights", "recorded", "answers"))
    for weights in sorted({entry.weights for entry in new.manifest.subnets}):
        print(f"{weights}: {(new_folder / weights).stat().st_size:,} bytes")
    return int(differs)
