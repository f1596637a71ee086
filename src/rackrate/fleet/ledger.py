"""What have the nodes cost, and what would they have cost at a later instant?

Money is whole micro-USD: sums of a bill must not depend on their order. A node is billed from the
instant the provider was asked to make it until it said that it destroys it, or a listing that once had it
lacked it, once later listings have borne that out; both err on the dear side, by the time of a call. An order
of which no listing, call or answer ever showed a machine is 0. Where a provider bills less until a machine
runs, that holds until the node called home: what it takes from running to calling is billed too low. Of one
that never called nobody knows, and it counts as running.

    billed seconds = max(seconds, least), rounded up to whole steps
    cost = billed seconds x rate / 3600, rounded up to a micro-USD

That sum is what a budget is held against. Beside it stands what can be known: *at least* what a machine
costs from the answer that it is made to the last time that it called home; *at most* the whole time at the
whole price. A machine that never called home may have been billed for anything in between, from nothing on:
one that fails as it starts is not billed as one that runs.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, replace

from rackrate.errors import BadQuantity

MICROUSD = 1_000_000
_SECONDS_PER_HOUR = 3600


@dataclass(frozen=True, slots=True)
class Rate:
    """How a provider bills one node.

    Attributes:
        microusd_per_hour: price.
        least_s: seconds that are billed in any case.
        step_s: seconds that are billed as a whole.
        waiting_microusd_per_hour: price until the machine runs, its disk's for one; None for the same.
    """

    microusd_per_hour: int = 0
    least_s: int = 0
    step_s: int = 1
    waiting_microusd_per_hour: int | None = None

    def __post_init__(self) -> None:
        waiting = self.waiting_microusd_per_hour or 0
        if min(self.microusd_per_hour, waiting, self.least_s) < 0 or self.step_s < 1:
            hint = "price and minimum are 0 or more, a billing step is 1 s or more"
            raise BadQuantity(f"{self} is no way to bill", hint=hint)

    @property
    def waiting(self) -> Rate:
        """Return how a machine is billed that does not run yet."""
        price = self.waiting_microusd_per_hour
        return self if price is None else Rate(price, step_s=self.step_s)

    def microusd(self, seconds: float) -> int:
        """Return what so many seconds cost.

        Example:
            >>> Rate(3_600_000, least_s=60, step_s=60).microusd(61)
            120000
        """
        steps = math.ceil(max(seconds, self.least_s) / self.step_s)
        return -(-steps * self.step_s * self.microusd_per_hour // _SECONDS_PER_HOUR)


@dataclass(frozen=True, slots=True)
class Line:
    """One node of a bill.

    Attributes:
        node: its name.
        rate: how it is billed.
        from_s: instant of the order.
        to_s: instant it was gone; None while it runs.
        runs_from_s: instant from which it is known to have run; None where it is not.
        made_s: instant at which it is known to have been made; None where that is `runs_from_s`.
        heard_s: last instant at which it is known to have run; None where it never called home.
    """

    node: str
    rate: Rate
    from_s: float
    to_s: float | None = None
    runs_from_s: float | None = None
    made_s: float | None = None
    heard_s: float | None = None

    def seconds(self, at_s: float) -> float:
        """Return the seconds to pay for, as of an instant."""
        return max((at_s if self.to_s is None else self.to_s) - self.from_s, 0.0)

    def microusd(self, at_s: float) -> int:
        """Return what it costs, as of an instant; of one that runs, what it will have cost by then."""
        seconds = self.seconds(at_s)
        if self.to_s is not None and not seconds:
            return 0  # it never was
        waited_s = 0.0
        if self.rate.waiting_microusd_per_hour is not None and self.runs_from_s is not None:
            waited_s = min(max(self.runs_from_s - self.from_s, 0.0), seconds)
        waited = self.rate.waiting.microusd(waited_s) if waited_s else 0
        return waited + self.rate.microusd(seconds - waited_s)

    def most_microusd(self, at_s: float) -> int:
        """Return what it costs at most, as of an instant: as if it had run from the order on."""
        return replace(self, runs_from_s=None).microusd(at_s)

    def least_microusd(self) -> int:
        """Return what it costs at least: for the time in which it is known to have been there."""
        if self.heard_s is None or self.to_s == self.from_s:
            return 0
        runs_from_s = self.heard_s if self.runs_from_s is None else self.runs_from_s
        made_s = runs_from_s if self.made_s is None else min(self.made_s, runs_from_s)
        as_if_it_ran = self.rate.microusd(self.heard_s - made_s)
        if self.rate.waiting_microusd_per_hour is None:
            return as_if_it_ran
        waited = self.rate.waiting.microusd(math.floor(runs_from_s - made_s))
        return min(waited + self.rate.microusd(self.heard_s - runs_from_s), as_if_it_ran)


@dataclass(frozen=True, slots=True)
class Ledger:
    """The bill of a fleet."""

    lines: tuple[Line, ...] = ()

    @classmethod
    def of(cls, lines: Iterable[Line]) -> Ledger:
        """Return the bill of these lines."""
        return cls(tuple(lines))

    def microusd(self, at_s: float) -> int:
        """Return the sum as of an instant."""
        return sum(line.microusd(at_s) for line in self.lines)

    def most_microusd(self, at_s: float) -> int:
        """Return the most that it can be as of an instant, by what was seen."""
        return sum(line.most_microusd(at_s) for line in self.lines)

    def least_microusd(self) -> int:
        """Return the least that it can be, by what was seen."""
        return sum(line.least_microusd() for line in self.lines)

    def microusd_per_hour(self) -> int:
        """Return what an hour of the nodes that run costs."""
        return sum(line.rate.microusd_per_hour for line in self.lines if line.to_s is None)
