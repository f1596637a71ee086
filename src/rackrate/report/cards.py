"""Answers made of catalog facts alone: lists and cards of GPUs, models and providers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rackrate.catalog.fact import Fact
from rackrate.catalog.gpu import Gpu
from rackrate.catalog.load import sources
from rackrate.catalog.model import Model
from rackrate.catalog.provider import Provider
from rackrate.report.block import Block, Cell, Column, Table, Text, count_cell
from rackrate.report.shown import Shown


@dataclass(frozen=True)
class Listing(Shown):
    """A table of things.

    Attributes:
        title: what is listed.
        columns: of the table.
        rows: raw values.
        notes: what one must know.
    """

    title: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    notes: tuple[str, ...] = ()

    def to_dict(self) -> dict[str, Any]:
        """Return one object a row."""
        keys = [column.key for column in self.columns]
        data = [{key: _plain(value) for key, value in zip(keys, row, strict=True)} for row in self.rows]
        return {"data": data, "meta": {"n": len(data), "notes": list(self.notes)}}

    def blocks(self) -> list[Block]:
        """Return the one table."""
        return [Table(self.title, self.columns, self.rows, self.notes)]


@dataclass(frozen=True)
class Card(Shown):
    """All facts of one thing, each with its source.

    Attributes:
        title: its name.
        plain: the same as plain data.
        facts: name, with the unit in it, to the fact.
        remarks: what else one should know.
        prices: GPU, kind and USD per GPU-hour, where the thing is a provider.
        as_of: what "now" means for the prices.
    """

    title: str
    plain: Mapping[str, Any]
    facts: Mapping[str, Fact[Any]]
    remarks: tuple[str, ...]
    prices: tuple[tuple[str, str, float], ...] = ()
    as_of: datetime | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return the facts as plain data, with the sources that they name."""
        named = {fact.source for fact in self.facts.values() if fact}
        named |= {claim.source for fact in self.facts.values() for claim in fact.also}
        found = {**self.plain, "sources": source_table(named)}
        if self.prices:
            keys = ("gpu", "kind", "usd_per_gpu_hour")
            found["prices"] = [dict(zip(keys, row, strict=True)) for row in self.prices]
            found["as_of"] = self.as_of.isoformat() if self.as_of else None
        return found

    def blocks(self) -> list[Block]:
        """Return a table of facts, an unknown one with its reason; then remarks and prices."""
        blocks: list[Block] = [fact_table(self.title, self.facts)]
        if self.remarks:
            blocks.append(Text("Remarks", self.remarks))
        if self.prices:
            columns = (
                Column("gpu", "GPU"),
                Column("kind", "kind"),
                Column("usd_per_gpu_hour", "USD/GPU-h", 3),
            )
            day = f", {self.as_of:%Y-%m-%d}" if self.as_of else ""
            blocks.append(Table(f"Cheapest counted offer of each GPU and kind{day}", columns, self.prices))
        return blocks


def fact_table(title: str, facts: Mapping[str, Fact[Any]]) -> Table:
    """Return facts, sources and dates, and what other sources say instead."""
    columns = (
        Column("fact", "fact"),
        Column("value", "value"),
        Column("source", "source", absent=""),
        Column("date", "date", absent=""),
        Column("also", "others say", absent=""),
    )
    rows = []
    for name, fact in facts.items():
        source = sources().get(fact.source)
        also = "; ".join(f"{_text(claim.value)}: {claim.why}" for claim in fact.also) or None
        title_ = f"{source.title} ({source.confidence})" if source else None
        rows.append((name, fact_cell(fact), title_, source.date if source else None, also))
    return Table(title, columns, rows)


def fact_cell(fact: Fact[Any]) -> Any:
    """Return a fact for a table: a number to programs, written out for people."""
    return Cell(fact.value, fact.written()) if isinstance(fact.value, (int, float)) else fact.written()


def source_table(named: set[str]) -> dict[str, dict[str, str]]:
    """Return title, date, confidence and address of the sources of these ids."""
    found = {key: sources()[key] for key in sorted(named) if key in sources()}
    return {
        key: {"title": s.title, "date": s.date, "confidence": s.confidence, "url": s.url}
        for key, s in found.items()
    }


