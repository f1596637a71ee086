"""Many of a kind at once: dataclasses of numbers as one dataclass of arrays, and back to some of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import fields
from typing import Any, TypeVar

import numpy as np

from rackrate.perf.serving import Habits, Request
from rackrate.perf.step import Rates
from rackrate.perf.work import Work

T = TypeVar("T", Rates, Habits, Request, Work)


def stacked(items: Sequence[T], kind: type[T]) -> T:
    """Return one dataclass whose fields are arrays, an element for each of `items`."""
    return kind(**{f.name: np.array([getattr(item, f.name) for item in items], float) for f in fields(kind)})


def taken(whole: T, rows: Any) -> T:
    """Return some elements of a dataclass of arrays."""
    return type(whole)(**{f.name: getattr(whole, f.name)[rows] for f in fields(whole)})
