"""Add lists to a store: grade, write new Parquet files, then name them in the manifest, all or nothing.

Importing the same thing twice changes nothing; importing a list that has grown adds what is new; a
snapshot that says something else than the stored one of the same instant takes its place (the old
file stays, the manifest no longer speaks for it).
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import duckdb

from rackrate import clock
from rackrate.durable import sync_folder
from rackrate.errors import DataError
from rackrate.market.importers.files import Purchase
from rackrate.market.normalise import OF_ROW, Batch, Reject, plain
from rackrate.market.offer import COLUMNS
from rackrate.market.quality import BY_CODE, Action
from rackrate.market.store import gate, manifest
from rackrate.market.store.gate import literal, text
from rackrate.market.store.manifest import File, Manifest, Snapshot

PARSER_VERSION = 1  # raise it when reading the same input gives other rows

_ASKED = {"gpu": "VARCHAR", "kind": "VARCHAR", "usd": "DOUBLE"}
_BOUGHT = {
    "source": "VARCHAR",
    "origin": "VARCHAR",
    "gpu_raw": "VARCHAR",
    "gpu": "VARCHAR",
    "bought_at": "TIMESTAMP",
    "usd": "DOUBLE",
}
_QUARANTINE = {
    "source": "VARCHAR",
    "snapshot_at": "TIMESTAMP",
    "origin": "VARCHAR",
    "line": "INTEGER",
    "rule": "VARCHAR",
    "reason": "VARCHAR",
    "record": "VARCHAR",
}
# LZ4 files are a third larger than Zstandard's, and the cheapest offers of a GPU come a quarter sooner.
ORDER = "gpu, kind, snapshot_at, usd_per_gpu_hour, provider, origin, line"
"""Of the rows in a file, so that a question about one GPU reads a few of its groups."""
_PARQUET = "FORMAT parquet, COMPRESSION lz4_raw, ROW_GROUP_SIZE 16384"


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one source of an import.

    Attributes:
        source: id of the list.
        n_read: records that were read.
        n_published: rows added to the store (or that would be, in a dry run).
        n_held: of those, rows that no statistic uses.
        n_rejected: records that went to quarantine.
        n_known: rows of snapshots that the store already had.
        snapshots: instants added.
        rules: quality rule to the number of rows that met it.
        unknown_gpus: raw names that resolve to nothing, with their counts.
        rejects: the first of them: rule, reason, record.
        first: the first rows, in the columns of an offer.
        rejected: rule to the records that it rejected, those in quarantine already included.
    """

    source: str
    n_read: int = 0
    n_published: int = 0
    n_held: int = 0
    n_rejected: int = 0
    n_known: int = 0
    snapshots: tuple[str, ...] = ()
    rules: Mapping[str, int] = field(default_factory=dict)
    unknown_gpus: Mapping[str, int] = field(default_factory=dict)
    rejects: tuple[tuple[str, str, str], ...] = ()
    first: tuple[tuple[Any, ...], ...] = ()
    rejected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Arrival:
    """One source of an import, read and normalised.

    Attributes:
        batch: its rows; empty for purchase prices.
        about: title, url, licence and credit.
        purchases: prices of cards with the slug that their name resolves to.
    """

    batch: Batch
    about: Mapping[str, str]
    purchases: tuple[tuple[Purchase, str | None, float], ...] = ()


def publish(
    folder: Path,
    arrivals: Iterable[Arrival],
    input_sha256: str,
    usual: Mapping[tuple[str, str], float],
    *,
    is_dry_run: bool = False,
    on_file: Callable[[str], None] | None = None,
) -> list[Receipt]:
    """Grade the arrivals and add them to the store in `folder`, in one step for readers.

    Args:
        folder: the store; made when it does not exist.
        arrivals: what was read.
        input_sha256: of the input files.
        usual: what the market asks, USD per GPU-hour by GPU and kind, to tell units by.
        is_dry_run: grade only, write nothing.
        on_file: called with each file name once it is on disk, before the manifest names it.

    Raises:
        Refused: the folder cannot be written.
        DataError: the disk is full or fails; the store is as it was.
    """
    key = hashlib.sha256(f"{PARSER_VERSION} {input_sha256}".encode()).hexdigest()
    if is_dry_run:
        writer = _Writer(None, manifest.load(folder), folder, key, usual)
        return [writer.add(arrival, is_dry_run=True) for arrival in arrivals]
    with manifest.writing(folder) as current:
        writer = _Writer(on_file, current, folder, key, usual)
        try:
            receipts = [writer.add(arrival, is_dry_run=False) for arrival in arrivals]
            if writer.added:
                manifest.save(folder, replace(current, files=(*current.files, *writer.added)))
        except (OSError, duckdb.IOException) as error:
            writer.undo()
            raise DataError(
                f"cannot write to {folder}: {_reason(error)}",
                hint="the store is as it was before",
                code="disk",
            ) from error
    return receipts


