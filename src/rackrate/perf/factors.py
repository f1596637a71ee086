"""What of the data sheet is reached in practice: a small table of factors, each the product of a few numbers.

A factor has a base and multipliers for those of its keys that were measured: the efficiency of the memory of
an L40S under vLLM is base x ada x l40s. A GPU that was never measured has its class, a class that was never
measured the base; the fit (`bench/fit_perf.py`) pulls every multiplier towards 1 as far as few cases speak
for it. So there is one rule for known and unknown hardware, and the table can be printed and read.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from rackrate.errors import CatalogInvalid

_DATA = Path(__file__).parent / "data"
BASE = "all"


@dataclass(frozen=True, slots=True, eq=False)
class Factors:
    """Every factor.

    Attributes:
        values: by the factor's name: `all` is its base, every other key a multiplier.
        date: when they were fitted.
    """

    values: Mapping[str, Mapping[str, float]]
    date: str = ""

    def value(self, name: str, *keys: str) -> float:
        """Return a factor: its base times the multipliers of those keys that have one.

        >>> Factors({"memory": {"all": 0.8, "ada": 1.1}}).value("memory", "ada", "l40s") == 0.8 * 1.1
        True

        Raises:
            CatalogInvalid: there is no such factor.
        """
        try:
            row = self.values[name]
            found = row[BASE]
        except KeyError:
            raise CatalogInvalid(f"the table of factors has no {name}") from None
        for key in keys:
            found *= row.get(key, 1.0)
        return found

    def is_measured(self, name: str, key: str) -> bool:
        """Tell whether cases spoke for a key of a factor."""
        return key in self.values.get(name, {})


@cache
def load_factors(name: str) -> Factors:
    """Return the factors of `data/<name>.toml`.

    Raises:
        CatalogInvalid: the file is missing or is no table of factors.
    """
    try:
        found = tomllib.loads((_DATA / f"{name}.toml").read_text("utf-8"))
        return Factors(found["factors"], str(found["date"]))
    except (FileNotFoundError, KeyError, tomllib.TOMLDecodeError) as error:
        raise CatalogInvalid(f"no table of factors {name}: {error}") from error
