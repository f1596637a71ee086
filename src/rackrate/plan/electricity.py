"""What does a kWh cost and emit there?

Prices are averages of what businesses pay in a region of the world; a country has its region's. Carbon
is what the country's own power stations emit for a kWh, without the making of the machine.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rackrate.errors import UnknownName, nearest
from rackrate.plan.estimate import Estimate, table

WORLD = "world"
LIMITS: dict[str, Any] = {"says": "electricity", "unit": "USD/kWh", "least": 0, "most": 5}
"""Of a price that a person gives."""


@dataclass(frozen=True, slots=True)
class Place:
    """Where a machine stands.

    Attributes:
        name: for people.
        kwh_usd: price of electricity, USD/kWh.
        g_co2_per_kwh: carbon of a kWh, g CO2e; None where no country is named.
        carbon_source: of that figure; empty without one.
    """

    name: str
    kwh_usd: Estimate
    g_co2_per_kwh: float | None
    carbon_source: str


def find_place(name: str = WORLD) -> Place:
    """Return the place of that name: an ISO code of two letters, a country's name, or a region.

    Raises:
        UnknownName: none of these, with the nearest.
        CatalogInvalid: the table cannot be read.
    """
    data = table("electricity")
    countries, regions = data["countries"], data["regions"]
    folded = name.strip().casefold()
    region = folded.replace(" ", "-")
    if region in regions:
        return Place(region, _kwh(region), None, "")
    codes = {code.casefold(): code for code in countries}
    by_name = codes | {row["name"].casefold(): code for code, row in countries.items()}
    if folded not in by_name:
        near = nearest(folded, [*(row["name"] for row in countries.values()), *regions])
        raise UnknownName("place", name, near or list(regions))
    row = countries[by_name[folded]]
    source = data["sources"]["carbon"]
    year = row.get("year", source.date)
    return Place(row["name"], _kwh(row["region"]), row["g_co2_per_kwh"], f"{source.title}, of {year}")


def _kwh(region: str) -> Estimate:
    """Return the price in a region: of the world from the cheapest to the dearest, else with its doubt."""
    data = table("electricity")
    prices, doubt, source = data["regions"], data["doubt_frac"], data["sources"]["price"]
    value = prices[region]
    low, high = value * (1 - doubt), value * (1 + doubt)
    why = f"average of {region}, within which prices differ by {doubt:.0%}"
    if region == WORLD:
        low, high, why = min(prices.values()), max(prices.values()), "average; cheapest and dearest region"
    says = f"{source.title}, {source.date}: {why}"
    return Estimate("kwh_usd", LIMITS["says"], LIMITS["unit"], value, low, high, says)
