"""Run `edgedistill doctor` and `profile` on emulated boards, and check that the profile is not trusted.

Claim: on an emulated Raspberry Pi 4 and 5 the doctor finds nothing that keeps EdgeDistill from running. The profile
says that it was emulated; no session uses it unless it is selected by name. Emulation does not show speed or memory,
so neither is kept. The exit code is 1 if the claim does not hold.

EMULATOR is as for `arm`. PALETTE may be of any task; a few small subnets are best, since an emulated pass takes a
hundred times as long. The profiles stay in WORK.

Needs: a palette; emulators of both boards
Takes: about half an hour
"""

from __future__ import annotations

import json
import os
import shlex
import subprocess
from pathlib import Path
from typing import Any

from benchmarks.boards.arm import BOARDS, unpack
from benchmarks.shared import output
from benchmarks.shared.arguments import Emulator, PaletteFolder, WorkFolder
from edgedistill.palette import load
from edgedistill.runtime.profiles import choose_profile

_PROGRAM = """import sys

sys.executable = {python!r}

from edgedistill.cli import main

main()
"""
_QUICK = ("--lengths", "8", "--quick")


def run(command: list[str], site: Path) -> dict[str, Any]:
    """Run a command and return the JSON document that it prints."""
    environment = os.environ | {"EDGEDISTILL_SITE": str(site)}  # by which the emulator finds ours in every process
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True, env=environment)
    found: dict[str, Any] = json.loads(done.stdout)
    return found


def on_board(board: str, emulator: list[str], site: Path, palette_folder: Path, work: Path) -> dict[str, Any]:
    """Run both commands, and return their reports and what a session does with the profile."""
    work.mkdir(exist_ok=True)
    python = work / "python"  # an emulated program that starts another needs the emulator again
    python.write_text(f'#!/bin/sh\nexec {shlex.join([*emulator, board])} "$@"\n', encoding="utf-8")
    python.chmod(0o755)
    program = work / "commands.py"
    program.write_text(_PROGRAM.format(python=str(python)), encoding="utf-8")
    command = [str(python), str(program)]
    doctor = run([*command, "doctor", str(palette_folder), "--json"], site)
    profiles = work / "profiles"
    asked = [*command, "profile", str(palette_folder), "--profiles", str(profiles), *_QUICK, "--json"]
    document = run(asked, site)
    palette = load(palette_folder, profiles=profiles)
    (name,) = palette.profiles
    forced = choose_profile(palette, name)
    return {
        "doctor": {check["name"]: check["found"] for check in doctor["checks"] if check["name"] in ("system", "int8")},
        "runs": doctor["runs"],
        "problems": [check["name"] for check in doctor["checks"] if check["state"] == "problem"],
        "cpu": document["profile"]["device"]["cpu"],
        "emulated": document["profile"]["device"]["emulated"],
        "subnets": len(document["subnets"]),
        "chosen_by_itself": choose_profile(palette) is not None,
        "chosen_by_name": forced is not None,
    }


def main(palette_folder: PaletteFolder, work: WorkFolder, emulator: Emulator) -> int:
    """Run both commands on both boards, and save their reports."""
    site = unpack(work).parent
    found = {board: on_board(board, emulator, site, palette_folder.resolve(), work / board) for board in BOARDS}
    output.save_result("arm-commands", {"boards": found})
    held = all(
        of["runs"] and of["emulated"] and not of["chosen_by_itself"] and of["chosen_by_name"] for of in found.values()
    )
    return 0 if held else 1
