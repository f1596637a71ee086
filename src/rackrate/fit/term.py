"""A term of a sum of memory: its size, how sure it is, its formula and where that comes from."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

GIB = 2.0**30
Z90 = 1.645
"""Standard deviations either side of the middle that hold 90 % of a normal distribution."""


class Spread:
    """A size with its error: `gib` is expected, `sigma_gib` one standard deviation; both may be arrays."""

    __slots__ = ()
    gib: Any
    sigma_gib: Any

    @property
    def low_gib(self) -> float:
        """Lower end of the range that holds the truth in 9 cases of 10."""
        return max(float(self.gib - Z90 * self.sigma_gib), 0.0)

    @property
    def high_gib(self) -> float:
        """Upper end of that range."""
        return float(self.gib + Z90 * self.sigma_gib)


@dataclass(frozen=True, slots=True)
class Term(Spread):
    """One part of what one GPU holds, GiB.

    Attributes:
        name: what it is, for people: `weights`, `KV cache`, ...
        gib: the expected size. An array where a load is an array.
        sigma_gib: one standard deviation of the error of `gib`.
        formula: in words, with the numbers that matter.
        source: where the formula or constant was read or measured.
    """

    name: str
    gib: Any
    sigma_gib: Any
    formula: str
    source: str

    def to_dict(self) -> dict[str, Any]:
        """Return the term as plain data."""
        return {
            "name": self.name,
            "low_gib": self.low_gib,
            "gib": self.gib,
            "high_gib": self.high_gib,
            "formula": self.formula,
            "source": self.source,
        }


@dataclass(frozen=True, slots=True)
class Total(Spread):
    """A sum of terms; their errors are taken as independent.

    Attributes:
        gib: expected.
        sigma_gib: one standard deviation.
    """

    gib: Any
    sigma_gib: Any

    @classmethod
    def of(cls, terms: Iterable[Term]) -> Total:
        """Return the sum of `terms`."""
        gib, variance = 0.0, 0.0
        for term in terms:
            gib = gib + term.gib
            variance = variance + term.sigma_gib**2
        return cls(gib, variance**0.5)


def probability_below(limit: float, value: float, sigma: float) -> float:
    """Return the probability that a quantity of `value` +- `sigma` lies below `limit`."""
    if sigma <= 0:
        return 1.0 if value <= limit else 0.0
    return 0.5 * math.erfc((value - limit) / (sigma * math.sqrt(2)))


def larger(a: Any, b: Any) -> Any:
    """Return the larger of two numbers or, element by element, of two arrays.

    Written with operators, so that the formulae work on arrays without this package importing NumPy.
    """
    return (a + b + abs(a - b)) / 2


def smaller(a: Any, b: Any) -> Any:
    """Return the smaller of two numbers or, element by element, of two arrays."""
    return (a + b - abs(a - b)) / 2


def rounded_up(value: Any, step: int) -> Any:
    """Return `value` rounded up to a multiple of `step`."""
    return -(-value // step) * step
