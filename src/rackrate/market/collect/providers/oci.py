"""Oracle: the price list of products, joined to the shapes that they make up.

A GPU shape bills one product, called its `ocpu`, for each GPU and hour. How many GPUs a shape has
stands in the list of shapes; its GPU memory is wrong for three of them and then left to the catalog.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from functools import partial
from typing import Any

from rackrate.market.collect.base import (
    Answer,
    Asking,
    Collector,
    LayoutChanged,
    Request,
    Rows,
    each,
    money,
    need,
)
from rackrate.market.normalise import Unreadable, number
from rackrate.market.offer import Kind, RawOffer

_SPOT_FRAC = 0.5  # source: docs.oracle.com, preemptible instances cost half of the on-demand price
_WRONG_MEMORY = ("MI355X", "GB200", "GB300")
_OLD = {"GPU2": "P100", "GPU3": "V100", "GPU4": "A100 40GB SXM"}
_NAMES = {"A100-v2": "A100 80GB SXM", "RTXPRO": "RTX PRO 6000 Blackwell Server", "H100": "H100 SXM",
          "H200": "H200 SXM"}  # fmt: skip
# Block volumes as they come: a GB, and ten performance units of each. Source: Oracle's documents of block
# volumes and its price list (recalled 2026-11).
_VOLUME = {"B91961": 1, "B91962": 10}
_ARM = ("GB200", "GB300", "GH200")


class Oci(Collector):
    """GPU shapes; Oracle has one price for all regions."""

    name = "oci"
    title = "Oracle Cloud price list"
    hosts = ("https://apexapps.oracle.com", "https://www.oracle.com")
    page = "https://www.oracle.com/cloud/price-list/"
    price_per = "gpu"
    units = (
        "value: USD for one GPU and hour; an OCPU is two vCPUs, on ARM one; memory: GB; block volumes: USD a "
        "GB and month, and beside it for each of their performance units"
    )
    terms = "public price API"
    parser_version = 2

    def requests(self, keys: Mapping[str, str]) -> Asking:
        """Ask for products and shapes."""
        del keys
        api = "https://apexapps.oracle.com/pls/apex/cetools/api/v1/products/"
        estimator = "https://www.oracle.com/a/ocom/docs/cloudestimator2/data"
        yield Request("shapes", f"{estimator}/shapes.json")
        found = yield Request("products", api, params={"currencyCode": "USD"}, may_lack=True)
        if found is None:
            yield Request("products", f"{estimator}/products.json")

    def parse(self, answers: Sequence[Answer], at: datetime) -> Rows:
        """Yield the GPU shapes with the price of their product."""
        by_name = {answer.name: answer for answer in answers}
        if set(by_name) != {"shapes", "products"}:
            raise LayoutChanged(f"products and shapes are needed, not {' and '.join(by_name) or 'nothing'}")
        products = {str(p.get("partNumber")): p for p in by_name["products"].items("items")}
        answer, storage = by_name["shapes"], _storage(products)
        for line, record in enumerate(answer.items("items"), 1):
            make = partial(self._read, answer, line, at, record, products, storage)
            yield from each(make, answer, line, record)

    def _read(
        self,
        answer: Answer,
        line: int,
        at: datetime,
        record: Any,
        products: Mapping[str, Any],
        storage: float | None,
    ) -> Iterator[RawOffer]:
        count = number(record.get("gpuQty"), "gpuQty")
        if not count or record.get("hidden") or record.get("status", "ACTIVE") != "ACTIVE":
            return
        name = str(need(record, "name")).removesuffix(" (NVL72)")
        billed = [p for p in need(record, "products") if _value(p.get("type")) == "ocpu"]
        if len(billed) != 1:
            raise Unreadable("malformed", f"{name} bills {len(billed)} products by the GPU, not one")
        price = _usd(products.get(str(billed[0].get("partNumber"))), name)
        is_wrong = any(word in name for word in _WRONG_MEMORY)
        total = None if is_wrong else number(record.get("gpuMemoryQty"), "gpuMemoryQty")
        ocpus = number(billed[0].get("qty"), "qty")
        said = partial(
            self.offer,
            answer,
            line,
            at,
            sku=name,
            gpu_raw=_gpu(name),
            gpu_count=count,
            vram_gib=total / count if total else None,
            vcpu=ocpus * (1 if any(word in name for word in _ARM) else 2) if ocpus else None,
            ram_gib=record.get("bundleMemoryQty"),
            storage_per_gb_month=storage,
        )
        yield said(price=price)
        if record.get("allowPreemptible"):
            yield said(price=price * _SPOT_FRAC, kind=Kind.SPOT)


def _value(said: Any) -> str:
    """Return what a field says that is text here and an object with a value there."""
    return str(said.get("value") if isinstance(said, dict) else said)


def _storage(products: Mapping[str, Any]) -> float | None:
    """Return USD a GB and month of a usual volume; None where the list lacks a part of it."""
    try:
        return sum(n * _usd(products.get(part), part, "MONTH") for part, n in _VOLUME.items())
    except Unreadable:
        return None


def _usd(product: Any, shape: str, per: str = "HOUR") -> float:
    """Return the pay-as-you-go price of a product, USD an hour or month."""
    if not isinstance(product, dict):
        raise Unreadable("no_price", f"the product of {shape} is not in the price list")
    kind = product.get("pricetype", per)
    if kind != per:
        raise Unreadable("malformed", f"the product of {shape} is sold by {kind!r}, not by the {per.lower()}")
    prices = [
        price.get("value")
        for local in product.get("currencyCodeLocalizations") or []
        if local.get("currencyCode") == "USD"
        for price in local.get("prices") or []
        if price.get("model") == "PAY_AS_YOU_GO"
    ]
    if len(prices) != 1:
        raise Unreadable("no_price", f"the product of {shape} has {len(prices)} prices in USD, not one")
    return money(prices[0])


def _gpu(shape: str) -> str:
    """Return the GPU that the name of a shape states: the word after GPU, but for the oldest."""
    parts = shape.split(".")
    for part in parts:
        if part in _OLD:
            return _OLD[part]
    after = parts[parts.index("GPU") + 1] if "GPU" in parts[:-1] else shape
    return _NAMES.get(after, re.sub(r"-v\d+$", "", after))


COLLECTOR = Oci()
