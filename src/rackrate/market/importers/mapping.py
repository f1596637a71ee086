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
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from functools import lru_cache, partial
from pathlib import Path
from typing import Any

from rackrate.errors import ImportRejected, UnknownName, UsageError, nearest
from rackrate.market.importers.files import (
    Listing,
    When,
    input_files,
    read_csv,
    read_json,
    read_json_lines,
    read_text,
)
from rackrate.market.normalise import Reject, Unreadable, instant, number
from rackrate.market.offer import Kind, RawOffer
from rackrate.units import (
    GIB_PER_UNIT,
    HOURS_PER_DAY,
    HOURS_PER_MONTH,
    HOURS_PER_WEEK,
    HOURS_PER_YEAR,
)

# Field of the mapping to field of the raw offer.
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
}
_MEMORY = {"vram": "vram_gib", "ram": "ram_gib", "disk": "disk_gib"}
_PER = {"vram": "gpu", "ram": "instance", "disk": "instance"}
_FIELDS = (*_TEXT, *_MEMORY, "at")
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
_SINCE_1970 = re.compile(r"\d{9,}(?:\.\d+)?")
_FORMATS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}

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
        fields: takes each field of the raw offer out of a record.
        shares: memory fields that are stated for one GPU where the whole offer is meant (1), or for
            all of them where one is meant (-1).
        at: takes the instant out of a record; None where the list has none.
        prices: the price columns.
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
    fields: Mapping[str, Get]
    shares: Mapping[str, int]
    at: Get | None
    prices: tuple[Price, ...]
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
    used: list[str] = []
    getters = {name: _getter(name, spec, used) for name, spec in columns.items()}
    at = getters.pop("at", None)
    return PriceMapping(
        source=source,
        about={key: str(doc[key]) for key in _ABOUT if key in doc},
        format=_choice(file.get("format", ""), ("", "csv", "json", "jsonl"), "file format"),
        records=str(file.get("records", "")),
        delimiter=_delimiter(file.get("delimiter", "")),
        snapshot=_choice(file.get("snapshot", "auto"), ("auto", "day", "exact", "file"), "snapshot"),
        cadence=_choice(doc.get("cadence", "daily"), ("daily", "once"), "cadence"),
        shares=_shares(columns),
        fields={(_TEXT | _MEMORY)[name]: get for name, get in getters.items()},
        at=at,
        prices=tuple(_price(spec, used) for spec in prices),
        columns=tuple(dict.fromkeys(used)),
        fx=tuple(_rates(_table(doc, "fx"))),
    )


def read(path: Path, when: When, mapping: PriceMapping) -> Iterator[Listing]:
    """Yield the one listing of a file, or of a folder of files, that the mapping describes."""
    rows = [row for file in inputs(path) for row in _rows(file, when, mapping)]
    _date(rows, mapping.snapshot)
    yield Listing(source=mapping.source, rows=iter(rows), **mapping.about)


def _date(rows: Sequence[RawOffer | Reject], snapshot: str) -> None:
    """Set which listing each row is part of: its instant, its UTC day, or the newest of the file.

    A list may be a history, or one listing whose rows were last seen on different days. It is a history
    when some offer stands in it on two days.
    """
    offers = [row for row in rows if isinstance(row, RawOffer)]
    if snapshot == "exact" or not offers:
        return
    if snapshot == "auto" and len({offer.snapshot_at.date() for offer in offers}) > 1:
        days: dict[tuple[Any, ...], date] = {}
        for o in offers:
            shape = (o.provider, o.seller, o.sku, o.gpu_raw, o.gpu_count, o.kind, o.region, o.vcpu)
            if days.setdefault(shape, o.snapshot_at.date()) != o.snapshot_at.date():
                snapshot = "day"
                break
    newest = max(offer.snapshot_at for offer in offers)
    for offer in offers:
        offer.snapshot_at = (
            offer.snapshot_at.replace(hour=0, minute=0, second=0, microsecond=0)
            if snapshot == "day"
            else newest
        )


def inputs(path: Path) -> list[Path]:
    """Return the files that an import of `path` reads."""
    return input_files(path, *_FORMATS, *(f"{suffix}.gz" for suffix in _FORMATS))


def _rows(file: Path, when: When, mapping: PriceMapping) -> Iterator[RawOffer | Reject]:
    missing, seen = set(mapping.columns), dict[str, None]()
    for line, record in _records(file, mapping):
        if isinstance(record, Reject):
            yield record
            continue
        if missing:  # a key may be absent from some records of a JSON list
            missing -= {column for column in missing if column.split(".")[0] in record or column in record}
            seen.update(dict.fromkeys(record))
        yield from _offers(record, file.name, line, when, mapping)
    if missing and seen:
        column = min(missing)
        known = nearest(column, seen) or list(seen)[:8]
        raise UnknownName("column", column, known, why=f"{file.name} has no such column")


