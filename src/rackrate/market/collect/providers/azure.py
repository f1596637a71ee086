"""Azure: the retail price list of GPU machines. It names no GPU; `azure_sizes` knows the sizes.

Reservations carry the total of their term under the unit "1 Hour"; DevTest prices are a discount for
subscribers; Low Priority is an older kind of spot that is being retired. Pages are cut by `$skip` and
shift when prices change meanwhile, so that a row may stand on two of them.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from rackrate.market.collect.base import Answer, Asking, Collector, Place, Request, Rows, each, money, need
from rackrate.market.collect.sizes import AZURE, find_size
from rackrate.market.normalise import Reject, Unreadable, instant
from rackrate.market.offer import Kind, RawOffer

_URL = "https://prices.azure.com/api/retail/prices"
_FAMILIES = ("Standard_NC", "Standard_ND", "Standard_NV", "Standard_NG")
_FILTER = "serviceName eq 'Virtual Machines' and ({})".format(
    " or ".join(f"contains(armSkuName, '{family}')" for family in _FAMILIES)
)
_REGIONS = "RACKRATE_COLLECT_AZURE_REGIONS"
_HOURS_A_YEAR = 8760
_TERMS = {"1 Year": 12, "3 Years": 36, "5 Years": 60}
_MOST_PAGES = 300


class Azure(Collector):
    """Virtual machines with GPUs, all regions in one list, or one list a region."""

    name = "azure"
    title = "Azure retail prices, GPU machines"
    hosts = ("https://prices.azure.com",)
    page = "https://azure.microsoft.com/pricing/details/virtual-machines/linux/"
    may_use = (_REGIONS,)
    currency = ""
    units = (
        "retailPrice: of the whole machine for one hour, in currencyCode; of a Reservation, the total of "
        "its term"
    )
    pagination = "NextPageLink, 1,000 rows a page"
    requests_per_s = 5.0
    terms = "public API for price queries"
    max_s = 900.0

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for all regions at once, or for those named in the environment; follow the pages."""
        regions = [region.strip() for region in keys.get(_REGIONS, "").split(",") if region.strip()]
        for region in regions or [""]:
            only = f"{_FILTER} and armRegionName eq '{region}'" if region else _FILTER
            request: Request | None = Request(f"{region or 'all'}-1", _URL, params={"$filter": only})
            for page in range(2, _MOST_PAGES):
                if request is None:
                    break
                answer = yield request
                link = (answer.json() if answer else {}).get("NextPageLink")
                request = Request(f"{region or 'all'}-{page}", link) if link else None

    def parse(self, answers: Sequence[Answer], at: datetime) -> Rows:
        """Yield the newest price of each size, region and kind."""
        newest: dict[tuple[Any, ...], tuple[datetime, list[RawOffer | Reject]]] = {}
        for answer in answers:
            for line, record in enumerate(answer.items("Items"), 1):
                if not _is_wanted(record):
                    continue
                made = each(partial(self._read, answer, line, at, record), answer, line, record)
                since = _since(record)
                if since > at:  # announced, not in force
                    continue
                fields = ("armSkuName", "armRegionName", "type", "reservationTerm", "skuName")
                key = tuple(str(record.get(name)) for name in fields)
                if key not in newest or since > newest[key][0]:
                    newest[key] = since, made
        for _, made in newest.values():
            yield from made

    def _read(self, answer: Answer, line: int, at: datetime, record: Any) -> Iterator[RawOffer]:
        size = str(need(record, "armSkuName"))
        if need(record, "unitOfMeasure") != "1 Hour":
            raise Unreadable("malformed", f"unitOfMeasure {record['unitOfMeasure']!r} is not '1 Hour'")
        said = find_size(AZURE, size.removeprefix("Standard_"))
        if said is None:
            raise Unreadable("gpu_count", f"{size} is not in our table of sizes: its GPUs are unknown")
        region = str(need(record, "armRegionName"))
        yield self.offer(
            answer,
            line,
            at,
            price=money(record.get("retailPrice")),
            place=Place(region),
            currency=need(record, "currencyCode"),
            sku=size,
            **said,
            **_kind(record),
        )


def _is_wanted(record: Any) -> bool:
    """Tell whether a row is a price of a Linux machine with a GPU that anyone can have."""
    if not isinstance(record, dict):
        return True  # and each() says that it is malformed
    meter = str(record.get("meterName"))
    product = str(record.get("productName"))
    return (
        str(record.get("armSkuName", "")).startswith(_FAMILIES)
        and record.get("type") in ("Consumption", "Reservation")
        and not any(word in product for word in ("Windows", "Dedicated", "Cloud Services", "CloudServices"))
        and "Low Priority" not in meter
        and not record.get("tierMinimumUnits")
    )


def _kind(record: Mapping[str, Any]) -> dict[str, Any]:
    if record.get("type") != "Reservation":
        is_spot = "Spot" in str(record.get("meterName")) or "Spot" in str(record.get("skuName"))
        return {"kind": Kind.SPOT if is_spot else Kind.ON_DEMAND}
    months = _TERMS.get(str(record.get("reservationTerm")))
    if months is None:
        raise Unreadable("malformed", f"reservationTerm {record.get('reservationTerm')!r} is none we know")
    return {"kind": Kind.RESERVED, "term_months": months, "price_hours": months / 12 * _HOURS_A_YEAR}


def _since(record: Any) -> datetime:
    """Return since when a price is in force; the beginning of time when it does not say."""
    try:
        return instant(record.get("effectiveStartDate"), "effectiveStartDate")
    except (AttributeError, Unreadable):
        return instant("1970-01-01", "epoch")


COLLECTOR = Azure()
