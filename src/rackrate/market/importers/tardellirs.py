"""tardellirs/gpu-pricing: single-GPU offers gathered by hand, USD per hour, with caveats."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rackrate.errors import ImportRejected
from rackrate.market.importers.files import Listing, When, input_files, offers_of, read_json
from rackrate.market.normalise import Reject, instant
from rackrate.market.offer import Kind, RawOffer, RawShape


def read(path: Path, when: When) -> Iterator[Listing]:
    """Yield the one listing; a folder must hold `offerings.json`. `when` is not needed."""
    del when  # each offer carries the day on which it was collected
    file = path / "offerings.json" if path.is_dir() else path
    yield Listing(
        source="tardellirs",
        rows=_rows(input_files(file, ".json")[0]),
        title="tardellirs/gpu-pricing",
        url="https://github.com/tardellirs/gpu-pricing",
        licence="MIT",
        credit="tardellirs/gpu-pricing",
    )


def _rows(file: Path) -> Iterator[RawOffer | Reject]:
    document = read_json(file)
    if not isinstance(document, list):
        raise ImportRejected(f"{file} is not a list of offerings")
    for line, record in enumerate(document, 1):
        yield from offers_of(partial(_offer, record, file.name, line), file.name, line, record)


def _offer(record: Any, origin: str, line: int) -> Iterator[RawOffer]:
    collected_at = instant(record["collected_at"], "collected_at")
    yield RawOffer(
        shape=RawShape(
            provider=record.get("provider_id", ""),
            gpu_raw=record.get("gpu_model", ""),
            vram_gib=record.get("vram_gb"),
            interconnect=record.get("interconnect") or "",
            kind=Kind.SPOT if record.get("is_spot") else record.get("tier", ""),
            tier=record.get("tier", ""),
            sku=record.get("id", ""),
            vcpu=record.get("vcpu"),
            ram_gib=record.get("ram_gb"),
            source_url=record.get("source_url", ""),
            notes="; ".join([record.get("notes") or "", *record.get("caveats", ())]),
        ),
        origin=origin,
        line=line,
        snapshot_at=collected_at,
        observed_at=collected_at,
        price=record.get("price_usd_hour"),
    )
