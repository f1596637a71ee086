"""Merge the many small files of a source: those of a day that is over into one, those of a month likewise.

The order makes it safe at any point: the merged file is written whole, then the manifest names it in place
of its parts, in one rename. The parts stay for a day (`manifest.KEPT_FOR`), so that whoever opened the store
before goes on reading them; a later writer removes them. A listing whose place another has taken is not
carried over. A file that holds listings of several months, as an import of years does, stays as it is.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

import duckdb

from rackrate.errors import DataError, StoreBroken
from rackrate.market.offer import COLUMNS
from rackrate.market.store import manifest
from rackrate.market.store.manifest import SCHEMA, File, Manifest, Snapshot
from rackrate.market.store.read import table_of
from rackrate.market.store.write import ORDER, put_parquet, quoted

_DAY, _MONTH = len("2026-11-22"), len("2026-11")
_COLLECTED = "live"
_CHECK = "rackrate market check names the damaged files"
_Live = Mapping[tuple[str, str], tuple[File, Snapshot]]


@dataclass(frozen=True, slots=True)
class Merge:
    """Files that became one.

    Attributes:
        source: id of the list.
        table: offers or quarantine.
        period: day or month.
        n_files: before.
        rows: in the merged file.
    """

    source: str
    table: str
    period: str
    n_files: int
    rows: int


def compact(folder: Path, now: datetime, on_file: Callable[[str], None] | None = None) -> list[Merge]:
    """Merge the files of each source whose day, or month, is over.

    Args:
        folder: the store.
        now: the present, which no merged file reaches into.
        on_file: called with each file name once it is on disk, before the manifest names it.

    Raises:
        Refused: the folder cannot be written.
        DataError: the disk is full or fails; the store is as it was.
        StoreBroken: a file is not what the manifest says.
    """
    with manifest.writing(folder) as current:
        live = current.live()
        groups: dict[tuple[str, str, str], list[File]] = {}
        for file in current.files:
            if period := _period(file, now):
                groups.setdefault((file.source, file.table, period), []).append(file)
        merges = {key: files for key, files in groups.items() if len(files) > 1 and _speak(files, live)}
        try:
            made = {key: _merged(folder, key, files, live) for key, files in merges.items()}
            for file in made.values():
                if on_file:
                    on_file(file.name)
            if made:
                parts = {file.name: made[key] for key, files in merges.items() for file in files}
                manifest.save(folder, _instead(current, parts, now))
        except (OSError, duckdb.IOException) as error:
            hint = "the store is as it was before"
            raise DataError(f"cannot merge files in {folder}: {error}", hint=hint, code="disk") from error
        except duckdb.Error as error:
            raise StoreBroken(f"cannot read {folder}: {error}", hint=_CHECK) from error
    return [Merge(*key, len(merges[key]), file.rows) for key, file in made.items()]


def _period(file: File, now: datetime) -> str:
    """Return the month that a file is of, or the day where the month is not over; empty for neither."""
    times = [snapshot.at for snapshot in file.snapshots] or [file.imported_at]
    today = now.date().isoformat()
    for n in (_MONTH, _DAY):
        periods = {time[:n] for time in times}
        if len(periods) == 1 and max(periods) < today[:n] and file.table != "purchases":
            return periods.pop()
    return ""


def _speak(files: Iterable[File], live: _Live) -> bool:
    """Tell whether anything of these files still counts."""
    return any(file.table != "offers" or _spoken(file, live) for file in files)


def _spoken(file: File, live: _Live) -> list[Snapshot]:
    """Return the listings for which a file speaks."""
    return [snapshot for snapshot in file.snapshots if live[file.source, snapshot.at][0] is file]


def _merged(
    folder: Path,
    key: tuple[str, str, str],
    files: Iterable[File],
    live: _Live,
) -> File:
    """Write one file with what these files still speak for."""
    source, table, _ = key
    parts = [(file, _spoken(file, live)) for file in files]
    spoken = [(file, ats) for file, ats in parts if ats or table != "offers"]
    snapshots = tuple(sorted((s for _, ats in spoken for s in ats), key=lambda s: s.at))
    newest = spoken[-1][0]
    mark = hashlib.sha256(" ".join(file.name for file, _ in spoken).encode()).hexdigest()
    name = f"{table}-{source}-{mark[:12]}.parquet"
    with duckdb.connect(config={"autoinstall_known_extensions": False}) as con:
        select = _offers(folder, spoken) if table == "offers" else _all(folder, spoken)
        sha256, rows = put_parquet(con, folder, name, select)
    expected = sum(s.rows for s in snapshots) if snapshots else sum(file.rows for file, _ in spoken)
    if rows != expected:
        (folder / name).unlink()
        raise StoreBroken(f"{source} has {rows} rows of {key[2]}, not {expected}", hint=_CHECK)
    rules, unknown = Counter[str](), Counter[str]()
    for file, _ in spoken:
        rules.update(file.rules)
        unknown.update(file.unknown_gpus)
    return replace(
        newest,
        name=name,
        input_sha256=mark,
        sha256=sha256,
        rows=rows,
        snapshots=snapshots,
        rules=dict(rules),
        unknown_gpus=dict(unknown),
        inputs=tuple(_inputs(parts)),
        schema=SCHEMA,
    )


def _inputs(parts: Iterable[tuple[File, list[Snapshot]]]) -> Iterable[str]:
    """Yield the inputs that need not be read again; a collection bears its instant and never comes twice."""
    for file, ats in parts:
        if file.about.get("cadence") != _COLLECTED and len(ats) == len(file.snapshots):
            yield from (file.input_sha256, *file.inputs)


def _offers(folder: Path, spoken: Iterable[tuple[File, list[Snapshot]]]) -> str:
    """Select the listings for which the files speak."""
    names = ", ".join(COLUMNS)
    parts = []
    for file, ats in spoken:
        times = ", ".join(f"TIMESTAMP '{snapshot.at}'" for snapshot in ats)
        table = table_of({file.schema}, quoted(folder / file.name))
        parts.append(f"SELECT {names} FROM {table} WHERE snapshot_at IN ({times})")  # noqa: S608 - our own text
    return f"SELECT * FROM ({' UNION ALL '.join(parts)}) ORDER BY {ORDER}"  # noqa: S608


def _all(folder: Path, spoken: Iterable[tuple[File, list[Snapshot]]]) -> str:
    paths = ", ".join(quoted(folder / file.name) for file, _ in spoken)
    return f"SELECT * FROM read_parquet([{paths}])"  # noqa: S608 - names of our own files


def _instead(current: Manifest, merged: Mapping[str, File], now: datetime) -> Manifest:
    """Return the manifest with merged files in the place of the newest of their parts."""
    last = {merged[file.name].name: file.name for file in current.files if file.name in merged}
    files = [
        merged.get(file.name, file)
        for file in current.files
        if file.name not in merged or last[merged[file.name].name] == file.name
    ]
    retired = {**current.retired, **dict.fromkeys(merged, now.isoformat())}
    return replace(current, files=tuple(files), retired=retired)
