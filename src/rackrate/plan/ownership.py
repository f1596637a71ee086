"""From what a person says of their machine to the inputs of the reckoning, each with range and source."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields, replace
from typing import Any

from rackrate.catalog.fact import Source
from rackrate.catalog.gpu import Gpu
from rackrate.catalog.load import sources
from rackrate.errors import BadQuantity, UnknownName, UsageError, nearest
from rackrate.plan import electricity
from rackrate.plan.economics import Ownership
from rackrate.plan.electricity import Place
from rackrate.plan.estimate import Estimate, constant, given, table
from rackrate.units import HOURS_PER_DAY

KEYS = tuple(field.name for field in fields(Ownership))
MANY = 4
"""GPUs from which a host is one of the large ones."""

_ON_BOARDS_OF_EIGHT = ("SXM", "OAM")


def inputs_for(gpu: Gpu, place: Place, said: Mapping[str, float | str]) -> tuple[Estimate, ...]:
    """Return the inputs of `Ownership`, in its order: what was said, else what is usual.

    Args:
        gpu: that one may own.
        place: where it would stand.
        said: numbers or ranges (`0.12..0.20`) by the names of `Ownership`, and `utilisation` instead of
            `hours_per_day`: a share of all hours or its usual name.

    Raises:
        UnknownName: no such input, or no such name of a utilisation.
        BadQuantity: a number that cannot be read or cannot be.
        UsageError: hours and utilisation at once, or no price or power where the catalog has none.
    """
    if unknown := [key for key in said if key not in (*KEYS, "utilisation")]:
        raise UnknownName("option", unknown[0], nearest(unknown[0], KEYS) or KEYS)
    if "utilisation" in said and "hours_per_day" in said:
        hint = f"utilisation is hours of use over {HOURS_PER_DAY}"
        raise UsageError("hours a day and utilisation say the same: give one", hint=hint)
    n_gpus = _exact(said, "gpus_per_host", _usual_count(gpu), "SXM and OAM modules come on boards of eight")
    if n_gpus.value % 1 or not n_gpus.is_exact:
        hint = f"give {round(n_gpus.value)}"
        raise BadQuantity(f"{n_gpus.says}: {said['gpus_per_host']!r} is no whole number", hint=hint)
    rows = _rows("many" if n_gpus.value >= MANY else "few")
    by_id: dict[str, Source] = table("ownership")["sources"]
    found = {key: constant(key, row, by_id) for key, row in rows.items()}
    found["kwh_usd"] = place.kwh_usd
    found["gpus_per_host"] = n_gpus
    rows["kwh_usd"] = electricity.LIMITS
    found |= {key: given(key, rows[key], value) for key, value in said.items() if key in rows}
    if "utilisation" in said:
        found["hours_per_day"] = _used(rows["hours_per_day"], said["utilisation"])
    if "price_usd" not in said:
        found["price_usd"] = _street(gpu, found["price_usd"])
    found["power_w"] = _exact(said, "power_w", gpu.tdp_w.value, f"board power: {_titled(gpu.tdp_w.source)}")
    return tuple(found[key] for key in KEYS)


def _rows(size: str) -> dict[str, dict[str, Any]]:
    data = table("ownership")
    rows: dict[str, dict[str, Any]] = data["any"] | data[size]
    return rows


def _titled(source: str) -> str:
    found = sources().get(source)
    return found.title if found else source


def _exact(said: Mapping[str, float | str], key: str, usual: float | None, source: str) -> Estimate:
    """Return an input without a usual range."""
    row = table("ownership")["exact"][key]
    if key in said:
        return given(key, row, said[key])
    if usual is None:
        option = "--" + key.replace("_", "-")
        raise UsageError(f"{row['says']}: the catalog knows none", hint=f"say it: {option} 350")
    return Estimate(key, row["says"], row["unit"], usual, usual, usual, source)


def _usual_count(gpu: Gpu) -> int:
    form = str(gpu.form_factor.value)
    return 8 if form.startswith(_ON_BOARDS_OF_EIGHT) else 1


def _street(gpu: Gpu, factor: Estimate) -> Estimate:
    """Return the street price with its doubt, or say what else is known."""
    if gpu.street_usd.value is None:
        launch = gpu.msrp_usd.value or gpu.hf_price_usd.value
        hint = "say what one costs you: --price-usd USD"
        if launch:
            hint = f"its launch or list price was {launch:,.0f} USD: --price-usd {launch:.0f}"
        raise UsageError(f"the catalog has no street price of the {gpu.slug}", hint=hint, code="no-price")
    day = gpu.street_date.value or "no date"
    source = f"street price of {day}: {_titled(gpu.street_usd.source)}; {factor.source}"
    return factor.times(gpu.street_usd.value, source)


def _used(hours: dict[str, Any], value: float | str) -> Estimate:
    """Return hours of use a day from a share of all hours, or from its usual name such as `inference`."""
    usual: dict[str, float] = table("ownership")["usage"]
    name = str(value).strip().lower()
    if name in usual:
        used = HOURS_PER_DAY * usual[name]
        return Estimate("hours_per_day", hours["says"], hours["unit"], used, used, used, f"assumed: {name}")
    if name[:1].isalpha():
        raise UnknownName("utilisation", str(value), nearest(name, usual) or list(usual))
    share = given("hours_per_day", {"says": "utilisation", "unit": "", "least": 0.005, "most": 1}, value)
    return replace(share.times(HOURS_PER_DAY, "you"), says=hours["says"], unit=hours["unit"])
