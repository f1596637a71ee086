"""Read input files whole and unchanged, and parse CSV, JSON and JSON lines with clear errors."""

from __future__ import annotations

import csv
import gzip
import hashlib
import io
import json
import zlib
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from rackrate.errors import ImportRejected
from rackrate.market.normalise import Reject, Unreadable
from rackrate.market.offer import RawOffer


@dataclass(frozen=True, slots=True)
class Purchase:
    """What one card cost to buy, once.

    Attributes:
        gpu_raw: the card as the source writes it.
        at: ISO 8601 instant, UTC.
        usd: price of one card, USD.
        origin: file it stands in.
    """

    gpu_raw: str
    at: str
    usd: Any
    origin: str


@dataclass(frozen=True, slots=True)
class When:
    """When a list was true, for one that does not say so itself.

    Attributes:
        stated_at: what the caller says; None makes the rows undated, and no statistic uses them.
        read_at: the instant of the import: where undated rows stand in the order of listings.
    """

    stated_at: datetime | None
    read_at: datetime

    @property
    def snapshot_at(self) -> datetime:
        """Return the instant of the listing."""
        return self.stated_at or self.read_at


@dataclass(frozen=True, slots=True)
class Listing:
    """All rows of one source within an import.

    Attributes:
        source: id of the list; a later snapshot of a list takes the place of the earlier one.
        rows: raw offers, records that could not be read, or purchase prices.
        title: what the list is, for people.
        url: where it comes from.
        licence: under which terms.
        credit: the words that the licence asks for.
    """

    source: str
    rows: Iterator[RawOffer | Reject] | Iterator[Purchase]
    title: str = ""
    url: str = ""
    licence: str = ""
    credit: str = ""


def input_files(path: Path, *suffixes: str) -> list[Path]:
    """Return `path` itself, or the files of the folder that end in one of `suffixes`, sorted.

    Raises:
        ImportRejected: the path does not exist, or the folder holds no such file.
    """
    if path.is_dir():
        found = sorted(p for p in path.iterdir() if p.name.endswith(suffixes) and p.is_file())
        if not found:
            raise ImportRejected(f"{path} holds no file ending in {' or '.join(suffixes)}")
        return found
    if not path.exists():
        raise ImportRejected(f"{path} does not exist")
    return [path]


def read_bytes(path: Path) -> bytes:
    """Return the file's bytes, unpacked if it ends in .gz.

    A file that somebody writes to meanwhile would give a list that never existed, so its size and
    time are compared before and after.

    Raises:
        ImportRejected: not readable, changed while it was read, or a broken gzip stream.
    """
    try:
        with path.open("rb") as file:
            before = path.stat()
            content = file.read()
            after = path.stat()
    except OSError as error:
        raise ImportRejected(f"cannot read {path}: {error.strerror or error}") from error
    changed = (before.st_size, before.st_mtime_ns) != (after.st_size, after.st_mtime_ns)
    if changed or len(content) != after.st_size:
        raise ImportRejected(
            f"{path} changed while it was read", hint="import it again once its writer is done"
        )
    if path.suffix != ".gz":
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise ImportRejected(f"{path} is not a whole gzip file: {error}") from error


def read_text(path: Path) -> str:
    """Return the file's text.

    Raises:
        ImportRejected: see `read_bytes`; or not UTF-8; or empty.
    """
    try:
        text = read_bytes(path).decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ImportRejected(f"{path} is not UTF-8 text: byte {error.start} cannot be read") from None
    if not text.strip():
        raise ImportRejected(f"{path} is empty")
    return text


def read_json(path: Path) -> Any:
    """Return the parsed JSON document.

    Raises:
        ImportRejected: see `read_text`; or not JSON.
    """
    try:
        return json.loads(read_text(path))
    except json.JSONDecodeError as error:
        where = f"line {error.lineno}, column {error.colno}"
        raise ImportRejected(f"{path} is not JSON: {error.msg} at {where}") from None
    except ValueError as error:  # a whole number of more digits than Python reads
        raise ImportRejected(f"{path} is not JSON that we read: {error}") from None
    except RecursionError:
        raise ImportRejected(f"{path} is not JSON that we read: nested too deeply") from None


def read_json_lines(path: Path) -> Iterator[tuple[int, Any]]:
    """Yield line number and record; a line that is no JSON object comes as a `Reject`."""
    for number, line in enumerate(read_text(path).splitlines(), 1):
        if not line.strip():
            continue
        try:
            record = json.loads(line)
        except (ValueError, RecursionError) as error:
            yield number, Reject(path.name, number, "malformed", f"not JSON: {error}", line[:200])
            continue
        if isinstance(record, dict):
            yield number, record
        else:
            reason = f"a record is an object, not {type(record).__name__}"
            yield number, Reject(path.name, number, "malformed", reason, line[:200])


def read_csv(path: Path, delimiter: str = ",") -> Iterator[tuple[int, Any]]:
    """Yield record number and a dict a row; a row with too many or too few fields is a `Reject`.

    Raises:
        ImportRejected: see `read_text`; or the text is not CSV; or a column name stands twice.
    """
    lines = csv.reader(io.StringIO(read_text(path), newline=""), delimiter=delimiter, strict=True)
    number = 0
    try:
        header = [name.strip() for name in next(lines)]
        if len(set(header)) != len(header):
            raise ImportRejected(f"{path} has a column name twice in its header: {header}")
        width = len(header)
        for number, fields in enumerate(lines, 1):
            if len(fields) == width:
                yield number, dict(zip(header, fields, strict=True))
            elif fields:
                reason = f"{len(fields)} fields where the header has {width}"
                yield number, Reject(path.name, number, "malformed", reason, ",".join(fields)[:200])
    except csv.Error as error:
        raise ImportRejected(f"{path} is not CSV: {error} after record {number}") from None


def offers_of(
    make: Callable[[], Iterable[RawOffer | Reject]], origin: str, line: int, record: Any
) -> list[RawOffer | Reject]:
    """Return the offers that `make` reads in a record; a record of another shape gives a `Reject`."""
    try:
        return list(make())
    except Unreadable as error:
        return [Reject(origin, line, error.rule, str(error), repr(record)[:200])]
    except (AttributeError, KeyError, OverflowError, TypeError, ValueError) as error:
        reason = f"the record is not of the format's shape: {type(error).__name__} {error}"[:200]
        return [Reject(origin, line, "malformed", reason, repr(record)[:200])]


def check_columns(path: Path, record: Mapping[str, Any], columns: Iterable[str]) -> None:
    """Check that a record has these columns.

    Raises:
        ImportRejected: it lacks one.
    """
    missing = [column for column in columns if column not in record]
    if missing:
        raise ImportRejected(f"{path} has no column {missing[0]!r}: it has {', '.join(list(record)[:12])}")


def digest(paths: list[Path]) -> str:
    """Return the SHA-256 of the files' names and bytes: what makes two imports the same."""
    sha = hashlib.sha256()
    for path in paths:
        sha.update(path.name.encode())
        sha.update(hashlib.sha256(read_bytes(path)).digest())
    return sha.hexdigest()
