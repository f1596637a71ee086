"""Hand rows to other libraries as an Arrow stream, without depending on any of them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import duckdb

from rackrate.market.offer import COLUMNS


def stream(rows: Sequence[tuple[Any, ...]]) -> Any:
    """Return rows, in the columns of an offer, as an Arrow stream (PyCapsule interface)."""
    values = [list(column) for column in zip(*rows, strict=True)] or [[] for _ in COLUMNS]
    columns = ", ".join(f"unnest(?::{sql}[]) AS {name}" for name, sql in COLUMNS.items())
    return duckdb.connect().sql(f"SELECT {columns}", params=values).__arrow_c_stream__()
