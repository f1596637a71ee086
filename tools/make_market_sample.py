"""Build the market sample that ships with the package.

    python tools/make_market_sample.py DATA [--into FOLDER]

DATA is the folder of public price sets (gpurentalprices/, skypilot_catalog/, aws_gpu/). The sample is an
ordinary store: daily prices of gpurentalprices.com, bundles of the SkyPilot and AWS lists, and the
six rows of the rental page in tools/rental_page. NOTICE carries the credits.
"""

from __future__ import annotations

import argparse
import os
import shutil
from datetime import UTC, datetime
from pathlib import Path

from rackrate.market.ingest import import_list
from rackrate.market.store import Store

HERE = Path(__file__).resolve().parent
SAMPLE = HERE.parent / "src" / "rackrate" / "market" / "data" / "sample"
MAX_BYTES = 1_000_000
AWS_READ_AT = datetime(2026, 1, 21, tzinfo=UTC)  # the day the set states for itself
READ_AT = "2026-11-21T00:00:00+00:00"  # when the undated sets were read: keeps the sample reproducible


def main() -> None:
    """Build the sample, print what went in, and refuse a sample that is too large."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("data", type=Path)
    parser.add_argument("--into", type=Path, default=SAMPLE)
    options = parser.parse_args()
    os.environ["RACKRATE_NOW"] = READ_AT
    shutil.rmtree(options.into, ignore_errors=True)
    page = HERE / "rental_page"
    receipts = [
        *import_list(options.into, options.data / "gpurentalprices" / "snapshots", form="gpurentalprices"),
        *import_list(options.into, options.data / "skypilot_catalog", form="skypilot"),
        *import_list(
            options.into, options.data / "aws_gpu" / "all_gpu_instances.json", form="aws", at=AWS_READ_AT
        ),
        *import_list(options.into, page / "l40s.csv", mapping=page / "mapping.toml"),
    ]
    (options.into / "lock").unlink()
    for receipt in receipts:
        print(f"{receipt.source}: {receipt.n_published} rows, {receipt.n_rejected} rejected")
    size = sum(path.stat().st_size for path in options.into.iterdir())
    store = Store.open(options.into, options.into)
    print(f"{size:,} bytes, version {store.version}, newest {store.newest}")
    if size > MAX_BYTES:
        parser.error(f"the sample is larger than {MAX_BYTES:,} bytes")


if __name__ == "__main__":
    main()
