"""Who sells GPUs: one `Provider` a seller, found under every spelling met in the data.

A provider that the catalog does not have is no error for the market: `match_provider` turns its
name into a slug and says so, and the offer stays.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, fields
from functools import cache, lru_cache
from typing import Any

from rackrate.catalog.fact import Fact
from rackrate.catalog.load import table
from rackrate.catalog.names import fold, slugify
from rackrate.errors import UnknownName, nearest

TIERS = ("hyperscaler", "gpu_cloud", "marketplace", "serverless", "aggregator", "bare_metal")


@dataclass(frozen=True, slots=True)
class Provider:
    """A seller of GPU time.

    Attributes:
        slug: stable identifier.
        name: as the provider writes it today.
        aliases: other spellings, former names and the prefixes that aggregators use for it.
        tier: one of `TIERS`; a marketplace resells hosts that it does not run, an aggregator sells
            other providers' offers under its own account.
        home_country: country of its head office, ISO 3166-1 alpha-2.
        site: its price page or home page.
        billing_currency: currency of its price list, ISO 4217.
        billing_increment_s: the smallest time that is billed, in seconds.
        min_rental_s: seconds that are billed in any case.
        storage_usd_per_gb_month: its usual disk beyond what a machine brings.
        egress_usd_per_gb: traffic to the internet beyond what is included.
        price_api: where prices can be asked for by a program.
        access: what its terms say about automated access, as far as we met it.
        remarks: what else one should know, such as a change of name.
    """

    slug: str
    name: str
    aliases: tuple[str, ...]
    tier: Fact[str]
    home_country: Fact[str]
    site: Fact[str]
    billing_currency: Fact[str]
    billing_increment_s: Fact[int]
    min_rental_s: Fact[int]
    storage_usd_per_gb_month: Fact[float]
    egress_usd_per_gb: Fact[float]
    price_api: Fact[str]
    access: Fact[str]
    remarks: tuple[str, ...]

    def facts(self) -> dict[str, Fact[Any]]:
        """Return the facts by field name."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return {name: value for name, value in values if isinstance(value, Fact)}

    def to_dict(self) -> dict[str, Any]:
        """Return the provider as plain data, for `--json` and the API."""
        plain = {"slug": self.slug, "name": self.name, "aliases": list(self.aliases)}
        facts = {name: fact.to_dict() for name, fact in self.facts().items()}
        return {**plain, **facts, "remarks": list(self.remarks)}

    def spellings(self) -> Iterator[str]:
        """Yield every name that means this provider, its slug first."""
        yield from (self.slug, self.name, *self.aliases)


@dataclass(frozen=True, slots=True)
class ProviderMatch:
    """What a raw provider name means.

    Attributes:
        slug: slug of the provider, or of the name itself where the catalog does not have it.
        is_known: whether the catalog has the provider.
    """

    slug: str
    is_known: bool


@cache
def all_providers() -> tuple[Provider, ...]:
    """Return every provider of the catalog, by slug.

    >>> "scaleway" in [provider.slug for provider in all_providers()]
    True
    """
    rows: dict[str, dict[str, Any]] = table("providers")["providers"]
    return tuple(_provider(slug, rows[slug]) for slug in sorted(rows))


def find_provider(name: str) -> Provider:
    """Return the provider that `name` means; case, dashes, dots and spaces do not matter.

    >>> find_provider("DataCrunch").name
    'Verda'

    Raises:
        UnknownName: no provider answers to it; carries the nearest slugs.
    """
    found = _by_key().get(fold(name))
    if found is None:
        raise UnknownName("provider", name, _nearest_slugs(name))
    return found


@lru_cache(maxsize=4096)
def match_provider(raw: str) -> ProviderMatch:
    """Return the slug that a provider's name in somebody's data stands for; never raises.

    >>> match_provider("lambdalabs")
    ProviderMatch(slug='lambda', is_known=True)
    >>> match_provider("Nobody Knows Ltd.")
    ProviderMatch(slug='nobody-knows-ltd', is_known=False)
    """
    found = _by_key().get(fold(raw))
    return ProviderMatch(found.slug if found else slugify(raw), is_known=found is not None)


@lru_cache(maxsize=4096)
def billing_currency(name: str) -> str:
    """Return the currency of a provider's own price list, ISO 4217; empty when that is not known.

    >>> billing_currency("scaleway")
    'EUR'
    """
    found = _by_key().get(fold(name))
    return str(found.billing_currency.value or "") if found else ""


def _provider(slug: str, row: dict[str, Any]) -> Provider:
    reasons: dict[str, str] = table("providers")["why_unknown"]
    facts: dict[str, Any] = {
        name: Fact.from_table(row.get(name) or {"unknown": reason}) for name, reason in reasons.items()
    }
    aliases, remarks = tuple(row.get("aliases", ())), tuple(row.get("remarks", ()))
    return Provider(slug=slug, name=row["name"], aliases=aliases, remarks=remarks, **facts)


@cache
def _by_key() -> dict[str, Provider]:
    return {fold(name): provider for provider in all_providers() for name in provider.spellings()}


def _nearest_slugs(name: str) -> list[str]:
    spellings = [spelling for provider in all_providers() for spelling in provider.spellings()]
    slugs = (_by_key()[fold(hit)].slug for hit in nearest(name, spellings, n=6))
    return list(dict.fromkeys(slugs))[:3]
