"""United-Compute/gpu-price-tracker: what one card cost to buy, one JSON a card."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from rackrate.errors import ImportRejected
from rackrate.market.importers.files import Listing, Purchase, When, input_files, read_json


def read(path: Path, when: When) -> Iterator[Listing]:
    """Yield the one listing of all cards. `when` is not needed."""
    del when  # each price carries its own instant
    yield Listing(
        source="purchase",
        rows=_rows(input_files(path, ".json")),
        title="Prices of cards by United-Compute/gpu-price-tracker",
        url="https://github.com/United-Compute/gpu-price-tracker",
        licence="none stated",
    )


def _rows(files: list[Path]) -> Iterator[Purchase]:
    for file in files:
        document = read_json(file)
        if not isinstance(document, dict) or not isinstance(document.get("prices"), dict):
            raise ImportRejected(f"{file} has no table of `prices`")
        name = document.get("gpu_name") or file.stem.replace("_", " ")
        for at, usd in document["prices"].items():
            yield Purchase(gpu_raw=name, at=at, usd=usd, origin=file.name)
