"""Write files so that a reader sees the old content or the new, never a part of it."""

from __future__ import annotations

import errno
import json
import os
import tempfile
from pathlib import Path
from typing import Any

__all__ = ["put_in_place", "sync", "write_bytes", "write_json"]

_MODE = 0o644


def write_json(path: Path, document: dict[str, Any]) -> None:
    """Replace ``path`` at once by this JSON.

    Raises:
        OSError: it cannot be written.
    """
    write_bytes(path, (json.dumps(document, indent=1, ensure_ascii=False) + "\n").encode())


def write_bytes(path: Path, content: bytes) -> None:
    """Replace ``path`` at once by this content.

    Raises:
        OSError: it cannot be written.
    """
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}-", suffix=".part")
    part = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
        part.chmod(_MODE)
        put_in_place(part, path)
    except BaseException:
        part.unlink(missing_ok=True)
        raise


def put_in_place(part: Path, path: Path) -> None:
    """Rename a file that was written beside ``path`` to it, once its bytes are on the disk.

    Raises:
        OSError: it cannot be synced or renamed.
    """
    sync(part)
    part.replace(path)
    sync(path.parent)


def sync(path: Path) -> None:
    """Put a file's bytes, or a folder's list of names, on the disk.

    Raises:
        OSError: the disk fails.
    """
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    except OSError as error:
        if error.errno not in {errno.EINVAL, errno.ENOTSUP}:  # network file systems that cannot sync a folder
            raise
    finally:
        os.close(handle)
