"""Make offers of what sources say: one function, the same for every source.

A row that cannot be read at all (no price, no provider, a count that is no number) is a `Reject`
with its reason; everything else becomes a row of columns, and the quality gate judges it. What a
shape means is worked out once, not for each of its prices, and rows only name it by its number.
"""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, fields
from datetime import UTC, datetime
from functools import cache, lru_cache, partial
from operator import attrgetter
from typing import Any

from rackrate.catalog.aliases import match_gpu, nominal_vram_gib
from rackrate.catalog.provider import billing_currency, find_provider, match_provider
from rackrate.market import currency
from rackrate.market.currency import Rates
from rackrate.market.offer import Kind, RawOffer, RawShape

VRAM_TOLERANCE = 0.075  # an L40S is 45,776 MiB to the AWS API: 6.9 % under its nominal 48 GiB

_KINDS = {
    "ondemand": Kind.ON_DEMAND,
    "secure": Kind.ON_DEMAND,
    "community": Kind.ON_DEMAND,
    "marketplace": Kind.ON_DEMAND,
    "production": Kind.ON_DEMAND,
    "prototyping": Kind.ON_DEMAND,
    "dedicated": Kind.ON_DEMAND,
    "payg": Kind.ON_DEMAND,
    "payasyougo": Kind.ON_DEMAND,
    "spot": Kind.SPOT,
    "preemptible": Kind.SPOT,
    "interruptible": Kind.SPOT,
    "bid": Kind.SPOT,
    "lowpriority": Kind.SPOT,
    "reserved": Kind.RESERVED,
    "reservation": Kind.RESERVED,
    "committed": Kind.RESERVED,
    "commitment": Kind.RESERVED,
    "serverless": Kind.SERVERLESS,
}

_TIERS = {"secure": "marketplace_secure", "community": "marketplace_community"}


OF_SHAPE = (
    "source", "source_url", "provider", "provider_raw", "seller", "tier", "sku", "gpu_raw", "gpu",
    "gpu_count", "vram_gib", "vram_raw_gib", "interconnect", "vcpu", "ram_gib", "disk_gib", "kind",
    "term_months", "currency", "price_per", "included_disk_gb", "included_egress_gb_per_month",
    "min_rental_s", "storage", "egress", "ingress", "notes", "stated_count",
)  # fmt: skip
"""Columns whose values the rows of a shape share."""

OF_ROW = (
    "origin", "line", "snapshot_at", "observed_at", "country", "region", "price", "usd_per_unit",
    "usd_per_hour", "usd_per_gpu_hour", "available", "series", "hints",
)  # fmt: skip
"""Columns of which each row has its own value."""

IN_CURRENCY = {
    "storage": "storage_usd_per_gb_month", "egress": "egress_usd_per_gb", "ingress": "ingress_usd_per_gb",
}  # fmt: skip
"""Prices beside that of the hour, as the source gives them, to the columns that they become in USD."""

EXTRA = {"notes": "VARCHAR", "hints": "VARCHAR"} | dict.fromkeys(("stated_count", *IN_CURRENCY), "DOUBLE")
"""What the gate reads beside the columns of an offer: free text, slips, the count as stated, such prices."""


@dataclass(frozen=True, slots=True)
class Reject:
    """A record that is not taken, with the reason.

    Attributes:
        origin: file within the import.
        line: record within it, from 1.
        rule: code of the quality rule.
        reason: what is wrong, naming the value.
        record: the record as read, shortened, so that nobody must look for it.
    """

    origin: str
    line: int
    rule: str
    reason: str
    record: str


@dataclass(slots=True)
class Batch:
    """Normalised rows of one source and the records that were not readable.

    Attributes:
        source: id of the list.
        shapes: values in the order of `OF_SHAPE`, each once; a shape's number is its place, from 0.
        rows: the number of the row's shape, then values in the order of `OF_ROW`.
        rejects: records that could not be read.
    """

    source: str
    shapes: dict[tuple[Any, ...], int] = field(default_factory=dict)
    rows: list[tuple[Any, ...]] = field(default_factory=list)
    rejects: list[Reject] = field(default_factory=list)

    def unknown_gpus(self) -> dict[str, int]:
        """Return the raw GPU names that nothing answers to, with how often each was met."""
        rows_of = Counter(row[0] for row in self.rows)
        found = Counter[str]()
        for values, number in self.shapes.items():
            shape = dict(zip(OF_SHAPE, values, strict=True))
            if shape["gpu"] is None and shape["gpu_raw"].strip():
                found[shape["gpu_raw"]] += rows_of[number]
        return dict(sorted((+found).items()))


