"""How sure is the cost of owning, and which input does most to it?

Each input is moved to its low and to its high end, one at a time. The errors of the inputs are taken as
independent, so that what they do to a cost adds up as the root of the sum of squares; the breakeven's
ends are those of the cost's lower and upper course over time. One input alone never makes the range.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace

from rackrate.plan.economics import Ownership, breakeven_years, cost_terms, cost_usd_per_hour
from rackrate.plan.estimate import Estimate, around


@dataclass(frozen=True, slots=True)
class Ranged:
    """A result with its range.

    Attributes:
        low: at its lower end.
        value: expected.
        high: at its upper end.
    """

    low: float
    value: float
    high: float


@dataclass(frozen=True, slots=True)
class Swing:
    """What one input does when it alone moves from low to high.

    Attributes:
        says: which input.
        unit: of `low` and `high`.
        low: of the input.
        high: of the input.
        cost_usd_per_hour: of an hour of use at these two.
        breakeven_years: at these two.
    """

    says: str
    unit: str
    low: float
    high: float
    cost_usd_per_hour: tuple[float, float]
    breakeven_years: tuple[float, float]

    @property
    def reach_usd_per_hour(self) -> float:
        """Return how far it moves the cost."""
        return abs(self.cost_usd_per_hour[1] - self.cost_usd_per_hour[0])


class Doubt:
    """A machine of one's own whose inputs are not sure.

    Args:
        inputs: one for each field of `Ownership`, by its key.
    """

    def __init__(self, inputs: Iterable[Estimate]) -> None:
        self.inputs = tuple(inputs)
        self.expected = Ownership(**{each.key: each.value for each in self.inputs})
        self._moved = [
            (each, tuple(replace(self.expected, **{each.key: end}) for end in (each.low, each.high)))
            for each in self.inputs
            if not each.is_exact
        ]

    def terms(self) -> dict[str, Ranged]:
        """Return each term of an hour of use with its range, USD."""
        expected = cost_terms(self.expected)
        moved = [[cost_terms(own) for own in ends] for _, ends in self._moved]
        return {
            name: _ranged(value, [[terms[name] for terms in ends] for ends in moved])
            for name, value in expected.items()
        }

    def cost(self, years: float | None = None) -> Ranged:
        """Return an hour of use with its range, USD.

        Args:
            years: that it is kept for sure; None for the input's, which may be unsure.
        """
        moved = [[cost_usd_per_hour(own, years) for own in ends] for _, ends in self._moved]
        return _ranged(cost_usd_per_hour(self.expected, years), moved)

    def breakeven(self, rent_usd_per_hour: float) -> Ranged:
        """Return the breakeven against a rent with its range, years; `NEVER` is infinite."""
        return Ranged(
            breakeven_years(lambda years: self.cost(years).low, rent_usd_per_hour),
            self._alone(self.expected, rent_usd_per_hour),
            breakeven_years(lambda years: self.cost(years).high, rent_usd_per_hour),
        )

    def swings(self, rent_usd_per_hour: float) -> list[Swing]:
        """Return what each unsure input does alone, the strongest first."""
        found = [
            Swing(
                each.says,
                each.unit,
                each.low,
                each.high,
                (cost_usd_per_hour(low), cost_usd_per_hour(high)),
                (self._alone(low, rent_usd_per_hour), self._alone(high, rent_usd_per_hour)),
            )
            for each, (low, high) in self._moved
        ]
        return sorted(found, key=lambda swing: -swing.reach_usd_per_hour)

    @staticmethod
    def _alone(own: Ownership, rent_usd_per_hour: float) -> float:
        return breakeven_years(lambda years: cost_usd_per_hour(own, years), rent_usd_per_hour)


def _ranged(value: float, moved: list[list[float]]) -> Ranged:
    low, high = around(
        value,
        [value - min(value, *ends) for ends in moved],
        [max(value, *ends) - value for ends in moved],
    )
    return Ranged(max(low, 0.0), value, high)
