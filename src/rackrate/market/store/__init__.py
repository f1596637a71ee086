"""The market store: append-only Parquet files, a manifest that names the current ones, DuckDB to ask.

The only part that imports duckdb. `Store` reads, `write.publish` adds; a reader never waits for a
writer and never sees half of an import.
"""

from rackrate.market.store.read import Store

__all__ = ["Store"]