def _records(file: Path, mapping: PriceMapping) -> Iterator[tuple[int, Any]]:
    suffix = Path(file.name.removesuffix(".gz")).suffix
    form = mapping.format or _FORMATS.get(suffix, "")
    if form == "csv":
        yield from read_csv(file, mapping.delimiter or ("\t" if suffix == ".tsv" else ","))
    elif form == "jsonl":
        yield from read_json_lines(file)
    elif form == "json":
        yield from _json_records(file, mapping.records)
    else:
        raise UsageError(f"{file} has no suffix that tells its format", hint='set [file] format = "csv"')


def _json_records(file: Path, where: str) -> Iterator[tuple[int, Any]]:
    steps = [step for step in where.split(".") if step]
    for line, record in enumerate(_nested(read_json(file), steps, {}, f"{file} at {where!r}"), 1):
        if isinstance(record, dict):
            yield line, record
        else:
            reason = f"a record is an object, not {type(record).__name__}"
            yield line, Reject(file.name, line, "malformed", reason, repr(record)[:200])


def _nested(node: Any, steps: Sequence[str], outer: Mapping[str, Any], where: str) -> Iterator[Any]:
    """Yield the records below `node`; each inherits the plain values of the objects that it stands in.

    Under an object whose values are records the name of each becomes its column `key`.
    """
    if isinstance(node, dict):
        outer = {**outer, **{k: v for k, v in node.items() if not isinstance(v, (dict, list))}}
    if steps and steps[0] != "*":
        if not isinstance(node, dict) or steps[0] not in node:
            raise ImportRejected(f"{where}: {steps[0]!r} is missing", hint="set [file] records")
        yield from _nested(node[steps[0]], steps[1:], outer, where)
        return
    if not isinstance(node, (dict, list)) or (isinstance(node, dict) and not _holds_records(node)):
        raise ImportRejected(f"{where}: no list is there", hint="set [file] records")
    for key, child in node.items() if isinstance(node, dict) else ((None, child) for child in node):
        known = {**outer, "key": key} if key is not None else outer
        if steps:
            yield from _nested(child, steps[1:], known, where)
        else:
            yield {**known, **child} if isinstance(child, dict) else child


def _holds_records(node: Mapping[str, Any]) -> bool:
    return any(isinstance(value, (dict, list)) for value in node.values())


def _offers(
    record: Mapping[str, Any],
    origin: str,
    line: int,
    when: When,
    mapping: PriceMapping,
) -> Iterator[RawOffer | Reject]:
    def reject(rule: str, reason: str) -> Reject:
        short = " ".join(str(value) for value in record.values())[:200]
        return Reject(origin, line, rule, reason, short)

    try:
        at = _instant(mapping.at(record), origin) if mapping.at else when.stated_at
        fields = {name: value for name, get in mapping.fields.items() if (value := get(record)) is not None}
        for name, power in mapping.shares.items():
            if name in fields:
                fields[name] *= (number(fields.get("gpu_count"), "gpu_count") or 1.0) ** power
    except Unreadable as error:
        yield reject(error.rule, str(error))
        return
    stated = [(price, price.get(record)) for price in mapping.prices]
    stated = [(price, value) for price, value in stated if value not in (None, "")]
    if not stated:
        yield reject("no_price", "no price is given")
    for price, value in stated:
        try:
            amount = number(value, "price")
        except Unreadable as error:
            yield reject(error.rule, str(error))
            continue
        more = {"kind": price.kind} if price.kind else {}
        yield RawOffer(
            origin=origin,
            line=line,
            snapshot_at=at or when.read_at,
            observed_at=at,
            price=None if amount is None else amount * price.factor,
            price_per=price.per,
            price_hours=price.hours,
            currency=str(price.currency(record) or ""),
            **{"kind": Kind.ON_DEMAND, "provider": "", **fields, **more},
        )


def _instant(value: Any, origin: str) -> datetime:
    """Read ISO 8601 text, or seconds (or milliseconds) since 1970."""
    if value is None or value == "":
        raise Unreadable("malformed", f"{origin}: the record has no date")
    return _instant_of(str(value).strip())


@lru_cache
def _instant_of(text: str) -> datetime:
    if not _SINCE_1970.fullmatch(text):
        return instant(text, "date")
    seconds = float(text) / 1000 if float(text) > 1e11 else float(text)  # noqa: PLR2004 - year 5138
    try:
        return datetime.fromtimestamp(seconds, UTC)
    except (OverflowError, ValueError, OSError) as error:
        raise Unreadable("malformed", f"date {text!r:.80} is no time") from error


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
    steps = path.split(".")

    def get(record: Mapping[str, Any]) -> Any:
        if path in record:
            return record[path]
        found: Any = record
        for step in steps:
            if not isinstance(found, dict):
                return None
            found = found.get(step)
        return found

    return get


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


def _price(spec: Any, used: list[str]) -> Price:
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
        get=_column(str(spec["from"]), used),
        factor=_PART[_choice(spec.get("unit", "unit"), tuple(_PART), "unit of the price")],
        per=_choice(spec.get("per", "gpu"), ("gpu", "instance"), "per of the price"),
        hours=_HOURS[_choice(spec.get("time", "hour"), tuple(_HOURS), "time of the price")],
        currency=_column(str(code["from"]), used) if isinstance(code, dict) else lambda _: code,
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
