"""Raw answers, kept: so that a fault of a parser can be mended and the answers read again.

    STORE/collected/SOURCE/
      lock            held by the one collector of this source
      state.json      how the source stands: last attempt, last good listing
      raw/HASH.gz     bodies, each once, named by the SHA-256 of what was sent
      runs/STAMP.json one a collection: what was asked, which bodies came, which parser read them

A body is written to a temporary name, synced and renamed; a run is written after all its bodies. What a
killed collector leaves is a body that no run names, and the next `prune` removes it.
"""

from __future__ import annotations

import fcntl
import gzip
import hashlib
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from rackrate.durable import write_whole
from rackrate.errors import DataError, Refused, StoreBroken
from rackrate.market.collect.base import Answer

RETENTION = timedelta(days=30)
FOLDER = "collected"


@dataclass(frozen=True, slots=True)
class Kept:
    """One body of a run.

    Attributes:
        name: of the request.
        url: that was asked, without keys.
        sha256: of the body.
        n_bytes: of the body.
        etag: for the next, conditional request; empty when the source gave none.
        last_modified: likewise.
        modified_at: the same, ISO 8601.
    """

    name: str
    url: str
    sha256: str
    n_bytes: int
    etag: str = ""
    last_modified: str = ""
    modified_at: str = ""


@dataclass(frozen=True, slots=True)
class Run:
    """One collection of a source.

    Attributes:
        at: ISO 8601 UTC, when it began: the instant of its listing.
        parser_version: that read it.
        kept: its bodies, in the order asked.
    """

    at: str
    parser_version: int
    kept: tuple[Kept, ...]

    @property
    def stamp(self) -> str:
        """Return its file name without ending."""
        return self.at.replace(":", "").replace("-", "").replace("+0000", "Z")


@dataclass(frozen=True, slots=True)
class State:
    """How a source stands.

    Attributes:
        outcome: of the last attempt: `ok`, `failed`, or empty before the first.
        code: why it failed.
        says: the same for people.
        attempted_at: of the last attempt.
        good_at: instant of the last good listing.
        rows: of the last good listing.
        rejects: quality rule to rows, of the last attempt.
        small_since: since when its listings are less than half of the last good one.
        seconds: that the last attempt took.
    """

    outcome: str = ""
    code: str = ""
    says: str = ""
    attempted_at: str = ""
    good_at: str = ""
    rows: int = 0
    rejects: Mapping[str, int] = field(default_factory=dict)
    small_since: str = ""
    seconds: float = 0.0


class Archive:
    """The raw answers of one source."""

    def __init__(self, store: Path, source: str) -> None:
        self.folder = store / FOLDER / source
        self._raw = self.folder / "raw"
        self._runs = self.folder / "runs"

    @contextmanager
    def collecting(self) -> Iterator[bool]:
        """Hold the source's lock; yield whether we have it. It goes with the process.

        Raises:
            Refused: the folder cannot be written.
        """
        try:
            self._raw.mkdir(parents=True, exist_ok=True)
            self._runs.mkdir(exist_ok=True)
            lock = (self.folder / "lock").open("a")
        except OSError as error:
            raise Refused(f"cannot write to {self.folder}: {error.strerror}") from error
        with lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                yield False
                return
            yield True

    def writer(self) -> BodyWriter:
        """Return where the next body goes."""
        return BodyWriter(self._raw)

    def answer(self, kept: Kept) -> Answer:
        """Return a kept body as an answer."""
        modified = datetime.fromisoformat(kept.modified_at) if kept.modified_at else None
        path = self._raw / f"{kept.sha256}.gz"
        return Answer(kept.name, kept.url, path, kept.sha256, kept.n_bytes, modified)

    def has(self, kept: Kept) -> bool:
        """Tell whether the body is there."""
        return (self._raw / f"{kept.sha256}.gz").exists()

    def add(self, run: Run) -> None:
        """Write a run down, durably."""
        _write(self._runs / f"{run.stamp}.json", asdict(run))

    def runs(self) -> list[Run]:
        """Return all runs, oldest first.

        Raises:
            StoreBroken: one cannot be read.
        """
        return [_run(path) for path in sorted(self._runs.glob("*.json"))]

    def last_run(self) -> Run | None:
        """Return the newest run; None before the first."""
        paths = sorted(self._runs.glob("*.json"))
        return _run(paths[-1]) if paths else None

    def state(self) -> State:
        """Return how the source stands; a state that cannot be read is none."""
        try:
            return State(**json.loads((self.folder / "state.json").read_text(encoding="utf-8")))
        except FileNotFoundError:
            return State()
        except (OSError, ValueError, TypeError) as error:
            raise StoreBroken(f"cannot read {self.folder / 'state.json'}: {error}") from error

    def save_state(self, state: State) -> None:
        """Put the state in place of the one before."""
        _write(self.folder / "state.json", asdict(state))

    def prune(self, now: datetime, retention: timedelta = RETENTION) -> int:
        """Remove runs older than the retention, but never the newest, and bodies that no run names.

        Returns:
            How many files were removed.
        """
        runs = self.runs()
        old = [run for run in runs[:-1] if datetime.fromisoformat(run.at) < now - retention]
        gone = [self._runs / f"{run.stamp}.json" for run in old]
        named = {kept.sha256 for run in runs if run not in old for kept in run.kept}
        gone += [path for path in self._raw.iterdir() if path.name.removesuffix(".gz") not in named]
        for path in gone:
            path.unlink(missing_ok=True)
        return len(gone)


