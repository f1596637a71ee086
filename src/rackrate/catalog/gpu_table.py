"""Which GPUs have a name, and what are they called? `data/aliases.toml`, indexed once.

A *product* is one card or module; a *family* is what a name leaves open (form factor or memory),
with the products it may be. Products under `[gpus]` have facts (`gpu.py`); those under `[named]`
are only known to be rented or sold.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import chain
from typing import Any

from rackrate.catalog.gpu_text import Reading
from rackrate.catalog.load import table
from rackrate.catalog.names import fold

# "4090" alone is an RTX 4090, if nothing contradicts it; "6000" is four cards and stands for none.
_BARE_NUMBER = re.compile(r"rtx([2-5]0[5-9]0.*)")

_MOST_WORDS = 6  # of a name: "RTX PRO 6000 Max-Q Workstation"


@dataclass(frozen=True, slots=True)
class Product:
    """A GPU that has a name of its own.

    Attributes:
        slug: stable key.
        name: the vendor's name for products without facts, otherwise empty (see `gpu.load_gpu`).
        memory_gib: nominal sizes per GPU, GiB; several when one product was sold with several.
        form: `sxm`, `pcie`, `nvl`, `oam`, `superchip`, or empty when not known.
        variant_of: slug whose bare name this one shares; only memory tells them apart.
        names: spellings that cannot be read off the slug.
    """

    slug: str
    name: str = ""
    memory_gib: tuple[float, ...] = ()
    form: str = ""
    variant_of: str = ""
    names: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Hit:
    """A product or family found in a text.

    Attributes:
        slug: of the product or family.
        key: the folded name that was found.
        numbers: bare numbers left beside it; an id such as `a100-pcie-80` states memory so.
        is_weak: the name is a bare number, which other evidence may overrule.
    """

    slug: str
    key: str
    numbers: tuple[float, ...] = ()
    is_weak: bool = False


@dataclass(frozen=True, slots=True)
class GpuTable:
    """The index over `data/aliases.toml`; keys of names are folded.

    Attributes:
        products: by slug.
        families: slugs of the members, by slug.
        variants: slugs of the products that share a product's bare name, by its slug.
        spellings: (slug, name as written) of every product and family.
        names: slug of a product or family, by name.
        bare: slug, by a name that is a number only.
        provider_names: slug, by provider and name, where a name means something else at a provider.
        provider_defaults: (family, what it means) at a provider.
        skus: patterns at the start of a SKU, with the slug that the provider's documents give.
    """

    products: dict[str, Product]
    families: dict[str, tuple[str, ...]]
    variants: dict[str, tuple[str, ...]]
    spellings: tuple[tuple[str, str], ...]
    names: dict[str, str]
    bare: dict[str, str]
    provider_names: dict[tuple[str, str], str]
    provider_defaults: dict[str, tuple[tuple[str, str], ...]]
    skus: tuple[tuple[re.Pattern[str], str], ...]

    def members(self, slug: str) -> tuple[str, ...]:
        """Return the products that a slug may be: itself, or a family's members."""
        return self.families.get(slug, (slug,))

    def smallest_family(self, pool: Sequence[str]) -> str:
        """Return the family with the fewest members among those that hold all of `pool`."""
        holding = (slug for slug, members in self.families.items() if set(pool) <= set(members))
        return min(holding, key=lambda slug: len(self.families[slug]))

    def by_sku(self, sku: str) -> str | None:
        """Return what a provider's own documents say of an instance type, or None."""
        sku = sku.replace(" ", "_")
        return next((slug for pattern, slug in self.skus if pattern.match(sku)), None)

    def find(self, reading: Reading, provider: str) -> Hit | None:
        """Return the longest name in a text; whole words only, so B200 is not found in GB200."""
        best: Hit | None = None
        for key, rest in _keys(reading):
            slug = self.provider_names.get((provider, key)) or self.names.get(key)
            if slug and (best is None or len(key) > len(best.key)):
                best = Hit(slug, key, tuple(float(word) for word in rest if word.isdecimal()))
        bare = "".join(reading.words)
        if best is None and bare in self.bare:
            return Hit(self.bare[bare], bare, is_weak=True)
        return best


def _keys(reading: Reading) -> Iterator[tuple[str, tuple[str, ...]]]:
    """Yield every run of words as one key, with the words outside it."""
    yield reading.whole, ()
    plain = tuple(word for word in reading.words if word != "blackwell")
    for words in dict.fromkeys((reading.words, plain)):
        for start in range(len(words)):
            for stop in range(start + 1, min(start + _MOST_WORDS, len(words)) + 1):
                yield "".join(words[start:stop]), words[:start] + words[stop:]


@cache
def gpu_table() -> GpuTable:
    """Return the index, built on first use."""
    data = table("aliases")
    products = {
        slug: Product(
            slug,
            row.get("name", ""),
            tuple(map(float, row.get("memory_gib", ()))),
            row.get("form", ""),
            row.get("variant_of", ""),
            tuple(row.get("names", ())),
        )
        for slug, row in chain(data["gpus"].items(), data["named"].items())
    }
    families = {slug: tuple(members) for slug, members in data["families"].items()}
    spellings = tuple(_spellings(products, data))
    names = {fold(name): slug for slug, name in spellings}
    return GpuTable(
        products,
        families,
        variants=_variants(products),
        spellings=spellings,
        names=names,
        bare={bare[1]: slug for key, slug in names.items() if (bare := _BARE_NUMBER.fullmatch(key))},
        provider_names={
            (provider, fold(name)): slug
            for row in data["provider_names"]
            for provider in row["providers"]
            for name, slug in row["names"].items()
        },
        provider_defaults=_defaults(data["provider_defaults"]),
        skus=tuple((re.compile(key, re.IGNORECASE), slug) for key, slug in data["skus"].items()),
    )


def _spellings(products: dict[str, Product], data: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for product in products.values():
        for name in (product.slug, *product.names):
            yield product.slug, name
    for slug in data["families"]:
        for name in (slug, *data["family_names"].get(slug, ())):
            yield slug, name


def _variants(products: dict[str, Product]) -> dict[str, tuple[str, ...]]:
    variants: dict[str, tuple[str, ...]] = {}
    for product in products.values():
        if product.variant_of:
            variants[product.variant_of] = (*variants.get(product.variant_of, ()), product.slug)
    return variants


def _defaults(rows: list[dict[str, Any]]) -> dict[str, tuple[tuple[str, str], ...]]:
    defaults: dict[str, tuple[tuple[str, str], ...]] = {}
    for row in rows:
        for provider in row["providers"]:
            defaults[provider] = (*defaults.get(provider, ()), *row["families"].items())
    return defaults
