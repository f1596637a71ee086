"""AWS: the bulk price list of EC2, region by region, read line by line.

A region's file has some hundred thousand rows, of which a few hundred are prices of GPU machines: a
row is looked at for the words that it must have before it is taken apart. The list names no GPU, only
their number; the table below knows the families.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from itertools import islice
from typing import Any

from rackrate.market.collect.base import (
    MIB,
    Answer,
    Asking,
    Collector,
    LayoutChanged,
    Place,
    Request,
    Rows,
    each,
    money,
)
from rackrate.market.normalise import Reject, Unreadable, number
from rackrate.market.offer import Kind, RawOffer

_REGIONS = "RACKRATE_COLLECT_AWS_REGIONS"
_DEFAULT_REGIONS = (
    "us-east-1,us-east-2,us-west-1,us-west-2,ca-central-1,eu-west-1,eu-west-2,eu-west-3,eu-central-1,"
    "eu-north-1,eu-south-2,ap-northeast-1,ap-northeast-2,ap-south-1,ap-southeast-1,ap-southeast-2,sa-east-1"
)
_HEAD_LINES = 20  # the header stands after five lines of metadata
_URL = "https://pricing.us-east-1.amazonaws.com/offers/v1.0/aws/AmazonEC2/current/{}/index.csv"

# Family of an instance type, to GPU, form factor and GiB of one, where the name alone does not tell.
# Source: aws.amazon.com/ec2/instance-types, accelerated computing (recalled 2026-11).
_GPUS: dict[str, tuple[str, str, float | None]] = {
    "g3": ("Tesla M60", "PCIe", 8), "g3s": ("Tesla M60", "PCIe", 8),
    "g4ad": ("Radeon Pro V520", "PCIe", 8), "g4dn": ("T4", "PCIe", 16),
    "g5": ("A10G", "PCIe", 24), "g5g": ("T4G", "PCIe", 16),
    "g6": ("L4", "PCIe", 24), "gr6": ("L4", "PCIe", 24), "g6f": ("L4", "PCIe", 24),
    "gr6f": ("L4", "PCIe", 24), "g6e": ("L40S", "PCIe", 48),
    "g7": ("RTX PRO 4500 Blackwell", "PCIe", 32), "g7e": ("RTX PRO 6000 Blackwell Server", "PCIe", 96),
    "p2": ("Tesla K80", "PCIe", 12), "p3": ("V100", "SXM", 16), "p3dn": ("V100", "SXM", 32),
    "p4d": ("A100", "SXM", 40), "p4de": ("A100", "SXM", 80), "p5": ("H100", "SXM", 80),
    "p5e": ("H200", "SXM", 141), "p5en": ("H200", "SXM", 141), "p6-b200": ("B200", "SXM", None),
    "p6-b300": ("B300", "SXM", None), "p6e-gb200": ("GB200", "", None),
}  # fmt: skip

_MUST: dict[str, tuple[str, ...]] = {
    "Tenancy": ("Shared",),
    "Operating System": ("Linux",),
    "CapacityStatus": ("Used",),
    "Unit": ("Hrs",),
    "Currency": ("USD",),
    "Pre Installed S/W": ("", "NA"),
}
_COLUMNS = (*_MUST, "TermType", "PricePerUnit", "Instance Type", "vCPU", "Memory", "Region Code", "GPU")
_WORDS = tuple(f'"{values[0]}"'.encode() for values in _MUST.values() if len(values) == 1)
_FAMILY = re.compile(rb'"(?:g|gr|p)\d[a-z0-9]*(?:-g?b\d+)?\.\d*[a-z]+"')
_MONTHS = {"1yr": 12, "3yr": 36}


class Aws(Collector):
    """EC2 instances with GPUs: on demand, and reserved without upfront payment."""

    name = "aws"
    title = "AWS EC2 price list"
    hosts = ("https://pricing.us-east-1.amazonaws.com",)
    page = "https://aws.amazon.com/ec2/pricing/on-demand/"
    may_use = (_REGIONS,)
    units = "PricePerUnit: USD an hour of the whole instance; Memory: GiB; GPU: number, or a share of one"
    pagination = "one CSV a region"
    terms = "public price list; spot prices need an account and are not collected"
    max_bytes = 4096 * MIB
    max_s = 3600.0

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask region by region; one that has no list is left out."""
        for region in (keys.get(_REGIONS) or _DEFAULT_REGIONS).split(","):
            yield Request(region.strip(), _URL.format(region.strip()), may_lack=True)

    def parse(self, answers: Sequence[Answer], at: datetime) -> Rows:
        """Yield the prices of GPU machines."""
        for answer in answers:
            for line, record in _records(answer):
                yield from each(partial(self._read, answer, line, at, record), answer, line, record)

    def _read(
        self, answer: Answer, line: int, at: datetime, record: Mapping[str, str]
    ) -> Iterator[RawOffer | Reject]:
        kind = _kind(record)
        sku = record["Instance Type"]
        if kind is None or any(record[column] not in values for column, values in _MUST.items()):
            return
        gpu = _GPUS.get(sku.partition(".")[0])
        if gpu is None or not record["GPU"]:
            if record["GPU"]:
                raise Unreadable("gpu_count", f"{sku}: its family is not in our table of GPUs")
            return
        yield self.offer(
            answer,
            line,
            at,
            price=money(record["PricePerUnit"]),
            place=Place(record["Region Code"] or answer.name),
            sku=sku,
            gpu_raw=gpu[0],
            gpu_count=number(record["GPU"], "GPU"),
            vram_gib=gpu[2],
            interconnect=gpu[1],
            vcpu=record["vCPU"],
            ram_gib=_gib(record["Memory"]),
            disk_gib=_disk_gib(record.get("Storage", "")),
            **kind,
        )


def _records(answer: Answer) -> Iterator[tuple[int, dict[str, str]]]:
    """Yield the rows that may be prices of GPU machines, with their line."""
    with answer.open() as body:
        header: list[str] = []
        n_head = 0
        for text in islice(body, _HEAD_LINES):
            n_head += 1
            if text.startswith(b'"SKU"'):
                header = next(csv.reader([text.decode()]))
                break
        missing = [column for column in _COLUMNS if column not in header]
        if missing:
            raise LayoutChanged(f"{answer.name} has no column {missing[0]!r}")
        for line, raw in enumerate(body, n_head + 1):
            if all(word in raw for word in _WORDS) and _FAMILY.search(raw):
                fields = next(csv.reader([raw.decode("utf-8", "replace")]), [])
                record = dict(zip(header, fields, strict=False))
                yield line, record if len(fields) == len(header) else {}


def _kind(record: Mapping[str, str]) -> dict[str, Any] | None:
    """Return the kind of a price; None for one that we leave out."""
    if record["TermType"] == "OnDemand":
        return {} if record.get("MarketOption", "OnDemand") == "OnDemand" else None
    no_upfront = record.get("PurchaseOption") == "No Upfront" and record.get("OfferingClass") == "standard"
    months = _MONTHS.get(record.get("LeaseContractLength", ""))
    return {"kind": Kind.RESERVED, "term_months": months} if no_upfront and months else None


def _gib(text: str) -> float | None:
    found = re.fullmatch(r"([\d,]+(?:\.\d+)?) GiB", text)
    return float(found[1].replace(",", "")) if found else None


def _disk_gib(text: str) -> float | None:
    found = re.match(r"(?:(\d+) x )?([\d,]+)(?: GB)? ", text)
    return int(found[1] or 1) * float(found[2].replace(",", "")) if found else None


COLLECTOR = Aws()
