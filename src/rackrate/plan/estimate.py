"""How large is it, how sure is that, and who says so: the inputs of a plan, each with its range and source.

Constants stand in `data/*.toml`, dated, with what is usual (low to high) and what is possible (least to
most). What a person gives takes the place of the constant: a number is exact, `0.12..0.20` is a range.
"""

from __future__ import annotations

import math
import tomllib
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

from rackrate.catalog.fact import Source
from rackrate.errors import BadQuantity, CatalogInvalid
from rackrate.units import parse_number

_DATA = Path(__file__).parent / "data"


@dataclass(frozen=True, slots=True)
class Estimate:
    """A quantity with its range.

    Attributes:
        key: name for programs, with its unit.
        says: what it is, for people.
        unit: of the three figures; empty for a ratio.
        value: expected.
        low: least that is usual.
        high: most that is usual.
        source: who says so, and when.
    """

    key: str
    says: str
    unit: str
    value: float
    low: float
    high: float
    source: str

    @property
    def is_exact(self) -> bool:
        """Tell whether there is no doubt about it."""
        return self.low == self.high

    def times(self, factor: float, source: str) -> Estimate:
        """Return it multiplied, with another source."""
        ends = {name: getattr(self, name) * factor for name in ("value", "low", "high")}
        return replace(self, **ends, source=source)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "key": self.key,
            "says": self.says,
            "unit": self.unit,
            "value": self.value,
            "low": self.low,
            "high": self.high,
            "source": self.source,
        }


def around(value: float, below: list[float], above: list[float]) -> tuple[float, float]:
    """Return low and high of a sum whose independent errors reach so far below and above it."""
    return value - math.hypot(*below), value + math.hypot(*above)


@cache
def table(name: str) -> dict[str, Any]:
    """Return the parsed file `data/<name>.toml`, its sources as `Source`.

    Raises:
        CatalogInvalid: the file is missing or is not TOML.
    """
    try:
        found = tomllib.loads((_DATA / f"{name}.toml").read_text(encoding="utf-8"))
    except (FileNotFoundError, tomllib.TOMLDecodeError) as error:
        raise CatalogInvalid(f"the constants {name}.toml cannot be read: {error}") from error
    found["sources"] = {key: Source(id=key, **row) for key, row in found["sources"].items()}
    return found


def constant(key: str, row: dict[str, Any], sources: dict[str, Source]) -> Estimate:
    """Return an entry of a table as an estimate that names title, date and reason."""
    source = sources[row["source"]]
    says = "assumed" if source.id == "assumed" else f"{source.title}, {source.date}"
    why = f"{says}: {row['why']}"
    return Estimate(key, row["says"], row["unit"], row["value"], row["low"], row["high"], why)


@cache
def known(name: str, key: str) -> Estimate:
    """Return a constant of `data/<name>.toml` with its range and source."""
    data = table(name)
    return constant(key, data[key], data["sources"])


def given(key: str, row: dict[str, Any], value: float | str) -> Estimate:
    """Return what a person gave: `0.15`, or `0.12..0.20`, whose middle is then the value.

    Args:
        key: of the input.
        row: its entry, with what is possible.
        value: number or text.

    Raises:
        BadQuantity: not a number or range, or outside of what is possible.
    """
    what, (low, high) = row["says"], _ends(str(value), row["says"])
    least, most = row["least"], row["most"]
    if low > high:
        why = f"{what}: {str(value)!r} has its low end above its high end"
        raise BadQuantity(why, hint=f"turn it round: {high:g}..{low:g}")
    if wrong := [end for end in (low, high) if not least <= end <= most]:
        unit = f" {row['unit']}" if row["unit"] else ""
        hint = f"the nearest that can be: {min(max(wrong[0], least), most):.10g}"
        raise BadQuantity(
            f"{what}: {str(value)!r} is not between {least:,.10g} and {most:,.10g}{unit}", hint=hint
        )
    return Estimate(key, what, row["unit"], (low + high) / 2, low, high, "you")


def _ends(text: str, what: str) -> tuple[float, float]:
    low, dots, high = text.partition("..")
    try:
        first = parse_number(low.strip().removeprefix("$"), what)
        return first, parse_number(high.strip().removeprefix("$"), what) if dots else first
    except BadQuantity:
        hint = "write it like 0.15 or 0.12..0.20"
        raise BadQuantity(f"{what}: {text!r} is not a number or range", hint=hint) from None
