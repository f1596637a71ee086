"""What every answer can do in a notebook: show itself as HTML, be a data frame of any library by Arrow."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from datetime import date, datetime
from typing import Any

from rackrate.errors import NoAnswer
from rackrate.report.block import Block, Cell, Column, Table, asked_for, to_html


class Shown(ABC):
    """An answer made of blocks."""

    @abstractmethod
    def blocks(self) -> Sequence[Block]:
        """Return what people see, in order."""

    def _repr_html_(self) -> str:
        return to_html(self.blocks())

    def __arrow_c_stream__(self, requested_schema: object = None) -> Any:
        """Return the table asked for, raw values under keys with units, as an Arrow stream (PyCapsule).

        Raises:
            NoAnswer: there is no table in it.
        """
        del requested_schema  # a consumer may ask for a cast; offering our own schema is allowed
        from rackrate.market.store.arrow import stream  # noqa: PLC0415 - start-up: loads the database

        table = asked_for(self.blocks())
        if table is None:
            raise NoAnswer("this answer has no table for a data frame", hint="to_dict() has its numbers")
        return stream(*_typed(table))


def to_parquet(blocks: Sequence[Block]) -> bytes:
    """Write the table asked for as a Parquet file, raw values under keys with units.

    Raises:
        NoAnswer: there is no table in it.
    """
    from rackrate.market.store.arrow import parquet  # noqa: PLC0415 - start-up: loads the database

    table = asked_for(blocks)
    if table is None:
        raise NoAnswer("this answer has no table for Parquet", hint="ask for .json or .md")
    return parquet(*_typed(table))


def _typed(table: Table) -> tuple[list[tuple[Any, ...]], dict[str, str]]:
    """Return the rows of a table and the SQL type of each column that holds all its values."""
    values = [[_bare(value) for value in row] for row in table.rows]
    kinds = {
        column.key: _kind(column, [row[at] for row in values]) for at, column in enumerate(table.columns)
    }
    return [tuple(map(_as, row, kinds.values())) for row in values], kinds


def _bare(value: Any) -> Any:
    return value.value if isinstance(value, Cell) else value


def _kind(column: Column, values: Sequence[Any]) -> str:
    """Return the SQL type that holds all values of a column."""
    kinds = {type(value) for value in values if value is not None}
    if not kinds:
        return "VARCHAR" if column.digits is None else "DOUBLE"
    for sql, of in _TYPES.items():
        if kinds <= of:
            return sql
    return "VARCHAR"


_TYPES: dict[str, set[type]] = {
    "BOOLEAN": {bool},
    "BIGINT": {int},
    "DOUBLE": {int, float},
    "TIMESTAMPTZ": {datetime},
    "DATE": {date},
}


def _as(value: Any, kind: str) -> Any:
    """Return a value as its column holds it; a list becomes words, as in CSV."""
    if kind != "VARCHAR" or value is None or isinstance(value, str):
        return value
    return " ".join(map(str, value)) if isinstance(value, (tuple, list)) else str(value)