class Unreadable(ValueError):
    """A field of a record that cannot be read; carries the rule that it breaks."""

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(reason)
        self.rule = rule


def normalise(
    source: str,
    rows: Iterable[RawOffer | Reject],
    rates: Rates,
    on_row: Callable[[], None] | None = None,
) -> Batch:
    """Turn raw offers of one source into columns.

    Args:
        source: id of the list they come from.
        rows: what the importer read; rejects of its own pass through.
        rates: dated exchange rates.
        on_row: called once a row, for progress.
    """
    reader = _Reader(source, rates)
    batch = reader.batch
    for raw in rows:
        if on_row:
            on_row()
        if isinstance(raw, Reject):
            batch.rejects.append(raw)
            continue
        try:
            batch.rows.append(reader.read(raw))
        except Unreadable as error:
            batch.rejects.append(Reject(raw.origin, raw.line, error.rule, str(error), _short(raw)))
    return batch


@dataclass(frozen=True, slots=True)
class _Shape:
    """What a shape means.

    Attributes:
        values: in the order of `OF_SHAPE`, without the source.
        count: GPUs in the offer.
        hours: hours that a price pays for.
        scale: what a price is multiplied by to be that of the whole offer.
        series: what stays the same when the price changes, but for the place.
        hints: slips seen while reading.
    """

    values: tuple[Any, ...]
    count: float
    hours: float
    scale: float
    series: str
    hints: tuple[str, ...]


class _Reader:
    """Reads the rows of one list; what a shape means is worked out when it is first met."""

    def __init__(self, source: str, rates: Rates) -> None:
        self.batch = Batch(source)
        self._met: dict[RawShape, tuple[int, _Shape]] = {}
        self._money = cache(partial(_money, rates))
        self._places = set[tuple[str, str]]()

    def read(self, raw: RawOffer) -> tuple[Any, ...]:
        """Return the number of the row's shape and the row's values in the order of `OF_ROW`.

        Raises:
            Unreadable: the first reason why the row is not taken.
        """
        met = self._met.get(raw.shape)
        if not met:
            _clean(raw.shape, _TEXTS)
        self._clean_place(raw)
        price = _price(raw.price)
        number, shape = met or self._meet(raw.shape)
        available, hints = _size(raw.available)
        usd_for_one, fx_hints = self._money(raw.shape.currency or "USD", raw.snapshot_at)
        usd = price / shape.hours * usd_for_one * shape.scale
        usd_of_one = usd / max(shape.count, 1e-9)
        if not math.isfinite(usd_of_one):
            raise Unreadable("price", f"price {raw.price!r:.40} for {shape.count:g} GPUs is not finite")
        return (
            number,
            raw.origin,
            raw.line,
            _naive(raw.snapshot_at),
            _naive(raw.observed_at) if raw.observed_at else None,
            _country(raw.country),
            raw.region.strip() or None,
            price,
            usd_for_one,
            usd,
            usd_of_one,
            None if available is None else int(available),
            f"{shape.series}|{raw.country}|{raw.region}",
            " ".join((*shape.hints, *hints, *fx_hints)),
        )

    def _clean_place(self, raw: RawOffer) -> None:
        """Make text of the place, which is looked at once for each that is met."""
        try:
            if (raw.country, raw.region) in self._places:
                return
        except TypeError:
            pass  # a list or object, which is rejected next
        _clean(raw, _PLACE)
        self._places.add((raw.country, raw.region))

    def _meet(self, raw: RawShape) -> tuple[int, _Shape]:
        """Read a shape and give it a number; one that means the same as another shares its number."""
        shape = _shape(*_of_shape(raw))
        shapes = self.batch.shapes
        met = shapes.setdefault((self.batch.source, *shape.values), len(shapes)), shape
        self._met[raw] = met
        return met


_of_shape = attrgetter(*(field.name for field in fields(RawShape)))


def _shape(*stated: Any) -> _Shape:
    """Read the fields of a shape, once for each that is met; what cannot be a key is read each time."""
    try:
        return _read_shape(*stated)
    except TypeError:  # a list or object where a number should stand
        return _read_shape.__wrapped__(*stated)


