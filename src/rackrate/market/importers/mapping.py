"""Anyone's price list, by a mapping file: which column is what, in which unit, what is constant.

    source = "acme"                      # id of the list
    cadence = "daily"                    # or once: how often it is made
    [file]                               # optional: told from the suffix, UTF-8, comma
    format = "csv"                       # csv, json or jsonl
    records = "data.*.offers"            # where the list stands in a JSON document; * is each of them
    delimiter = ";"
    snapshot = "auto"                    # which rows make a listing: those of a day, an instant (exact)
                                         # or the file; auto: the file, unless an offer recurs on days
    [columns]                            # field = "column", or a table
    provider = { value = "acme" }        # a constant
    gpu = "gpu_name"
    vram = { from = "vram_mb", unit = "MiB", per = "gpu" }
    storage_per_gb_month = "disk_price"  # beside it included_disk_gb, egress_per_gb, included_egress_gb,
                                         # ingress_per_gb, min_rental_s; money in the currency of the price
    kind = { from = "type", values = { payg = "on_demand" } }
    at = "date"
    [[price]]                            # one table a price column
    from = "cents"
    unit = "cent"                        # of the currency: unit, cent or micro
    per = "instance"                     # or gpu
    time = "hour"                        # second, minute, hour, day, week, month or year
    currency = "EUR"                     # a code, or { from = "column" }
    kind = "spot"                        # where the column decides the kind
    [fx]                                 # USD for one unit, by day
    EUR = [["2026-11-02", 1.15]]

Every key is checked: an unknown one is an error that names the nearest known one.
"""

from __future__ import annotations

import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from functools import partial
from pathlib import Path
from typing import Any

from rackrate.errors import ImportRejected, UnknownName, UsageError, nearest
from rackrate.market.importers.files import read_text
from rackrate.market.normalise import number
from rackrate.market.offer import Kind
from rackrate.units import (
    GIB_PER_UNIT,
    HOURS_PER_DAY,
    HOURS_PER_MONTH,
    HOURS_PER_WEEK,
    HOURS_PER_YEAR,
)

# Field of the mapping to field of the raw offer or its shape.
_TEXT = {
    "provider": "provider",
    "seller": "seller",
    "gpu": "gpu_raw",
    "gpu_count": "gpu_count",
    "kind": "kind",
    "tier": "tier",
    "sku": "sku",
    "interconnect": "interconnect",
    "vcpu": "vcpu",
    "country": "country",
    "region": "region",
    "term_months": "term_months",
    "available": "available",
    "url": "source_url",
    "notes": "notes",
} | {
    name: name
    for name in ("storage_per_gb_month", "included_disk_gb", "egress_per_gb", "included_egress_gb",
                 "ingress_per_gb", "min_rental_s")
}  # fmt: skip
_MEMORY = {"vram": "vram_gib", "ram": "ram_gib", "disk": "disk_gib"}
_PER = {"vram": "gpu", "ram": "instance", "disk": "instance"}
_FIELDS = (*_TEXT, *_MEMORY, "at")
_OF_ROW = ("at", "country", "region", "available")  # beside the price: what rows of a shape differ in
_ABOUT = ("title", "url", "licence", "credit")
_HOURS = {
    "second": 1 / 3600,
    "minute": 1 / 60,
    "hour": 1.0,
    "day": float(HOURS_PER_DAY),
    "week": float(HOURS_PER_WEEK),
    "month": HOURS_PER_MONTH,
    "year": float(HOURS_PER_YEAR),
}
_PART = {"unit": 1.0, "cent": 1e-2, "micro": 1e-6}

Get = Callable[[Mapping[str, Any]], Any]


@dataclass(frozen=True, slots=True)
class Price:
    """How to read one price column.

    Attributes:
        get: takes the price out of a record.
        factor: currency units for one of what the column counts (0.01 for cents).
        per: `gpu` or `instance`.
        hours: hours that the price pays for.
        currency: takes the ISO 4217 code out of a record.
        kind: the kind that the column stands for; empty when a field says it.
    """

    get: Get
    factor: float
    per: str
    hours: float
    currency: Get
    kind: str


