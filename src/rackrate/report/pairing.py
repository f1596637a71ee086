"""The answers to "which models run here" and "where does this model run": set-up, memory, speed and price."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from functools import cached_property
from typing import Any

from rackrate.catalog.architecture.sizes import sizes_of
from rackrate.catalog.model import Model
from rackrate.choice import Choice, Sketch
from rackrate.fit.solve import Fit
from rackrate.report.block import Block, Cell, Column, Table, count_cell, count_words
from rackrate.report.on_gpu import why_not
from rackrate.report.price import Price
from rackrate.report.shown import Shown
from rackrate.report.speed import PAID, TITLES, SpeedAnswer

_SET_UP = (
    Column("usd", "USD", None, "no price"),
    Column("usd_unit", "USD for", absent="no price"),
    Column("speed", "speed", absent="not modelled"),
    Column("speed_unit", "unit of speed", absent="not modelled"),
    Column("gpu_count", "GPUs", 0, "does not fit"),
    Column("precision", "precision", absent="does not fit"),
    Column("longest_context_tokens", "longest context", 0, "has none"),
    Column("most_concurrent_count", "at once", 0, "none"),
    Column("weights_gib", "weights GiB", 1, "not known"),
    Column("kv_gib", "KV GiB", 1, "has none"),
    Column("overhead_gib", "other GiB", 1, "not known"),
    Column("usable_gib", "of GiB", 1, "not known"),
    Column("why_not", "why not", absent=""),
)
_MODEL = (
    Column("model", "model"),
    Column("maker", "maker"),
    Column("task", "kind"),
    Column("params_total", "parameters", absent="not known"),
    Column("params_active", "active", absent="not known"),
)


@dataclass(frozen=True)
class Pair:
    """A model on a GPU.

    Attributes:
        model: its facts.
        gpu: slug.
        choice: the smallest set-up that fits, or what came nearest.
        speed: of that set-up, or why it is not known; empty where it does not fit.
    """

    model: Model
    gpu: str
    choice: Choice
    speed: SpeedAnswer | str

    @property
    def fit(self) -> Fit | None:
        """The set-up that fits, or that came nearest."""
        return self.choice.fit or self.choice.nearest

    @property
    def usd(self) -> Mapping[str, float] | None:
        """What a unit of the result costs at the median on-demand price, with its range."""
        return self.speed.usd.get("median") if isinstance(self.speed, SpeedAnswer) else None

    @property
    def flow(self) -> tuple[float, float, float, str] | None:
        """Low, expected and high speed under the usual load, and its unit."""
        if not isinstance(self.speed, SpeedAnswer):
            return None
        found = self.speed.pace.asked_for.figures[self.speed.pace.paid]
        return found.low, found.value, found.high, TITLES[self.speed.pace.paid][0]

    @property
    def why_not(self) -> str:
        """Why it does not fit, or why its speed is not known; empty where both are."""
        if self.choice.fit:
            return self.speed if isinstance(self.speed, str) else ""
        return why_not(self.choice.nearest) if self.choice.nearest else self.choice.why_not

    def params_words(self) -> str:
        """Write the parameters, the active ones too where they are fewer."""
        sizes = sizes_of(self.model)
        total, active = sizes.params_total, sizes.params_active
        if not total:
            return "not known"
        some = f" ({count_words(active)} active)" if active and active < _ACTIVE * total else ""
        return count_words(total) + some

    def flow_words(self) -> str:
        """Write the speed with its range."""
        if not self.flow:
            return ""
        low, value, high, unit = (_rounded(x).text if isinstance(x, float) else x for x in self.flow)
        return f"{value} {unit} ({low} to {high})"

    def usd_words(self) -> str:
        """Write what a unit of the result costs with its range."""
        if not self.usd or not isinstance(self.speed, SpeedAnswer):
            return ""
        low, value, high = (_rounded(self.usd[end]).text for end in ("low", "value", "high"))
        return f"${value} {PAID[self.speed.pace.paid][1].removeprefix('USD ')} ({low} to {high})"

    @cached_property
    def figures(self) -> Mapping[str, Any]:
        """What is known of the set-up, by the keys of its columns."""
        fit, flow, usd = self.choice.fit, self.flow, self.usd
        is_priced = isinstance(self.speed, SpeedAnswer) and usd
        return {
            "usd": usd and _rounded(usd["value"]),
            "usd_unit": PAID[self.speed.pace.paid][1].removeprefix("USD ") if is_priced else None,  # type: ignore[union-attr]
            "speed": flow and _rounded(flow[1]),
            "speed_unit": flow and flow[3],
            "gpu_count": fit.setup.layout.n_gpus if fit else None,
            "precision": fit.setup.precision.name if fit else None,
            **(_reach(fit) if fit else {}),
            **(_memory(self.fit) if self.fit else {}),
            "why_not": self.why_not or None,
        }

    def values(self) -> tuple[Any, ...]:
        """Return the values of the set-up's columns."""
        return tuple(map(self.figures.get, (column.key for column in _SET_UP)))


