"""What a collector is: what it declares, what it asks for, and how an answer becomes offers.

A collector is a class in `collect/providers/`. It declares who is asked and in which units the answer
speaks; `requests` is a generator that yields what to ask and is sent each answer (so it can follow
pages); `parse` turns archived answers into raw offers and does nothing else. No clock, no network and
no environment in `parse`: any answer of the archive can be read again after a fault is mended.
"""

from __future__ import annotations

import gzip
import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import partial
from io import BytesIO
from pathlib import Path
from typing import Any, BinaryIO, ClassVar, cast

from rackrate.market.importers.files import offers_of
from rackrate.market.normalise import Reject, Unreadable
from rackrate.market.offer import RawOffer, RawShape

MIB = 2**20
GIB = 2**30


class SourceFailed(Exception):
    """A source cannot be used this time; its last good data stay.

    Attributes:
        code: `timeout`, `refused`, `status`, `layout`, `units`, `shrunk`, ...
        says: what happened, naming the value.
    """

    def __init__(self, code: str, says: str) -> None:
        super().__init__(says)
        self.code = code
        self.says = says


class LayoutChanged(SourceFailed):
    """An answer is not of the shape that the collector was written for."""

    def __init__(self, says: str) -> None:
        super().__init__("layout", says)


@dataclass(frozen=True, slots=True)
class Request:
    """One question to a source.

    Attributes:
        name: of the answer, unique within a run: `page-2`, `us-east-1`.
        url: absolute, at one of the collector's hosts.
        method: GET or POST.
        params: of the query.
        body: sent as JSON.
        form: sent as a form.
        secrets: headers that carry a key; they are never archived and never follow to another host.
        is_secret: the answer itself is a key (a token): it is not archived.
        may_lack: an answer 404 means that there is no such part, not that the source failed.
    """

    name: str
    url: str
    method: str = "GET"
    params: Mapping[str, str] = field(default_factory=dict)
    body: Any = None
    form: Mapping[str, str] | None = None
    secrets: Mapping[str, str] = field(default_factory=dict)
    is_secret: bool = False
    may_lack: bool = False


@dataclass(frozen=True, slots=True)
class Answer:
    """What a source said, as it lies in the archive.

    Attributes:
        name: of the request.
        url: that was asked, without keys.
        path: gzip file of the body; None for a secret one, which lies nowhere.
        sha256: of the body.
        n_bytes: of the body.
        modified_at: when the source says that it last changed.
        secret: the body of an answer that is a key.
    """

    name: str
    url: str
    path: Path | None
    sha256: str
    n_bytes: int
    modified_at: datetime | None = None
    secret: bytes = field(default=b"", repr=False)

    def open(self) -> BinaryIO:
        """Open the body for reading, unpacked."""
        return cast("BinaryIO", gzip.open(self.path, "rb")) if self.path else BytesIO(self.secret)

    def json(self) -> Any:
        """Return the body as JSON.

        Raises:
            LayoutChanged: it is none.
        """
        with self.open() as body:
            try:
                return json.loads(body.read())
            except (ValueError, RecursionError) as error:
                raise LayoutChanged(f"{self.name} is not JSON: {error}"[:200]) from None

    def items(self, *keys: str) -> list[Any]:
        """Return the list that stands under these keys of the JSON, one within the other.

        Raises:
            LayoutChanged: there is none.
        """
        found = self.json()
        for key in keys:
            if not isinstance(found, dict) or key not in found:
                raise LayoutChanged(f"{self.name} has no {'.'.join(keys)}")
            found = found[key]
        if not isinstance(found, list):
            raise LayoutChanged(f"{self.name}: {'.'.join(keys) or 'the answer'} is no list")
        return found


Asking = Generator[Request, Answer | None, None]
"""Yields requests; is sent the answer to each, or None where a part that may lack is lacking."""

Rows = Iterator[RawOffer | Reject]