class BodyWriter:
    """Writes one body as it comes, packed, and keeps it under its hash.

    Attributes:
        n_bytes: written so far, unpacked.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._sha = hashlib.sha256()
        self.n_bytes = 0
        try:
            handle, name = tempfile.mkstemp(dir=folder, suffix=".part")
        except OSError as error:
            raise DataError(f"cannot write to {folder}: {error.strerror}", code="disk") from error
        self._path = Path(name)
        self._file = os.fdopen(handle, "wb")
        self._gzip = gzip.GzipFile(fileobj=self._file, mode="wb", compresslevel=6, mtime=0)

    def write(self, chunk: bytes) -> None:
        """Add a piece.

        Raises:
            DataError: the disk is full or fails.
        """
        try:
            self._gzip.write(chunk)
        except OSError as error:
            raise DataError(f"cannot write to {self._folder}: {error.strerror}", code="disk") from error
        self._sha.update(chunk)
        self.n_bytes += len(chunk)

    def keep(self, name: str, url: str) -> Kept:
        """Finish: the body lies in the archive, durably."""
        try:
            self._gzip.close()
            self._file.flush()
            os.fsync(self._file.fileno())
            self._file.close()
            sha256 = self._sha.hexdigest()
            self._path.replace(self._folder / f"{sha256}.gz")
        except OSError as error:
            raise DataError(f"cannot write to {self._folder}: {error.strerror}", code="disk") from error
        return Kept(name, url, sha256, self.n_bytes)

    def drop(self) -> None:
        """Leave nothing behind, also where the disk is too full for the end of the file."""
        for file in (self._gzip, self._file):
            with suppress(OSError):
                file.close()
        self._path.unlink(missing_ok=True)


def with_headers(kept: Kept, headers: Mapping[str, str]) -> Kept:
    """Return a body with what its answer's headers say about later requests."""
    stated = headers.get("last-modified", "")
    return replace(
        kept, etag=headers.get("etag", ""), last_modified=stated, modified_at=_http_date(stated) or ""
    )


def _http_date(text: str) -> str | None:
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - few sources send it

    try:
        return parsedate_to_datetime(text).isoformat()
    except (TypeError, ValueError):
        return None


def _run(path: Path) -> Run:
    try:
        doc = json.loads(path.read_text(encoding="utf-8"))
        return Run(doc["at"], doc["parser_version"], tuple(Kept(**kept) for kept in doc["kept"]))
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise StoreBroken(f"cannot read {path}: {error}") from error


def _write(path: Path, doc: Mapping[str, Any]) -> None:
    try:
        write_whole(path, json.dumps(doc, indent=1))
    except OSError as error:
        raise DataError(f"cannot write {path}: {error.strerror}", code="disk") from error
