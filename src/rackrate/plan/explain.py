"""How was the cost of an owned hour reckoned: each formula of `economics` in words, with its numbers in."""

from __future__ import annotations

from collections.abc import Iterator

from rackrate.plan.economics import DAYS_PER_YEAR, Ownership, cost_terms, recovery


def explained(own: Ownership) -> Iterator[str]:
    """Yield the formulae of an hour of use in their order, each with numbers and result."""
    terms = cost_terms(own)
    hours = own.hours_per_day * DAYS_PER_YEAR
    yield f"hours of use a year = {own.hours_per_day:g} h x 365 = {hours:,.0f}"
    yield from _wear(own, terms, hours)
    price_usd = own.price_usd + own.host_share_usd
    yield f"support = {own.support_frac:g} x {price_usd:,.2f} / {hours:,.0f} = {terms['support']:.4f} USD/h"
    yield (
        f"watts in use = {own.power_w:g} x ({own.idle_frac:g} + {own.load_frac:g} x {1 - own.idle_frac:g}) x "
        f"{own.host_factor:g} = {own.busy_w:.1f}; idle {own.idle_w:.1f}; over all hours {own.mean_w:.1f}"
    )
    yield (
        f"electricity = {own.mean_w:.1f} W x 24 / {own.hours_per_day:g} x {own.pue:g} / 1000 x "
        f"{own.kwh_usd:g} = {terms['electricity']:.4f} USD/h"
    )
    yield (
        f"colocation = {own.most_w / 1000:.3f} kW x {own.colo_usd_per_kw_month:g} x 12 / {hours:,.0f} "
        f"= {terms['colocation']:.4f} USD/h"
    )
    total = sum(terms.values())
    yield f"owned = {' + '.join(f'{usd:.4f}' for usd in terms.values())} = {total:.4f} USD/h"
    yield "breakeven = the years T at which owned, with all of the above at T, is the rent"


def _wear(own: Ownership, terms: dict[str, float], hours: float) -> Iterator[str]:
    factor, kept = recovery(own.rate_frac, own.years), own.kept_frac(own.years)
    discount = (1 + own.rate_frac) ** -own.years
    yield (
        f"recovery factor = r / (1 - (1 + r)^-T) = {factor:.4f} a year at r = {own.rate_frac:g}, "
        f"T = {own.years:g} years (1 / T without interest)"
    )
    yield (
        f"proceeds = (1 - {own.selling_frac:g}) x {own.resale_frac:g}^{own.years:g} = {kept:.4f} of the "
        f"price, x {discount:.4f} discounted"
    )
    for name, usd in (("card", own.price_usd), ("host", own.host_share_usd)):
        yield (
            f"{name} = {usd:,.2f} x (1 - {kept * discount:.4f}) x {factor:.4f} / {hours:,.0f} "
            f"= {terms[name]:.4f} USD/h"
        )
