"""Hand rows to other programs, as an Arrow stream or a Parquet file, without depending on any of them."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import duckdb

from rackrate.market.offer import COLUMNS


def stream(rows: Sequence[tuple[Any, ...]], columns: Mapping[str, str] = COLUMNS) -> Any:
    """Return rows as an Arrow stream (PyCapsule interface).

    Args:
        rows: the values of each, in the order of the columns.
        columns: name and SQL type of each; those of an offer.
    """
    return _relation(duckdb.connect(), rows, columns).__arrow_c_stream__()


def parquet(rows: Sequence[tuple[Any, ...]], columns: Mapping[str, str] = COLUMNS) -> bytes:
    """Return rows as the bytes of a Parquet file.

    Args:
        rows: the values of each, in the order of the columns.
        columns: name and SQL type of each; those of an offer.
    """
    with tempfile.TemporaryDirectory() as folder, duckdb.connect() as con:
        path = Path(folder) / "rows.parquet"
        _relation(con, rows, columns).write_parquet(str(path), compression="zstd")
        return path.read_bytes()


def _relation(
    con: duckdb.DuckDBPyConnection, rows: Sequence[tuple[Any, ...]], columns: Mapping[str, str]
) -> duckdb.DuckDBPyRelation:
    values = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]
    names = (name.replace('"', '""') for name in columns)
    parts = (f'unnest(?::{sql}[]) AS "{name}"' for name, sql in zip(names, columns.values(), strict=True))
    return con.sql(f"SELECT {', '.join(parts)}", params=values)
