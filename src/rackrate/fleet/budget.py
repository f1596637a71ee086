"""May one more node be ordered, and must the fleet end now, so that the budget is never passed?

Nodes do not stop being billed when we decide so: a decision waits for the next look at the clock, a node
may live to the end of its lease, a provider takes its time to destroy. The sum of these is the
*exposure*. What is committed is therefore the bill as it will stand after the exposure, minimum
charges and begun steps included, and that must never be above the limit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from rackrate.fleet.ledger import Ledger, Line, Rate


@dataclass(frozen=True, slots=True)
class Budget:
    """A limit on what a fleet costs.

    Attributes:
        limit_microusd: the limit; None for none.
        exposure_s: seconds that a node may still be billed after the decision to end it.
    """

    limit_microusd: int | None = None
    exposure_s: float = 0.0

    @property
    def is_limited(self) -> bool:
        """Whether there is a limit: without one nobody need add up the bill at each event."""
        return self.limit_microusd is not None

    def committed_microusd(self, ledger: Ledger, at_s: float) -> int:
        """Return the bill if everything were ended at this instant."""
        return ledger.microusd(at_s + self.exposure_s)

    def n_allowed(self, ledger: Ledger, rate: Rate, at_s: float) -> float:
        """Return how many more nodes at `rate` may be ordered, which may be infinitely many."""
        left = self.left_microusd(ledger, at_s)
        if left is None:
            return math.inf
        one = Line("", rate, at_s).microusd(at_s + self.exposure_s)
        if not one:
            return 0 if self.is_crossed(ledger, at_s) else math.inf
        return left // one

    def is_crossed(self, ledger: Ledger, at_s: float) -> bool:
        """Tell whether everything must end at this instant."""
        return self.limit_microusd is not None and self.committed_microusd(ledger, at_s) > self.limit_microusd

    def left_microusd(self, ledger: Ledger, at_s: float) -> int | None:
        """Return what may still be committed; None without a limit."""
        if self.limit_microusd is None:
            return None
        return max(self.limit_microusd - self.committed_microusd(ledger, at_s), 0)
