"""Which GPU does a raw name mean, and how sure is that?

Sellers write some 376 names for some 118 products. `match_gpu` resolves one by evidence, in this
order: the provider's SKU, the memory stated, the form factor, what the provider is known to sell.
What stays open after that is a *family*, never a guess. A name that says nothing is unknown, never an
error: an offer must not vanish because its GPU is spelt in a new way.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from math import inf

from rackrate.catalog.gpu_table import GpuTable, Hit, gpu_table
from rackrate.catalog.gpu_text import Reading, form_of, read
from rackrate.catalog.names import fold, words
from rackrate.errors import BadQuantity, UnknownName, nearest

# AWS states 45,776 MiB for an L40S's 48 GiB, 6.9 % under; decimal GB taken for GiB are 7.4 % over.
_MEMORY_TOLERANCE = 0.075
_PLAUSIBLE_COUNTS = (2, 4, 8, 16)
# A laptop's GPU shares the name of a larger card and is no offer of ours.
_OTHER_PRODUCTS = frozenset({"laptop", "mobile", "notebook"})
_SHORTEST_SKU_NAME = 4  # "A16" in a SKU is as often sixteen vCPUs of AMD as a GPU


@dataclass(frozen=True, slots=True)
class GpuMatch:
    """What a raw name means.

    Attributes:
        slug: of the product or family; None when the name says nothing we know.
        is_family: the product is known only up to form factor or memory.
        count: number of GPUs, or share of one, that the name or SKU states.
        vram_gib: memory per GPU as stated, GiB, after dividing totals and repairing units; as given
            when it fits no nominal size of the product; None when nothing states it.
        by: the evidence that decided: `sku`, `name`, `vram`, `form`, `provider`; `family` when it
            stayed open, `unknown` when there is no slug.
        candidates: slugs of the products it may be.
    """

    slug: str | None
    is_family: bool
    count: float | None
    vram_gib: float | None
    by: str
    candidates: tuple[str, ...]


def match_gpu(
    raw: str, *, sku: str = "", provider: str = "", vram_gib: float | None = None, form: str = ""
) -> GpuMatch:
    """Resolve a raw GPU name to a product, a family or nothing.

    Args:
        raw: the name as the source writes it.
        sku: the provider's instance type or offer id; it beats the label.
        provider: slug or name of who sells it.
        vram_gib: memory per GPU as the source states it, GiB; totals and MiB are recognised.
        form: form factor or interconnect as the source states it.

    Example:
        >>> match_gpu("NVIDIA A100-SXM4-80GB").slug
        'a100-80gb-sxm'
        >>> match_gpu("A100", vram_gib=40).slug
        'a100-40gb'
    """
    stated = vram_gib if vram_gib and 0 < vram_gib < inf else None  # some write 0 for "not said"
    return _match(raw, sku, fold(provider), stated, form)


def match_uncounted(name: str) -> GpuMatch:
    """Resolve the name of a GPU where a count is said elsewhere.

    Raises:
        BadQuantity: the name says one itself, as price lists write it: that would be lost.
    """
    match = match_gpu(name)
    if match.slug and match.count not in (None, 1):
        hint = f"write {match.slug}:{match.count:g}"
        raise BadQuantity(f"GPU {name!r} does not say its count behind a colon", hint=hint)
    return match


@lru_cache(maxsize=16_384)
def _match(raw: str, sku: str, provider: str, vram_gib: float | None, form: str) -> GpuMatch:
    table = gpu_table()
    name, code = read(raw), read(sku)
    count = name.count or code.count
    stated = (*code.memory_gib, *name.memory_gib)
    vram = vram_gib or next(iter(stated), None)
    hit, by = _find(table, name, code, sku, provider)
    if hit is None or _OTHER_PRODUCTS.intersection(name.words):
        return _unknown(count, vram)
    pool = table.members(hit.slug)
    field = _per_gpu(table, pool, vram_gib, count) if vram_gib else None
    # A figure with its unit in the name is a statement; a bare number in an id is somebody's guess.
    evidence = [("vram", _per_gpu(table, pool, gib, count or 1)) for gib in stated]
    evidence.append(("vram", field))
    evidence.extend(("name", _per_gpu(table, pool, gib, 1)) for gib in hit.numbers)
    found = next(((kind, size.slugs) for kind, size in evidence if size), None)
    if found:
        pool, by = _narrow(pool, found[1], by, found[0])
    elif hit.is_weak and vram:
        return _unknown(count, vram)
    for said in (code.form, name.form, form_of(words(form))):
        pool, by = _narrow(pool, _of_form(table, pool, said), by, "form")
    for family, member in table.provider_defaults.get(provider, ()):
        if set(pool) <= set(table.members(family)):
            kept = tuple(slug for slug in pool if slug in table.members(member))
            pool, by = _narrow(pool, kept, by, "provider")
    if field:
        vram = field.gib
    is_family = len(pool) > 1
    slug = table.smallest_family(pool) if is_family else pool[0]
    return GpuMatch(slug, is_family, count, vram, "family" if is_family else by, pool)


def _unknown(count: float | None, vram_gib: float | None) -> GpuMatch:
    return GpuMatch(None, is_family=False, count=count, vram_gib=vram_gib, by="unknown", candidates=())


def _find(table: GpuTable, name: Reading, code: Reading, sku: str, provider: str) -> tuple[Hit | None, str]:
    if ruled := table.by_sku(sku):
        return Hit(ruled, ""), "sku"
    labelled, coded = table.find(name, provider), table.find(code, provider)
    if coded and (
        coded.key.startswith(labelled.key) and coded.key != labelled.key
        if labelled
        else len(coded.key) >= _SHORTEST_SKU_NAME
    ):
        return coded, "sku"
    return labelled, "name"


@dataclass(frozen=True, slots=True)
class _Size:
    gib: float
    slugs: tuple[str, ...]


def _per_gpu(table: GpuTable, pool: Sequence[str], gib: float, count: float | None) -> _Size | None:
    """Read a memory figure as one GPU's: as given, as a total, in MiB, or GiB taken for MiB."""
    shares = (gib, gib / 1024, gib * 1024)
    for share in shares:
        size = _nearest_memory(table, (*pool, *_variants(table, pool)), share)
        total = _nearest_memory(table, pool, share / count) if count and count > 1 else None
        # Two cards of 24 GiB are likelier than two modified ones of 48.
        if total and (size is None or not set(size.slugs) & set(pool)):
            return total
        if size:
            return size
    if count is None:
        totals = [
            size
            for share in shares
            for n in _PLAUSIBLE_COUNTS
            if (size := _nearest_memory(table, pool, share / n))
        ]
        if totals and all(size.slugs == totals[0].slugs for size in totals):
            return totals[0]
    return None