def _reason(error: OSError | duckdb.IOException) -> str:
    """Return why a file could not be written, in the words of the system where it has any."""
    if isinstance(error, OSError):
        return error.strerror or str(error)
    number = re.search(r'"errno":\s*"(\d+)"', str(error))
    return os.strerror(int(number[1])) if number else str(error).splitlines()[0]


def copy_store(origin: Path, folder: Path, *, is_dry_run: bool = False) -> list[Receipt]:
    """Add the files of one store to another; what is there already is left alone.

    Raises:
        Refused: the folder cannot be written.
        DataError: the disk is full or fails; the store is as it was.
    """
    coming = manifest.load(origin).files
    with nullcontext(manifest.load(folder)) if is_dry_run else manifest.writing(folder) as current:
        present = {file.sha256 for file in current.files}
        new = [file for file in coming if file.sha256 not in present]
        if new and not is_dry_run:
            taken = {file.name for file in current.files} | set(current.retired)
            try:
                copies = [_copy(file, origin, folder, taken) for file in new]
                manifest.save(folder, replace(current, files=(*current.files, *copies)))
            except OSError as error:
                raise DataError(f"cannot write to {folder}: {error.strerror}", code="disk") from error
    return [_copied(file, is_new=file in new) for file in coming if file.table != "quarantine"]


def _copy(file: File, origin: Path, folder: Path, taken: set[str]) -> File:
    """Copy a file durably; one whose name is taken (the same list, graded otherwise) gets another."""
    stem = file.name.removesuffix(".parquet")
    name = f"{stem}-{file.sha256[:12]}.parquet" if file.name in taken else file.name
    shutil.copyfile(origin / file.name, folder / name)
    with (folder / name).open("rb+") as out:
        os.fsync(out.fileno())
    return replace(file, name=name)


def _copied(file: File, *, is_new: bool) -> Receipt:
    if not is_new:
        return Receipt(file.source, n_known=file.rows)
    ats = tuple(snapshot.at for snapshot in file.snapshots)
    return Receipt(file.source, n_read=file.rows, n_published=file.rows, snapshots=ats, rules=file.rules)


