"""How does a file survive a crash? It is written beside its place, put on the disk, and renamed into it."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str, *, mark: str = "") -> None:
    """Replace a file in one rename, so that nobody reads half of it.

    Args:
        path: of the file; its folder is there.
        text: of all of it.
        mark: of this writer, where several may write at once and nothing else keeps them apart.

    Raises:
        OSError: it cannot be written; the file is as it was.
    """
    temporary = path.with_name(f"{path.name}{mark}.new")
    with temporary.open("w", encoding="utf-8") as out:
        out.write(text)
        out.flush()
        os.fsync(out.fileno())
    temporary.replace(path)


def sync_folder(folder: Path) -> None:
    """Make the names of new and renamed files in a folder survive a power cut, not only their content."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
