"""The answer to "rent or own": the page's simple reckoning, the full one with its range, and what decides.

Both stand against the market of one kind. A breakeven that never comes reads `never`, in every form.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from rackrate.plan.doubt import Doubt, Ranged, Swing
from rackrate.plan.economics import LONGEST_YEARS, SimpleView
from rackrate.plan.electricity import Place
from rackrate.plan.explain import explained
from rackrate.report.block import Block, Cell, Column, Stack, Table, Text
from rackrate.report.shown import Shown
from rackrate.units import HOURS_PER_DAY, HOURS_PER_MONTH

_DAYS_PER_MONTH = HOURS_PER_MONTH / HOURS_PER_DAY
_BAR = 24  # characters

GIVEN = "given"
"""Kind of rents that are not the market's."""


@dataclass(frozen=True, slots=True)
class Rent:
    """What owning is weighed against.

    Attributes:
        against: `median`, `cheapest`, `dearest` or `yours`.
        who: provider, or how many of them.
        usd_per_hour: of one GPU.
    """

    against: str
    who: str
    usd_per_hour: float


@dataclass(frozen=True)
class OwnAnswer(Shown):
    """Whether to rent or to own one GPU.

    Attributes:
        gpu: slug.
        kind: how the rents are sold, or `GIVEN`.
        doubt: the machine, with its inputs and their ranges.
        place: where it would stand.
        rents: what it is weighed against, the one that decides first; empty where there is none.
        remarks: what is old or missing.
        as_of: instant of the newest listing used; None without a market.
        version: of the market's data.
        is_explained: whether the formulae are written out.
    """

    gpu: str
    kind: str
    doubt: Doubt
    place: Place
    rents: tuple[Rent, ...]
    remarks: tuple[str, ...] = ()
    as_of: datetime | None = None
    version: str = ""
    is_explained: bool = False

    @property
    def cost(self) -> Ranged:
        """USD for an hour of use of one's own machine."""
        return self.doubt.cost()

    @property
    def simple(self) -> SimpleView:
        """The reckoning of rental pages, with the same price, limit, tariff and hours."""
        own = self.doubt.expected
        return SimpleView(own.price_usd, own.power_w, own.kwh_usd, own.hours_per_day)

    @property
    def verdict(self) -> str:
        """`rent`, `own`, `too close to call` or, without a rent, `no rent to compare with`."""
        return self._verdict(self.rents[0]) if self.rents else "no rent to compare with"

    @property
    def title(self) -> str:
        """GPU, use, verdict in one line."""
        return f"{self.gpu} for {self.doubt.expected.hours_per_day:g} h a day: {self.verdict}"

    def plot(self) -> Any:
        """Return what an hour costs by years kept as an Altair chart.

        Raises:
            UsageError: the chart packages are not installed.
        """
        from rackrate import chart  # noqa: PLC0415 - a heavy extra

        return chart.ownership(self)

    def to_dict(self) -> dict[str, Any]:
        """Return all numbers as plain data; a breakeven that never comes is `never`."""
        own, simple = self.doubt.expected, self.simple
        return {
            "gpu": self.gpu,
            "kind": self.kind,
            "verdict": self.verdict,
            "place": self.place.name,
            "cost_usd_per_hour": _range_dict(self.cost),
            "against": [
                {
                    "against": rent.against,
                    "provider": rent.who,
                    "usd_per_hour": rent.usd_per_hour,
                    "verdict": self._verdict(rent),
                    "breakeven_years": _range_dict(self.doubt.breakeven(rent.usd_per_hour)),
                    "simple_rent_usd_per_day": rent.usd_per_hour * simple.hours_per_day,
                    "simple_rent_usd_per_month": rent.usd_per_hour * simple.hours_per_day * _DAYS_PER_MONTH,
                    "simple_breakeven_days": _or_never(simple.breakeven_days(rent.usd_per_hour)),
                    "simple_breakeven_months": _or_never(
                        simple.breakeven_days(rent.usd_per_hour) / _DAYS_PER_MONTH
                    ),
                }
                for rent in self.rents
            ],
            "simple": {
                "price_usd": simple.price_usd,
                "power_w": simple.power_w,
                "electricity_usd_per_day": simple.electricity_usd_per_hour * simple.hours_per_day,
            },
            "terms_usd_per_hour": {name: _range_dict(term) for name, term in self.doubt.terms().items()},
            "power": {
                "busy_w": own.busy_w,
                "idle_w": own.idle_w,
                "kwh_per_hour": own.kwh_per_hour(),
                "co2_kg_per_hour": self._co2_kg_per_hour(),
            },
            "years": [dict(zip(_YEARS, row, strict=True)) for row in self._years()],
            "sensitivity": [
                {
                    "input": swing.says,
                    "unit": swing.unit,
                    "low": swing.low,
                    "high": swing.high,
                    "cost_usd_per_hour": list(swing.cost_usd_per_hour),
                    "breakeven_years": [_or_never(years) for years in swing.breakeven_years],
                }
                for swing in self._swings()
            ],
            "inputs": [each.to_dict() for each in self.doubt.inputs],
            "formulae": list(self.formulae()),
            "remarks": list(self.remarks),
            "meta": {"as_of": self.as_of.isoformat() if self.as_of else None, "dataset": self.version},
        }

    def blocks(self) -> list[Block]:
        """Return the verdict, the simple and the full view, where it goes, what decides, and the inputs."""
        blocks: list[Block] = [Text(self.title, tuple(self._summary())), self._simple_text()]
        if self.rents:
            blocks += [self.against_table(), self.stack()]
        blocks += [self.terms_table(), self.years_table(), self.swings_table(), self.inputs_table()]
        if self.is_explained:
            blocks.append(Text("How it is reckoned", tuple(self.formulae())))
        return blocks

    def _summary(self) -> Iterator[str]:
        own, cost = self.doubt.expected, self.cost
        yield f"owned: {cost.value:.3f} USD for an hour of use ({cost.low:.3f} to {cost.high:.3f})"
        for rent in self.rents:
            years = self.doubt.breakeven(rent.usd_per_hour)
            yield (
                f"{rent.against} rent: {rent.usd_per_hour:.3f} USD ({rent.who}): {self._verdict(rent)}, "
                f"breakeven {_years(years)}"
            )
        yield (
            f"power at the wall: {own.busy_w:.0f} W in use, {own.idle_w:.0f} W idle; with PUE "
            f"{own.kwh_per_hour():.2f} kWh for an hour of use"
        )
        carbon = self._co2_kg_per_hour()
        yield (
            "carbon: not reckoned, no country is named (--country DE)"
            if carbon is None
            else f"carbon: {carbon:.3f} kg CO2e for an hour of use, {self.place.name} "
            f"({self.place.g_co2_per_kwh:g} g/kWh, {self.place.carbon_source})"
        )
        yield from self.remarks

    def _co2_kg_per_hour(self) -> float | None:
        grams = self.place.g_co2_per_kwh
        return None if grams is None else self.doubt.expected.co2_kg_per_hour(grams)

    def _verdict(self, rent: Rent) -> str:
        cost = self.cost
        if cost.low <= rent.usd_per_hour <= cost.high:
            return "too close to call"
        return "own" if cost.high < rent.usd_per_hour else "rent"

    def _simple_text(self) -> Text:
        simple = self.simple
        hours = simple.hours_per_day
        power = simple.electricity_usd_per_hour * hours
        lines = [
            f"own: electricity {power:.2f} USD a day, {simple.power_w:g} W at {simple.kwh_usd:g} USD/kWh"
        ]
        for rent in self.rents:
            day = rent.usd_per_hour * hours
            days = simple.breakeven_days(rent.usd_per_hour)
            after = "never" if math.isinf(days) else f"{days:,.0f} days, {days / _DAYS_PER_MONTH:.1f} months"
            lines.append(
                f"rent, {rent.against}: {day:,.2f} USD a day, {day * _DAYS_PER_MONTH:,.2f} a month; "
                f"breakeven on {simple.price_usd:,.2f} USD: {after}"
            )
        lines.append("without server, PUE, idle hours, colocation, repairs, interest and resale")
        return Text("Simple view, as rental pages have it", tuple(lines))

    def against_table(self) -> Table:
        """Return both views against each rent."""
        columns = (
            Column("view", "view"),
            Column("against", "against"),
            Column("provider", "provider"),
            Column("rent_usd_per_hour", "rent USD/h", 3),
            Column("own_low_usd_per_hour", "own low", 3, absent="not reckoned"),
            Column("own_usd_per_hour", "own USD/h", 3, absent="not reckoned"),
            Column("own_high_usd_per_hour", "own high", 3, absent="not reckoned"),
            Column("breakeven_low_years", "breakeven low", 2, absent="not reckoned"),
            Column("breakeven_years", "breakeven years", 2),
            Column("breakeven_high_years", "breakeven high", 2, absent="not reckoned"),
            Column("verdict", "verdict", absent="not reckoned"),
        )
        cost = self.cost
        rows: list[tuple[Any, ...]] = []
        for rent in self.rents:
            days = self.simple.breakeven_days(rent.usd_per_hour)
            simply = _never(days * HOURS_PER_DAY / (HOURS_PER_MONTH * 12))
            head = (rent.against, rent.who, rent.usd_per_hour)
            rows.append(("simple", *head, None, None, None, None, simply, None, None))
            years = self.doubt.breakeven(rent.usd_per_hour)
            ends = (_never(years.low), _never(years.value), _never(years.high))
            rows.append(("full", *head, cost.low, cost.value, cost.high, *ends, self._verdict(rent)))
        rows.sort(key=lambda row: row[0] == "full")
        notes = (
            f"rents: {self._kind_words()}; never: not within {LONGEST_YEARS:g} years",
            "full breakeven: kept so long, with what a sale would then bring, an owned hour costs the rent",
            "low to high: the inputs' ranges below, taken as independent",
        )
        return Table("Against the market", columns, rows, notes, is_asked_for=True)

    def _kind_words(self) -> str:
        return "as you gave them" if self.kind == GIVEN else f"{self.kind}, one kind only"

    def stack(self) -> Stack:
        """Return the terms of an hour of use on top of each other, with the rent that decides."""
        rent, cost = self.rents[0], self.cost.value
        more = cost / rent.usd_per_hour - 1 if rent.usd_per_hour else math.inf
        says = f"{more:.0%} more than" if more >= 0 else f"{-more:.0%} less than"
        return Stack(
            f"An hour of use costs {cost:.2f} USD owned, {says} the {rent.against} rent",
            tuple((name, term.value) for name, term in self.doubt.terms().items()),
            rent.usd_per_hour,
            rent.usd_per_hour,
            "USD/h",
            "rent",
        )

    def terms_table(self) -> Table:
        """Return each term of an hour of use with its range and share."""
        columns = (
            Column("term", "what"),
            Column("low_usd_per_hour", "low USD/h", 3),
            Column("usd_per_hour", "USD/h", 3),
            Column("high_usd_per_hour", "high USD/h", 3),
            Column("share_frac", "share"),
        )
        total = self.cost
        rows = [
            (name, term.low, term.value, term.high, Cell(share := term.value / total.value, f"{share:.0%}"))
            for name, term in self.doubt.terms().items()
        ]
        rows.append(("total", total.low, total.value, total.high, Cell(1.0, "100%")))
        return Table("Where it goes: an hour of use", columns, rows)

    def years_table(self) -> Table:
        """Return what an hour of use costs by how long the machine is kept."""
        columns = (
            Column("years", "kept years", 0),
            Column("resale_usd", "sells for USD", 0),
            Column("low_usd_per_hour", "low USD/h", 3),
            Column("usd_per_hour", "USD/h", 3),
            Column("high_usd_per_hour", "high USD/h", 3),
        )
        note = "card and share of the host, less what the sale costs"
        return Table("By how long it is kept", columns, self._years(), (note,))

    def _years(self) -> list[tuple[float, ...]]:
        own = self.doubt.expected
        rows: list[tuple[float, ...]] = []
        for years in range(1, round(LONGEST_YEARS) + 1):
            cost = self.doubt.cost(years)
            resale = (own.price_usd + own.host_share_usd) * own.kept_frac(years)
            rows.append((years, resale, cost.low, cost.value, cost.high))
        return rows

    def swings_table(self) -> Table:
        """Return what each unsure input does alone, the strongest first, as a table and as bars."""
        columns = (
            Column("input", "input"),
            Column("low", "low"),
            Column("high", "high"),
            Column("unit", "unit"),
            Column("at_low_usd_per_hour", "USD/h at low", 3),
            Column("at_high_usd_per_hour", "USD/h at high", 3),
            Column("breakeven_at_low_years", "years at low", 2),
            Column("breakeven_at_high_years", "years at high", 2),
            Column("bar", ""),
        )
        swings, cost = self._swings(), self.cost.value
        ends = [usd for swing in swings for usd in swing.cost_usd_per_hour] or [cost]
        rows = [
            (
                swing.says,
                _figure(swing.low),
                _figure(swing.high),
                swing.unit,
                *swing.cost_usd_per_hour,
                *map(_never, swing.breakeven_years),
                _bar(sorted(swing.cost_usd_per_hour), cost, min(ends), max(ends)),
            )
            for swing in swings
        ]
        against = (
            f"breakeven against the {self.rents[0].against} rent" if self.rents else "no rent: no breakeven"
        )
        note = (
            f"each moves alone; {against}; bar: USD/h from {min(ends):.2f} to {max(ends):.2f}, | {cost:.2f}"
        )
        return Table("What decides", columns, rows, (note,))

    def _swings(self) -> list[Swing]:
        return self.doubt.swings(self.rents[0].usd_per_hour if self.rents else 0.0)

    def inputs_table(self) -> Table:
        """Return every input with its range and source."""
        columns = (
            Column("input", "input"),
            Column("low", "low"),
            Column("value", "value"),
            Column("high", "high"),
            Column("unit", "unit"),
            Column("source", "source"),
        )
        rows = [
            (
                each.says,
                "" if each.is_exact else _figure(each.low),
                _figure(each.value),
                "" if each.is_exact else _figure(each.high),
                each.unit,
                each.source,
            )
            for each in self.doubt.inputs
        ]
        return Table("Inputs", columns, rows)

    def formulae(self) -> Iterator[str]:
        """Yield each formula with its numbers in."""
        yield from explained(self.doubt.expected)
        simple = self.simple
        for rent in self.rents:
            yield (
                f"simple breakeven, {rent.against} = {simple.price_usd:,.2f} / (({rent.usd_per_hour:.3f} - "
                f"{simple.power_w / 1000:g} x {simple.kwh_usd:g}) x {simple.hours_per_day:g}) days"
            )

    def __repr__(self) -> str:
        """Say the verdict and the cost in one line."""
        return f"<OwnAnswer: {self.title}, {self.cost.value:.3f} USD/h owned>"


