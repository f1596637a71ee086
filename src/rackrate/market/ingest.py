"""Import a price list: read it, normalise it, pass the gate, publish. One path for every format."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from datetime import datetime
from functools import cache
from pathlib import Path

from rackrate import clock
from rackrate.catalog.aliases import match_gpu
from rackrate.errors import ImportRejected
from rackrate.market import importers
from rackrate.market.importers import mapped
from rackrate.market.importers.files import Listing, Purchase, When, digest
from rackrate.market.importers.mapping import load_mapping
from rackrate.market.normalise import Batch, Reject, Unreadable, instant, normalise, number, plain
from rackrate.market.rates import known_rates
from rackrate.market.store.read import Store
from rackrate.market.store.write import Arrival, Receipt, copy_store, publish

_ONCE = frozenset({"skypilot", "tardellirs", "fsdl", "aws"})
"""Formats whose lists are made by hand or at no fixed time: shown with their date, never dropped."""


def import_list(
    folder: Path,
    path: Path,
    *,
    form: str = "",
    mapping: Path | None = None,
    at: datetime | None = None,
    is_dry_run: bool = False,
    on_row: Callable[[], None] | None = None,
    on_file: Callable[[str], None] | None = None,
) -> list[Receipt]:
    """Import the price list at `path` into the store in `folder`.

    Args:
        folder: the store; made when it does not exist.
        path: a file or a folder of files.
        form: name of a format that we know (`importers.FORMATS`).
        mapping: a mapping file, for any other CSV or JSON.
        at: when the prices were true, for a list that does not say.
        is_dry_run: read and judge, write nothing.
        on_row: called once a row, for progress.
        on_file: called with each file name before the manifest names it.

    Raises:
        ImportRejected: the input cannot be read as such a list.
        UsageError: no such format, or a mapping that is not valid.
        DataError: the disk is full or fails.
    """
    when = When(at, clock.now())
    rates = known_rates(folder)
    cadence = "once" if form in _ONCE else "daily"
    if mapping:
        plan = load_mapping(mapping)
        rates = rates.with_rates(plan.fx)
        cadence = plan.cadence
        listings = mapped.read(path, when, plan)
        inputs = [mapping, *mapped.inputs(path)]
    else:
        listings = importers.reader(form)(path, when)
        if not path.exists():
            raise ImportRejected(f"{path} does not exist")
        inputs = sorted(p for p in path.iterdir() if p.is_file()) if path.is_dir() else [path]
    before = [_state(file) for file in inputs]
    arrivals = []
    for listing in listings:
        about = {
            "title": listing.title,
            "url": listing.url,
            "licence": listing.licence,
            "credit": listing.credit,
            "cadence": cadence,
        }
        if form == "purchase":
            batch, bought = _purchases(listing)
        else:
            batch, bought = normalise(listing.source, listing.rows, rates, on_row), ()  # type: ignore[arg-type]
        if not batch.rows and not bought and not batch.rejects:
            raise ImportRejected(f"{path} holds no records")
        arrivals.append(Arrival(batch, about, bought))
    key = digest(inputs)
    if before != [_state(file) for file in inputs]:
        raise ImportRejected(
            f"{path} changed while it was read", hint="import it again once its writer is done"
        )
    key += at.isoformat() if at else ""
    return publish(folder, arrivals, key, usual_prices(), is_dry_run=is_dry_run, on_file=on_file)


def copy_sample(folder: Path, *, is_dry_run: bool = False) -> list[Receipt]:
    """Put the bundled sample's lists into a store, for a market made of them and of one's own lists.

    Raises:
        Refused: the folder cannot be written.
    """
    return copy_store(Store.sample().folder, folder, is_dry_run=is_dry_run)


def _state(file: Path) -> tuple[int, int, int]:
    """Return what tells whether a file was written to or replaced."""
    try:
        found = file.stat()
    except OSError as error:
        raise ImportRejected(f"cannot read {file}: {error.strerror}") from error
    return found.st_ino, found.st_size, found.st_mtime_ns


@cache
def usual_prices() -> Mapping[tuple[str, str], float]:
    """Return what the bundled market asks, USD per GPU-hour by GPU and kind: the yardstick for units."""
    found: dict[tuple[str, str], list[float]] = {}
    for gpu, kind, _, usd, _ in Store.sample().tally():
        found.setdefault((gpu, kind), []).append(usd)
    return {key: sorted(prices)[len(prices) // 2] for key, prices in found.items()}


def _purchases(
    listing: Listing,
) -> tuple[Batch, tuple[tuple[Purchase, str | None, float], ...]]:
    """Resolve the cards' names; a price that is none, or a time that is none, goes to quarantine."""
    batch = Batch(listing.source)
    bought = []
    for line, purchase in enumerate(_only_purchases(listing.rows), 1):
        try:
            usd = _above_zero(purchase.usd)
            at = instant(purchase.at, "time").replace(tzinfo=None).isoformat()
        except ValueError as error:
            short = f"{purchase.gpu_raw} {purchase.at} {purchase.usd}"
            batch.rejects.append(Reject(purchase.origin, line, "no_price", str(error), short))
            continue
        card = replace(purchase, gpu_raw=plain(str(purchase.gpu_raw)), at=at)
        bought.append((card, match_gpu(card.gpu_raw).slug, usd))
    return batch, tuple(bought)


def _above_zero(price: object) -> float:
    usd = number(price, "price")
    if not usd or usd < 0:
        raise Unreadable("no_price", f"price {price!r} is not above 0")
    return usd


def _only_purchases(rows: Iterator[object]) -> Iterator[Purchase]:
    return (row for row in rows if isinstance(row, Purchase))
