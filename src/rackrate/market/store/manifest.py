"""The manifest: which files make up the market now. Replaced whole, in one rename.

    folder/
      manifest.json      what follows, as JSON
      lock               held by the one writer
      offers-*.parquet   one file an import of a source, never changed
      purchases-*.parquet
      quarantine-*.parquet

Exchange rates that were collected stand in it too: what converts prices is switched with the prices.

A file that the manifest does not name does not exist for readers: a writer that dies leaves at worst
such a file, and the next writer removes it.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rackrate import clock
from rackrate.durable import sync_folder, write_whole
from rackrate.errors import DataError, Refused, StoreBroken

SCHEMA = 2
_READ = (1, SCHEMA)
"""Schemas that we read. 2 has prices of disk and traffic: what a file of 1 lacks is unknown in it."""
NAME = "manifest.json"
KEPT_FOR = timedelta(days=1)
"""How long a file that was merged into another stays for those who opened the store before."""
_OURS = re.compile(r"(offers|purchases|quarantine)-[^/]+-[0-9a-f]{12}\.parquet(\.tmp)?")
"""What a writer makes, and the next one may remove; anything else in the folder is the user's."""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """One listing of a source at one instant.

    Attributes:
        at: ISO 8601 UTC instant, without offset, as the file's `snapshot_at` holds it.
        rows: rows of it in the file.
        digest: of its rows; two listings with the same digest say the same.
        is_dated: whether the source says when its prices were true.
        is_whole: whether it passed the test on its size (quality rule 17).
    """

    at: str
    rows: int
    digest: str
    is_dated: bool = True
    is_whole: bool = True


@dataclass(frozen=True, slots=True)
class File:
    """One Parquet file of the store.

    Attributes:
        name: file name within the folder.
        table: offers, purchases or quarantine.
        source: id of the list; a file holds one.
        about: title, url, licence and credit of the source.
        imported_at: ISO 8601 UTC.
        input_sha256: of what was imported, with the parser's version.
        sha256: of this file.
        rows: rows in it.
        snapshots: the listings in it, ascending; empty for other tables than offers.
        rules: quality rule to the number of rows that met it.
        unknown_gpus: raw names that resolve to nothing, with their counts.
        schema: of the store when it was written, which says what columns it has.
        inputs: of files that were merged into it, by their `input_sha256`.
    """

    name: str
    table: str
    source: str
    about: Mapping[str, str]
    imported_at: str
    input_sha256: str
    sha256: str
    rows: int
    snapshots: tuple[Snapshot, ...] = ()
    rules: Mapping[str, int] = field(default_factory=dict)
    unknown_gpus: Mapping[str, int] = field(default_factory=dict)
    schema: int = SCHEMA
    inputs: tuple[str, ...] = ()


Rate = tuple[str, str, float]
"""Currency (ISO 4217), day (ISO 8601) and the USD for one unit of it."""


@dataclass(frozen=True, slots=True)
class Manifest:
    """What makes up a store.

    Attributes:
        files: that make up the market, oldest first.
        rates: exchange rates that were collected, ascending.
        retired: names of files that no longer belong to it, and since when: who opened the store before
            that may still read them.
    """

    files: tuple[File, ...] = ()
    rates: tuple[Rate, ...] = ()
    retired: Mapping[str, str] = field(default_factory=dict)

    @property
    def version(self) -> str:
        """Name the state of the data: the same files give the same 12 hex digits."""
        names = "\n".join(f"{file.name} {file.sha256}" for file in self.files)
        return hashlib.sha256(names.encode()).hexdigest()[:12]

    def live(self) -> dict[tuple[str, str], tuple[File, Snapshot]]:
        """Return, by source and instant, the file that speaks for it: the one imported last."""
        return {
            (file.source, snapshot.at): (file, snapshot)
            for file in self.files
            if file.table == "offers"
            for snapshot in file.snapshots
        }

    def tables(self, table: str) -> list[File]:
        """Return the files of one table."""
        return [file for file in self.files if file.table == table]


def is_ours(name: str) -> bool:
    """Tell whether a file may have this name in a store, and be removed when no manifest has it."""
    return _OURS.fullmatch(name) is not None


def load(folder: Path) -> Manifest:
    """Read the manifest of a folder; an empty one when there is none.

    Raises:
        StoreBroken: it is not readable, not JSON, or of another schema.
    """
    path = folder / NAME
    try:
        return read(path.read_bytes(), str(path))
    except FileNotFoundError:
        return Manifest()
    except OSError as error:
        raise StoreBroken(f"cannot read {path}: {error.strerror}") from error


def read(text: bytes, name: str) -> Manifest:
    """Read a manifest.

    Args:
        text: as `written` gives it.
        name: of where it comes from, for errors.

    Raises:
        StoreBroken: it is not JSON, not a manifest, or of another schema.
    """
    try:
        doc = json.loads(text)
        if doc["schema"] not in _READ:
            hint = "update rackrate, or import the lists again into a new folder"
            raise StoreBroken(f"{name} has schema {doc['schema']}, not one of {_READ}", hint=hint)
        rates = tuple((str(code), str(day), float(rate)) for code, day, rate in doc.get("rates", ()))
        return Manifest(tuple(_file(row) for row in doc["files"]), rates, dict(doc.get("retired", {})))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise StoreBroken(f"{name} is damaged: {error}") from error


def written(manifest: Manifest) -> str:
    """Write a manifest as text."""
    doc = {"schema": SCHEMA, "files": [asdict(file) for file in manifest.files]}
    more = {"rates": manifest.rates, "retired": manifest.retired}
    return json.dumps(doc | {name: value for name, value in more.items() if value}, indent=1)


def save(folder: Path, manifest: Manifest) -> None:
    """Put `manifest` in place of the current one, durably and at once."""
    write_whole(folder / NAME, written(manifest))
    sync_folder(folder)


@contextmanager
def writing(folder: Path) -> Iterator[Manifest]:
    """Hold the folder's writer lock; yield the manifest; another writer waits.

    The lock is the kernel's: it goes with the process, however that ends. What an earlier writer
    left behind unnamed is removed here, where nobody can be writing it.

    Raises:
        Refused: the folder cannot be written.
        DataError: the disk is full or fails.
        StoreBroken: the manifest is damaged, or gone from a folder that has files of ours.
    """
    import fcntl  # noqa: PLC0415 - POSIX only, and only writers need it

    try:
        folder.mkdir(parents=True, exist_ok=True)
        lock = (folder / "lock").open("a")
    except OSError as error:
        raise Refused(f"cannot write to {folder}: {error.strerror}") from error
    with lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        manifest = load(folder)
        manifest = replace(manifest, retired=_read_still(manifest.retired))
        named = {file.name for file in manifest.files} | set(manifest.retired)
        ours = [path for path in folder.iterdir() if is_ours(path.name)]
        if not (folder / NAME).exists():
            if ours:
                hint = "put the manifest back, or import the lists into a new folder"
                raise StoreBroken(f"{folder} has files of a market but no {NAME}", hint=hint)
            _begin(folder)
        for path in ours:
            if path.name not in named:
                path.unlink()
        yield manifest


def _begin(folder: Path) -> None:
    """Put an empty manifest there, so that files without one can only mean that it was lost."""
    try:
        save(folder, Manifest())
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror}", code="disk") from error


def _read_still(retired: Mapping[str, str]) -> dict[str, str]:
    """Return the retired files that somebody may still read."""
    edge = (clock.now() - KEPT_FOR).isoformat()
    return {name: since for name, since in retired.items() if since > edge}


def stamp(at: datetime) -> str:
    """Write an instant as the manifest does: UTC without offset, so that text order is time order."""
    return at.replace(tzinfo=None).isoformat(timespec="microseconds")


def _file(row: Mapping[str, Any]) -> File:
    snapshots = tuple(Snapshot(**snapshot) for snapshot in row["snapshots"])
    merged = tuple(row.get("inputs", ()))
    return File(**{"schema": 1, **row, "snapshots": snapshots, "inputs": merged})