@lru_cache(maxsize=16_384, typed=True)  # typed: true is no 1
def _read_shape(*stated: Any) -> _Shape:
    raw = RawShape(*stated)
    stated_count = number(raw.gpu_count, "gpu_count")
    count = 1.0 if stated_count is None else stated_count
    if count < 0:
        raise Unreadable("gpu_count", f"gpu_count {raw.gpu_count!r} is negative")
    sizes = (raw.vram_gib, raw.vcpu, raw.ram_gib, raw.disk_gib, raw.term_months)
    least = (raw.included_disk_gb, raw.included_egress_gb, raw.min_rental_s)
    read = [_size(value) for value in (*sizes, *least)]
    vram, vcpu, ram, disk, term, *included = (size for size, _ in read)
    further = [_further(value) for value in (raw.storage_per_gb_month, raw.egress_per_gb, raw.ingress_per_gb)]
    match = match_gpu(raw.gpu_raw, sku=raw.sku, provider=raw.provider, vram_gib=vram, form=raw.interconnect)
    if match.count and count == 1 and match.count != 1:
        count = match.count  # "NVIDIA H100 80GB HBM3_8": the name alone tells the count
    nominal, hints = _vram(match.slug, vram, count)
    provider, provider_tier, is_serverless_only = _provider(raw.provider)
    kind, kind_tier = _kind(str(raw.kind))
    if is_serverless_only and kind is Kind.ON_DEMAND:
        kind = Kind.SERVERLESS
        hints = (*hints, "kind_serverless")
    gpu = match.slug or raw.gpu_raw.casefold()
    tier = _TIERS.get(raw.tier) or kind_tier or raw.tier or provider_tier
    seller = _provider(raw.seller)[0] if raw.seller else None
    if not raw.currency and billing_currency(provider) not in ("USD", ""):
        hints = (*hints, "currency_assumed")
    return _Shape(
        values=(
            raw.source_url or None,
            provider,
            raw.provider,
            seller,
            tier or None,
            raw.sku or None,
            raw.gpu_raw,
            match.slug,
            count,
            nominal,
            vram,
            raw.interconnect or None,
            vcpu,
            ram,
            disk,
            kind.value,
            term,
            (raw.currency or "USD").strip().upper(),
            raw.price_per,
            *included,
            *(price for price, _ in further),
            raw.notes,
            stated_count,
        ),
        count=count,
        hours=raw.price_hours,
        scale=max(count, 1e-9) if raw.price_per == "gpu" else 1.0,
        series=plain(
            f"{provider}|{raw.seller}|{gpu}|{count:g}|{kind}|{tier}|{raw.sku}"
            f"|{raw.vcpu or ''}|{raw.ram_gib or ''}|{raw.interconnect}|{raw.term_months or ''}"
        ),
        hints=(*hints, *{hint for _, found in (*read, *further) for hint in found}),
    )


_TEXTS = (
    "provider", "seller", "gpu_raw", "kind", "tier", "sku", "interconnect", "currency", "source_url", "notes",
)  # fmt: skip
_PLACE = ("country", "region")


def _clean(raw: RawShape | RawOffer, names: Sequence[str]) -> None:
    """Make text of every field that is text: sources write numbers, nulls and broken UTF-16 there."""
    for name in names:
        value = getattr(raw, name)
        if isinstance(value, str) and value.isascii() and "\0" not in value:
            continue
        if isinstance(value, (list, dict)):
            raise Unreadable("malformed", f"{name} {value!r:.80} is no text")
        setattr(raw, name, "" if value is None else plain(str(value)))


