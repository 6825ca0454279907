"""Open a palette: read its manifest, check its files, and load its profiles.

A palette is one folder: ``manifest.json``, one weights file a precision, one graph a subnet, the
tokenizer, and ``profiles/<device>.json`` beside them. The manifest names every file with its size and
SHA-256 and carries its own digest; profiles stay outside it, so that profiling breaks no digest.

`load` is the one way in: it validates, and checks that every file is there with its recorded size.
`Palette.check_hashes` reads the bytes too. Links are followed: only the content counts, by its hash.
"""

from __future__ import annotations

import os
import re
from pathlib import Path

from edgedistill.errors import PaletteError
from edgedistill.palette.bounded_files import file_stat, read_file
from edgedistill.palette.documents import MAX_JSON_BYTES, parse_versioned
from edgedistill.palette.input_kinds import READABLE_KINDS
from edgedistill.palette.migrations import MANIFEST_STEPS
from edgedistill.palette.palette_folder import MANIFEST_NAME, PROFILES_FOLDER, Palette
from edgedistill.palette.profile_files import load_profiles
from edgedistill.palette.schema import SCHEMA_VERSION, Manifest, digest_of

__all__ = ["load", "open_palette", "read_manifest"]


def load(folder: str | Path, *, profiles: str | Path | None = None, digest: str | None = None) -> Palette:
    """Read a palette: its manifest, and the profiles next to it (or in the folder ``profiles``).

    Relative paths are resolved once, so that a later ``os.chdir`` changes nothing. A link to a folder stays a link: it
    may be pointed at another palette. ``digest`` pins the palette: no other is opened, or served from this folder.

    Raises:
        PaletteError: no manifest, one that is damaged, of another version or of another digest, or a file that is
            missing, truncated or not a regular file.
    """
    folder = _absolute(folder)
    manifest = read_manifest(folder)
    if digest is not None:
        _check_digest(folder, manifest, digest)
    for entry in manifest.files:
        _check_size(folder / entry.name, entry.size_bytes)
    for name in (*sorted(manifest.input.files), manifest.probes):
        _check_json_size(folder / name)
    profiles_folder = _absolute(profiles or folder / PROFILES_FOLDER)
    usable, unusable = load_profiles(profiles_folder, manifest)
    return Palette(folder, manifest, usable, profiles_folder, pinned=digest is not None, unusable_profiles=unusable)


def read_manifest(folder: Path) -> Manifest:
    """Read a palette's manifest, and look at no other file.

    Raises:
        PaletteError: there is none, or it is damaged or of another version.
    """
    path = folder / MANIFEST_NAME
    if not os.path.lexists(path):
        raise PaletteError(f"{folder} is not a palette: it has no {MANIFEST_NAME}; write one with 'edgedistill export'")
    content = read_file(path, MAX_JSON_BYTES)
    manifest, document = parse_versioned(path, content, Manifest, SCHEMA_VERSION, MANIFEST_STEPS)
    if digest_of(document) != manifest.digest:
        raise PaletteError(f"{path} was altered: its digest does not match; export the palette again")
    if manifest.input.kind not in READABLE_KINDS:
        raise PaletteError(
            f"{path}: input.kind is {manifest.input.kind!r}, which this edgedistill cannot read; "
            f"expected {' or '.join(READABLE_KINDS)}"
        )
    return manifest


def open_palette(palette: str | Path | Palette, digest: str | None = None) -> Palette:
    """Return a palette that is read already, or read it; with ``digest``, only one of that digest.

    Raises:
        PaletteError: as `load`.
    """
    if not isinstance(palette, Palette):
        return load(palette, digest=digest)
    if digest is not None:
        _check_digest(palette.folder, palette.manifest, digest)
        palette.pinned = True
    return palette


def _check_digest(folder: Path, manifest: Manifest, digest: str) -> None:
    """Compare a palette with the digest that is pinned.

    Raises:
        PaletteError: it has another one.
    """
    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise PaletteError(
            f"digest is {digest!r}; expected the 64 hexadecimal digits that 'edgedistill inspect --json' prints"
        )
    if manifest.digest != digest:
        raise PaletteError(
            f"{folder} has the digest {manifest.digest}, but {digest} is pinned; give that palette, or its own digest"
        )


def _absolute(folder: str | Path) -> Path:
    try:
        return Path(folder).absolute()
    except OSError as error:  # the working directory is gone
        raise PaletteError(f"{folder} cannot be resolved: {error.strerror}; give an absolute path") from error


def _check_size(path: Path, expected: int) -> None:
    actual = file_stat(path).st_size
    if actual != expected:
        raise PaletteError(f"{path} has {actual} bytes, expected {expected}; export the palette again")


def _check_json_size(path: Path) -> None:
    if file_stat(path).st_size > MAX_JSON_BYTES:
        raise PaletteError(f"{path} has more than {MAX_JSON_BYTES / 1e6:.0f} MB; export the palette again")
