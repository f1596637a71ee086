"""Run the quality gate: rows of a batch in, graded rows and rejects out, all in one DuckDB query."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

import duckdb

from rackrate.market.normalise import EXTRA, IN_CURRENCY, OF_ROW, OF_SHAPE, Batch
from rackrate.market.offer import COLUMNS
from rackrate.market.quality import RULES, Action

if TYPE_CHECKING:
    import numpy as np

_JUDGED = tuple(rule for rule in RULES if rule.when)
_BITS = {rule.code: 1 << place for place, rule in enumerate(_JUDGED)}
"""The bit of each rule in the number `met`, which says of a row which rules it met."""


def _met(*codes: str) -> str:
    """Return the SQL condition that a row met one of these rules."""
    return f"met & {sum(_BITS[code] for code in codes)} <> 0"


_REPAIRS = {  # what a flag of rule 9 makes unknown
    "vcpu": _met("zero_shape", "one_shape"),
    "ram_gib": _met("zero_shape", "one_shape", "ram_unit"),
    "disk_gib": f"{_met('ram_unit')} OR disk_gib = 0",
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
    """Make the view `staged` of the batch and the rows that `before` selects.

    A view, because copying wide rows costs more than joining each to its shape anew. The flags of new
    rows are empty there; `id` is the place in the batch.

    Args:
        con: an in-memory database.
        batch: normalised rows of one source.
        before: SQL that selects stored rows of the same source, for comparison over time.
    """
    types = {"shape": "INTEGER", **COLUMNS, **EXTRA}
    shapes = [(number, *values) for values, number in batch.shapes.items()]
    table(con, "new_shapes", {name: types[name] for name in ("shape", *OF_SHAPE)}, shapes)
    table(con, "new_rows", {name: types[name] for name in ("shape", *OF_ROW)}, batch.rows)
    in_usd = ", ".join(f"{stated} * usd_per_unit AS {name}" for stated, name in IN_CURRENCY.items())
    staged = f"""SELECT *, {in_usd}, new_rows.rowid AS id, []::VARCHAR[] AS flags, true AS is_new
        FROM new_rows JOIN new_shapes USING (shape)"""  # noqa: S608 - the text is ours
    if before:
        con.execute(f"CREATE OR REPLACE TABLE stored AS {before}")
        staged += """ UNION ALL BY NAME
            SELECT *, '' AS notes, '' AS hints, gpu_count AS stated_count, false AS is_new FROM stored"""
    con.execute(f"CREATE OR REPLACE VIEW staged AS {staged}")


def table(
    con: duckdb.DuckDBPyConnection, name: str, types: Mapping[str, str], rows: Sequence[tuple[Any, ...]]
) -> None:
    """Make a table of rows, column by column: a hundred times faster than row by row.

    Args:
        con: the database.
        name: of the table.
        types: column name to SQL type.
        rows: values in that order.
    """
    columns = ", ".join(f"{column} {sql}" for column, sql in types.items())
    con.execute(f"CREATE OR REPLACE TABLE {name} ({columns})")
    if rows:
        turned = zip(types.items(), zip(*rows, strict=True), strict=True)
        con.register("arrived", {column: _array(sql, values) for (column, sql), values in turned})
        con.execute(f"INSERT INTO {name} FROM arrived")
        con.unregister("arrived")


def _array(sql: str, values: Sequence[Any]) -> np.ndarray[Any, Any]:
    """Return a NumPy column; an absent number is NaN and an absent time NaT, which DuckDB reads as NULL."""
    import numpy as np  # noqa: PLC0415 - start-up: readers never need it

    if sql in ("DOUBLE", "INTEGER"):
        return np.array(values, dtype=np.float64)  # None becomes NaN
    if sql == "TIMESTAMP":
        once = {at: np.datetime64(at, "us") for at in set(values)}  # many rows, few instants
        return np.fromiter(map(once.__getitem__, values), "datetime64[us]", len(values))
    return np.array(values, dtype=object)


def grade(con: duckdb.DuckDBPyConnection) -> None:
    """Make the views `graded` (rows to publish) and `rejected` out of `staged` and `usual`.

    `graded` has the columns of an offer, `flags` and `is_counted` set; `rejected` adds `rule` and
    `detail` of the first rule that rejects the row. Both read the verdicts in the narrow table `judged`.
    """
    met = " + ".join(f"CASE WHEN {rule.when} THEN {_BITS[rule.code]} ELSE 0 END" for rule in _JUDGED)
    rejecting = [rule for rule in _JUDGED if rule.action is Action.REJECT]
    rule = " ".join(f"WHEN {_met(rule.code)} THEN '{rule.code}'" for rule in rejecting)
    detail = " ".join(f"WHEN '{rule.code}' THEN {rule.detail}" for rule in rejecting)
    codes = "[" + ", ".join(f"'{code}'" for code in _BITS) + "]"
    flags = f"list_filter({codes}, lambda _, place: met & (1::BIGINT << (place - 1)) <> 0)"
    holding = [rule.code for rule in _JUDGED if rule.action is Action.HOLD]
    made = {name: f"CASE WHEN {bad} THEN NULL ELSE {name} END" for name, bad in _REPAIRS.items()} | {
        "flags": f"CASE WHEN met = 0 THEN [] ELSE {flags} END",
        "is_counted": f"NOT ({_met(*holding)})",
        "is_last": "is_newest",
    }
    con.execute(
        f"""CREATE OR REPLACE TABLE judged AS
        SELECT id, has_shrunk, {", ".join(f"{how} AS {name}" for name, how in made.items())},
               CASE {rule} END AS rule, CASE rule {detail} END AS detail
        FROM (SELECT *, ({met})::BIGINT AS met FROM ({query("features")}) WHERE is_new)"""  # noqa: S608 - the text is ours
    )
    kept = ", ".join(f"judged.{name}" if name in made else name for name in COLUMNS)
    rows = "FROM judged JOIN staged USING (id) WHERE rule IS"
    con.execute(f"CREATE OR REPLACE VIEW graded AS SELECT {kept}, has_shrunk, id {rows} NULL")
    con.execute(f"CREATE OR REPLACE VIEW rejected AS SELECT staged.*, rule, detail {rows} NOT NULL")
