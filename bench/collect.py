"""How much memory does a huge price list take, and how fast is each list read?

python bench/collect.py [--rows 1000000] [--docs]

collect  a price list of AWS with this many rows, served on loopback, is asked, archived, read, judged and
         published by a process of its own; its largest resident set is what counts
parse    archived answers of several sources, made of records in their documented shape: records a second
         from the body in the archive to normalised rows, on one core
"""

from __future__ import annotations

import argparse
import csv
import gzip
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from measure import machine, table, write_section

from rackrate.market.collect import collectors
from rackrate.market.collect.base import Answer
from rackrate.market.collect.run import read
from rackrate.market.currency import bundled_rates

GOAL_MIB = 300
N_RECORDS = 20_000
GPU_ROW_EVERY = 400  # of a region's rows, about one in 400 is a price of a GPU machine that we take
COLUMNS = (
    "SKU", "OfferTermCode", "RateCode", "TermType", "PriceDescription", "EffectiveDate", "Unit",
    "PricePerUnit", "Currency", "LeaseContractLength", "PurchaseOption", "OfferingClass", "Product Family",
    "Location", "Instance Type", "vCPU", "Physical Processor", "Memory", "Storage", "Tenancy",
    "Operating System", "GPU", "CapacityStatus", "Pre Installed S/W", "MarketOption", "Region Code",
)  # fmt: skip
ROW = {
    "SKU": "ABCDEFGHIJKLMNOP", "OfferTermCode": "JRTCKXETXF", "RateCode": "ABCDEFGHIJKLMNOP.JRTCKXETXF.6YS6",
    "TermType": "OnDemand", "EffectiveDate": "2026-08-01", "Unit": "Hrs", "PricePerUnit": "0.1920000000",
    "PriceDescription": "$0.192 per On Demand Linux m5.xlarge Instance Hour", "Currency": "USD",
    "Product Family": "Compute Instance", "Location": "US East (N. Virginia)", "Instance Type": "m5.xlarge",
    "vCPU": "4", "Physical Processor": "Intel Xeon Platinum 8175", "Memory": "16 GiB", "Storage": "EBS only",
    "Tenancy": "Shared", "Operating System": "Linux", "CapacityStatus": "Used", "Pre Installed S/W": "NA",
    "MarketOption": "OnDemand", "Region Code": "us-east-1",
}  # fmt: skip
RECORDS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "vast": ({"id": 1, "gpu_name": "L40S", "num_gpus": 2, "gpu_ram": 46068, "cpu_cores": 64,
              "cpu_cores_effective": 16.0, "cpu_ram": 262144, "disk_space": 500.0, "dph_total": 1.2,
              "min_bid": 0.6, "geolocation": "Texas, US"}, ("offers",)),
    "azure": ({"armSkuName": "Standard_NC24ads_A100_v4", "armRegionName": "r", "retailPrice": 3.673,
               "currencyCode": "USD", "unitOfMeasure": "1 Hour", "type": "Consumption",
               "meterName": "NC24ads", "productName": "NCads A100 v4", "skuName": "NC24ads",
               "effectiveStartDate": "2024-01-01T00:00:00Z"}, ("Items",)),
    "lium": ({"id": "n", "gpu_model": "NVIDIA L40S", "gpu_count": 1, "available_gpu_count": 1,
              "price_per_gpu_hour": 0.79, "gpu_memory_gb": 45, "cpu_count": 16, "ram_gb": 128,
              "disk_free_gb": 500, "country_code": "US"}, ("nodes",)),
    "shadeform": ({"cloud": "massedcompute", "cloud_instance_type": "gpu_1x_l40s", "hourly_price": 99,
                   "configuration": {"num_gpus": 1, "gpu_type": "L40S", "vram_per_gpu_in_gb": 48,
                                     "vcpus": 26, "memory_in_gb": 72, "storage_in_gb": 625},
                   "availability": [{"region": "r", "available": True}]}, ("instance_types",)),
}  # fmt: skip
VARIED = {"vast": "id", "azure": "armRegionName", "lium": "id", "shadeform": "cloud_instance_type"}