class _Writer:
    """One import under way: an in-memory database and the files written so far."""

    def __init__(
        self,
        on_file: Callable[[str], None] | None,
        current: Manifest,
        folder: Path,
        key: str,
        usual: Mapping[tuple[str, str], float],
    ) -> None:
        self.on_file = on_file
        self.current = current
        self.folder = folder
        self.key = key
        self.added: list[File] = []
        self.con = duckdb.connect(config={"autoinstall_known_extensions": False})
        gate.table(self.con, "asked", _ASKED, [(*key, usd) for key, usd in usual.items()])

    def add(self, arrival: Arrival, *, is_dry_run: bool) -> Receipt:
        """Grade one arrival and, unless it is a dry run, write its files."""
        source = arrival.batch.source
        if self._is_known(source):
            n_read = len(arrival.batch.rows) + len(arrival.batch.rejects) + len(arrival.purchases)
            return Receipt(source, n_read=n_read, n_known=n_read)
        if arrival.purchases:
            return self._add_purchases(arrival, is_dry_run=is_dry_run)
        gate.stage(self.con, arrival.batch, self._before(arrival.batch))
        self.con.execute(f"CREATE OR REPLACE TABLE usual AS {gate.query('usual')}")
        gate.grade(self.con)
        snapshots, n_known = self._new_snapshots(source)
        found = self._rejects(arrival.batch)
        rejects = self._not_stored(source, found)
        receipt = self._receipt(arrival.batch, snapshots, rejects, n_known + len(found) - len(rejects))
        receipt = replace(receipt, rejected=dict(Counter(row[4] for row in found)))
        if not is_dry_run:
            self._write(arrival, receipt, snapshots, rejects)
        return receipt

    def _is_known(self, source: str) -> bool:
        """Tell whether this very input was imported and still speaks for all of its listings."""
        live = self.current.live()
        known = [f for f in self.current.files if f.source == source and self._is_of_input(f)]
        speaking = (live[source, snapshot.at][0] for f in known for snapshot in f.snapshots)
        return bool(known) and all(map(self._is_of_input, speaking))

    def _is_of_input(self, file: File) -> bool:
        return self.key in (file.input_sha256, *file.inputs)

    def undo(self) -> None:
        """Remove what was written; the manifest never named it."""
        for path in [*self.folder.glob("*.tmp"), *(self.folder / file.name for file in self.added)]:
            path.unlink(missing_ok=True)

    def _before(self, batch: Batch) -> str:
        """Select the two stored snapshots next before the batch's first, to compare new prices with."""
        column = 1 + OF_ROW.index("snapshot_at")
        first = manifest.stamp(min(row[column] for row in batch.rows)) if batch.rows else ""
        live = {
            at: file
            for (source, at), (file, _) in self.current.live().items()
            if source == batch.source and at < first
        }
        parts = [
            f"SELECT * FROM read_parquet({quoted(self.folder / live[at].name)}) "  # noqa: S608
            f"WHERE snapshot_at = TIMESTAMP '{at}'"
            for at in sorted(live)[-2:]
        ]
        return " UNION ALL BY NAME ".join(parts)

    def _new_snapshots(self, source: str) -> tuple[list[Snapshot], int]:
        """Return the snapshots that say something new, and how many rows the others have."""
        live = self.current.live()
        new, n_known = [], 0
        for at, rows, digest, is_dated, has_shrunk in self.con.execute(gate.query("snapshots")).fetchall():
            snapshot = Snapshot(manifest.stamp(at), rows, digest[:16], is_dated, not has_shrunk)
            stored = live.get((source, snapshot.at))
            if stored and stored[1].digest == snapshot.digest:
                n_known += rows
            else:
                new.append(snapshot)
        return new, n_known

    def _rejects(self, batch: Batch) -> list[tuple[Any, ...]]:
        """Return rows for quarantine: what could not be read and what the gate rejects."""
        rows = [_quarantined(batch.source, reject) for reject in batch.rejects]
        for at, origin, line, rule, detail, record in self.con.execute(
            """SELECT snapshot_at, origin, line, rule, detail,
            concat_ws(' ', provider_raw, gpu_raw, sku, printf('x%g', gpu_count), price, currency)
            FROM rejected ORDER BY origin, line, id"""
        ).fetchall():
            says = BY_CODE[rule].says + (f": {detail}" if detail else "")
            rows.append((batch.source, manifest.stamp(at), origin, line, rule, says, record[:200]))
        return rows

    def _not_stored(self, source: str, rejects: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
        """Return the rejects that are not in quarantine yet."""
        stored = self._stored("quarantine", source, "origin, line, rule, record")
        return [row for row in rejects if (*row[2:5], row[6]) not in stored]

    def _stored(self, table: str, source: str, columns: str) -> set[tuple[Any, ...]]:
        """Return these columns of all rows of a source in one of the store's tables."""
        paths = [quoted(self.folder / f.name) for f in self.current.tables(table) if f.source == source]
        if not paths:
            return set()
        return set(self.con.execute(f"SELECT {columns} FROM read_parquet([{', '.join(paths)}])").fetchall())  # noqa: S608

    def _receipt(
        self,
        batch: Batch,
        snapshots: list[Snapshot],
        rejects: list[tuple[Any, ...]],
        n_known: int,
    ) -> Receipt:
        gate.table(self.con, "news", {"snapshot_at": "TIMESTAMP"}, [(s.at,) for s in snapshots])
        self.con.execute(
            "CREATE OR REPLACE VIEW fresh AS SELECT * EXCLUDE (has_shrunk) FROM graded "
            "WHERE snapshot_at IN (FROM news)"
        )
        rules = Counter(
            dict(
                self.con.execute(
                    "SELECT flag, count(*) FROM (SELECT unnest(flags) AS flag FROM fresh) GROUP BY flag"
                ).fetchall()
            )
        )
        rules.update(row[4] for row in rejects)
        held = self.con.execute("SELECT count(*) FROM fresh WHERE NOT is_counted").fetchone()
        names = ", ".join(COLUMNS)
        first = self.con.execute(f"SELECT {names} FROM fresh ORDER BY origin, line, id LIMIT 5").fetchall()  # noqa: S608
        return Receipt(
            source=batch.source,
            n_read=len(batch.rows) + len(batch.rejects),
            n_published=sum(snapshot.rows for snapshot in snapshots),
            n_held=held[0] if held else 0,
            n_rejected=len(rejects),
            n_known=n_known,
            snapshots=tuple(snapshot.at for snapshot in snapshots),
            rules=dict(sorted(rules.items())),
            unknown_gpus=batch.unknown_gpus(),
            rejects=tuple((row[4], row[5], row[6]) for row in rejects[:5]),
            first=tuple(first),
        )

    def _write(
        self,
        arrival: Arrival,
        receipt: Receipt,
        snapshots: list[Snapshot],
        rejects: list[tuple[Any, ...]],
    ) -> None:
        source = arrival.batch.source
        if snapshots:
            names = ", ".join(COLUMNS)
            select = f"SELECT {names} FROM fresh ORDER BY {ORDER}, id"  # noqa: S608
            rows = sum(snapshot.rows for snapshot in snapshots)
            file = self._file("offers", source, select, rows, arrival.about)
            self.added.append(
                replace(
                    file,
                    snapshots=tuple(snapshots),
                    rules={
                        code: n
                        for code, n in receipt.rules.items()
                        if BY_CODE[code].action is not Action.REJECT
                    },
                    unknown_gpus=receipt.unknown_gpus,
                )
            )
        if rejects:
            gate.table(self.con, "quarantine", _QUARANTINE, rejects)
            file = self._file("quarantine", source, "SELECT * FROM quarantine", len(rejects), arrival.about)
            self.added.append(replace(file, rules=dict(Counter(row[4] for row in rejects))))

    def _add_purchases(self, arrival: Arrival, *, is_dry_run: bool) -> Receipt:
        source = arrival.batch.source
        found = [_quarantined(source, reject) for reject in arrival.batch.rejects]
        rejects = self._not_stored(source, found)
        stored = self._stored("purchases", source, "gpu_raw, bought_at, usd")
        bought = [(source, p.origin, p.gpu_raw, gpu, p.at, usd) for p, gpu, usd in arrival.purchases]
        rows = [row for row in bought if (row[2], datetime.fromisoformat(row[4]), row[5]) not in stored]
        gate.table(self.con, "bought", _BOUGHT, rows)
        unknown = Counter(row[2] for row in rows if row[3] is None)
        receipt = Receipt(
            source,
            n_read=len(bought) + len(found),
            n_published=len(rows),
            n_rejected=len(rejects),
            n_known=len(bought) + len(found) - len(rows) - len(rejects),
            rules=dict(Counter(row[4] for row in rejects)),
            unknown_gpus=dict(unknown),
            rejects=tuple((row[4], row[5], row[6]) for row in rejects[:5]),
        )
        if not is_dry_run:
            if rows:
                select = "SELECT * FROM bought ORDER BY gpu, bought_at"
                file = self._file("purchases", source, select, len(rows), arrival.about)
                self.added.append(replace(file, unknown_gpus=dict(unknown)))
            self._write(arrival, receipt, [], rejects)
        return receipt

    def _name(self, table: str, source: str) -> str:
        """Name a file for what was imported; an input that comes back gets a further name."""
        taken = {file.name for file in self.current.files} | set(self.current.retired)
        mark, n = self.key, 0
        while (name := f"{table}-{source}-{mark[:12]}.parquet") in taken:
            n += 1
            mark = hashlib.sha256(f"{self.key} {n}".encode()).hexdigest()
        return name

    def _file(self, table: str, source: str, select: str, rows: int, about: Mapping[str, str]) -> File:
        """Write one Parquet file."""
        name = self._name(table, source)
        sha256, _ = put_parquet(self.con, self.folder, name, select)
        if self.on_file:
            self.on_file(name)
        now = clock.now().isoformat(timespec="seconds")
        return File(name, table, source, dict(about), now, self.key, sha256, rows)


def put_parquet(con: duckdb.DuckDBPyConnection, folder: Path, name: str, select: str) -> tuple[str, int]:
    """Write rows as a Parquet file: temporary name, fsync, rename, fsync of the folder.

    Returns:
        The file's SHA-256, and its rows.
    """
    temporary = folder / f"{name}.tmp"
    rows = con.execute(f"COPY ({select}) TO {text(str(temporary))} ({_PARQUET})").fetchall()[0][0]
    with temporary.open("rb+") as out:
        os.fsync(out.fileno())
        sha256 = hashlib.file_digest(out, "sha256").hexdigest()
    temporary.replace(folder / name)
    sync_folder(folder)
    return sha256, int(rows)


def _quarantined(source: str, reject: Reject) -> tuple[Any, ...]:
    """Return the row of quarantine for a record that could not be read."""
    says = plain(reject.reason), plain(reject.record)
    return (source, None, reject.origin, reject.line, reject.rule, *says)


def quoted(path: Path) -> str:
    """Return the path of one file to read, as an SQL string: no sign of it is a pattern."""
    return text(literal(path))
