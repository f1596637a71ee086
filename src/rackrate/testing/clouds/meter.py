"""What does a cloud bill for one machine? Every second begun of everything that ran, to the micro-dollar.

Written apart from `rackrate.fleet.ledger` on purpose: the two are held against each other.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from fractions import Fraction


@dataclass
class Span:
    """Something that runs at a price.

    Attributes:
        what: `gpu` or `disk`.
        microusd_per_hour: price.
        from_s: when it began.
        to_s: when it ended; None while it runs.
    """

    what: str
    microusd_per_hour: int
    from_s: float
    to_s: float | None = None

    def charged(self, at_s: float) -> Fraction:
        """Return its micro-dollars as of an instant."""
        seconds = max(min(at_s, math.inf if self.to_s is None else self.to_s) - self.from_s, 0.0)
        return Fraction(math.ceil(seconds)) * self.microusd_per_hour / 3600


@dataclass
class Meter:
    """The meter of one machine."""

    spans: list[Span] = field(default_factory=list)

    def start(self, what: str, microusd_per_hour: int, at_s: float) -> None:
        """Let something run at a price, unless it does."""
        if not any(span.what == what and span.to_s is None for span in self.spans):
            self.spans.append(Span(what, microusd_per_hour, at_s))

    def stop(self, at_s: float, *what: str) -> None:
        """Let these end, or all where none is named."""
        for span in self.spans:
            if span.to_s is None and (not what or span.what in what):
                span.to_s = at_s

    @property
    def is_running(self) -> bool:
        """Tell whether anything is billed."""
        return any(span.to_s is None for span in self.spans)

    def microusd(self, at_s: float) -> int:
        """Return the bill as of an instant."""
        return math.ceil(self.charged(at_s))

    def charged(self, at_s: float, *what: str) -> Fraction:
        """Return the micro-dollars of these, or of all where none is named, as of any instant."""
        return sum(
            (span.charged(at_s) for span in self.spans if not what or span.what in what), start=Fraction()
        )
