"""gpurentalprices.com: one JSON a day, USD per GPU per hour, `min_gpus` where bundles are sold."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from functools import partial
from pathlib import Path
from typing import Any

from rackrate.errors import ImportRejected
from rackrate.market.importers.files import Listing, When, input_files, offers_of, read_json
from rackrate.market.normalise import Reject, Unreadable, instant
from rackrate.market.offer import RawOffer, RawShape


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
        try:
            snapshot_at = instant(document.get("generated_at"), "generated_at")
        except Unreadable as error:
            raise ImportRejected(f"{path}: {error}") from None
        for line, record in enumerate(document["offers"], 1):
            make = partial(_offer, record, path.name, line, snapshot_at)
            yield from offers_of(make, path.name, line, record)


def _offer(record: Any, origin: str, line: int, snapshot_at: datetime) -> Iterator[RawOffer]:
    fetched_at = record.get("fetched_at")
    yield RawOffer(
        shape=RawShape(
            provider=record.get("provider", ""),
            gpu_raw=record.get("gpu", ""),
            vram_gib=record.get("vram_gb"),
            gpu_count=record.get("min_gpus", 1),
            kind=record.get("kind", ""),
            source_url=record.get("source_url", ""),
        ),
        origin=origin,
        line=line,
        snapshot_at=snapshot_at,
        observed_at=instant(fetched_at, "fetched_at") if fetched_at else None,
        price=record.get("usd_hr"),
    )