@dataclass(frozen=True, slots=True)
class PriceMapping:
    """A mapping file, checked.

    Attributes:
        source: id of the list.
        about: title, url, licence and credit, where given.
        format: csv, json or jsonl; empty when the suffix tells.
        records: path of the list within a JSON document.
        delimiter: between CSV fields.
        snapshot: which rows make one listing: `day`, `exact`, `file` or `auto`.
        cadence: `daily`, or `once` for a list that is not made again soon.
        shape: takes each field of the shape out of a record.
        shares: memory fields that are stated for one GPU where the whole offer is meant (1), or for
            all of them where one is meant (-1).
        place: takes country, region and what is available out of a record, where it has them.
        at: takes the instant out of a record; None where the list has none.
        prices: the price columns.
        recurring: columns that the shape is read from; records that agree in them share it.
        placed: columns that the place is read from, likewise.
        columns: columns that must exist.
        fx: dated exchange rates of the file's own.
    """

    source: str
    about: Mapping[str, str]
    format: str
    records: str
    delimiter: str
    snapshot: str
    cadence: str
    shape: Mapping[str, Get]
    shares: Mapping[str, int]
    place: Mapping[str, Get]
    at: Get | None
    prices: tuple[Price, ...]
    recurring: tuple[str, ...]
    placed: tuple[str, ...]
    columns: tuple[str, ...]
    fx: tuple[tuple[str, date, float], ...]


def load_mapping(path: Path) -> PriceMapping:
    """Read and check a mapping file.

    Raises:
        ImportRejected: the file cannot be read or is not TOML.
        UsageError: a key, unit, kind or rate that is not valid, or a field that is missing.
    """
    try:
        doc = tomllib.loads(read_text(path))
    except tomllib.TOMLDecodeError as error:
        raise ImportRejected(f"{path} is not TOML: {error}") from None
    _check_keys(doc, (*_ABOUT, "source", "cadence", "file", "columns", "price", "fx"))
    file = _table(doc, "file")
    _check_keys(file, ("format", "records", "delimiter", "snapshot"))
    columns = _table(doc, "columns")
    _check_keys(columns, _FIELDS)
    prices = doc.get("price")
    prices = [prices] if isinstance(prices, dict) else prices
    if not prices or not isinstance(prices, list):
        raise UsageError(f"{path} has no [[price]]", hint='add [[price]] with from = "column"')
    if "provider" not in columns:
        raise UsageError(f"{path} maps no provider", hint='add provider = { value = "name" }')
    source = str(doc.get("source", ""))
    if not re.fullmatch(r"[a-z0-9][a-z0-9.-]*", source):
        hint = "name the list in lower-case letters, digits and dashes"
        raise UsageError(f"{path} has {source!r} for its source", hint=hint)
    own, placed, recurring = list[str](), list[str](), list[str]()
    column_of = {"at": own} | dict.fromkeys(_OF_ROW[1:], placed)
    getters = {name: _getter(name, spec, column_of.get(name, recurring)) for name, spec in columns.items()}
    shape = {(_TEXT | _MEMORY)[name]: get for name, get in getters.items() if name not in _OF_ROW}
    return PriceMapping(
        source=source,
        about={key: str(doc[key]) for key in _ABOUT if key in doc},
        format=_choice(file.get("format", ""), ("", "csv", "json", "jsonl"), "file format"),
        records=str(file.get("records", "")),
        delimiter=_delimiter(file.get("delimiter", "")),
        snapshot=_choice(file.get("snapshot", "auto"), ("auto", "day", "exact", "file"), "snapshot"),
        cadence=_choice(doc.get("cadence", "daily"), ("daily", "once"), "cadence"),
        shares=_shares(columns),
        shape=shape,
        place={name: get for name, get in getters.items() if name in _OF_ROW[1:]},
        at=getters.get("at"),
        prices=tuple(_price(spec, own, recurring) for spec in prices),
        recurring=tuple(recurring),
        placed=tuple(placed),
        columns=(*own, *placed, *recurring),
        fx=tuple(_rates(_table(doc, "fx"))),
    )


def _getter(name: str, spec: Any, used: list[str]) -> Get:
    """Compile one entry of [columns] to a function of the record."""
    if isinstance(spec, str):
        spec = {"from": spec}
    if not isinstance(spec, dict) or ("from" in spec) == ("value" in spec):
        raise UsageError(f"[columns] {name} needs either from or value, got {spec!r}")
    more = ("unit", "per") if name in _MEMORY else () if name == "at" else ("values",)
    _check_keys(spec, ("from", "value", *more))
    if "value" in spec:
        get: Get = partial(_constant, spec["value"])
    else:
        get = _column(str(spec["from"]), used)
    if name in _MEMORY:
        unit = str(spec.get("unit", "GiB")).upper()
        factor = GIB_PER_UNIT[_choice(unit, tuple(GIB_PER_UNIT), f"unit of {name}")]
        return partial(_memory, get, factor, name)
    values = _table(spec, "values")
    return partial(_text, get, {key: str(meant) for key, meant in values.items()})


