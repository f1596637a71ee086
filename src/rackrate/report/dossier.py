"""The dossier of one GPU: what it is, what it costs, who rents it, what it suits, beside its peers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import partial
from typing import Any

from rackrate.catalog.gpu import Gpu
from rackrate.catalog.workload import CAPABILITIES, suitable_workloads
from rackrate.market.offer import Kind
from rackrate.report.block import Block, Column, Table, Text
from rackrate.report.cards import fact_cell, gpu_card
from rackrate.report.compare import Comparison, link_name
from rackrate.report.offers import Offers, age_of, is_fresh
from rackrate.report.parity import Parity
from rackrate.report.price import Price
from rackrate.report.shown import Shown

_SHEET = (
    "memory_gib", "memory_visible_gib", "bandwidth_gb_per_s", "fp16_tensor_tflops", "fp8_tensor_tflops",
    "int8_tensor_tops", "fp4_tensor_tflops", "fp32_tflops", "measured_matmul_bf16_tflops", "tdp_w",
    "nvlink_gb_per_s", "pcie_gen", "form_factor", "rt_cores", "graphics_apis", "nvenc", "nvdec",
    "mig_instances", "street_usd",
)  # fmt: skip


@dataclass(frozen=True)
class Dossier(Shown):
    """Everything on one GPU.

    Attributes:
        gpu: its facts.
        price: what it costs, on-demand first.
        offers: current offers of one GPU, cheapest first, all kinds.
        bundles: current whole instances whose vCPU and memory are stated, cheapest per GPU first.
        comparison: the GPU beside those that it is most often weighed against.
        parity: what one could have for its price or less.
        purchases: instant, USD and source of what one card cost to buy, oldest first.
        names: how current price lists write it.
    """

    gpu: Gpu
    price: Price
    offers: Offers
    bundles: Offers
    comparison: Comparison
    parity: Parity
    purchases: tuple[tuple[Any, ...], ...]
    names: tuple[str, ...]

    def plot(self) -> Any:
        """Return the price history as an Altair chart.

        Raises:
            NoAnswer: fewer than two days of history.
            UsageError: the chart packages are not installed.
        """
        from rackrate import chart  # noqa: PLC0415 - a heavy extra

        return chart.history(self.price)

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain data."""
        return {
            "gpu": gpu_card(self.gpu).to_dict(),
            "price": self.price.to_dict(),
            "offers": self.offers.to_dict(),
            "bundles": self.bundles.to_dict(),
            "workloads": [
                {"workload": s.workload.slug, "verdict": s.verdict, "reasons": list(s.reasons)}
                for s in suitable_workloads(self.gpu)
            ],
            "comparison": self.comparison.to_dict(),
            "parity": self.parity.to_dict(),
            "names": list(self.names),
            "purchases": [
                {"at": at.isoformat(), "usd": usd, "source": source} for at, usd, source in self.purchases
            ],
        }

    def blocks(self) -> list[Block]:
        """Return the dossier in the order in which people ask."""
        blocks: list[Block] = [self._what(), *self._cost()]
        if self.offers.rows:
            blocks.append(self._who())
        if self.bundles.rows:
            blocks.append(self._bundles())
        beside = Text("Beside others", self.comparison.sentences())
        return [*blocks, self._workloads(), beside, *self.parity.blocks(), self._own()]

    def _what(self) -> Table:
        gpu = self.gpu
        facts = gpu.facts()
        columns = (Column("fact", "fact"), Column("value", "value"), Column("source", "source", absent=""))
        rows = [(name, fact_cell(facts[name]), facts[name].source or None) for name in _SHEET]
        chips = [gpu.segment, gpu.architecture, gpu.chip, gpu.memory_label]
        chips.append(f"{gpu.tdp_w.value:g} W" if gpu.tdp_w else "")
        chips.append({True: link_name(gpu), False: "no NVLink", None: ""}[CAPABILITIES["nvlink"](gpu)])
        chips.append(
            {True: "graphics kept", False: "compute only", None: ""}[CAPABILITIES["graphics_api"](gpu)]
        )
        also = (f"price lists write it: {', '.join(self.names)}",) if self.names else ()
        notes = (
            *gpu.remarks,
            *also,
            f"all facts, with dates and what others say: rackrate gpus show {gpu.slug}",
        )
        return Table(f"{gpu.name} ({', '.join(filter(None, chips))})", columns, rows, notes)

    def _cost(self) -> Iterator[Block]:
        if self.price.spread is None:
            yield Text("Price", (f"no counted {self.price.kind} offer of the {self.gpu.slug} in these data",))
            return
        yield self.price.rent_table()
        yield self.price.spread_table()
        if len(self.price.history) > 1:
            yield self.price.line()
            yield Text("Price history", tuple(self.price.history_words()))

    def _who(self) -> Table:
        columns = (
            Column("provider", "provider"),
            Column("kind", "kind"),
            Column("tier", "tier"),
            Column("gpu_count", "n", 0),
            Column("usd_per_gpu_hour", "USD/GPU-h", 3),
            Column("region", "region"),
            Column("age", "age"),
            Column("source_url", "seen at"),
        )
        age = partial(age_of, as_of=self.offers.as_of)
        rows = [
            (
                o.provider,
                o.kind.value,
                o.tier,
                o.gpu_count,
                o.usd_per_gpu_hour,
                o.region,
                age(o),
                o.source_url,
            )
            for o in self.offers
        ]
        hidden = self.offers.n_matching - len(self.offers)
        more = (
            (f"{hidden} more: rackrate offers --gpu {self.gpu.slug} --kind any --limit 0",) if hidden else ()
        )
        return Table("Where to rent it: cheapest offer of each provider and kind", columns, rows, more)

    def _bundles(self) -> Table:
        columns = (
            Column("provider", "provider"),
            Column("sku", "instance"),
            Column("gpu_count", "GPUs", 0),
            Column("vcpu", "vCPU", 0),
            Column("ram_gib", "RAM GiB", 0),
            Column("disk_gib", "disk GiB", 0),
            Column("kind", "kind"),
            Column("country", "country"),
            Column("usd_per_hour", "USD/h", 3),
            Column("usd_per_gpu_hour", "USD/GPU-h", 3),
            Column("age", "age"),
        )
        age = partial(age_of, as_of=self.offers.as_of)
        rows = [(*(getattr(o, column.key) for column in columns[:-1]), age(o)) for o in self.bundles]
        notes = ("lists made once: shown with their date, not counted in the spread",)
        return Table("Instances (GPU + vCPU + RAM + disk), cheapest per GPU first", columns, rows, notes)

    def _workloads(self) -> Table:
        columns = (Column("workload", "workload"), Column("verdict", "verdict"), Column("why", "why"))
        rows = [(s.workload.name, s.verdict, "; ".join(s.reasons)) for s in suitable_workloads(self.gpu)]
        return Table("Suitable workloads", columns, rows)

    def _own(self) -> Text:
        gpu = self.gpu
        lines = []
        if gpu.msrp_usd:
            lines.append(f"launch price {gpu.msrp_usd.value:,.0f} USD")
        else:
            lines.append(f"launch price: {gpu.msrp_usd.unknown}")
        if gpu.street_usd:
            lines.append(
                f"street price {gpu.street_usd.value:,.2f} USD on {gpu.street_date.value or 'no date'}"
            )
        if self.purchases:
            at, usd, source = self.purchases[-1]
            lines.append(
                f"{len(self.purchases)} prices of the card; newest {usd:,.2f} USD on {at:%Y-%m-%d} ({source})"
            )
        lines.append(f"rent or own: rackrate own {gpu.slug}")
        return Text("To buy", tuple(lines))

    def __repr__(self) -> str:
        """Say what it is and what it costs, in one line."""
        return f"<Dossier: {self.gpu.name}, {self.price!r}>"


def cheapest_each(offers: Offers) -> Offers:
    """Return the cheapest current offer of each provider and kind, from offers sorted by price.

    Those that count today come first, and before a cheaper one of the same provider that gives no date.
    """
    now = offers.as_of
    pairs = sorted(zip(offers, offers.rows, strict=True), key=lambda pair: not is_fresh(pair[0], now))
    kept: dict[tuple[str, str], tuple[Any, ...]] = {}
    for offer, row in pairs:
        kept.setdefault((offer.provider, offer.kind), row)
    return replace(offers, found=replace(offers.found, rows=tuple(kept.values())))


def bundles_of(offers: Offers, n: int = 12) -> Offers:
    """Return whole instances whose vCPU and memory are stated: the cheapest of each provider and size."""
    seen: set[tuple[str, str | None]] = set()
    kept = []
    for row, offer in zip(offers.rows, offers, strict=True):
        whole = offer.vcpu is not None and offer.ram_gib is not None and offer.kind is Kind.ON_DEMAND
        if whole and (offer.provider, offer.sku) not in seen:
            seen.add((offer.provider, offer.sku))
            kept.append(row)
    found = replace(offers.found, rows=tuple(kept[:n]), count=lambda: (len(kept), {}))
    return replace(offers, found=found)
