"""Read a price list as its mapping file says (`importers.mapping`)."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from functools import _lru_cache_wrapper, lru_cache, partial
from operator import attrgetter
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
)
from rackrate.market.importers.mapping import Price, PriceMapping, value_at
from rackrate.market.normalise import Reject, Unreadable, instant, number
from rackrate.market.offer import RawOffer, RawShape

_SINCE_1970 = re.compile(r"\d{9,}(?:\.\d+)?")
_FORMATS = {".csv": "csv", ".tsv": "csv", ".json": "json", ".jsonl": "jsonl", ".ndjson": "jsonl"}

Met = tuple["_lru_cache_wrapper[Any]", "_lru_cache_wrapper[Any]"]
"""What the columns of a shape mean, and those of a place, worked out once for each set of values."""


def read(path: Path, when: When, mapping: PriceMapping) -> Iterator[Listing]:
    """Yield the one listing of a file, or of a folder of files, that the mapping describes.

    Records that agree in all but price, time and place share one shape, which is read once.
    """
    once = lru_cache(maxsize=16_384, typed=True)  # typed: true is no 1
    met = once(partial(_shapes, mapping)), once(partial(_place, mapping))
    rows = [row for file in inputs(path) for row in _rows(file, when, mapping, met)]
    _date([row for row in rows if isinstance(row, RawOffer)], mapping.snapshot)
    yield Listing(source=mapping.source, rows=iter(rows), **mapping.about)


_what = attrgetter("provider", "seller", "sku", "gpu_raw", "gpu_count", "kind", "vcpu")


def _date(offers: Sequence[RawOffer], snapshot: str) -> None:
    """Set which listing each row is part of: its instant, its UTC day, or the newest of the file.

    A list may be a history, or one listing whose rows were last seen on different days. It is a history
    when some offer stands in it on two days.
    """
    ats = {offer.snapshot_at for offer in offers}
    if snapshot == "exact" or not ats:
        return
    is_history = snapshot == "auto" and len({at.date() for at in ats}) > 1 and _recurs(offers)
    if snapshot == "day" or is_history:
        listed = {at: at.replace(hour=0, minute=0, second=0, microsecond=0) for at in ats}
    else:
        listed = dict.fromkeys(ats, max(ats))
    for offer in offers:
        offer.snapshot_at = listed[offer.snapshot_at]


def _recurs(offers: Sequence[RawOffer]) -> bool:
    """Tell whether some offer is of two days."""
    days: dict[str, date] = {}
    for offer in offers:
        day = offer.snapshot_at.date()
        what = repr((_what(offer.shape), offer.region))  # as text, because JSON may have lists there
        if days.setdefault(what, day) != day:
            return True
    return False


def inputs(path: Path) -> list[Path]:
    """Return the files that an import of `path` reads."""
    return input_files(path, *_FORMATS, *(f"{suffix}.gz" for suffix in _FORMATS))


def _rows(file: Path, when: When, mapping: PriceMapping, met: Met) -> Iterator[RawOffer | Reject]:
    origin = file.name
    missing, seen = set(mapping.columns), dict[str, None]()
    for line, record in _records(file, mapping):
        if isinstance(record, Reject):
            yield record
            continue
        if missing:  # a key may be absent from some records of a JSON list
            missing -= {column for column in missing if column.split(".")[0] in record or column in record}
            seen.update(dict.fromkeys(record))
        yield from _offers(record, origin, line, when, mapping, met)
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
    met: Met,
) -> Iterator[RawOffer | Reject]:
    def reject(rule: str, reason: str) -> Reject:
        short = " ".join(str(value) for value in record.values())[:200]
        return Reject(origin, line, rule, reason, short)

    try:
        at = _instant(mapping.at(record), origin) if mapping.at else when.stated_at
        place = _look_up(record, mapping.placed, met[1])
        priced = _look_up(record, mapping.recurring, met[0])
    except Unreadable as error:
        yield reject(error.rule, str(error))
        return
    is_priced = False
    for price, shape in priced:
        value = price.get(record)
        if value is None or value == "":
            continue
        is_priced = True
        try:
            amount = number(value, "price")
        except Unreadable as error:
            yield reject(error.rule, str(error))
            continue
        if amount is not None:
            amount *= price.factor
        yield RawOffer(shape, origin, line, at or when.read_at, amount, at, **place)
    if not is_priced:
        yield reject("no_price", "no price is given")


def _look_up(record: Mapping[str, Any], columns: Sequence[str], cached: _lru_cache_wrapper[Any]) -> Any:
    """Return what the values of `columns` mean; it is made once and then found."""
    try:
        values = tuple(map(record.__getitem__, columns))
    except KeyError:  # a dotted path, or a key that not every record of a JSON list has
        values = tuple(value_at(path, record) for path in columns)
    try:
        return cached(*values)
    except TypeError:  # a list or object cannot be looked up
        return cached.__wrapped__(*values)


def _place(mapping: PriceMapping, *values: Any) -> Mapping[str, Any]:
    """Return country, region and what is available, where they are said."""
    record = dict(zip(mapping.placed, values, strict=True))
    return {name: value for name, get in mapping.place.items() if (value := get(record)) is not None}


def _shapes(mapping: PriceMapping, *recurring: Any) -> Sequence[tuple[Price, RawShape]]:
    record = dict(zip(mapping.recurring, recurring, strict=True))
    fields = {name: value for name, get in mapping.shape.items() if (value := get(record)) is not None}
    for name, power in mapping.shares.items():
        if name in fields:
            fields[name] *= (number(fields.get("gpu_count"), "gpu_count") or 1.0) ** power
    return [(price, _shape(price, fields, str(price.currency(record) or ""))) for price in mapping.prices]


def _shape(price: Price, fields: Mapping[str, Any], currency: str) -> RawShape:
    stated = {"provider": "", **fields, **({"kind": price.kind} if price.kind else {})}
    return RawShape(price_per=price.per, price_hours=price.hours, currency=currency, **stated)


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
