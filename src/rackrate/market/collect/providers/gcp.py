"""Google Cloud: machines with GPUs, put together from the prices of their parts.

No list has the price of a machine: it is that of its cores, its memory, its GPUs and the disks that
always come with it, each a SKU with a price a region. `_MACHINES` says which parts a machine has; a machine
is sold where all of them are. GPUs that can be put into an N1 of any size are left to gpuhunt's list.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rackrate.market.collect.base import Answer, Asking, Collector, Place, Request, Rows, money, need
from rackrate.market.normalise import Reject, Unreadable
from rackrate.market.offer import Kind, RawOffer
from rackrate.units import HOURS_PER_MONTH

_KEY = "GCP_API_KEY"
_URL = "https://cloudbilling.googleapis.com/v1/services/6F81-5844-456A/skus"
_MOST_PAGES = 40

_HOST = re.compile(r"(?:Spot Preemptible )?(A2|A3|A3Plus|G2) Instance (Core|Ram) running in .+")
_GPU = re.compile(r"Nvidia (.+) GPU (?:attached to Spot Preemptible VMs )?running in .+")
_DISK = re.compile(r"SSD backed Local Storage(?: attached to Spot Preemptible VMs)?(?: in .+)?")
_UNITS = {"Core": "h", "Ram": "GiBy.h", "gpu": "h", "disk": "GiBy.mo"}
_SPOT = "Spot Preemptible"
_OF_N1 = ("Tesla T4", "Tesla P4", "Tesla P100", "Tesla V100", "Tesla K80")


@dataclass(frozen=True, slots=True)
class Machine:
    """What a machine type is made of.

    Attributes:
        family: of its cores and memory, as SKUs name it.
        gpus: names of its GPU in SKUs, which have changed.
        form: of the GPU.
        vram_gib: of one GPU.
        count: of GPUs.
        vcpu: cores.
        ram_gib: memory.
        disk_gib: local disks that cannot be left out.
        is_spot_only: it is not sold on demand.
    """

    family: str
    gpus: tuple[str, ...]
    form: str
    vram_gib: float
    count: int
    vcpu: int
    ram_gib: int
    disk_gib: int = 0
    is_spot_only: bool = False


# Source: docs.cloud.google.com/compute/docs/accelerator-optimized-machines (recalled 2026-11).
_A100, _A100_80, _L4 = ("Tesla A100",), ("Tesla A100 80GB",), ("L4",)
_H100, _MEGA = ("H100 80GB",), ("H100 80GB Mega", "H100 Mega 80GB", "H100 80GB Plus")
_BOARD = 8  # GPUs; less than a whole board of H100 is sold as spot alone
_MACHINES = {
    **{f"a2-highgpu-{n}g": Machine("A2", _A100, "SXM", 40, n, 12 * n, 85 * n) for n in (1, 2, 4, 8)},
    "a2-megagpu-16g": Machine("A2", _A100, "SXM", 40, 16, 96, 1360),
    **{
        f"a2-ultragpu-{n}g": Machine("A2", _A100_80, "SXM", 80, n, 12 * n, 170 * n, 375 * n)
        for n in (1, 2, 4, 8)
    },
    **{
        f"a3-highgpu-{n}g": Machine(
            "A3", _H100, "SXM", 80, n, 26 * n, 234 * n, 750 * n, is_spot_only=n != _BOARD
        )
        for n in (1, 2, 4, 8)
    },
    "a3-megagpu-8g": Machine("A3Plus", _MEGA, "SXM", 80, 8, 208, 1872, 6000),
    **{
        f"g2-standard-{vcpu}": Machine("G2", _L4, "PCIe", 24, n, vcpu, 4 * vcpu)
        for vcpu, n in {4: 1, 8: 1, 12: 1, 16: 1, 24: 2, 32: 1, 48: 4, 96: 8}.items()
    },
}

_Part = tuple[str, str, bool]
"""What a SKU is the price of: Core, Ram, gpu or disk; of which family or GPU; whether spot."""


@dataclass(frozen=True, slots=True)
class _Price:
    """Price of a part in a region, USD an hour, and where it stands."""

    usd_per_hour: float
    answer: Answer
    line: int


_Prices = dict[_Part, dict[str, _Price]]


class Gcp(Collector):
    """One offer a machine type, region and kind."""

    name = "gcp"
    title = "Google Cloud SKUs, GPU machines"
    hosts = ("https://cloudbilling.googleapis.com",)
    page = "https://cloud.google.com/compute/gpus-pricing"
    auth = (_KEY,)
    units = (
        "unitPrice: units (text) and nanos (1e-9), USD an hour of one core, one GiB, one GPU; of local disk "
        "USD a GiB and month"
    )
    pagination = "nextPageToken, 5,000 SKUs a page"
    terms = "public API for price queries"

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for all SKUs of Compute Engine; the key travels in a header."""
        token = ""
        for page in range(1, _MOST_PAGES):
            params = {"pageSize": "5000", "currencyCode": "USD", **({"pageToken": token} if token else {})}
            secrets = {"X-Goog-Api-Key": keys[_KEY]}
            answer = yield Request(f"page-{page}", _URL, params=params, secrets=secrets)
            token = (answer.json() if answer else {}).get("nextPageToken") or ""
            if not token:
                return

    def parse(self, answers: Sequence[Answer], at: datetime) -> Rows:
        """Yield the machines whose parts all have a price, and what could not be read."""
        prices: _Prices = {}
        for answer in answers:
            for line, record in enumerate(answer.items("skus"), 1):
                try:
                    _note(prices, answer, line, record)
                except (Unreadable, KeyError, TypeError, AttributeError, IndexError) as error:
                    rule = error.rule if isinstance(error, Unreadable) else "malformed"
                    yield Reject(answer.name, line, rule, f"{error}"[:200], f"{record!r:.200}")
        yield from _strangers(prices)
        for sku, machine in _MACHINES.items():
            for is_spot in (False, True):
                if is_spot or not machine.is_spot_only:
                    yield from self._offers(prices, at, sku, machine, is_spot=is_spot)

    def _offers(
        self, prices: _Prices, at: datetime, sku: str, machine: Machine, *, is_spot: bool
    ) -> Iterator[RawOffer]:
        gpus = {
            region: (name, gpu)
            for name in machine.gpus
            for region, gpu in prices.get(("gpu", name, is_spot), {}).items()
        }
        for region, (name, gpu) in gpus.items():
            usd_per_hour = _whole(prices, machine, region, gpu.usd_per_hour, is_spot=is_spot)
            if usd_per_hour is None:
                continue
            yield self.offer(
                gpu.answer,
                gpu.line,
                at,
                price=usd_per_hour,
                place=Place(region),
                sku=sku,
                gpu_raw=name,
                gpu_count=machine.count,
                vram_gib=machine.vram_gib,
                interconnect=machine.form,
                vcpu=machine.vcpu,
                ram_gib=machine.ram_gib,
                disk_gib=machine.disk_gib or None,
                kind=Kind.SPOT if is_spot else Kind.ON_DEMAND,
            )


