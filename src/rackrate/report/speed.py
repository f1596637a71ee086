"""The answer to "how fast is it": speeds under each load with their ranges, a curve, and what a result costs.

A speed never stands without its load; each is the middle of a range that holds the truth in 4 cases of 5.
Prices are on-demand ones of the same day, the median of providers and the cheapest of them; of each, a
result costs what the GPUs cost in the time that it takes.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rackrate.report.block import Block, Cell, Column, Line, Table, Text
from rackrate.report.shown import Shown

if TYPE_CHECKING:
    from rackrate.pace import Curve, Pace, Situation
    from rackrate.perf.estimate import Estimate
    from rackrate.report.price import Price

TITLES: Mapping[str, tuple[str, int]] = {
    "ttft_ms": ("time to first token, ms", 0),
    "tpot_ms": ("time of each further token, ms", 2),
    "tokens_per_s": ("tokens/s", 0),
    "requests_per_s": ("requests/s", 2),
    "samples_per_s": ("sequences/s", 2),
    "images_per_s": ("images/s", 3),
    "s_per_image": ("seconds an image", 2),
    "audio_s_per_s": ("seconds of sound a second", 1),
    "real_time_factor": ("real-time factor", 4),
    "texts_per_s": ("texts/s", 0),
    "s_per_text": ("seconds of a lone text", 4),
}
"""Figures, as people call them, with the digits that matter."""

HOUR_S = 3600.0
PAID: Mapping[str, tuple[str, str, float]] = {
    "tokens_per_s": ("usd_per_output_mtok", "USD a million tokens out", 1e6),
    "images_per_s": ("usd_per_1000_images", "USD a thousand images", 1e3),
    "audio_s_per_s": ("usd_per_audio_hour", "USD an hour of sound", HOUR_S),
    "texts_per_s": ("usd_per_million_texts", "USD a million texts", 1e6),
}
"""What is paid for: name, title and how many make one."""


@dataclass(frozen=True)
class SpeedAnswer(Shown):
    """How fast a model is, and what that costs.

    Attributes:
        pace: the forecasts.
        price: of one GPU on demand; None where nobody rents it out.
        is_explained: whether the parts of each step are told.
    """

    pace: Pace
    price: Price | None
    is_explained: bool = False

    @property
    def title(self) -> str:
        """Model, GPUs and the speed that was asked for in one line."""
        where = self.pace.asked_for
        found = where.figures[self.pace.paid]
        name, digits = TITLES[self.pace.paid]
        gpus = _gpus(self.pace)
        return f"{self.pace.fit.arch.name} on {gpus}, {where.title}: {_write(found.value, digits)} {name}"

    @property
    def usd(self) -> dict[str, dict[str, float]]:
        """What a result costs under the load that was asked for: by price, with its range."""
        found = self.pace.asked_for.figures[self.pace.paid]
        return {name: self._cost(usd, found) for name, usd in self._rents().items()}

    def _rents(self) -> dict[str, float]:
        """Return USD an hour for all GPUs, at the median and at the cheapest."""
        spread = self.price.spread if self.price else None
        if spread is None:
            return {}
        n = self.pace.fit.setup.layout.n_gpus
        return {"median": n * spread.median_usd_per_gpu_hour, "cheapest": n * spread.cheapest[1]}

    def _cost(self, usd_per_hour: float, speed: Estimate) -> dict[str, float]:
        one = PAID[self.pace.paid][2] * usd_per_hour / HOUR_S
        return {"value": one / speed.value, "low": one / speed.high, "high": one / speed.low}

    def plot(self) -> Any:
        """Return the speed over requests at once as an Altair chart.

        Raises:
            NoAnswer: it has no curve: it is no language model that answers requests.
            UsageError: the chart packages are not installed.
        """
        from rackrate import chart  # noqa: PLC0415 - a heavy extra

        return chart.speed(self)

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain data."""
        pace, setup = self.pace, self.pace.fit.setup
        return {
            "model": pace.fit.arch.name,
            "gpu": pace.fit.card.gpu,
            "n_gpus": setup.layout.n_gpus,
            "layout": str(setup.layout),
            "task": setup.task,
            "engine": setup.named(),
            "precision": setup.precision.name,
            "kv_cache": setup.kv,
            "asked": pace.asked,
            "situations": [
                {
                    "title": where.title,
                    "concurrency": where.concurrency,
                    **{name: found.to_dict() for name, found in where.figures.items()},
                }
                for where in pace.situations
            ],
            "kv_room": pace.room,
            "watts": pace.watts.to_dict(),
            "usd_per_hour": self._rents(),
            PAID[pace.paid][0]: self.usd,
            "as_of": self.price.as_of.isoformat() if self.price and self.price.as_of else None,
            "curve": self._curve_rows(),
            "parts": {
                name: {
                    "compute_s": float(part.compute),
                    "memory_s": float(part.memory),
                    "joined_s": float(part.joined),
                    "link_s": float(part.link),
                    "engine_s": float(part.engine),
                    "total_s": float(part.total),
                }
                for name, part in pace.parts.items()
            },
        }

    def blocks(self) -> list[Block]:
        """Return speeds, costs, the curve, and what the numbers rest on."""
        blocks: list[Block] = [Text(self.title, (self.pace.asked, *self._says())), self.table()]
        curve = self.pace.curve
        if curve and len(curve.concurrency) > 1:
            blocks += [self._line(curve), self._curve_table(curve)]
        if self.is_explained:
            blocks.append(self._explained())
        blocks.append(Text("Assumed", self.pace.asked_for.figures[self.pace.paid].assumptions))
        near = self._nearest()
        return [*blocks, Text("Measured nearest to it", near)] if near else blocks

    def _says(self) -> list[str]:
        pace, says = self.pace, []
        if pace.room is not None:
            says.append(f"room for {pace.room:,.0f} requests of this length at once")
        low, high = pace.watts.low, pace.watts.high
        says.append(f"draws {pace.watts.value:,.0f} W ({low:,.0f} to {high:,.0f}), without the host")
        what = PAID[pace.paid][1]
        for name, cost in self.usd.items():
            of = f"the {name} of on-demand prices, {self._rents()[name]:.3f} USD/h"
            ends = f"{_money(cost['low'])} to {_money(cost['high'])}"
            says.append(f"{_money(cost['value'])} {what} ({ends}) at {of}")
        if not self.usd:
            says.append(f"what it costs is not known: nobody rents out the {pace.fit.card.gpu} on demand")
        return says

    def table(self) -> Table:
        """Return every speed with its range and what limits it."""
        columns = (
            Column("load", "load"),
            Column("figure", "figure"),
            Column("low_value", "low", 3),
            Column("value", "expected", 3),
            Column("high_value", "high", 3),
            Column("limit", "limited by"),
        )
        rows: list[tuple[Any, ...]] = []
        for where in self.pace.situations:
            rows += [_row(where, name, found) for name, found in where.figures.items()]
        notes = ("low to high holds the truth in 4 cases of 5",)
        return Table("How fast", columns, rows, notes)

    def _line(self, curve: Curve) -> Line:
        one, most, n = curve.tokens_per_s[0], curve.tokens_per_s[-1], curve.concurrency[-1]
        title = f"{most:,.0f} tokens/s with {n:,} requests, {one:,.0f} with one"
        return Line(title, curve.concurrency, curve.tokens_per_s, "requests at once", "tokens/s")

    def _curve_table(self, curve: Curve) -> Table:
        notes = ("limited by: the largest part of a step that gives each request a token",)
        return Table("Over requests at once", self._columns(), self._points(curve), notes)

    def _columns(self) -> tuple[Column, ...]:
        return (
            Column("concurrency", "requests", 0),
            Column("ttft_ms", "TTFT ms", 0),
            Column("tpot_ms", "TPOT ms", 1),
            Column("tokens_per_s", "tokens/s", 0),
            Column("tokens_per_s_per_request", "each", 1),
            Column("usd_per_output_mtok", "USD/Mtok out", 2, absent="no price"),
            Column("limit", "limited by"),
        )

    def _points(self, curve: Curve) -> list[tuple[Any, ...]]:
        usd = self._rents().get("median")
        return [
            (n, ttft, tpot, flow, flow / n, usd and 1e6 * usd / HOUR_S / flow, limit)
            for n, ttft, tpot, flow, limit in zip(
                curve.concurrency, curve.ttft_ms, curve.tpot_ms, curve.tokens_per_s, curve.limits, strict=True
            )
        ]

    def _curve_rows(self) -> list[dict[str, Any]]:
        names = [column.key for column in self._columns()]
        points = self._points(self.pace.curve) if self.pace.curve else []
        return [dict(zip(names, row, strict=True)) for row in points]

    def _explained(self) -> Table:
        columns = (
            Column("step", "a step that gives"),
            Column("compute_ms", "compute ms", 3),
            Column("memory_ms", "memory ms", 3),
            Column("joined_ms", "both ms", 3),
            Column("link_ms", "link ms", 3),
            Column("engine_ms", "engine ms", 3),
            Column("total_ms", "total ms", 3),
        )
        rows = [
            (name, *(1e3 * float(x) for x in (p.compute, p.memory, p.joined, p.link, p.engine, p.total)))
            for name, p in self.pace.parts.items()
        ]
        notes = ("both: compute and memory overlap in part; total = both + link + engine",)
        return Table("Where the time goes", columns, rows, notes)

    def _nearest(self) -> tuple[str, ...]:
        found = [near for where in self.pace.situations for e in where.figures.values() for near in e.nearest]
        return tuple(dict.fromkeys(found))[:_SHOWN]

    def __repr__(self) -> str:
        """Say the speed in one line."""
        return f"<SpeedAnswer: {self.title}>"


_SHOWN = 4


def _row(where: Situation, name: str, found: Estimate) -> tuple[Any, ...]:
    title, digits = TITLES[name]
    ends = (Cell(x, _write(x, digits)) for x in (found.low, found.value, found.high))
    return (where.title, Cell(name, title), *ends, found.limit)


def _write(value: float, digits: int) -> str:
    """Write a speed; small ones with one digit more."""
    return f"{value:,.{digits + (value < 10 and digits < 1)}f}"  # noqa: PLR2004 - one digit would be coarse


def _money(usd: float) -> str:
    return f"{usd:,.2f}" if usd >= 1 else f"{usd:.2g}"


def _gpus(pace: Pace) -> str:
    n = pace.fit.setup.layout.n_gpus
    return pace.fit.card.gpu if n == 1 else f"{n} x {pace.fit.card.gpu}"
