"""What the speed model answers: a value, how far off it may be, what limits it, and what it rests on."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

LIMITS = ("compute", "memory", "KV room", "link", "host", "queue")
"""What keeps a run from being faster."""


@dataclass(frozen=True, slots=True)
class Estimate:
    """A predicted quantity.

    Attributes:
        value: expected, in `unit`.
        low: lower end of the range that holds the truth in 4 cases of 5.
        high: upper end of it.
        unit: `tokens/s`, `ms`, `s`, `images/s`, `W`, ...
        limit: one of `LIMITS`.
        assumptions: what the number rests on, for people.
        nearest: measured cases that are most like this one, each with its value and source.
    """

    value: float
    low: float
    high: float
    unit: str
    limit: str
    assumptions: tuple[str, ...] = ()
    nearest: tuple[str, ...] = field(default=())

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "unit": self.unit,
            "limit": self.limit,
            "assumptions": list(self.assumptions),
            "nearest": list(self.nearest),
        }