class Collector(ABC):
    """One source of prices. The class attributes are its contract.

    Attributes:
        name: id of the list in the store.
        title: what it is, for people.
        hosts: origins that it asks; a key goes to no other.
        page: where a person finds these prices.
        auth: environment variables of the keys that it needs; none for a public list.
        may_use: environment variables that it uses where they are set.
        currency: of its prices, ISO 4217; empty when the answer itself says.
        price_per: `instance` or `gpu`; empty when the answer itself says.
        units: of money, memory and whatever else misleads, in words.
        pagination: how one gets all of it.
        requests_per_s: at most, to each host.
        terms: what its terms say about programs that read it, as far as we know.
        off: why it is not asked unless the user switches it on; empty when it is.
        licence: of the data.
        credit: words that the licence asks for.
        cadence: `live`, or `once` for a list that is shown with its date and never dropped.
        parser_version: raise it when `parse` reads the same answer otherwise.
        max_bytes: of one answer, unpacked.
        max_s: for all of it.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    hosts: ClassVar[tuple[str, ...]]
    page: ClassVar[str]
    auth: ClassVar[tuple[str, ...]] = ()
    may_use: ClassVar[tuple[str, ...]] = ()
    currency: ClassVar[str] = "USD"
    price_per: ClassVar[str] = "instance"
    units: ClassVar[str]
    pagination: ClassVar[str] = "one answer"
    requests_per_s: ClassVar[float] = 1.0
    terms: ClassVar[str] = "no restriction on programs met"
    off: ClassVar[str] = ""
    licence: ClassVar[str] = "facts published by the provider"
    credit: ClassVar[str] = ""
    cadence: ClassVar[str] = "live"
    parser_version: ClassVar[int] = 1
    max_bytes: ClassVar[int] = 64 * MIB
    max_s: ClassVar[float] = 300.0

    @abstractmethod
    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Yield what to ask, given the keys by environment variable."""

    @abstractmethod
    def parse(self, answers: Sequence[Answer], at: datetime) -> Rows:
        """Yield what the answers say. Pure.

        Args:
            answers: in the order in which they were asked for.
            at: when they were read.

        Raises:
            LayoutChanged: an answer is of another shape.
        """

    def offer(
        self, answer: Answer, line: int, at: datetime, *, price: Any, place: Place | None = None, **shape: Any
    ) -> RawOffer:
        """Return an offer of this source; `shape` are the fields of a `RawShape`.

        A missing price is an error of the record, and so is a spot price of 0: the gate says so.
        """
        place = place or Place()
        said = {"provider": self.name, "price_per": self.price_per, "currency": self.currency}
        return RawOffer(
            shape=RawShape(**{**said, "source_url": self.page, **shape}),
            origin=answer.name,
            line=line,
            snapshot_at=at,
            observed_at=at,
            price=price,
            country=place.country,
            region=place.region,
            available=place.available,
        )


@dataclass(frozen=True, slots=True)
class Place:
    """Where an offer is, and how many GPUs of it are to be had there."""

    region: str = ""
    country: str = ""
    available: Any = None


class SimpleCollector(Collector):
    """A collector whose answers are lists of records, each read by itself.

    Attributes:
        keys_to_items: under which keys of an answer its records stand.
    """

    keys_to_items: ClassVar[tuple[str, ...]] = ()

    @abstractmethod
    def read(self, answer: Answer, line: int, at: datetime, record: Any) -> Iterable[RawOffer | Reject]:
        """Return the offers of one record; none for a shape without a GPU."""

    def parse(self, answers: Sequence[Answer], at: datetime) -> Rows:
        """Yield what the records of all answers say."""
        for answer in answers:
            for line, record in enumerate(answer.items(*self.keys_to_items), 1):
                yield from each(partial(self.read, answer, line, at, record), answer, line, record)


def each(
    make: Callable[[], Iterable[RawOffer | Reject]], answer: Answer, line: int, record: Any
) -> list[RawOffer | Reject]:
    """Return the offers of one record; one of another shape becomes a `Reject`, not an exception."""
    return offers_of(make, answer.name, line, record)


def money(value: Any, what: str = "price") -> float:
    """Read an amount that an API gives as a number or as text of digits; nothing else is money.

    Raises:
        Unreadable: absent, not a plain decimal number, or not finite.
    """
    if value is None or value == "":
        raise Unreadable("no_price", f"{what} is missing")
    if isinstance(value, bool) or not isinstance(value, (int, float, str)):
        raise Unreadable("price", f"{what} {value!r:.80} is no number")
    try:
        found = float(value)
    except (ValueError, OverflowError):
        raise Unreadable("price", f"{what} {value!r:.80} is no number") from None
    if found != found or abs(found) == float("inf"):  # noqa: PLR0124 - NaN is not itself
        raise Unreadable("price", f"{what} {value!r:.80} is not finite")
    return found


def need(record: Mapping[str, Any], key: str) -> Any:
    """Return a field that the documented shape always has.

    Raises:
        Unreadable: the record lacks it.
    """
    if not isinstance(record, Mapping) or record.get(key) is None:
        raise Unreadable("malformed", f"the record has no {key}")
    return record[key]


def bearer(key: str) -> dict[str, str]:
    """Return the header that carries a bearer key."""
    return {"Authorization": f"Bearer {key}"}