@dataclass(frozen=True)
class ModelsOn(Shown):
    """Models on one GPU.

    Attributes:
        gpu: slug.
        task: what is done with them.
        pairs: those shown.
        first: matching models before the first shown.
        n_matching: models that match.
        every: each model of the catalog with its set-up, in short.
        price: of the GPU on demand; None where nobody rents it out.
    """

    gpu: str
    task: str
    pairs: tuple[Pair, ...]
    first: int
    n_matching: int
    every: tuple[Sketch, ...]
    price: Price | None

    @property
    def n_fitting(self) -> int:
        """Models that fit on one GPU or several."""
        return sum(each.n_gpus > 0 for each in self.every)

    def by_precision(self) -> dict[str, int]:
        """Return how many models fit on a single GPU, by the widest precision."""
        counts: dict[str, int] = {}
        for each in self.every:
            if each.n_gpus == 1:
                counts[each.precision] = counts.get(each.precision, 0) + 1
        return dict(sorted(counts.items(), key=lambda item: -item[1]))

    def to_dict(self) -> dict[str, Any]:
        """Return one object a model, and the counts."""
        return {
            "gpu": self.gpu,
            "task": self.task,
            "data": [_plain(row, _MODEL + _SET_UP) for row in self.rows()],
            "meta": {
                "n_models": len(self.every),
                "n_fitting": self.n_fitting,
                "n_matching": self.n_matching,
                "first": self.first,
                "n_on_one_gpu_by_precision": self.by_precision(),
                "as_of": self.price.as_of.isoformat() if self.price and self.price.as_of else None,
            },
        }

    def rows(self) -> list[tuple[Any, ...]]:
        """Return the table's rows."""
        return [(*_names(pair.model), *pair.values()) for pair in self.pairs]

    def blocks(self) -> list[Block]:
        """Return one table."""
        shown = f"{self.first + 1} to {self.first + len(self.pairs)}" if self.pairs else "none"
        title = f"{self.gpu}, {self.task}: {self.n_fitting} of {len(self.every)} models fit"
        notes = (f"shown: {shown} of {self.n_matching} that match", *_NOTES)
        return [Table(title, _MODEL + _SET_UP, self.rows(), notes)]


@dataclass(frozen=True)
class GpusFor(Shown):
    """One model on the GPUs that are for rent.

    Attributes:
        model: its facts.
        task: what is done with it.
        pairs: the cheapest result first, then those without a price.
        as_of: instant of the newest listing used.
        version: of the market's data.
    """

    model: Model
    task: str
    pairs: tuple[Pair, ...]
    as_of: datetime | None
    version: str

    def to_dict(self) -> dict[str, Any]:
        """Return one object a GPU."""
        columns = (Column("gpu", "GPU"), *_SET_UP)
        return {
            "model": self.model.slug,
            "task": self.task,
            "data": [_plain((pair.gpu, *pair.values()), columns) for pair in self.pairs],
            "meta": {"as_of": self.as_of.isoformat() if self.as_of else None, "dataset": self.version},
        }

    def blocks(self) -> list[Block]:
        """Return one table."""
        shown = self._columns()
        columns = (Column("gpu", "GPU"), *shown.values())
        rows = [(pair.gpu, *(pair.figures.get(key) for key in shown)) for pair in self.pairs]
        title = f"{self.model.name}, {self.task}: on the {len(rows)} GPUs that are for rent"
        return [Table(title, columns, rows, tuple(_NOTES))]

    def _columns(self) -> dict[str, Column]:
        """Return the columns of the set-up by their keys: a unit that all share in the header."""
        found = [pair.figures for pair in self.pairs]
        shown = {column.key: column for column in _SET_UP}
        for key in ("usd", "speed"):
            units = {each[f"{key}_unit"] for each in found} - {None}
            if len(units) == 1:
                unit = str(units.pop())
                title = f"USD {unit}" if key == "usd" else unit
                shown[key] = replace(shown[key], key=_as_key(title), title=title)
                del shown[f"{key}_unit"]
        if not any(each["why_not"] for each in found):
            del shown["why_not"]
        return shown


_ACTIVE = 0.9  # a smaller share is worth saying

_NOTES = (
    (
        "the fewest GPUs and on them the widest precision that fits with 95% and more; memory is of the "
        "fullest GPU"
    ),
    (
        "speed: 16 requests of 1,000 + 300 tokens at once, or what is usual of its kind; "
        "USD at the median on-demand price"
    ),
)


def _names(model: Model) -> Iterator[Any]:
    yield from (model.slug, model.maker, model.task)
    sizes = sizes_of(model)
    yield from map(count_cell, (sizes.params_total, sizes.params_active))


def _memory(fit: Fit) -> dict[str, float | None]:
    found = fit.estimate
    weights, kv = float(found.gib("weights")), float(found.gib("KV cache"))
    has_kv = bool(fit.arch.caches) and not fit.setup.is_training
    return {
        "weights_gib": weights,
        "kv_gib": kv if has_kv else None,
        "overhead_gib": float(found.total.gib) - weights - kv,
        "usable_gib": found.limit_gib,
    }


def _reach(fit: Fit) -> dict[str, int | None]:
    has_context = fit.arch.task not in ("image", "asr")
    return {
        "longest_context_tokens": fit.longest_context if has_context else None,
        "most_concurrent_count": fit.most_concurrent,
    }


def _as_key(title: str) -> str:
    return title.lower().replace("/", "_per_").replace(" ", "_")


def _rounded(value: float) -> Cell:
    """Write a figure with three digits that count."""
    return Cell(value, f"{value:,.0f}" if value >= 99.95 else f"{value:#.3g}")  # noqa: PLR2004


def _plain(row: tuple[Any, ...], columns: tuple[Column, ...]) -> dict[str, Any]:
    return {
        column.key: value.value if isinstance(value, Cell) else value
        for column, value in zip(columns, row, strict=True)
    }