def _nearest_memory(table: GpuTable, pool: Sequence[str], gib: float) -> _Size | None:
    """Return the products whose nominal memory is nearest to `gib` and within the tolerance."""
    off = {
        slug: min((abs(gib / nominal - 1) for nominal in table.products[slug].memory_gib), default=1)
        for slug in pool
    }
    best = min(off.values())
    if best > _MEMORY_TOLERANCE:
        return None
    return _Size(gib, tuple(slug for slug in pool if off[slug] == best))


def _variants(table: GpuTable, pool: Sequence[str]) -> Iterator[str]:
    for slug in pool:
        yield from table.variants.get(slug, ())


def _of_form(table: GpuTable, pool: Sequence[str], form: str) -> tuple[str, ...]:
    kept = tuple(slug for slug in pool if table.products[slug].form == form)
    # An NVL board is a PCIe card: "H200 PCIe" can be nothing else.
    return _of_form(table, pool, "nvl") if form == "pcie" and not kept else kept


def _narrow(
    pool: tuple[str, ...], kept: tuple[str, ...], by: str, evidence: str
) -> tuple[tuple[str, ...], str]:
    """Return what evidence keeps of the pool; evidence that excludes everything is not used."""
    return (kept, evidence) if kept and kept != pool else (pool, by)


def family_members(slug: str) -> tuple[str, ...]:
    """Return the slugs that a filter on `slug` lets through: a family and its members, or itself.

    Raises:
        UnknownName: no product or family has this slug; resolve raw names by `match_gpu` first.
    """
    table = gpu_table()
    if slug in table.families:
        inner = (key for key, of in table.families.items() if set(of) < set(table.families[slug]))
        return (slug, *inner, *table.families[slug])
    if slug in table.products:
        return (slug,)
    raise UnknownName("GPU", slug, nearest(slug, gpu_names()))


def families_of(slug: str) -> tuple[str, ...]:
    """Return the families that a product belongs to: the names under which it may stand too."""
    return tuple(family for family, members in gpu_table().families.items() if slug in members)


def gpu_names() -> tuple[str, ...]:
    """Return every slug of a product or family, sorted, for completion and did-you-mean."""
    table = gpu_table()
    return tuple(sorted((*table.products, *table.families)))


def nominal_vram_gib(slug: str) -> float | None:
    """Return the nominal memory per GPU, GiB; None when there are several sizes, or none known."""
    table = gpu_table()
    sizes = {
        size
        for member in table.members(slug)
        if member in table.products
        for size in table.products[member].memory_gib
    }
    return sizes.pop() if len(sizes) == 1 else None
