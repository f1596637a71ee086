"""Rent or own, as a function: the catalog's price, the market's rents and the plan's reckoning together."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from rackrate import api
from rackrate.catalog.gpu import Gpu, find_gpu
from rackrate.errors import NoAnswer
from rackrate.market.offer import Kind
from rackrate.plan.doubt import Doubt
from rackrate.plan.electricity import WORLD, find_place
from rackrate.plan.estimate import given
from rackrate.plan.ownership import inputs_for
from rackrate.report.own import GIVEN, OwnAnswer, Rent
from rackrate.units import parse_instant

if TYPE_CHECKING:
    from datetime import datetime

    from rackrate.market.stats import Spread
    from rackrate.market.store import Store

_RENT = {"says": "rent", "unit": "USD/h", "least": 0, "most": 1000}
_AGED_DAYS = 90


def own(
    gpu: str,
    *,
    place: str = WORLD,
    kind: str = Kind.ON_DEMAND,
    rent_usd: float | str | None = None,
    is_explained: bool = False,
    as_of: api.Instant = None,
    data: Path | str | Store | None = None,
    **said: float | str,
) -> OwnAnswer:
    """Return whether to rent or to own one GPU, with the breakeven as a range.

    Args:
        gpu: any usual name of it.
        place: country or region, for electricity and carbon: `DE`, `Germany`, `europe`, `world`.
        kind: of the rents: `on_demand`, `spot`, `reserved` or `serverless`.
        rent_usd: what you would pay for a GPU-hour, instead of the market's rents.
        is_explained: whether the formulae are written out.
        as_of: look at the market of that day or instant; None for the newest.
        data: the market; None for the default.
        said: the inputs that you know, as numbers or ranges (`"0.12..0.20"`), by the names of
            `rackrate.plan.economics.Ownership` (`price_usd`, `hours_per_day`, `kwh_usd`, `pue`, ...), and
            `utilisation`: a share of all hours, or `notebook`, `inference`, `shared`, `training`.

    Raises:
        UnknownName: no such GPU, place, kind or input.
        BadQuantity: a number that cannot be read, or cannot be.
        UsageError: no price where the catalog has none; hours and utilisation at once.

    Example:
        >>> import rackrate
        >>> rackrate.own("l40s", rent_usd=0.28, kwh_usd=0.12, price_usd=9000, hours_per_day=24).verdict
        'rent'
    """
    found = find_gpu(gpu)
    where = find_place(place)
    doubt = Doubt(inputs_for(found, where, said))
    if rent_usd is not None:
        return OwnAnswer(found.slug, GIVEN, doubt, where, _given(rent_usd), is_explained=is_explained)
    try:
        priced = api.price(found.slug, kind=kind, as_of=as_of, data=data)
    except NoAnswer as missing:
        remarks: tuple[str, ...] = (f"{missing.message}: nothing to compare with; {missing.hint}",)
        return OwnAnswer(found.slug, kind, doubt, where, (), remarks, is_explained=is_explained)
    remarks = _dates(found, priced.as_of, is_street="price_usd" not in said)
    return OwnAnswer(
        found.slug,
        priced.kind.value,
        doubt,
        where,
        _rents(priced.spread),
        remarks,
        priced.as_of,
        priced.version,
        is_explained,
    )


def usual(gpu: str) -> dict[str, float]:
    """Return what is reckoned with where nobody says otherwise, by input; what nobody knows is left out."""
    found = find_gpu(gpu)
    unknown = {"power_w": 1.0}
    if found.street_usd.value is None:
        unknown["price_usd"] = 1.0
    inputs = inputs_for(found, find_place(WORLD), unknown)
    return {each.key: each.value for each in inputs if each.key not in unknown}


def _given(rent_usd: float | str) -> tuple[Rent, ...]:
    rent = given("rent_usd", _RENT, rent_usd)
    ends = () if rent.is_exact else (Rent("low", "you", rent.low), Rent("high", "you", rent.high))
    return (Rent(GIVEN, "you", rent.value), *ends)


def _rents(spread: Spread | None) -> tuple[Rent, ...]:
    if spread is None:
        return ()
    n = f"of {spread.n} provider" + "s" * (spread.n > 1)
    return (
        Rent("median", n, spread.median_usd_per_gpu_hour),
        Rent("cheapest", *spread.cheapest),
        Rent("dearest", *spread.dearest),
    )


def _dates(gpu: Gpu, as_of: datetime | None, *, is_street: bool) -> tuple[str, ...]:
    """Say of which day rents and price are, and when the price is old beside them."""
    if as_of is None:
        return ()
    said = f"rents of {as_of:%Y-%m-%d}"
    if not is_street or not gpu.street_date.value:
        return (said,)
    day = parse_instant(gpu.street_date.value, "date of the street price")
    days = (as_of - day).days
    old = f", {days} days before the rents: give --price-usd if you know better" if days > _AGED_DAYS else ""
    return (f"{said}; street price of the card of {gpu.street_date.value}{old}",)
