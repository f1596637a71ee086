"""Hand rows to other libraries as an Arrow stream, without depending on any of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import duckdb

from rackrate.market.offer import COLUMNS


def stream(rows: Sequence[tuple[Any, ...]], columns: Mapping[str, str] = COLUMNS) -> Any:
    """Return rows as an Arrow stream (PyCapsule interface).

    Args:
        rows: the values of each, in the order of the columns.
        columns: name and SQL type of each; those of an offer.
    """
    values = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in columns]
    names = (name.replace('"', '""') for name in columns)
    parts = (f'unnest(?::{sql}[]) AS "{name}"' for name, sql in zip(names, columns.values(), strict=True))
    return duckdb.connect().sql(f"SELECT {', '.join(parts)}", params=values).__arrow_c_stream__()
