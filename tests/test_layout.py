"""The links at the root show readers where the code is; nothing may be imported through them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
NAMES = ("runtime", "exporters", "device_profiles")


@pytest.mark.parametrize("name", NAMES)
def test_a_link_at_the_root_leads_to_its_package(name: str) -> None:
    link = ROOT / name
    # Where a clone has no symbolic links, git writes each as a small file that holds its target.
    target = os.readlink(link) if link.is_symlink() else link.read_text(encoding="utf-8")  # noqa: PTH115 (as text)
    assert target == f"edgedistill/{name}"
    assert (ROOT / target / "__init__.py").is_file()


@pytest.mark.parametrize("name", NAMES)
def test_importing_by_the_name_at_the_root_fails_and_says_what_to_import(name: str, tmp_path: Path) -> None:
    # A link of our own, so that this is tried in clones without links too.
    (tmp_path / name).symlink_to(ROOT / "edgedistill" / name)
    done = subprocess.run(
        [sys.executable, "-c", f"import {name}"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode != 0
    assert done.stderr.splitlines()[-1].startswith(f"ImportError: import edgedistill.{name}, not {name}")