def _column(path: str, used: list[str]) -> Get:
    """Return a function that takes a column, or a dotted path into nested objects."""
    used.append(path)
    return partial(value_at, path)


def value_at(path: str, record: Mapping[str, Any]) -> Any:
    """Return what a record has in a column, or below a dotted path; None where it has neither."""
    if path in record:
        return record[path]
    found: Any = record
    for step in path.split("."):
        if not isinstance(found, dict):
            return None
        found = found.get(step)
    return found


def _constant(value: Any, record: Mapping[str, Any]) -> Any:
    del record
    return value


def _text(get: Get, values: Mapping[str, str], record: Mapping[str, Any]) -> Any:
    value = get(record)
    text = value.strip() if isinstance(value, str) else value
    return values.get(str(text), text) if values and text is not None else text


def _memory(get: Get, factor: float, name: str, record: Mapping[str, Any]) -> float | None:
    amount = number(get(record), name)
    return None if amount is None else amount * factor


def _shares(columns: Mapping[str, Any]) -> dict[str, int]:
    """Return which memory field to multiply by the GPU count (1) or to divide by it (-1).

    A raw offer has the GPU memory of one GPU and the other memory of the whole offer.
    """
    stated = {name: spec for name, spec in columns.items() if name in _MEMORY and isinstance(spec, dict)}
    pers = {
        name: _choice(spec.get("per", _PER[name]), ("gpu", "instance"), f"per of {name}")
        for name, spec in stated.items()
    }
    return {_MEMORY[name]: 1 if per == "gpu" else -1 for name, per in pers.items() if per != _PER[name]}


def _price(spec: Any, own: list[str], recurring: list[str]) -> Price:
    if not isinstance(spec, dict) or "from" not in spec:
        raise UsageError(f"[[price]] needs from, got {spec!r}")
    _check_keys(spec, ("from", "unit", "per", "time", "currency", "kind"))
    code = spec.get("currency", "USD")
    if isinstance(code, dict):
        _check_keys(code, ("from",))
        if "from" not in code:
            raise UsageError(f"currency of the price needs a code or from, got {code!r}")
    kind = spec.get("kind", "")
    return Price(
        get=_column(str(spec["from"]), own),
        factor=_PART[_choice(spec.get("unit", "unit"), tuple(_PART), "unit of the price")],
        per=_choice(spec.get("per", "gpu"), ("gpu", "instance"), "per of the price"),
        hours=_HOURS[_choice(spec.get("time", "hour"), tuple(_HOURS), "time of the price")],
        currency=_column(str(code["from"]), recurring) if isinstance(code, dict) else lambda _: code,
        kind=_choice(kind, tuple(Kind), "kind of the price") if kind else "",
    )


def _rates(table: Mapping[str, Any]) -> Iterator[tuple[str, date, float]]:
    for code, rows in table.items():
        try:
            rates = [(date.fromisoformat(str(day)), float(rate)) for day, rate in rows]
        except (TypeError, ValueError):
            hint = '[fx] EUR = [["2026-11-02", 1.15]]'
            raise UsageError(f"[fx] {code} is {rows!r}, not days and rates", hint=hint) from None
        yield from ((code, day, rate) for day, rate in rates)


def _delimiter(value: Any) -> str:
    if not re.fullmatch(r'[^\r\n"\w]?', str(value)):
        raise UsageError(f"[file] delimiter {value!r} is no single separator", hint='write it like ";"')
    return str(value)


def _table(doc: Mapping[str, Any], name: str) -> dict[str, Any]:
    found = doc.get(name, {})
    if not isinstance(found, dict):
        raise UsageError(f"[{name}] is a table, got {found!r}")
    return found


def _check_keys(table: Mapping[str, Any], known: tuple[str, ...]) -> None:
    for key in table:
        if key not in known:
            raise UnknownName("mapping key", key, nearest(key, known) or known)


def _choice(value: Any, choices: tuple[str, ...], what: str) -> str:
    if str(value) not in choices:
        near = nearest(str(value), choices) or [choice for choice in choices if choice]
        raise UnknownName(what, str(value), near)
    return str(value)
