"""Check a palette on this machine: its files, its profile, and which subnets fit into memory."""

from __future__ import annotations

import shlex
from pathlib import Path

from edgedistill.errors import PaletteError
from edgedistill.palette import DeviceProfile, Palette, load
from edgedistill.runtime.control.decide import Policy, State, decide
from edgedistill.runtime.device import cpu_name
from edgedistill.runtime.doctor.finding import Finding
from edgedistill.runtime.onnx import usable_cores
from edgedistill.runtime.predict.candidates import smallest
from edgedistill.runtime.predict.costs import MacCosts, ProfileCosts
from edgedistill.runtime.predict.slowdown import Size
from edgedistill.runtime.profiles import choose_profile
from edgedistill.runtime.sensors import Readings, free_memory_mb

__all__ = ["memory_fit", "profile", "whole"]


def whole(folder: Path) -> Finding:
    """Check that the manifest is readable, and that its files exist with their sizes."""
    try:
        manifest = load(folder).manifest
    except PaletteError as error:
        summary, _, fix = str(error).rpartition("; ")
        return Finding("problem", summary, f"copy the folder to this machine again (rsync -a), or {fix}")
    command = f"edgedistill verify {shlex.quote(str(folder))}"
    return Finding("ok", f"{len(manifest.subnets)} subnets, {manifest.task}; {command} reads every byte")


def profile(folder: Path, root: Path) -> Finding:
    """Check which profile the runtime uses here, and whether it describes this machine as it is."""
    chosen = choose_profile(load(folder))
    fix = f"edgedistill profile {shlex.quote(str(folder))}"
    if chosen is None:
        return Finding("note", "none speaks of this machine: latencies are guessed", fix)
    summary = f"{chosen.device.name}, {chosen.kind} on {chosen.device.board}, {chosen.conditions.date[:10]}"
    doubts = _doubts(chosen, root)
    return Finding("note", f"{summary}; but {' and '.join(doubts)}", fix) if doubts else Finding("ok", summary)


def _doubts(chosen: DeviceProfile, root: Path) -> list[str]:
    """Return the reasons why the profile's figures may be wrong here."""
    if chosen.kind == "estimated":
        return ["estimated, not measured here"]
    threads, usable = chosen.conditions.threads, usable_cores(root)
    cpu = cpu_name(root)
    doubts = {
        f"measured on {chosen.device.cpu}, not on {cpu}": chosen.device.cpu != cpu,
        f"with {threads} threads, where {usable} cores are usable now": threads != usable,
        f"while others took {chosen.conditions.other_load:.0%} of the machine": not chosen.conditions.quiet,
    }
    return [doubt for doubt, is_so in doubts.items() if is_so]


def memory_fit(folder: Path, root: Path) -> Finding:
    """Check which subnets the runtime would load into the memory that is free now."""
    palette, free_mb = load(folder), free_memory_mb(root)
    chosen = choose_profile(palette)
    costs = MacCosts(palette.manifest) if chosen is None else ProfileCosts(palette.manifest, chosen)
    candidates = costs.candidates(Size(1, palette.manifest.text_input.tokenizer.max_tokens))
    expected = decide(candidates, Readings(free_mb=free_mb), State(), Policy(), 0.0).expected
    misfits = {forecast.subnet for forecast in expected if forecast.misfit is not None}
    fits = _listed(palette, {forecast.subnet for forecast in expected} - misfits)
    guessed = ", by their files' sizes" if chosen is None else ""
    where = f"{free_mb:,.0f} MB are free{guessed}"
    if not misfits:
        return Finding("ok", f"{where}: all {len(expected)} fit")
    summary = f"{where}: {fits or 'none'} fit, {_listed(palette, misfits)} not"
    fix = "ps -eo rss,args --sort=-rss | head shows what takes the memory: stop what is not needed"
    least = smallest(candidates)
    if least.memory_mb > free_mb:
        return Finding("problem", f"{summary}: even {least.name} takes {least.memory_mb:,.0f} MB", fix)
    return Finding("note", summary, fix)


def _listed(palette: Palette, names: set[str]) -> str:
    """Return the names in the palette's order."""
    return ", ".join(entry.name for entry in palette.manifest.subnets if entry.name in names)
