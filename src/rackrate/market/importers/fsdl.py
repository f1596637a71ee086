"""The Full Stack's tables of cloud GPUs: a bundle a row, USD per hour for the whole instance.

The day of a version stands in its file name; a file without one is undated unless the caller
gives it.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rackrate.market.importers.files import Listing, When, input_files, read_csv
from rackrate.market.normalise import Reject
from rackrate.market.offer import Kind, RawOffer, RawShape

_DAY = re.compile(r"\d{4}-\d{2}-\d{2}")
_MEMORY = re.compile(r"\((\d+)\s*(?:GB)?\)", re.IGNORECASE)


def read(path: Path, when: When) -> Iterator[Listing]:
    """Yield a listing of the cloud tables and one of the serverless table."""
    files = input_files(path, ".csv")
    tables = {
        "fsdl": [file for file in files if not file.name.startswith("serverless")],
        "fsdl-serverless": [file for file in files if file.name.startswith("serverless")],
    }
    for source, found in tables.items():
        if found:
            yield Listing(
                source=source,
                rows=_rows(found, when, is_serverless=source == "fsdl-serverless"),
                title="The Full Stack, cloud GPUs",
                url="https://github.com/the-full-stack/website",
                licence="MIT",
                credit="The Full Stack, cloud GPU tables",
            )


def _rows(files: list[Path], when: When, *, is_serverless: bool) -> Iterator[RawOffer | Reject]:
    for file in files:
        day = _DAY.search(file.name)
        named = datetime.fromisoformat(day[0]).replace(tzinfo=UTC) if day else None
        dated = replace(when, stated_at=named or when.stated_at)
        for line, record in read_csv(file):
            if isinstance(record, Reject):
                yield record
            else:
                yield from _offers(record, file.name, line, dated, is_serverless=is_serverless)


def _offers(
    record: dict[str, Any], origin: str, line: int, when: When, *, is_serverless: bool
) -> Iterator[RawOffer | Reject]:
    prices = {
        Kind.SERVERLESS if is_serverless else Kind.ON_DEMAND: record.get("On-demand")
        or record.get("Per-Hour"),
        Kind.SPOT: record.get("Spot"),
    }
    stated = {kind: price for kind, price in prices.items() if price}
    if not stated:
        short = " ".join(str(value) for value in record.values())[:200]
        yield Reject(origin, line, "no_price", "no price is given", short)
    memory = _MEMORY.search(record.get("GPU Type") or "")
    for kind, price in stated.items():
        yield RawOffer(
            shape=RawShape(
                provider=record.get("Cloud") or record.get("Vendor") or "",
                sku=record.get("Name") or "",
                gpu_raw=record.get("GPU Type") or "",
                gpu_count=record.get("GPUs"),
                vram_gib=memory[1] if memory else None,
                vcpu=record.get("vCPUs"),
                ram_gib=record.get("RAM"),
                kind=kind,
                price_per="instance",
                source_url="https://fullstackdeeplearning.com/cloud-gpus/",
            ),
            origin=origin,
            line=line,
            snapshot_at=when.snapshot_at,
            observed_at=when.stated_at,
            price=price,
        )
