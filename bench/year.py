"""A market with a year of history: the lists of the bundled sample, again and again into the past.

    python bench/year.py DIR [DAYS]

Each day is imported on its own, as a collector that runs daily leaves it: a file a day, in each what the
sample's daily list said on some day and all that its other lists say. A year ago everything cost half as much
again, so that there is something to draw.
"""

from __future__ import annotations

import sys
import tempfile
from datetime import timedelta
from pathlib import Path

import duckdb

from rackrate.market.ingest import import_list
from rackrate.market.store import Store

DAILY = "gpurentalprices"
DAYS = 365
YEARLY_FRAC = 0.5
MAPPING = """
source = "year"
title = "A year made of the bundled sample"
cadence = "daily"

[file]
snapshot = "day"

[columns]
provider = "provider"
gpu = "gpu"
gpu_count = "count"
kind = "kind"
vcpu = "vcpu"
ram = { from = "ram", unit = "GiB" }
disk = { from = "disk", unit = "GiB" }
country = "country"
region = "region"
sku = "sku"
at = "at"

[[price]]
from = "usd"
per = "gpu"
"""


def build(folder: Path, days: int = DAYS) -> Path:
    """Make the store in a folder and return where it is."""
    store = folder / "store"
    con = duckdb.connect()
    _read_sample(con)
    listed = [day for (day,) in con.execute("SELECT DISTINCT day FROM daily ORDER BY day DESC").fetchall()]
    with tempfile.TemporaryDirectory() as scratch:
        mapping = Path(scratch) / "year.toml"
        mapping.write_text(MAPPING, encoding="utf-8")
        for back in reversed(range(days)):
            path = Path(scratch) / f"{listed[0] - timedelta(days=back)}.csv"
            factor = 1 + YEARLY_FRAC * back / DAYS
            _write(con, path, listed[back % len(listed)], factor)
            import_list(store, path, mapping=mapping)
    return store


def _read_sample(con: duckdb.DuckDBPyConnection) -> None:
    """Read the daily list with its days, and the other lists."""
    sample = Store.sample()
    files = [(file.source, str(sample.folder / file.name)) for file in sample.files if file.table == "offers"]
    columns = """provider_raw AS provider, gpu_raw AS gpu, gpu_count AS count, kind, vcpu, ram_gib AS ram,
        disk_gib AS disk, country, region, sku, usd_per_gpu_hour AS usd"""
    for table, paths in (
        ("daily", [path for source, path in files if source == DAILY]),
        ("others", [path for source, path in files if source != DAILY]),
    ):
        con.execute(
            f"""CREATE TABLE {table} AS SELECT {columns}, snapshot_at::DATE AS day FROM read_parquet(?)
            WHERE is_counted OR kind != 'reserved'""",  # noqa: S608 - the text is ours
            [paths],
        )


def _write(con: duckdb.DuckDBPyConnection, path: Path, listed: object, factor: float) -> None:
    """Write the list of the day that a file is named for, from what the daily list said on another."""
    con.execute(
        f"""COPY (
            SELECT * EXCLUDE (day) REPLACE (round(usd * ?, 4) AS usd), '{path.stem}' AS at
            FROM (FROM daily WHERE day = ? UNION ALL FROM others)
        ) TO '{path}'""",  # noqa: S608 - the text is ours
        [factor, listed],
    )


if __name__ == "__main__":
    print(build(Path(sys.argv[1]), *map(int, sys.argv[2:3])))
