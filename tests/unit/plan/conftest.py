"""What tests of plans share: a small market whose prices are round, and every GPU."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from rackrate.catalog.gpu import all_gpus
from rackrate.perf.factors import load_factors
from rackrate.plan.cards import Cards
from rackrate.plan.stock import Stock
from rackrate.plan.terms import Terms

FIELDS = ("gpu", "count", "usd_per_hour", "provider", "seller", "country", "region", "kind", "sku", "seen",
          "source", "doubt")  # fmt: skip
USUAL: dict[str, Any] = {
    "gpu": "l40s", "count": 1, "usd_per_hour": 1.0, "provider": "aws", "seller": None, "country": "US",
    "region": "us-east-1", "kind": "on_demand", "sku": "one", "seen": "2026-08-22", "source": "test",
    "doubt": "",
}  # fmt: skip

Offered = Callable[..., Stock]


@pytest.fixture(scope="session")
def cards() -> Cards:
    """Return every GPU of the catalog."""
    return Cards(all_gpus(), load_factors("llm"))


@pytest.fixture(scope="session")
def offered() -> Offered:
    """Return a function that makes a stock of offers, each a dictionary of what is unusual of it.

    What an offer costs beside the hour is not known where it is not given.
    """

    def make(*offers: dict[str, Any]) -> Stock:
        rows = [USUAL | offer for offer in offers]
        beside = {name: [row.get(name, math.nan) for row in rows] for name in Terms.__dataclass_fields__}
        terms = Terms(**{name: np.array(values, float) for name, values in beside.items()})
        return Stock.of({name: [row[name] for row in rows] for name in FIELDS}, terms)

    return make
