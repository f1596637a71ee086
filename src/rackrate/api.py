"""The questions, as functions: the command line, notebooks and the site all call these and nothing else."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime, timedelta
from functools import lru_cache
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

from rackrate import config
from rackrate.catalog.aliases import family_members, gpu_names, match_gpu
from rackrate.catalog.gpu import Gpu, all_gpus, find_gpu, load_gpu
from rackrate.catalog.load import slugs
from rackrate.catalog.model import all_models, find_model
from rackrate.catalog.provider import all_providers, find_provider, match_provider
from rackrate.errors import BadQuantity, NoAnswer, StaleData, UnknownName, UsageError, nearest
from rackrate.market import filter as ask
from rackrate.market.filter import OfferFilter, Wanted
from rackrate.market.home import home_of
from rackrate.market.offer import Kind
from rackrate.plan.parity import PARITY_FRAC, alternatives
from rackrate.report import cards
from rackrate.report.cards import Card, Listing
from rackrate.report.compare import Comparison
from rackrate.report.dossier import Dossier, bundles_of, cheapest_each
from rackrate.report.offers import Offers
from rackrate.report.parity import Parity
from rackrate.report.price import Price, price_of, spreads_of
from rackrate.units import Range, format_age, parse_age, parse_instant, parse_price, parse_range

if TYPE_CHECKING:
    from rackrate.market.store import Store

PEERS = ("a10", "a100-80gb-sxm", "h100-sxm", "l40", "l40s", "rtx-4090")
"""What a GPU is weighed against: the cards around the L40S that most providers carry."""

Instant = datetime | date | str | None
Limits = Range | str | float | None


def open_market(data: Path | str | Store | None = None) -> Store:
    """Open a market: the given one, else the configured or the user's one, else the bundled sample.

    Args:
        data: a folder, or `s3://bucket/prefix` of a shared market, whose mirror is brought up to date first.

    Raises:
        DataError: it holds no market data, or they cannot be read.
    """
    if data is not None and not isinstance(data, (str, Path)):
        return data
    home = home_of(data)
    behind = home.look()
    store = _open(home.folder if home.address else home.named, config.default_store(), home.address)
    store.behind = behind
    return store


def _open(folder: Path | None, default: Path, address: str) -> Store:
    """Open the store once for each state of its manifest, so that repeated questions share a connection."""
    manifest = (folder or default) / "manifest.json"
    changed = manifest.stat().st_mtime_ns if manifest.exists() else 0
    return _opened(folder, default, address, changed)


@lru_cache(maxsize=4)  # each holds a connection with what it read: those of older states must go
def _opened(folder: Path | None, default: Path, address: str, changed: int) -> Store:
    from rackrate.market.store import Store  # noqa: PLC0415 - duckdb only where prices are asked for

    del changed  # part of the key only
    return Store.open(folder, default, address)


def gpu(
    name: str,
    *,
    as_of: Instant = None,
    data: Path | str | Store | None = None,
    hours_per_month: float | None = None,
) -> Dossier:
    """Return everything on one GPU: facts, prices, spread, history, who rents it, instances, peers.

    Args:
        name: any usual name of it: `l40s`, `NVIDIA L40S 48GB`.
        as_of: look at the market of that day or instant; None for the newest.
        data: the market; None for the default.
        hours_per_month: for USD a month; None for the configured 730.

    Raises:
        UnknownName: no GPU of that name, with the nearest; or a family, with its members.

    Example:
        >>> import rackrate
        >>> rackrate.gpu("L40S 48GB").gpu.slug
        'l40s'
    """
    found = find_gpu(name)
    store, at = open_market(data), to_instant(as_of)
    hours = _month_hours(hours_per_month)
    tally = store.tally(at)
    priced = price_of(
        store,
        tally,
        found.slug,
        Kind.ON_DEMAND,
        as_of=at,
        history=timedelta(days=3650),
        hours_per_month=hours,
    )
    everything = _find(store, OfferFilter(gpus=(Wanted((found.slug,)),)), "usd", None, at, None, hours)
    peers = [found, *(find_gpu(peer) for peer in PEERS if peer != found.slug)]
    return Dossier(
        gpu=found,
        price=priced,
        offers=cheapest_each(everything),
        bundles=bundles_of(everything),
        comparison=_compare(peers, store, tally, at),
        parity=_parity(found, store, tally, at),
        purchases=tuple(store.purchases(found.slug)),
        names=tuple(sorted({offer.gpu_raw for offer in everything})),
    )


def gpus(
    *, segment: str | None = None, as_of: Instant = None, data: Path | str | Store | None = None
) -> Listing:
    """Return all GPUs of the catalog, with on-demand prices of those that are for rent.

    Raises:
        UnknownName: no such segment.
    """
    found = all_gpus()
    segments = sorted({each.segment for each in found})
    if segment and segment not in segments:
        raise UnknownName("segment", segment, nearest(segment, segments) or segments)
    chosen = [each for each in found if segment in (None, each.segment)]
    return cards.gpu_list(chosen, open_market(data).tally(to_instant(as_of)))


def compare(*names: str, as_of: Instant = None, data: Path | str | Store | None = None) -> Comparison:
    """Return GPUs side by side, like with like, the first being the baseline.

    Raises:
        UnknownName: a name that is no GPU.
        UsageError: fewer than two different GPUs.
    """
    found = list(dict.fromkeys(find_gpu(name) for name in names))
    if len(found) < 2:  # noqa: PLR2004
        raise UsageError("a comparison needs two different GPUs", hint="rackrate gpus compare l40s a10")
    store, at = open_market(data), to_instant(as_of)
    return _compare(found, store, store.tally(at), at)


def model(name: str) -> Card:
    """Return every fact of a model.

    Raises:
        UnknownName: no model of that name, or several.
    """
    return cards.model_card(find_model(name))


def models() -> Listing:
    """Return all models of the catalog."""
    return cards.model_list(all_models())


def provider(name: str, *, as_of: Instant = None, data: Path | str | Store | None = None) -> Card:
    """Return every fact of a provider, and its cheapest counted price of each GPU and kind.

    Raises:
        UnknownName: no provider of that name.
    """
    found = find_provider(name)
    store, at = open_market(data), to_instant(as_of)
    prices = [(gpu, kind, usd) for gpu, kind, who, usd, _ in store.tally(at) if who == found.slug]
    return cards.provider_card(found, prices, at or store.newest)


def providers(*, as_of: Instant = None, data: Path | str | Store | None = None) -> Listing:
    """Return all providers of the catalog, with the number of their counted offers."""
    return cards.provider_list(
        all_providers(), cards.offers_by_provider(open_market(data).tally(to_instant(as_of)))
    )


def offers(  # noqa: PLR0913 - each is a filter that people ask for, by name only
    gpu: str | Iterable[str] | None = None,
    *,
    count: Limits = None,
    vram_gib: Limits = None,
    vram_total_gib: Limits = None,
    kind: str = Kind.ON_DEMAND,
    provider: str | Iterable[str] = (),
    country: str | Iterable[str] = (),
    region: str = "",
    max_usd_per_gpu_hour: str | float | None = None,
    max_usd_per_hour: str | float | None = None,
    vcpu: Limits = None,
    ram_gib: Limits = None,
    disk_gib: Limits = None,
    nvlink: bool | None = None,
    graphics: bool | None = None,
    sort: str = "usd",
    limit: int | None = None,
    max_age: str | timedelta | None = None,
    as_of: Instant = None,
    data: Path | str | Store | None = None,
    hours_per_month: float | None = None,
) -> Offers:
    """Return what is for rent now, cheapest first.

    Args:
        gpu: one or several names, each with a count or range if wanted: `L40S`, `L40S:2`, `h100:4..8`.
        count: GPUs in the offer: `8`, `2..`.
        vram_gib: memory of one GPU, GiB: `40..`.
        vram_total_gib: memory of all its GPUs, GiB.
        kind: `on_demand`, `spot`, `reserved`, `serverless`, or `any`.
        provider: who runs or sells it.
        country: ISO codes of two letters, or `EU`.
        region: text within the region's name.
        max_usd_per_gpu_hour: price limit for one GPU.
        max_usd_per_hour: price limit for the whole offer.
        vcpu: virtual CPUs of the offer.
        ram_gib: main memory of the offer, GiB.
        disk_gib: local disk of the offer, GiB.
        nvlink: whether its GPUs must have, or must not have, NVLink.
        graphics: whether its GPUs must be able, or not, to render.
        sort: a column or a ratio of two: `usd`, `vram_gib/usd`, `-ram_gib`.
        limit: how many at most; None for all.
        max_age: leave out what is older or undated: `24h`, `90d`, or `any` for nothing; None for 7 days,
            undated offers and lists made once excepted.
        as_of: look at the market of that day or instant; None for the newest.
        data: the market; None for the default.
        hours_per_month: for USD a month; None for the configured 730.

    Raises:
        UnknownName: a GPU, provider, kind, country or column that is none.
        BadQuantity: a number or range that cannot be read, or is negative.
        NoAnswer: nothing matches; the message says which condition stands in the way.

    Example:
        >>> import rackrate
        >>> cheapest = rackrate.offers("l40s", kind="spot")[0]
        >>> cheapest.kind.value, cheapest.gpu
        ('spot', 'l40s')
    """
    store, at = open_market(data), to_instant(as_of)
    wanted = OfferFilter(
        gpus=tuple(ask.wanted_of(text) for text in _several(gpu)),
        slugs=_capable(nvlink=nvlink, graphics=graphics),
        counts=_limits(count, "count"),
        vram_gib=_limits(vram_gib, "vram"),
        vram_total_gib=_limits(vram_total_gib, "vram total"),
        kinds=ask.kinds_of(kind),
        providers=tuple(provider_slug(name, store) for name in _several(provider)),
        countries=tuple(ask.countries_of(_several(country))),
        region=region,
        max_usd_per_gpu_hour=_usd(max_usd_per_gpu_hour, "max price"),
        max_usd_per_hour=_usd(max_usd_per_hour, "max total"),
        vcpu=_limits(vcpu, "vcpu"),
        ram_gib=_limits(ram_gib, "ram"),
        disk_gib=_limits(disk_gib, "disk"),
    )
    if limit is not None and limit < 1:
        raise UsageError(f"limit {limit} is not above 0", hint="leave it out for all")
    age = _age(max_age)
    found = _find(store, wanted, sort, limit, at, age, _month_hours(hours_per_month))
    if not found.rows:
        raise _no_offers(store, wanted, found, at, age)
    return found


def price(
    gpu: str,
    *,
    kind: str = Kind.ON_DEMAND,
    history: str | timedelta | None = None,
    by_provider: bool = False,
    as_of: Instant = None,
    data: Path | str | Store | None = None,
    hours_per_month: float | None = None,
) -> Price:
    """Return what one GPU costs: per hour to month, spread across providers, history.

    Args:
        gpu: a name of a product, or of a family for offers that say no more.
        kind: `on_demand`, `spot`, `reserved` or `serverless`.
        history: how far to look back: `90d`; None for none.
        by_provider: whether to keep each provider's days.
        as_of: look at the market of that day or instant; None for the newest.
        data: the market; None for the default.
        hours_per_month: for USD a month; None for the configured 730.

    Raises:
        UnknownName: no such GPU or kind.
        BadQuantity: a length of time that cannot be read.
        NoAnswer: nobody offers it so, now or in the time asked for; the message says who offers what else.
    """
    kinds = ask.kinds_of(kind)
    if len(kinds) != 1:
        raise UsageError("a price is of one kind", hint="kinds are never mixed in one statistic")
    match = match_gpu(gpu)
    slug = match.slug or find_gpu(gpu).slug
    back = parse_age(history, "history") if isinstance(history, str) else history
    hours = _month_hours(hours_per_month)
    store, at = open_market(data), to_instant(as_of)
    found = price_of(
        store,
        store.tally(at),
        slug,
        kinds[0],
        as_of=at,
        history=back,
        by_provider=by_provider,
        hours_per_month=hours,
    )
    if found.spread is None and not found.history:
        wanted = OfferFilter(gpus=(Wanted((slug,)),), kinds=kinds)
        raise _no_price(found, store.find(wanted, ask.order_by("usd"), limit=1, as_of=at).n_matching)
    return found


def _no_price(found: Price, n_uncounted: int) -> NoAnswer:
    """Say what is listed all the same, how else it is offered, or what it may hide under."""
    if n_uncounted:
        asked = f"rackrate offers --gpu {found.gpu} --kind {found.kind}"
        hint = f"{n_uncounted} offers are listed, none with a recent date: {asked}"
    elif found.other_kinds:
        hint = "it is offered otherwise: " + ", ".join(f"--kind {kind}" for kind in found.other_kinds)
    elif found.loose:
        hint = "offers that may be of it: " + ", ".join(
            f"{n} say `{name}`" for name, n in found.loose.items()
        )
    elif members := [name for name in family_members(found.gpu)[1:] if name in slugs("gpus")]:
        hint = f"that is a family: {', '.join(members)}"
    else:
        hint = "what is for rent: rackrate gpus list"
    return NoAnswer(
        f"no counted {found.kind} offer of the {found.gpu} in these data", hint=hint, code="no-offers"
    )


def not_older(store: Store, max_age: str, now: datetime) -> None:
    """Check that the newest listing of a market is not older than `max_age`.

    Raises:
        StaleData: it is; the message says by how much.
        BadQuantity: a length of time that cannot be read.
    """
    limit = parse_age(max_age, "max age")
    if store.newest is None or now - store.newest > limit:
        age = format_age(now - store.newest) if store.newest else "of unknown age"
        raise StaleData(f"the newest prices are {age} old", hint="import newer ones, or allow a higher age")


def _find(
    store: Store,
    wanted: OfferFilter,
    sort: str,
    limit: int | None,
    as_of: datetime | None,
    max_age: timedelta | None,
    hours_per_month: float,
) -> Offers:
    order = ask.order_by(sort)
    found = store.find(wanted, order, limit=limit, as_of=as_of, max_age=max_age)
    return Offers(
        found=found,
        as_of=as_of or store.newest,
        version=store.version,
        hours_per_month=hours_per_month,
    )


def _month_hours(given: float | None) -> float:
    return config.load().hours_per_month if given is None else config.month_hours(str(given))


def _no_offers(
    store: Store, wanted: OfferFilter, found: Offers, as_of: datetime | None, max_age: timedelta | None
) -> NoAnswer:
    """Say which condition removed the last offer, and what the defaults hide."""
    freed = {name: n for name, n in store.removing(wanted, as_of, max_age).items() if n}
    others = {name: n for name, n in freed.items() if name != "gpu"}  # the GPU is meant
    if others:
        name, n = max(others.items(), key=lambda item: item[1])
        option = "--nvlink or --graphics" if name == "capability" else f"--{name}"
        hint = f"without {option} there would be {n:,}"
    elif freed:
        hint = "no list has that GPU so; look at `rackrate gpus list`"
    elif found.hidden:
        hint = "left out by default: " + ", ".join(f"{n} {why}" for why, n in found.hidden.items())
    else:
        hint = "loosen two conditions at once, or look at `rackrate gpus list`"
    return NoAnswer("no offer matches all of that", hint=hint, code="no-offers")


def _compare(
    found: list[Gpu], store: Store, tally: Sequence[tuple[Any, ...]], as_of: datetime | None
) -> Comparison:
    now = as_of or store.newest
    prices = {each.slug: dict(spreads_of(tally, each.slug, now)).get(Kind.ON_DEMAND) for each in found}
    return Comparison(tuple(found), prices, now, store.version)


def parity(name: str, *, as_of: Instant = None, data: Path | str | Store | None = None) -> Parity:
    """Return what one could have for the price of a GPU or less.

    Raises:
        UnknownName: no GPU of that name.
    """
    store, at = open_market(data), to_instant(as_of)
    return _parity(find_gpu(name), store, store.tally(at), at)


def _parity(found: Gpu, store: Store, tally: Sequence[tuple[Any, ...]], as_of: datetime | None) -> Parity:
    now = as_of or store.newest
    on_demand: dict[str, dict[str, float]] = {}
    for slug, kind, who, usd, _ in tally:
        if kind == Kind.ON_DEMAND:
            on_demand.setdefault(slug, {})[who] = usd
    usd_per_gpu_hour = {slug: median(of.values()) for slug, of in on_demand.items()}
    mine = usd_per_gpu_hour.get(found.slug)
    dearest = (mine or 0.0) * (1 + PARITY_FRAC)  # only what may be an answer is read from the catalog
    near = [
        load_gpu(slug) for slug, usd in usd_per_gpu_hour.items() if usd <= dearest and slug in slugs("gpus")
    ]
    return Parity(found.slug, mine, alternatives(found, near, usd_per_gpu_hour), now, store.version)


def _capable(*, nvlink: bool | None, graphics: bool | None) -> tuple[str, ...] | None:
    """Return the GPUs that have, or lack, what is asked; None when nothing is."""
    if nvlink is None and graphics is None:
        return None
    able = {
        each.slug
        for each in all_gpus()
        if nvlink in (None, each.has_nvlink) and graphics in (None, each.has_graphics)
    }
    families = (name for name in gpu_names() if set(family_members(name)) - {name} <= able)
    return tuple(sorted(able.union(family for family in families if family_members(family) != (family,))))


def provider_slug(name: str, store: Store) -> str:
    """Return the slug of a provider; one that only the market knows keeps its own name.

    Raises:
        UnknownName: neither catalog nor market knows it.
    """
    match = match_provider(name)
    if match.is_known or store.find(OfferFilter(providers=(match.slug,)), ask.order_by("usd"), limit=1).rows:
        return match.slug
    return find_provider(name).slug


def _limits(value: Limits, what: str) -> Range:
    if value is None:
        return Range()
    return value if isinstance(value, Range) else parse_range(str(value), what)


def _age(value: str | timedelta | None) -> timedelta | None:
    if not isinstance(value, str):
        return value
    return timedelta.max if value.strip().lower() == "any" else parse_age(value, "max age")


def _usd(value: str | float | None, what: str) -> float | None:
    return None if value is None else parse_price(str(value), what)


def to_instant(value: Instant) -> datetime | None:
    """Read an instant; a day means its end, UTC; so does a time without a zone.

    Raises:
        BadQuantity: not a date or time, or one before 1970 or after 2999.
    """
    if value is None:
        return None
    instant = parse_instant(value.isoformat() if isinstance(value, date) else value, "as-of")
    if not 1970 <= instant.year < 3000:  # noqa: PLR2004 - the years in which prices can lie
        raise BadQuantity(
            f"as-of {str(value)!r} is not between 1970 and 2999", hint="write it like 2026-08-22"
        )
    return instant


def _several(value: str | Iterable[str] | None) -> tuple[str, ...]:
    if value is None:
        return ()
    return (value,) if isinstance(value, str) else tuple(value)
