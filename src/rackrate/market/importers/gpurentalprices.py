"""gpurentalprices.com: one JSON a day, USD per GPU per hour, `min_gpus` where bundles are sold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from pathlib import Path
from typing import Any

from rackrate.errors import ImportRejected
from rackrate.market.importers.files import Listing, When, input_files, read_json
from rackrate.market.normalise import Reject
from rackrate.market.offer import RawOffer
from rackrate.units import parse_instant


def read(path: Path, when: When) -> Iterator[Listing]:
    """Yield the one listing of the given snapshot file or folder of them; `when` is not needed."""
    del when  # each snapshot carries its own instant
    yield Listing(
        source="gpurentalprices",
        rows=_rows(input_files(path, ".json")),
        title="gpurentalprices.com daily snapshots",
        url="https://gpurentalprices.com",
        licence="CC BY 4.0",
        credit="GPU rental price data by gpurentalprices.com",
    )


def _rows(paths: list[Path]) -> Iterator[RawOffer | Reject]:
    for path in paths:
        document = read_json(path)
        if not isinstance(document, dict) or not isinstance(document.get("offers"), list):
            raise ImportRejected(f"{path} has no list of `offers`")
        snapshot_at = parse_instant(str(document.get("generated_at")), f"{path.name}: generated_at")
        for line, record in enumerate(document["offers"], 1):
            yield _offer(record, path.name, line, snapshot_at)


def _offer(record: Any, origin: str, line: int, snapshot_at: datetime) -> RawOffer | Reject:
    if not isinstance(record, dict):
        return Reject(origin, line, "malformed", "an offer is an object", repr(record)[:200])
    fetched_at = record.get("fetched_at")
    return RawOffer(
        origin=origin,
        line=line,
        snapshot_at=snapshot_at,
        observed_at=datetime.fromisoformat(fetched_at) if fetched_at else None,
        provider=record.get("provider", ""),
        gpu_raw=record.get("gpu", ""),
        vram_gib=record.get("vram_gb"),
        gpu_count=record.get("min_gpus", 1),
        price=record.get("usd_hr"),
        kind=record.get("kind", ""),
        source_url=record.get("source_url", ""),
    )