def aws_rows(n: int) -> Iterator[bytes]:
    """Yield the lines of a price list of n rows, in pieces."""
    out = io.StringIO(newline="")
    write = csv.writer(out, quoting=csv.QUOTE_ALL)
    for name in ("FormatVersion", "Disclaimer", "Publication Date", "Version", "OfferCode"):
        write.writerow([name, "v1.0"])
    write.writerow(COLUMNS)
    plain = [ROW.get(column, "") for column in COLUMNS]
    gpu = ROW | {"Instance Type": "g6e.xlarge", "GPU": "1", "Memory": "32 GiB", "PricePerUnit": "1.861"}
    for line in range(n):
        if line % GPU_ROW_EVERY:
            plain[0] = f"SKU{line:013}"
            write.writerow(plain)
        else:
            row = gpu | {"Region Code": f"region-{line // GPU_ROW_EVERY}"}
            write.writerow([row.get(column, "") for column in COLUMNS])
        if out.tell() > 1 << 20:
            yield out.getvalue().encode()
            out.seek(0)
            out.truncate()
    yield out.getvalue().encode()


def collect_aws(n: int) -> dict[str, float]:
    """Collect n rows in a process of its own; return what it took."""
    with tempfile.TemporaryDirectory() as folder:
        listing = Path(folder) / "index.csv"
        with listing.open("wb") as out:
            for piece in aws_rows(n):
                out.write(piece)
        size = listing.stat().st_size

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "text/csv")
                self.send_header("Content-Length", str(size))
                self.end_headers()
                with listing.open("rb") as body:
                    while piece := body.read(1 << 16):
                        self.wfile.write(piece)

            def log_message(self, *_: Any) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        environment = {
            **os.environ,
            "RACKRATE_COLLECT_URL_AWS": f"http://127.0.0.1:{server.server_port}",
            "RACKRATE_COLLECT_AWS_REGIONS": "us-east-1",
        }
        command = [sys.executable, __file__, "--child", str(Path(folder) / "store")]
        done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
        server.shutdown()
        server.server_close()
        thread.join()
    found: dict[str, float] = json.loads(done.stdout)
    return found | {"list_mb": size / 1e6}


def child(folder: str) -> None:
    """Collect AWS into a folder; print offers, seconds and the largest resident set."""
    from rackrate.collecting import collect_prices  # noqa: PLC0415 - only the child needs it

    began = time.perf_counter()
    (done,) = collect_prices(["aws"], data=folder).outcomes
    if done.outcome != "ok":
        sys.exit(f"aws: {done.code} {done.says}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(json.dumps({"offers": done.rows, "s": time.perf_counter() - began, "peak_mib": peak}))


def parse_rates() -> list[tuple[str, str, str]]:
    """Return source, records and records a second of CPU for each list."""
    at = datetime(2026, 8, 22, 12, tzinfo=UTC)
    found = []
    with tempfile.TemporaryDirectory() as folder:
        for name, (record, keys) in RECORDS.items():
            varied = VARIED[name]
            body: Any = [record | {varied: f"{record[varied]}{n}"} for n in range(N_RECORDS)]
            for key in reversed(keys):
                body = {key: body}
            path = Path(folder) / f"{name}.gz"
            path.write_bytes(gzip.compress(json.dumps(body).encode()))
            answer = Answer("page-1", "", path, "", path.stat().st_size)
            began = time.process_time()
            batch = read(collectors()[name], [answer], at, bundled_rates())
            took = time.process_time() - began
            if batch.rejects or len(batch.rows) < N_RECORDS:
                sys.exit(f"{name}: {batch.rejects[:1]}")
            found.append((name, f"{N_RECORDS:,}", f"{N_RECORDS / took:,.0f}"))
    return found


def main() -> None:
    """Measure and print, and rewrite the section of the document when asked to."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--docs", action="store_true")
    parser.add_argument("--child")
    asked = parser.parse_args()
    if asked.child:
        child(asked.child)
        return
    took = collect_aws(asked.rows)
    rate = asked.rows / took["s"]
    told = (
        f"A price list of AWS with {asked.rows:,} rows ({took['list_mb']:,.0f} MB), served on loopback: "
        f"{took['offers']:,.0f} offers published in {took['s']:.0f} s wall ({rate:,.0f} rows a second, "
        f"archive included), largest resident set {took['peak_mib']:.0f} MiB (goal: under {GOAL_MIB})."
    )
    lines = [
        "## Live prices",
        "",
        told,
        "",
        table(("source", "records", "records/s of CPU"), parse_rates()),
        "",
        machine("duckdb", "httpx2"),
    ]
    print("\n".join(lines))
    if asked.docs:
        write_section("Live prices", "\n".join(lines))
    if took["peak_mib"] >= GOAL_MIB:
        sys.exit(1)


if __name__ == "__main__":
    main()
