"""Declare the arguments that benchmarks share, with the help that each shows."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def _folder(metavar: str, about: str) -> typer.models.ArgumentInfo:
    argument: typer.models.ArgumentInfo = typer.Argument(metavar=metavar, help=about, exists=True, file_okay=False)
    return argument


def _work_folder(folder: Path) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    return folder.resolve()


DataFolder = Annotated[Path, _folder("DATA", "the folder of the data")]
PaletteFolder = Annotated[Path, _folder("PALETTE", "the folder of a palette")]
SupernetFolder = Annotated[Path, _folder("SUPERNET", "the folder of a trained supernet")]
Wikitext = Annotated[Path, _folder("WIKITEXT2", "the folder of wikitext2: train.txt, valid.txt and test.txt")]
WorkFolder = Annotated[
    Path, typer.Argument(metavar="WORK", help="a folder for models and runs", file_okay=False, callback=_work_folder)
]
Emulator = Annotated[list[str], typer.Argument(metavar="EMULATOR...", help="the command, after --")]
Share = Annotated[float, typer.Option(min=0.0, help="length of the runs as a share of the default recipe's")]
Repeats = Annotated[int, typer.Option(min=1, help="how often everything is measured")]
Rounds = Annotated[int, typer.Option(min=1, help="rounds, in each of which everything is measured once")]
Steps = Annotated[int, typer.Option(min=1, help="training steps of a run")]