def _note(prices: _Prices, answer: Answer, line: int, record: Any) -> None:
    """Keep the price of a SKU if it is a part of GPU machines that anyone can have by the hour.

    Raises:
        Unreadable: it is, and its price is of another unit or cannot be read.
    """
    part = _part(str(need(record, "description")))
    if part is None or need(record, "category").get("usageType") not in ("OnDemand", "Preemptible"):
        return
    said = need(record, "pricingInfo")[-1]["pricingExpression"]
    if said["usageUnit"] != _UNITS[part[0]]:
        raise Unreadable("malformed", f"usageUnit {said['usageUnit']!r} of {record['description']!r:.80}")
    price = said["tieredRates"][-1]["unitPrice"]
    if price.get("currencyCode") != "USD":
        raise Unreadable("malformed", f"currencyCode {price.get('currencyCode')!r} is not USD")
    usd = money(price.get("units") or 0, "units") + money(price.get("nanos") or 0, "nanos") / 1e9
    if not usd:
        raise Unreadable("no_price", f"{record['description']!r:.80} has a price of 0")
    if part[0] == "disk":
        usd /= HOURS_PER_MONTH
    for region in need(record, "serviceRegions"):
        prices.setdefault(part, {}).setdefault(str(region), _Price(usd, answer, line))


def _part(description: str) -> _Part | None:
    """Return what a SKU is the price of; None for any that no GPU machine is made of."""
    is_spot = _SPOT in description
    if found := _HOST.fullmatch(description):
        return found[2], found[1], is_spot
    if found := _GPU.fullmatch(description):
        return "gpu", found[1], is_spot
    return ("disk", "", is_spot) if _DISK.fullmatch(description) else None


def _whole(
    prices: _Prices, machine: Machine, region: str, gpu_usd_per_hour: float, *, is_spot: bool
) -> float | None:
    """Return USD an hour of a machine; None where one of its parts is not sold."""
    usd_per_hour = gpu_usd_per_hour * machine.count
    parts = (("Core", machine.family, machine.vcpu), ("Ram", machine.family, machine.ram_gib))
    for resource, family, n in (*parts, ("disk", "", machine.disk_gib)):
        price = prices.get((resource, family, is_spot), {}).get(region)
        if n and price is None:
            return None
        usd_per_hour += n * price.usd_per_hour if price else 0
    return round(usd_per_hour, 6)


def _strangers(prices: _Prices) -> Iterator[Reject]:
    """Yield each GPU that is in no machine of our table, once, so that it is not passed over in silence."""
    known = {*_OF_N1, *(name for machine in _MACHINES.values() for name in machine.gpus)}
    for resource, name, is_spot in prices:
        if resource == "gpu" and name not in known and not is_spot:
            first = next(iter(prices[resource, name, is_spot].values()))
            reason = f"{name} is in no machine of our table"
            yield Reject(first.answer.name, first.line, "gpu_count", reason, name)


COLLECTOR = Gcp()
