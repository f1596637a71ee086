"""What was decided, so that a crash at any instant loses no node?

One line an entry: a checksum, a space, JSON. Entries are on the disk (fsync) before the call that they
announce is made: a node that nobody answered for is found again by the name in its intent. A crash in
the middle of a write leaves a torn last line; it announced nothing that was done, and is dropped. A
broken line before the last is no crash but damage, and is said so.
"""

from __future__ import annotations

import json
import os
import zlib
from collections.abc import Iterable, Mapping
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from rackrate.durable import sync_folder
from rackrate.errors import DataError

Entry = dict[str, Any]


def encode(entry: Mapping[str, Any]) -> bytes:
    """Return an entry as its line."""
    text = json.dumps(entry, separators=(",", ":"), sort_keys=True).encode()
    return b"%08x %s\n" % (zlib.crc32(text), text)


def decode(line: bytes) -> Entry | None:
    """Return the entry of a line; None when it is not whole."""
    checksum, _, text = line.partition(b" ")
    if not line.endswith(b"\n") or checksum != b"%08x" % zlib.crc32(text[:-1]):
        return None
    entry = json.loads(text)
    return entry if isinstance(entry, dict) else None


def read(path: Path) -> list[Entry]:
    """Return the entries of a journal, without a torn last line.

    Raises:
        DataError: a line before the last is damaged, or there is no such file.
    """
    return _read(path)[0]


def _read(path: Path) -> tuple[list[Entry], int]:
    """Return the entries and the length of the whole lines, bytes."""
    if not path.is_file():
        raise DataError(f"{path} is no journal: there is no such file", code="journal-broken")
    lines = path.read_bytes().splitlines(keepends=True)
    entries: list[Entry] = []
    n_bytes = 0
    for number, line in enumerate(lines, start=1):
        entry = decode(line)
        if entry is None:
            if number < len(lines):
                hint = "`rackrate fleet reap` ends whatever of the fleet still runs, by its mark"
                raise DataError(f"{path}: line {number} is damaged", hint=hint, code="journal-broken")
            break
        entries.append(entry)
        n_bytes += len(line)
    return entries, n_bytes


class Journal:
    """A journal open for writing. One process writes; opening it again cuts off a torn last line."""

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.exists():
            os.truncate(path, _read(path)[1])
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        sync_folder(path.parent)

    def write(self, entries: Iterable[Mapping[str, Any]], *, is_synced: bool = True) -> None:
        """Append entries; when this returns, they are on the disk, or with the system if that is enough."""
        data = memoryview(b"".join(map(encode, entries)))
        while data:
            data = data[os.write(self._file, data) :]
        if is_synced:
            os.fsync(self._file)

    def close(self) -> None:
        """Close the file."""
        os.close(self._file)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
