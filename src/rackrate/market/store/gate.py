"""Run the quality gate: rows of a batch in, graded rows and rejects out, all in one DuckDB query."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from rackrate.market.normalise import EXTRA, Batch
from rackrate.market.offer import COLUMNS
from rackrate.market.quality import RULES, Action

if TYPE_CHECKING:
    import numpy as np

_REPAIRS = {  # what a flag of rule 9 makes unknown
    "vcpu": "list_has_any(flags, ['zero_shape', 'one_shape'])",
    "ram_gib": "list_has_any(flags, ['zero_shape', 'one_shape', 'ram_unit'])",
    "disk_gib": "list_contains(flags, 'ram_unit') OR disk_gib = 0",
}


@cache
def query(name: str) -> str:
    """Return the text of `market/query/<name>.sql`."""
    return (files("rackrate.market") / "query" / f"{name}.sql").read_text(encoding="utf-8")


def literal(path: Path) -> str:
    """Return a path as DuckDB's readers take it: brackets, stars and question marks are no pattern."""
    return re.sub(r"([*?\[])", r"[\1]", str(path))


def text(value: str) -> str:
    """Return text as an SQL string."""
    return "'" + value.replace("'", "''") + "'"


def stage(con: duckdb.DuckDBPyConnection, batch: Batch, before: str = "") -> None:
    """Put the batch into the table `staged`, and beside it the rows that `before` selects.

    Args:
        con: an in-memory database.
        batch: normalised rows of one source.
        before: SQL that selects stored rows of the same source, for comparison over time.
    """
    names = ", ".join(f"{name} {sql}" for name, sql in {**COLUMNS, **EXTRA}.items())
    con.execute(f"CREATE OR REPLACE TABLE staged ({names}, is_new BOOLEAN)")
    if batch.rows:
        insert(con, "staged", {**COLUMNS, **EXTRA}, batch.rows, "true")
    if before:
        con.execute(f"INSERT INTO staged SELECT *, '', '', gpu_count, false FROM ({before})")  # noqa: S608


def insert(
    con: duckdb.DuckDBPyConnection,
    table: str,
    types: Mapping[str, str],
    rows: Sequence[tuple[Any, ...]],
    *more: str,
) -> None:
    """Insert rows column by column: a hundred times faster than row by row.

    Args:
        con: the database.
        table: the table, with the columns of `types` and then one for each of `more`.
        types: column name to SQL type.
        rows: values in that order.
        more: SQL expressions for the columns that follow.
    """
    turned = zip(types.items(), zip(*rows, strict=True), strict=True)
    arrived = {name: _array(sql, values) for (name, sql), values in turned}
    con.register("arrived", arrived)
    casts = ["[]::VARCHAR[]" if sql == "VARCHAR[]" else f"{name}::{sql}" for name, sql in types.items()]
    con.execute(f"INSERT INTO {table} SELECT {', '.join((*casts, *more))} FROM arrived")  # noqa: S608
    con.unregister("arrived")


def _array(sql: str, values: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Return a NumPy column; an absent number is NaN and an absent time NaT, which DuckDB reads as NULL."""
    import numpy as np  # noqa: PLC0415 - start-up: readers never need it

    if sql in ("DOUBLE", "INTEGER"):
        return np.array(values, dtype=np.float64)  # None becomes NaN
    if sql == "TIMESTAMP":
        once = {at: np.datetime64(at, "us") for at in set(values)}  # many rows, few instants
        return np.fromiter(map(once.__getitem__, values), "datetime64[us]", len(values))
    if sql == "VARCHAR[]":  # flags are the gate's own to give
        return np.zeros(len(values), dtype=bool)
    return np.array(values, dtype=bool if sql == "BOOLEAN" else object)


def grade(con: duckdb.DuckDBPyConnection) -> None:
    """Make the tables `graded` (rows to publish) and `rejected` out of `staged` and `usual`.

    `graded` has the columns of an offer, `flags` and `is_counted` set; `rejected` adds `rule` and
    `detail` of the first rule that rejects the row.
    """
    judged = [rule for rule in RULES if rule.when]
    met = ", ".join(f"CASE WHEN {rule.when} THEN '{rule.code}' END" for rule in judged)
    con.execute(
        f"""CREATE OR REPLACE TABLE judged AS
        SELECT * REPLACE (list_filter([{met}], lambda code: code IS NOT NULL) AS flags)
        FROM ({query("features")}) WHERE is_new"""  # noqa: S608 - the text is ours
    )
    made = {name: f"CASE WHEN {bad} THEN NULL ELSE {name} END" for name, bad in _REPAIRS.items()}
    made["is_counted"] = f"NOT list_has_any(flags, {_codes(Action.HOLD)})"
    made["is_last"] = "is_newest"
    kept = ", ".join(f"{made.get(name, name)} AS {name}" for name in COLUMNS)
    bad = f"list_has_any(flags, {_codes(Action.REJECT)})"
    con.execute(
        f"CREATE OR REPLACE TABLE graded AS SELECT {kept}, has_shrunk FROM judged WHERE NOT {bad}"  # noqa: S608
    )
    first = f"list_filter(flags, lambda code: list_contains({_codes(Action.REJECT)}, code))[1]"
    details = " ".join(
        f"WHEN '{rule.code}' THEN {rule.detail}" for rule in judged if rule.action is Action.REJECT
    )
    con.execute(
        f"""CREATE OR REPLACE TABLE rejected AS
        SELECT *, CASE rule {details} END AS detail
        FROM (SELECT *, {first} AS rule FROM judged WHERE {bad})"""  # noqa: S608
    )


def _codes(action: Action) -> str:
    return "[" + ", ".join(f"'{rule.code}'" for rule in RULES if rule.action is action) + "]"
