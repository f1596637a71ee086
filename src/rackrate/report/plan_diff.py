"""What differs between two plans: what was asked, what is recommended, what it costs and does."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from rackrate.plan.answer import Plan, Row
from rackrate.plan.prices import TITLES
from rackrate.report.block import Block, Cell, Column, Table, Text
from rackrate.report.shown import Shown


@dataclass(frozen=True)
class PlanDiff(Shown):
    """Two plans side by side.

    Attributes:
        before: the first.
        after: the second.
    """

    before: Plan
    after: Plan

    def asked(self) -> dict[str, tuple[Any, Any]]:
        """Return the fields of the question that differ, before and after."""
        old, new = _flat(self.before.question), _flat(self.after.question)
        return {
            name: (old.get(name), new.get(name)) for name in {**old, **new} if old.get(name) != new.get(name)
        }

    def figures(self) -> dict[str, tuple[Any, Any]]:
        """Return the figures of the recommended rows, before and after."""
        old, new = dict(_figures(self.before.best)), dict(_figures(self.after.best))
        return {name: (old.get(name), new.get(name)) for name in {**old, **new}}

    def to_dict(self) -> dict[str, Any]:
        """Return the differences as plain data."""
        sides = ("before", "after")
        return {
            "asked": {name: dict(zip(sides, pair, strict=True)) for name, pair in self.asked().items()},
            "recommended": {
                name: dict(zip(sides, pair, strict=True)) for name, pair in self.figures().items()
            },
            "as_of": {"before": self.before.as_of, "after": self.after.as_of},
        }

    def blocks(self) -> list[Block]:
        """Return what was asked otherwise, and the recommended rows side by side."""
        lines = tuple(f"{name}: {old} -> {new}" for name, (old, new) in self.asked().items())
        columns = (
            Column("figure", "figure"),
            Column("before", "before", absent="-"),
            Column("after", "after", absent="-"),
            Column("change", "change", absent=""),
        )
        rows = [
            (name, _written(old), _written(new), _change(old, new))
            for name, (old, new) in self.figures().items()
        ]
        days = (self.before.as_of[:10] or "no date", self.after.as_of[:10] or "no date")
        return [
            Text("Asked", lines or ("the same",)),
            Table("Recommended", columns, rows, (f"prices of {days[0]} and {days[1]}",)),
        ]

    def __repr__(self) -> str:
        """Name the two recommendations, in one line."""
        return f"<PlanDiff: {self.before.best.what} -> {self.after.best.what}>"


def _flat(question: Mapping[str, Any]) -> dict[str, Any]:
    return {**question, **question["allowed"], "allowed": None}


def _figures(row: Row) -> Iterator[tuple[str, Any]]:
    yield "machines", row.what
    yield "provider", row.where
    yield "precision", row.precision
    yield "a copy", row.layout
    yield "USD/h", row.usd_per_hour.value
    for name, price in row.price.items():
        yield TITLES[name], price.value
    yield "most a second", row.capacity_per_s.value
    for name, speed in row.speed.items():
        yield name, speed.value


def _written(value: Any) -> Any:
    return Cell(value, f"{value:,.4g}") if isinstance(value, float) else value


def _change(old: Any, new: Any) -> str | None:
    if isinstance(old, float) and isinstance(new, float) and old:
        return f"{new / old - 1:+.1%}"
    return None if old == new else "other"
