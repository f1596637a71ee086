"""What does an offer cost beside its hours: disk, traffic, and time that is billed in any case?

    disk      USD/h = (GB needed - GB included) x USD a GB and month / 730               a machine
    traffic   USD   = (GB sent - GB included) x USD/GB + GB received x USD/GB
    time      hours = max(hours, least), rounded up to whole steps                       of a run

What the offer says counts; where it says nothing, what the catalog knows of its provider; where neither
does, the part is unknown (NaN): it is not in the sum, and the plan says so. Traffic received costs only where
an offer says so, for no provider is known that asks for it in general.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from functools import cache
from typing import Any

import numpy as np

from rackrate.catalog.provider import find_provider, match_provider
from rackrate.units import GB_PER_GIB, HOURS_PER_MONTH

_HOUR_S = 3600.0
_SPARE_GB = 100.0  # of a disk, for the system and the image
_ROUNDING = 1e-9  # a billionth of a step more does not take another

_OF_OFFER = {
    "storage_usd_per_gb_month": "storage_usd_per_gb_month",
    "included_disk_gb": "included_disk_gb",
    "egress_usd_per_gb": "egress_usd_per_gb",
    "included_egress_gb_per_month": "included_egress_gb_per_month",
    "ingress_usd_per_gb": "ingress_usd_per_gb",
    "least_s": "min_rental_s",
}
"""Fields of `Terms` to the columns of an offer that say them."""

_OF_PROVIDER = {
    "storage_usd_per_gb_month": "storage_usd_per_gb_month",
    "egress_usd_per_gb": "egress_usd_per_gb",
    "least_s": "min_rental_s",
    "step_s": "billing_increment_s",
}
"""Fields of `Terms` to the facts of a provider that hold where an offer says nothing."""

COLUMNS = (*_OF_OFFER.values(), "disk_gib", "term_months", "provider", "seller")
"""Columns of the market that `Terms.of` reads."""


@dataclass(frozen=True, eq=False)
class Terms:
    """Prices beside the hour, one offer an element; NaN where nobody says it.

    Attributes:
        storage_usd_per_gb_month: of disk beyond what is included.
        included_disk_gb: that the price of the hour pays for.
        egress_usd_per_gb: of traffic sent beyond what is included.
        included_egress_gb_per_month: of each machine.
        ingress_usd_per_gb: of traffic received.
        least_s: that is billed in any case.
        step_s: that is billed as a whole.
    """

    storage_usd_per_gb_month: Any
    included_disk_gb: Any
    egress_usd_per_gb: Any
    included_egress_gb_per_month: Any
    ingress_usd_per_gb: Any
    least_s: Any
    step_s: Any

    @classmethod
    def all(cls, n: int, value: float) -> Terms:
        """Return the terms of `n` offers with one value for everything: NaN for unknown, 0 for free."""
        return cls(**{f.name: np.full(n, value) for f in fields(cls)})

    @classmethod
    def of(cls, columns: Mapping[str, Sequence[Any]]) -> Terms:
        """Return the terms of offers.

        Args:
            columns: of the market, those of `COLUMNS`.
        """
        said = {name: _numbers(columns[column]) for name, column in _OF_OFFER.items()}
        said["step_s"] = np.full(len(said["least_s"]), np.nan)
        disk_gb = _numbers(columns["disk_gib"]) * GB_PER_GIB  # a disk that an offer has comes with it
        said["included_disk_gb"] = _or(said["included_disk_gb"], disk_gb)
        direct = zip(columns["provider"], columns["seller"], strict=True)
        known = [_facts("" if seller else provider) for provider, seller in direct]
        for place, name in enumerate(_OF_PROVIDER):
            said[name] = _or(said[name], np.array([facts[place] for facts in known], float))
        term_s = _numbers(columns["term_months"]) * HOURS_PER_MONTH * _HOUR_S
        said["least_s"] = np.fmax(said["least_s"], term_s)  # a reservation is paid to its end
        return cls(**said)

    def __getitem__(self, rows: Any) -> Terms:
        """Return those of some of the offers."""
        return Terms(**{f.name: getattr(self, f.name)[rows] for f in fields(self)})

    def plus(self, more: Terms) -> Terms:
        """Return these and more behind them."""
        pairs = {f.name: (getattr(self, f.name), getattr(more, f.name)) for f in fields(self)}
        return Terms(**{name: np.concatenate(pair) for name, pair in pairs.items()})

    def disk_usd_per_hour(self, needed_gb: Any) -> Any:
        """Return USD an hour for the disk of one machine; NaN where nobody says what it costs."""
        paid_gb = np.maximum(needed_gb - counted(self.included_disk_gb), 0.0)
        return np.where(paid_gb > 0, paid_gb * self.storage_usd_per_gb_month / HOURS_PER_MONTH, 0.0)

    def egress_usd(self, sent_gb: Any, machine_hours: Any) -> Any:
        """Return USD for what all machines send; NaN where nobody says what it costs.

        What is included a month is included by the hour, as those bill it who include any.
        """
        free_gb = counted(self.included_egress_gb_per_month) * machine_hours / HOURS_PER_MONTH
        paid_gb = np.maximum(sent_gb - free_gb, 0.0)
        return np.where(paid_gb > 0, paid_gb * self.egress_usd_per_gb, 0.0)

    def ingress_usd(self, received_gb: Any) -> Any:
        """Return USD for what all machines receive."""
        return received_gb * counted(self.ingress_usd_per_gb)

    def billed_hours(self, hours: Any) -> Any:
        """Return the hours that are billed of a run; where nobody says otherwise, those that it takes."""
        seconds = np.fmax(hours * _HOUR_S, self.least_s)
        step_s = np.where(counted(self.step_s) > 0, self.step_s, np.nan)
        whole = np.ceil(seconds / step_s - _ROUNDING) * step_s
        return _or(whole, seconds) / _HOUR_S


def disk_gb(weights_gib: Any) -> Any:
    """Return the disk that a machine needs for weights, system and image, in the gigabytes that are sold."""
    return np.ceil(weights_gib * GB_PER_GIB) + _SPARE_GB


def counted(usd: Any) -> Any:
    """Return what is known of a sum; what is not counts nothing."""
    return np.nan_to_num(usd, nan=0.0)


@cache
def _facts(provider: str) -> tuple[float, ...]:
    """Return what the catalog knows of a provider, in the order of `_OF_PROVIDER`."""
    match = match_provider(provider)
    if not match.is_known:
        return (np.nan,) * len(_OF_PROVIDER)
    found = find_provider(match.slug)
    values = (getattr(found, name).value for name in _OF_PROVIDER.values())
    return tuple(np.nan if value is None else float(value) for value in values)


def _numbers(values: Sequence[Any]) -> Any:
    return np.array(values, dtype=float)  # None becomes NaN


def _or(first: Any, second: Any) -> Any:
    return np.where(np.isnan(first), second, first)
