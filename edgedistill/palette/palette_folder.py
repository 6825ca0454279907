"""A palette that was opened: its folder, its manifest, its profiles, and checks of its files."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Mapping
from pathlib import Path

from edgedistill.errors import PaletteError
from edgedistill.palette.bounded_files import read_file, sha256_of
from edgedistill.palette.device_profile import DeviceProfile
from edgedistill.palette.documents import MAX_JSON_BYTES, parse_json
from edgedistill.palette.schema import FileEntry, Manifest, Probes

__all__ = ["MANIFEST_NAME", "PROFILES_FOLDER", "Palette"]

MANIFEST_NAME = "manifest.json"
PROFILES_FOLDER = "profiles"
_MAX_PROBE_VALUES = 4_000_000


class Palette:
    """Hold an opened palette: its folder, its manifest and its profiles by device.

    Attributes:
        folder: where it was opened; what is written goes there.
        files: where its files are read: ``folder``, or a private copy (`runtime.snapshot`).
        hold: what keeps the private copy there.
        pinned: whether only this digest may be served from the folder.
        unusable_profiles: what is wrong with each profile that was left out, by the device's name.
    """

    def __init__(
        self,
        folder: Path,
        manifest: Manifest,
        profiles: dict[str, DeviceProfile],
        profiles_folder: Path | None = None,
        *,
        files: Path | None = None,
        hold: object = None,
        pinned: bool = False,
        unusable_profiles: Mapping[str, str] | None = None,
    ) -> None:
        self.folder = folder
        self.manifest = manifest
        self.profiles = profiles
        self.profiles_folder = profiles_folder or folder / PROFILES_FOLDER
        self.files, self.hold = files or folder, hold
        self.pinned = pinned
        self.unusable_profiles = unusable_profiles or {}

    def graph_path(self, subnet: str) -> Path:
        """Return where that subnet's graph is read."""
        return self.files / self.manifest.subnet(subnet).graph

    def read(self, name: str) -> bytes:
        """Return the content of one JSON file that the manifest lists, as it was when its hash was taken.

        Raises:
            PaletteError: it cannot be read, was altered, or is too large.
        """
        content = read_file(self.files / name, MAX_JSON_BYTES)
        if hashlib.sha256(content).hexdigest() != self._entry(name).sha256:
            raise _altered(self.files / name)
        return content

    def probes(self) -> Probes:
        """Return the recorded requests and answers that `verify` compares with.

        Raises:
            PaletteError: the file is damaged.
        """
        name = self.manifest.probes
        return parse_json(self.files / name, self.read(name), Probes, max_values=_MAX_PROBE_VALUES)

    def check_hashes(self) -> None:
        """Read every file and compare it with its recorded SHA-256.

        A file is read once in a process, then again only when its size, times or inode changed.

        Raises:
            PaletteError: a file was altered.
        """
        self._check({entry.name for entry in self.manifest.files})

    def check_member(self, subnet: str) -> None:
        """Check one subnet's graph and weights as `check_hashes` does.

        Raises:
            PaletteError: the palette does not have the subnet, or a file of it was altered.
        """
        entry = self.manifest.subnet(subnet)
        self._check({entry.graph, entry.weights})

    def _check(self, names: Collection[str]) -> None:
        for name in sorted(names):
            if sha256_of(self.files / name) != self._entry(name).sha256:
                raise _altered(self.files / name)

    def _entry(self, name: str) -> FileEntry:
        return next(entry for entry in self.manifest.files if entry.name == name)


def _altered(path: Path) -> PaletteError:
    return PaletteError(f"{path} was altered: its SHA-256 is not the manifest's; export the palette again")
