"""Which offers are asked for, as a value, and as SQL conditions over the columns of an offer."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from rackrate.catalog.aliases import family_members, match_uncounted
from rackrate.catalog.countries import COUNTRIES
from rackrate.catalog.gpu import find_gpu
from rackrate.errors import BadQuantity, UnknownName, nearest
from rackrate.market.offer import Kind
from rackrate.units import Range, parse_range

# The European Union as of 2026: 27 members.
EU = (
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT",
    "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
)  # fmt: skip

ANY = Range()

# What one can sort by: name to SQL and whether more of it is better.
SORT_COLUMNS = {
    "usd": ("usd_per_gpu_hour", False),
    "usd_per_gpu_hour": ("usd_per_gpu_hour", False),
    "usd_per_hour": ("usd_per_hour", False),
    "vram_gib": ("vram_gib", True),
    "vram_total_gib": ("vram_gib * gpu_count", True),
    "gpu_count": ("gpu_count", True),
    "vcpu": ("vcpu", True),
    "ram_gib": ("ram_gib", True),
    "disk_gib": ("disk_gib", True),
    "observed_at": ("observed_at", True),
    "provider": ("provider", False),
    "gpu": ("gpu", False),
    "kind": ("kind", False),
    "country": ("country", False),
    "region": ("region", False),
    "source": ("source", False),
}
# A ratio sets a size of the whole offer against the price of the whole offer, and so on.
_WHOLE = {"usd": "usd_per_hour", "vram_gib": "vram_gib * gpu_count"}
_NUMERIC = {name for name in SORT_COLUMNS if name.split("_")[0] in ("usd", "vram", "ram", "disk", "vcpu")}
_NUMERIC.add("gpu_count")


@dataclass(frozen=True, slots=True)
class Wanted:
    """One GPU that is asked for.

    Attributes:
        slugs: the product and, for a family, everything in it.
        counts: how many in the offer.
    """

    slugs: tuple[str, ...]
    counts: Range = ANY


@dataclass(frozen=True, slots=True)
class OfferFilter:
    """What an offer must be. Every field that is left out asks nothing.

    Attributes:
        gpus: any of these.
        slugs: GPUs allowed by a capability (NVLink, graphics); None asks nothing.
        counts: GPUs in the offer.
        vram_gib: memory of one GPU, GiB.
        vram_total_gib: memory of all of them, GiB.
        kinds: how it is sold; empty for any.
        providers: slugs; who runs or who sells.
        countries: ISO codes.
        region: text within the region's name.
        max_usd_per_gpu_hour: price limit for one GPU.
        max_usd_per_hour: price limit for the whole offer.
        vcpu: of the whole offer.
        ram_gib: of the whole offer.
        disk_gib: of the whole offer.
    """

    gpus: tuple[Wanted, ...] = ()
    slugs: tuple[str, ...] | None = None
    counts: Range = ANY
    vram_gib: Range = ANY
    vram_total_gib: Range = ANY
    kinds: tuple[Kind, ...] = ()
    providers: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    region: str = ""
    max_usd_per_gpu_hour: float | None = None
    max_usd_per_hour: float | None = None
    vcpu: Range = ANY
    ram_gib: Range = ANY
    disk_gib: Range = ANY

    def conditions(self) -> dict[str, tuple[str, list[Any]]]:
        """Return, by the name that a user knows it under, each condition's SQL and its parameters."""
        found: dict[str, tuple[str, list[Any]]] = {}
        if self.gpus:
            parts = [_wanted(wanted) for wanted in self.gpus]
            sql = " OR ".join(part for part, _ in parts)
            found["gpu"] = f"({sql})", [value for _, values in parts for value in values]
        if self.slugs is not None:
            found["capability"] = _in("gpu", self.slugs)
        found.update(self._sizes())
        if self.kinds:
            found["kind"] = _in("kind", self.kinds)
        if self.providers:
            by_runner, runners = _in("provider", self.providers)
            by_seller, sellers = _in("seller", self.providers)
            found["provider"] = f"({by_runner} OR {by_seller})", runners + sellers
        if self.countries:
            found["country"] = _in("country", self.countries)
        if self.region:
            found["region"] = "contains(lower(region), lower(?))", [self.region]
        if self.max_usd_per_gpu_hour is not None:
            found["max-price"] = "usd_per_gpu_hour <= ?", [self.max_usd_per_gpu_hour]
        if self.max_usd_per_hour is not None:
            found["max-total"] = "usd_per_hour <= ?", [self.max_usd_per_hour]
        return found

    def _sizes(self) -> dict[str, tuple[str, list[Any]]]:
        sizes = {
            "count": ("gpu_count", self.counts),
            "vram": ("vram_gib", self.vram_gib),
            "vram-total": ("vram_gib * gpu_count", self.vram_total_gib),
            "vcpu": ("vcpu", self.vcpu),
            "ram": ("ram_gib", self.ram_gib),
            "disk": ("disk_gib", self.disk_gib),
        }
        return {name: _between(column, limits) for name, (column, limits) in sizes.items() if limits != ANY}


