"""Rent or own: what does an hour of use cost on a machine of one's own, and after how long is that less?

A machine of one's own costs whether it is used or not, so its price falls on the hours of use:

    card, host   (price - proceeds of the sale, discounted) x recovery / hours of use a year
    support      share of the price a year / hours of use a year
    electricity  mean watts at the wall x PUE x price of a kWh, of all hours / hours of use
    colocation   watts that it may draw at the wall x price of a kW-month / hours of use

The recovery factor spreads a sum over years with interest; at rate 0 it is a straight line. Proceeds
fall by the same share every year. The breakeven is the time over which an owned hour comes to cost what
a rented one does; since proceeds fall with time, it is solved for, and may be never.

Left out: taxes, working time, network, insurance, the room, and that rents change.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

from rackrate.units import HOURS_PER_DAY, HOURS_PER_YEAR

DAYS_PER_YEAR = HOURS_PER_YEAR / HOURS_PER_DAY
MONTHS_PER_YEAR = 12
LONGEST_YEARS = 10.0
"""A card that pays only after this never does: nobody would run it any more."""

NEVER = math.inf
_SHORTEST_YEARS = 1 / DAYS_PER_YEAR
_HALVINGS = 30  # of ten years: to the second
_NOTHING = 1e-12  # what floating point leaves of a difference that is none


@dataclass(frozen=True, slots=True)
class Ownership:
    """One GPU of one's own, in a host that it shares.

    Attributes:
        price_usd: of the card.
        host_usd: of the whole host without GPUs.
        gpus_per_host: that share it.
        power_w: power limit of the card.
        idle_frac: power while idle, of the limit.
        load_frac: how far from idle to limit it works while in use.
        host_factor: power at the wall over that of the GPUs.
        pue: power of the site over that of the machine.
        kwh_usd: price of electricity, USD/kWh.
        colo_usd_per_kw_month: colocation for a kW that may be drawn.
        hours_per_day: of use.
        years: that it is kept.
        resale_frac: share of its value that card and host keep each year.
        selling_frac: share of the proceeds that a sale costs.
        rate_frac: cost of money a year.
        support_frac: support and failures a year, of the price.
    """

    price_usd: float
    host_usd: float
    gpus_per_host: float
    power_w: float
    idle_frac: float
    load_frac: float
    host_factor: float
    pue: float
    kwh_usd: float
    colo_usd_per_kw_month: float
    hours_per_day: float
    years: float
    resale_frac: float
    selling_frac: float
    rate_frac: float
    support_frac: float

    @property
    def host_share_usd(self) -> float:
        """Return what the host costs for one GPU."""
        return self.host_usd / self.gpus_per_host

    @property
    def busy_w(self) -> float:
        """Return the watts at the wall for one GPU while in use."""
        share = self.idle_frac + self.load_frac * (1 - self.idle_frac)
        return self.power_w * share * self.host_factor

    @property
    def idle_w(self) -> float:
        """Return the watts at the wall for one GPU while it waits."""
        return self.power_w * self.idle_frac * self.host_factor

    @property
    def mean_w(self) -> float:
        """Return the watts at the wall for one GPU over all hours."""
        used = self.hours_per_day / HOURS_PER_DAY
        return used * self.busy_w + (1 - used) * self.idle_w

    @property
    def most_w(self) -> float:
        """Return the watts at the wall for one GPU at its limit, which a colocation reserves."""
        return self.power_w * self.host_factor

    def kept_frac(self, years: float) -> float:
        """Return the share of the price that a sale brings after some years."""
        return float((1 - self.selling_frac) * self.resale_frac**years)

    def kwh_per_hour(self) -> float:
        """Return the electricity for an hour of use, site and idle hours included, kWh."""
        return self.mean_w * HOURS_PER_DAY / self.hours_per_day * self.pue / 1000

    def co2_kg_per_hour(self, g_co2_per_kwh: float) -> float:
        """Return the carbon of an hour of use, kg CO2e: of electricity, not of the making."""
        return self.kwh_per_hour() * g_co2_per_kwh / 1000


def recovery(rate_frac: float, years: float) -> float:
    """Return the yearly payment that pays back 1 with interest over some years.

    Source: the annuity formula, r / (1 - (1 + r)^-T); 1 / T without interest.
    """
    if rate_frac < _NOTHING:
        return 1 / years
    return -rate_frac / math.expm1(-years * math.log1p(rate_frac))


def cost_terms(own: Ownership, years: float | None = None) -> dict[str, float]:
    """Return what an hour of use costs, by term, USD.

    Args:
        own: the machine.
        years: that it is kept, where not `own.years`.
    """
    kept = own.years if years is None else years
    hours_per_year = own.hours_per_day * DAYS_PER_YEAR
    discount = (1 + own.rate_frac) ** -kept
    wear = (1 - own.kept_frac(kept) * discount) * recovery(own.rate_frac, kept) / hours_per_year
    colo_usd_per_year = own.most_w / 1000 * own.colo_usd_per_kw_month * MONTHS_PER_YEAR
    return {
        "card": own.price_usd * wear,
        "host": own.host_share_usd * wear,
        "support": own.support_frac * (own.price_usd + own.host_share_usd) / hours_per_year,
        "electricity": own.kwh_per_hour() * own.kwh_usd,
        "colocation": colo_usd_per_year / hours_per_year,
    }


def cost_usd_per_hour(own: Ownership, years: float | None = None) -> float:
    """Return what an hour of use costs in all, USD."""
    return sum(cost_terms(own, years).values())


def breakeven_years(cost_after: Callable[[float], float], rent_usd_per_hour: float) -> float:
    """Return how long a machine must be kept until an owned hour costs no more than a rented one.

    What owning has saved falls at first, while the value falls fast, and then rises: it passes zero once,
    so that halving finds the place.

    Args:
        cost_after: USD for an hour of use when the machine is kept for so many years.
        rent_usd_per_hour: of one GPU.

    Returns:
        Years; `NEVER` when that takes longer than a card is of use.
    """
    if cost_after(LONGEST_YEARS) > rent_usd_per_hour:
        return NEVER
    low, high = _SHORTEST_YEARS, LONGEST_YEARS
    if cost_after(low) <= rent_usd_per_hour:
        return low
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if cost_after(middle) <= rent_usd_per_hour else (middle, high)
    return high


@dataclass(frozen=True, slots=True)
class SimpleView:
    """Rent or own as rental pages reckon it: price, power limit at all hours of use, a tariff, no more.

    Attributes:
        price_usd: of the card.
        power_w: power limit of the card.
        kwh_usd: price of electricity, USD/kWh.
        hours_per_day: of use.
    """

    price_usd: float
    power_w: float
    kwh_usd: float
    hours_per_day: float

    @property
    def electricity_usd_per_hour(self) -> float:
        """Return the electricity of an hour of use, USD."""
        return self.power_w / 1000 * self.kwh_usd

    def breakeven_days(self, rent_usd_per_hour: float) -> float:
        """Return the days until rents saved have paid for the card; `NEVER` where power costs more."""
        saved_usd_per_hour = rent_usd_per_hour - self.electricity_usd_per_hour
        if saved_usd_per_hour <= _NOTHING:
            return NEVER
        return self.price_usd / (saved_usd_per_hour * self.hours_per_day)
