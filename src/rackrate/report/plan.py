"""The answer to "which one": a recommendation with its reasons, the ranking, what is faster for more."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rackrate.plan.answer import Plan, Row
from rackrate.plan.prices import TITLES
from rackrate.plan.question import FAMILIES, ROUGH
from rackrate.plan.words import money, time_words
from rackrate.report.block import Block, Cell, Column, Table, Text
from rackrate.report.shown import Shown

_SMALL_USD = 0.01  # below which three digits after the point say nothing
_BAR = 24  # characters of the longest bar

_Read = Callable[[Row], Any]
_WHO: tuple[tuple[Column, _Read], ...] = (
    (Column("gpus", "machines"), lambda row: row.what),
    (Column("engine", "engine"), lambda row: row.engine),
    (Column("precision", "precision"), lambda row: row.precision),
    (Column("layout", "a copy"), lambda row: row.layout),
    (Column("provider", "provider"), lambda row: row.provider),
    (Column("region", "region"), lambda row: row.region or row.country or None),
    (Column("kind", "kind"), lambda row: row.kind),
    (Column("usd_per_hour", "USD/h", 2), lambda row: row.usd_per_hour.value),
)
_OF_WEIGHTS = ("precision", "layout")
_ROOM: tuple[tuple[Column, _Read], ...] = (
    (Column("capacity_per_s", "most/s", 3), lambda row: row.capacity_per_s.value),
    (
        Column("utilisation_frac", "used", 2),
        lambda row: Cell(row.utilisation_frac, f"{row.utilisation_frac:.0%}"),
    ),
    (Column("limit", "limit"), lambda row: row.limit),
    (Column("headroom_gib", "GiB free", 1), lambda row: row.headroom_gib),
)
_SPEEDS: tuple[tuple[str, Column, float], ...] = (
    ("hours", Column("hours", "h", 2), 1.0),
    ("ttft_s", Column("ttft_s", "TTFT s", 2), 1.0),
    ("tpot_s", Column("tpot_ms", "TPOT ms", 1), 1e3),
)
"""What is shown of a speed, where a workload has it, and in what it is multiplied."""


@dataclass(frozen=True)
class PlanAnswer(Shown):
    """Which machines to rent, and why.

    Attributes:
        plan: as data.
        is_explained: whether the formulae are written out.
    """

    plan: Plan
    is_explained: bool = False

    @property
    def best(self) -> Row:
        """The row that is recommended."""
        return self.plan.best

    @property
    def rows(self) -> tuple[Row, ...]:
        """The best ways, the best first."""
        return self.plan.rows

    @property
    def title(self) -> str:
        """Model, machines, place and price in one line."""
        best = self.best
        price = f"{money(best.usd_per_hour.value)} USD/h"
        how = (best.precision, best.engine) if best.precision else ()
        return f"{self.plan.name}: " + ", ".join((f"{best.what} at {best.where}", *how, price))

    def plot(self) -> Any:
        """Return cost and time of the rows as an Altair chart.

        Raises:
            UsageError: the chart packages are not installed.
        """
        from rackrate import chart  # noqa: PLC0415 - a heavy extra

        return chart.frontier(self)

    def to_dict(self) -> dict[str, Any]:
        """Return the plan as plain data, see `rackrate.plan.answer`."""
        return self.plan.to_dict()

    def blocks(self) -> list[Block]:
        """Return recommendation, ranking, frontier, what is left out, and what it rests on."""
        plan = self.plan
        blocks: list[Block] = [
            Text(self.title, ("; ".join(plan.asked), *plan.reasons)),
            self.ranking(),
        ]
        family = FAMILIES[str(plan.question["workload"])]
        if family != ROUGH:  # of which nobody knows how long a result takes
            blocks.append(self.frontier())
        if plan.question["instead_of"]:
            blocks.append(self.instead())
        if plan.excluded:
            blocks.append(self._excluded())
        if self.is_explained:
            blocks.append(Text("How it is reckoned", plan.explained))
        blocks.append(Text("To know", (*plan.remarks, *plan.assumptions)))
        return blocks

    def ranking(self) -> Table:
        """Return the rows, the best first."""
        plan = self.plan
        columns = [*self._who(), *self._speeds(), *self._prices(), *self._room()]
        notes = (
            f"the best of each shape, provider and kind; {plan.n_ways} ways, {plan.n_offers:,} offers",
            "low to high holds the truth in 4 cases of 5",
        )
        return Table(
            "Ranking",
            tuple(column for column, _ in columns),
            self._rows(self.rows, columns),
            notes,
            is_asked_for=True,
        )

    def frontier(self) -> Table:
        """Return the ways that nothing beats in both cost and time."""
        slowest = max(row.speed["seconds"].value for row in self.plan.frontier)

        def bar(row: Row) -> Cell:
            seconds = row.speed["seconds"].value
            return Cell(seconds, f"{time_words(seconds):>8} " + "█" * max(round(seconds / slowest * _BAR), 1))

        columns = [*self._who(), *self._prices()[1:2], (Column("seconds", "takes"), bar)]
        what = "run" if self.plan.question["amount"] else "request"
        return Table(
            f"Faster for more: nothing is both cheaper and faster ({what} of the question)",
            tuple(column for column, _ in columns),
            self._rows(self.plan.frontier, columns),
        )

    def instead(self) -> Table:
        """Return what costs no more than a GPU and is faster, that GPU first."""
        slug, rows = self.plan.question["instead_of"], self.plan.instead
        columns = [*self._who(), *self._speeds(), *self._prices()[1:2]]
        title = f"Instead of {slug}: for the same price or less, and faster"
        if not rows:
            title = f"Instead of {slug}: it does not do this work in these data, see what is left out"
        elif len(rows) == 1:
            title = f"Instead of {slug}: nothing is faster for its price or less"
        return Table(title, tuple(column for column, _ in columns), self._rows(rows, columns))

    def _who(self) -> list[tuple[Column, _Read]]:
        """Return the columns of what and where; the engine is one where there is a choice."""
        hidden = set(() if self.best.precision else _OF_WEIGHTS)
        if len(self.plan.engines) == 1:
            hidden.add("engine")
        return [each for each in _WHO if each[0].key not in hidden]

    def _room(self) -> list[tuple[Column, _Read]]:
        """Return what a stream could do beyond its load, and the memory that is left."""
        return [
            (column, read)
            for column, read in _ROOM
            if (column.key == "headroom_gib" and self.best.precision)
            or (column.key != "headroom_gib" and "hours" not in self.best.speed)
        ]

    def _rows(self, rows: Sequence[Row], columns: Sequence[tuple[Column, _Read]]) -> list[tuple[Any, ...]]:
        return [tuple(read(row) for _, read in columns) for row in rows]

    def _speeds(self) -> list[tuple[Column, _Read]]:
        return [(column, _speed(name, by)) for name, column, by in _SPEEDS if name in self.best.speed]

    def _prices(self) -> list[tuple[Column, _Read]]:
        """Return the first price of a unit with its range, and the others."""
        name, *others = self.best.price
        digits = _digits(self.best.price[name].low)
        return [
            (Column(f"{name}_low", "low", digits), lambda row: row.price[name].low),
            (Column(name, TITLES[name], digits), lambda row: row.price[name].value),
            (Column(f"{name}_high", "high", digits), lambda row: row.price[name].high),
            *(self._other_price(other) for other in others),
        ]

    def _other_price(self, name: str) -> tuple[Column, _Read]:
        return Column(name, TITLES[name], _digits(self.best.price[name].value)), _price(name)

    def _excluded(self) -> Table:
        columns = (
            Column("n", "n", 0),
            Column("what", "of"),
            Column("rule", "why not"),
            Column("examples", "such as", absent=""),
        )
        rows = [
            (each.n, each.what, each.rule, ", ".join(each.examples) or None) for each in self.plan.excluded
        ]
        return Table("Left out", columns, rows)

    def __repr__(self) -> str:
        """Say what is recommended, in one line."""
        return f"<PlanAnswer: {self.title}>"


def _digits(usd: float) -> int:
    """Return the digits after the point that tell a small price from its neighbours."""
    return 3 if usd >= _SMALL_USD else 2 - math.floor(math.log10(usd)) if usd > 0 else 3


def _speed(name: str, by: float) -> _Read:
    return lambda row: row.speed[name].value * by


def _price(name: str) -> _Read:
    return lambda row: row.price[name].value