def order_by(text: str) -> str:
    """Return the SQL order of `usd`, `vram_gib`, `vram_gib/usd`, ...; `-` in front turns it round.

    Prices and names go up, sizes go down, a ratio follows its numerator; unknown values come last.

    Raises:
        UnknownName: a name that cannot be sorted by.
    """
    turned = text.startswith("-")
    names = [name.strip().lower() for name in text.lstrip("-").split("/")]
    for name in names:
        if name not in SORT_COLUMNS or (len(names) > 1 and name not in _NUMERIC):
            raise UnknownName("sort column", name, nearest(name, SORT_COLUMNS) or list(SORT_COLUMNS))
    if len(names) > 2:  # noqa: PLR2004
        raise UnknownName("sort column", text, hint="a ratio has one numerator and one denominator")
    columns = [
        _WHOLE.get(name, SORT_COLUMNS[name][0]) if len(names) > 1 else SORT_COLUMNS[name][0] for name in names
    ]
    sql = " / nullif(".join(columns) + (", 0)" if len(names) > 1 else "")
    is_down = SORT_COLUMNS[names[0]][1] != turned
    return f"{sql} {'DESC' if is_down else 'ASC'} NULLS LAST, {_TIES}"


_TIES = "usd_per_gpu_hour, provider, source, origin, line, series"


def countries_of(names: Iterable[str]) -> Iterator[str]:
    """Yield ISO codes; `EU` stands for the members of the European Union.

    Raises:
        UnknownName: no such code.
    """
    for name in names:
        code = {"UK": "GB"}.get(name.strip().upper(), name.strip().upper())
        if code == "EU":
            yield from EU
        elif code in COUNTRIES:
            yield code
        else:
            raise UnknownName("country", name, hint="give an ISO code of two letters, or EU")


def wanted_of(text: str) -> Wanted:
    """Read `L40S`, `L40S:2` or `h100:4..8`; a family stands for everything in it.

    Raises:
        UnknownName: no such GPU, with the nearest.
        BadQuantity: a count that cannot be read, stands elsewhere, or is an amount of memory.
    """
    name, colon, counts = text.rpartition(":")
    if not colon:
        name, counts = text, ""
    if counts.lower().endswith("b"):
        raise BadQuantity(
            f"count {counts!r} is an amount of memory", hint="memory goes into --vram: --vram 80"
        )
    match = match_uncounted(name)
    slugs = family_members(match.slug) if match.slug else (find_gpu(name).slug,)
    return Wanted(tuple(slugs), parse_range(counts, "count") if counts else Range())


def kinds_of(text: str) -> tuple[Kind, ...]:
    """Read the name of a kind; `any` is none in particular, which asks nothing.

    Raises:
        UnknownName: no such kind.
    """
    folded = text.strip().lower().replace("-", "_")
    if folded == "any":
        return ()
    if folded not in list(Kind):
        choices = [*Kind, "any"]
        raise UnknownName("kind", text, nearest(folded, choices) or choices)
    return (Kind(folded),)


def _wanted(wanted: Wanted) -> tuple[str, list[Any]]:
    sql, values = _in("gpu", wanted.slugs)
    if wanted.counts == ANY:
        return sql, values
    between, limits = _between("gpu_count", wanted.counts)
    return f"({sql} AND {between})", values + limits


def _in(column: str, values: Iterable[str]) -> tuple[str, list[Any]]:
    listed = [str(value) for value in values]
    if not listed:
        return "false", []
    return f"{column} IN ({', '.join('?' * len(listed))})", listed


def _between(column: str, limits: Range) -> tuple[str, list[Any]]:
    return f"{column} BETWEEN ? AND ?", [limits.low, limits.high]