def plain(text: str) -> str:
    """Return text that can be stored: without NUL and without halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode().replace("\0", "")


def instant(value: Any, what: str) -> datetime:
    """Read an ISO 8601 instant; one without an offset is UTC.

    Raises:
        Unreadable: not one.
    """
    try:
        found = datetime.fromisoformat(value)
        return found.astimezone(UTC) if found.tzinfo else found.replace(tzinfo=UTC)
    except (TypeError, ValueError, OverflowError) as error:
        raise Unreadable("malformed", f"{what} {value!r:.80} is no date") from error


def number(value: Any, what: str) -> float | None:
    """Read a number that may be text, with thousands separators and a unit sign; None when absent.

    Raises:
        Unreadable: text that is no number, or a number that is not finite.
    """
    if value is None:
        return None
    rule = "price" if what == "price" else "malformed"
    try:
        found = _number(value) if isinstance(value, str) else _float(value)
    except (TypeError, ValueError, OverflowError) as error:
        raise Unreadable(rule, f"{what} {value!r:.80} is not a number") from error
    if found is None or math.isfinite(found):
        return found
    raise Unreadable(rule, f"{what} {value!r:.80} is not finite")


def _float(value: Any) -> float:
    if isinstance(value, bool):
        raise TypeError("true and false are no numbers")
    return float(value)


_LARGEST = 2**31 - 1  # what a column of whole numbers holds
_ABSENT = {"", "-", "—", "n/a", "na", "none", "null", "unknown"}


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return _number_in(text)


@lru_cache
def _number_in(text: str) -> float | None:
    stripped = text.strip()
    if stripped.casefold() in _ABSENT:
        return None
    stripped = re.sub(r"^(?:[$€£]|USD|EUR|GBP)\s*|\s*(?:[$€£]|USD|EUR|GBP)$", "", stripped)
    if re.fullmatch(r"[-+]?(?:0,\d+|\d+,\d{1,2})", stripped):  # 1,25 or 0,950: no thousands
        stripped = stripped.replace(",", ".")
    return float(re.sub(r"(?<=\d),(?=\d{3})", "", stripped).replace("\u00a0", ""))


def _price(value: Any) -> float:
    if type(value) is float and 0 <= value < math.inf:  # nearly all of them, read before
        return value
    price = number(value, "price")
    if price is None:
        raise Unreadable("no_price", "the record has no price")
    if price < 0:
        raise Unreadable("no_price", f"price {value!r} is negative")
    return price


def _size(value: Any) -> tuple[float | None, tuple[str, ...]]:
    """Read a size that may be absent; one that cannot be read is absent too, and a hint says so."""
    if value is None:
        return None, ()
    size, hints = _further(value)
    return (size, hints) if size is None or 0 <= size <= _LARGEST else (None, ("shape_unread",))


def _further(value: Any) -> tuple[float | None, tuple[str, ...]]:
    """Read a price beside that of the hour; one that cannot be read is unknown, and a hint says so."""
    try:
        return number(value, "price"), ()
    except Unreadable:
        return None, ("shape_unread",)


@lru_cache
def _naive(at: datetime) -> datetime:
    return at.astimezone(UTC).replace(tzinfo=None)


@lru_cache
def _country(text: str) -> str | None:
    code = text.strip().upper()
    return code if len(code) == 2 and code.isalpha() else None  # noqa: PLR2004


@cache
def _provider(raw: str) -> tuple[str, str, bool]:
    """Return slug, tier and whether nothing but serverless is sold there."""
    if not raw.strip():
        raise Unreadable("no_provider", "the record names no provider")
    found = match_provider(raw)
    if not found.slug:
        raise Unreadable("no_provider", f"{raw!r} is no name of a provider")
    tier = str(find_provider(found.slug).tier.value or "") if found.is_known else ""
    return found.slug, tier, tier == "serverless"


@cache
def _kind(raw: str) -> tuple[Kind, str]:
    """Return the kind, and the tier that some sources write in its place."""
    folded = re.sub(r"[^a-z]", "", raw.casefold())
    if folded not in _KINDS:
        raise Unreadable("malformed", f"kind {raw!r} is none of {', '.join(Kind)}")
    return _KINDS[folded], _TIERS.get(folded, "")


def _money(rates: Rates, code: str, at: datetime) -> tuple[float, tuple[str, ...]]:
    rate = rates.usd_for_one(code.strip().upper(), at.date())
    if rate is None:
        raise Unreadable("no_fx_rate", f"no exchange rate for currency {code!r}")
    usd_for_one, off = rate
    return usd_for_one, ("fx_far",) if off > currency.FAR else ()


@cache
def _vram(slug: str | None, stated_gib: float | None, count: float) -> tuple[float | None, tuple[str, ...]]:
    """Return the nominal memory of one GPU, GiB, and which unit slip the stated one shows.

    A statement within 7.5 % of the nominal is right. Else it may be the total of all GPUs, or MiB
    where GiB was meant, or the reverse; what it is then is told, and the nominal is used.
    """
    nominal = nominal_vram_gib(slug) if slug else None
    if stated_gib is None or stated_gib == 0:
        return nominal, ("vram_missing",) if stated_gib == 0 else ()
    if nominal is None:
        return stated_gib, ()

    def near(gib: float) -> bool:
        return abs(gib / nominal - 1) <= VRAM_TOLERANCE

    slips = {
        "": stated_gib,
        "vram_total": stated_gib / max(count, 1e-9),
        "vram_total_twice": stated_gib / max(count, 1e-9) / max(count, 1e-9),
        "vram_mib_as_gib": stated_gib / 1024,
        "vram_gib_as_mib": stated_gib * 1024,
        "vram_total_mib": stated_gib / 1024 / max(count, 1e-9),
    }
    for slip, gib in slips.items():
        if near(gib):
            return nominal, (slip,) if slip else ()
    return nominal, ("vram_off",)


def _short(raw: RawOffer) -> str:
    shape = raw.shape
    text = f"{shape.provider} {shape.gpu_raw} {shape.sku} x{shape.gpu_count} {raw.price} {shape.currency}"
    return " ".join(text.split())[:200]