_SHORT_YEARS = 0.1  # below which one digit after the point says nothing
_YEARS = ("years", "resale_usd", "low_usd_per_hour", "usd_per_hour", "high_usd_per_hour")


def _or_never(value: float) -> float | str:
    return "never" if math.isinf(value) else value


def _range_dict(found: Ranged) -> dict[str, float | str]:
    return {end: _or_never(getattr(found, end)) for end in ("low", "value", "high")}


def _never(years: float) -> float | Cell:
    return Cell("never", "never") if math.isinf(years) else years


def _years(found: Ranged) -> str:
    """Write a breakeven with its range for people."""
    ends = (found.low, found.value, found.high)
    digits = 1 if found.value >= _SHORT_YEARS else 2
    low, value, high = ("never" if math.isinf(t) else f"{t:.{digits}f}" for t in ends)
    return "never" if low == "never" else f"{value} years ({low} to {high})".replace("never years", "never")


def _figure(value: float) -> Cell:
    return Cell(value, f"{value:,.4g}" if abs(value) < 1000 else f"{value:,.0f}")  # noqa: PLR2004


def _bar(ends: list[float], expected: float, least: float, most: float) -> str:
    """Draw where an input moves the cost to, and where it stands."""

    def at(usd: float) -> int:
        return round((usd - least) / ((most - least) or 1.0) * (_BAR - 1))

    cells = [" "] * _BAR
    for cell in range(at(ends[0]), at(ends[1]) + 1):
        cells[cell] = "█"
    cells[at(expected)] = "|"
    return "".join(cells).rstrip()
