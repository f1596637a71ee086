"""tugot17/gpu-price-tracker: a snapshot of one GPU every half hour, cheapest price by provider.

The summary does not say of which kind a provider's minimum is. Where the best deal of a size is that
very price at that very provider and marked spot, it is spot; else it is taken for on-demand and
says so (`kind assumed` in the notes; the quality gate flags it).
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

from rackrate.market.importers.files import Listing, When, input_files, offers_of, read_json_lines
from rackrate.market.normalise import Reject, instant
from rackrate.market.offer import Kind, RawOffer, RawShape


def read(path: Path, when: When) -> Iterator[Listing]:
    """Yield the one listing of all files. `when` is not needed."""
    del when  # each snapshot carries its own instant
    yield Listing(
        source="primeintellect-history",
        rows=_rows(input_files(path, ".jsonl", ".jsonl.gz")),
        title="Prime Intellect market snapshots by tugot17/gpu-price-tracker",
        url="https://github.com/tugot17/gpu-price-tracker",
        licence="MIT",
        credit="tugot17/gpu-price-tracker",
    )


def _rows(files: list[Path]) -> Iterator[RawOffer | Reject]:
    for file in files:
        for line, record in read_json_lines(file):
            if isinstance(record, Reject):
                yield record
            else:
                yield from offers_of(partial(_offers, record, file.name, line), file.name, line, record)


def _offers(record: dict[str, Any], origin: str, line: int) -> Iterator[RawOffer]:
    taken_at = instant(record["timestamp"], "timestamp")
    deals = [size.get("best_deal") or {} for size in record.get("by_config", {}).values()]
    lows = [size.get("min_per_gpu") for size in record.get("by_config", {}).values()]
    spot = {(deal.get("provider"), low) for deal, low in zip(deals, lows, strict=True) if deal.get("spot")}
    for provider, stats in record["by_provider"].items():
        is_spot = (provider, stats.get("min")) in spot
        yield RawOffer(
            shape=RawShape(
                provider=provider,
                seller="primeintellect",
                gpu_raw=record.get("gpu_type", ""),
                interconnect=record.get("socket_type") or "",
                kind=Kind.SPOT if is_spot else Kind.ON_DEMAND,
                source_url="https://github.com/tugot17/gpu-price-tracker",
                notes="" if is_spot else "kind assumed",
            ),
            origin=origin,
            line=line,
            snapshot_at=taken_at,
            observed_at=taken_at,
            price=stats.get("min"),
        )