def gpu_list(gpus: Sequence[Gpu], tally: Sequence[tuple[Any, ...]]) -> Listing:
    """Return all GPUs with what decides, and the on-demand prices of those that are for rent."""
    columns = (
        Column("gpu", "GPU"),
        Column("name", "name"),
        Column("segment", "segment"),
        Column("architecture", "architecture"),
        Column("memory_gib", "GiB", 0, "not known"),
        Column("bandwidth_gb_per_s", "GB/s", 0, "not known"),
        Column("fp16_dense_tflops", "FP16 dense", 0, "none"),
        Column("fp8_dense_tflops", "FP8 dense", 0, "none"),
        Column("tdp_w", "W", 0, "not known"),
        Column("nvlink_gb_per_s", "NVLink GB/s", 0, "not known"),
        Column("has_graphics", "graphics"),
        Column("n_providers", "providers", 0),
        Column("low_usd_per_gpu_hour", "from USD/h", 3, "none counted"),
    )
    lows: dict[str, list[float]] = {}
    for gpu, kind, _, usd, _ in tally:
        if kind == "on_demand":
            lows.setdefault(gpu, []).append(usd)
    rows = tuple(
        (
            gpu.slug,
            gpu.name,
            gpu.segment,
            gpu.architecture,
            gpu.memory_gib.value,
            gpu.bandwidth_gb_per_s.value,
            gpu.dense_tflops("fp16").value,
            gpu.dense_tflops("fp8").value,
            gpu.tdp_w.value,
            gpu.nvlink_gb_per_s.value,
            gpu.has_graphics,
            len(lows.get(gpu.slug, ())),
            min(lows.get(gpu.slug, ()), default=None),
        )
        for gpu in gpus
    )
    notes = ("TFLOPS are dense; prices are on-demand",)
    return Listing(f"{len(rows)} GPUs", columns, rows, notes)


def model_list(models: Sequence[Model]) -> Listing:
    """Return all models with their sizes."""
    from rackrate.catalog.architecture.sizes import sizes_of  # noqa: PLC0415 - start-up

    columns = (
        Column("model", "model"),
        Column("name", "name"),
        Column("maker", "maker"),
        Column("task", "task"),
        Column("params_total", "parameters", absent="not known"),
        Column("params_active", "active", absent="not known"),
        Column("max_position_embeddings", "context", 0, "has none"),
        Column("kv_bytes_per_token_bf16", "KV bytes a token", 0, "has none"),
    )
    rows = []
    for model in models:
        sizes = sizes_of(model)
        params = map(count_cell, (sizes.params_total, sizes.params_active))
        names = (model.slug, model.name, model.maker, model.task)
        rows.append((*names, *params, sizes.context_tokens, sizes.kv_bytes_per_token))
    notes = (
        "active: what one token passes through; sizes that no source states are counted from the config",
    )
    return Listing(f"{len(rows)} models", columns, tuple(rows), notes)


def provider_list(providers: Sequence[Provider], n_offers: Mapping[str, int]) -> Listing:
    """Return all providers and how many counted offers each has now."""
    columns = (
        Column("provider", "provider"),
        Column("name", "name"),
        Column("tier", "tier", absent="not known"),
        Column("home_country", "home", absent="not known"),
        Column("billing_currency", "bills in", absent="not known"),
        Column("n_offers", "counted offers", 0),
        Column("site", "site", absent="not known"),
    )
    rows = tuple(
        (
            provider.slug,
            provider.name,
            provider.tier.value,
            provider.home_country.value,
            provider.billing_currency.value,
            n_offers.get(provider.slug, 0),
            provider.site.value,
        )
        for provider in providers
    )
    most_first = tuple(sorted(rows, key=lambda row: -row[5]))
    return Listing(
        f"{len(rows)} providers", columns, most_first, ("those with the most counted offers first",)
    )


def gpu_card(gpu: Gpu) -> Card:
    """Return every fact of a GPU."""
    return Card(gpu.name, gpu.to_dict(), gpu.facts(), gpu.remarks)


def model_card(model: Model) -> Card:
    """Return every fact of a model."""
    return Card(model.name, model.to_dict(), model.facts(), model.remarks)


def provider_card(
    provider: Provider, prices: Sequence[tuple[str, str, float]], as_of: datetime | None
) -> Card:
    """Return every fact of a provider and its prices."""
    return Card(
        provider.name, provider.to_dict(), provider.facts(), provider.remarks, tuple(sorted(prices)), as_of
    )


def _text(value: Any) -> str:
    return Column("", "").write(value)


def _plain(value: Any) -> Any:
    if isinstance(value, Cell):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def offers_by_provider(tally: Sequence[tuple[Any, ...]]) -> dict[str, int]:
    """Return the number of counted offers of each provider."""
    counts: dict[str, int] = {}
    for _, _, provider, _, n in tally:
        counts[provider] = counts.get(provider, 0) + n
    return counts
