"""Are the models, providers and workloads of the catalog consistent with themselves?

Each rule is one generator of problems; a check runs all of them over what it is given, by default
over the whole catalog. The counts are held against formulae that do not know them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rackrate.catalog import load
from rackrate.catalog.architecture import count_parameters
from rackrate.catalog.countries import COUNTRIES
from rackrate.catalog.fact import Fact
from rackrate.catalog.model import TASKS, Model, load_model
from rackrate.catalog.names import fold
from rackrate.catalog.problem import Problem
from rackrate.catalog.provider import TIERS, Provider, all_providers
from rackrate.catalog.workload import CAPABILITIES, Workload, all_workloads
from rackrate.errors import NoAnswer, UsageError

TOLERANCE_FRAC = 0.01  # of a parameter count; a published one is rounded to two or three digits
BF16_BYTES = 2

_SLUG = re.compile(r"[a-z0-9]+([.-][a-z0-9]+)*")
_CURRENCY = re.compile(r"[A-Z]{3}")


def check_models(models: Mapping[str, Model] | None = None) -> list[Problem]:
    """Return what is wrong with the models.

    Args:
        models: by the name of their file; all of the catalog by default.
    """
    if models is None:
        models = {name: load_model(name) for name in load.slugs("models")}
    problems = [problem for name, model in models.items() for problem in _check_model(name, model)]
    spellings = {f"models/{name}": model.spellings() for name, model in models.items()}
    return problems + list(_one_owner_each(spellings))


def check_providers(providers: Iterable[Provider] | None = None) -> list[Problem]:
    """Return what is wrong with the providers, by default all of the catalog."""
    chosen = tuple(all_providers() if providers is None else providers)
    problems = [problem for provider in chosen for problem in _check_provider(provider)]
    spellings = {f"providers/{provider.slug}": provider.spellings() for provider in chosen}
    return problems + list(_one_owner_each(spellings))


def check_workloads(workloads: Iterable[Workload] | None = None) -> list[Problem]:
    """Return what is wrong with the workloads, by default all of the catalog."""
    chosen = tuple(all_workloads() if workloads is None else workloads)
    problems = [problem for workload in chosen for problem in _check_workload(workload)]
    spellings = {f"workloads/{w.slug}": iter((w.slug, w.name)) for w in chosen}
    return problems + list(_one_owner_each(spellings))


def _check_model(name: str, model: Model) -> Iterator[Problem]:
    where = f"models/{name}"
    if model.slug != name:
        yield Problem(where, "slug", f"the file is {name}.toml and the slug {model.slug!r}")
    yield from _slug_shape(where, model.slug)
    if model.task not in TASKS:
        yield Problem(where, "task", f"{model.task!r} is none of {TASKS}")
    facts = model.facts()
    for part, inner in {**model.parts, "config": model.config}.items():
        facts |= {f"{part}.{key}": fact for key, fact in inner.items()}
    yield from _sources(where, facts)
    yield from _unknown_sources(where, "listed", model.listed.pages)
    yield from _counts(where, model)
    yield from _kv_bytes(where, model)


def _check_provider(provider: Provider) -> Iterator[Problem]:
    where = f"providers/{provider.slug}"
    yield from _slug_shape(where, provider.slug)
    yield from _sources(where, provider.facts())
    if provider.tier.value not in TIERS:
        yield Problem(where, "tier", f"{provider.tier.value!r} is none of {TIERS}")
    country, currency = provider.home_country.value, provider.billing_currency.value
    if country is not None and country not in COUNTRIES:
        yield Problem(where, "country", f"{country!r} is no ISO 3166-1 alpha-2 code")
    if currency is not None and not _CURRENCY.fullmatch(currency):
        yield Problem(where, "currency", f"{currency!r} is no ISO 4217 code")


def _check_workload(workload: Workload) -> Iterator[Problem]:
    where = f"workloads/{workload.slug}"
    yield from _slug_shape(where, workload.slug)
    yield from _unknown_sources(where, "workload", [workload.source])
    for need in workload.needs + workload.prefers:
        yield from _unknown_sources(where, need.capability, [need.source])
        if need.capability not in CAPABILITIES:
            yield Problem(where, "capability", f"nothing tells whether a GPU has {need.capability}")


def _slug_shape(where: str, slug: str) -> Iterator[Problem]:
    if not _SLUG.fullmatch(slug):
        yield Problem(where, "slug", f"{slug!r} is not lower case with dashes")


def _sources(where: str, facts: Mapping[str, Fact[Any]]) -> Iterator[Problem]:
    for name, fact in facts.items():
        named = [fact.source] if fact else []
        yield from _unknown_sources(where, name, named + [claim.source for claim in fact.also])


def _unknown_sources(where: str, what: str, named: Iterable[str]) -> Iterator[Problem]:
    for source in named:
        if source not in load.sources():
            yield Problem(where, "source", f"{what} names the source {source!r}, which is not there")


def _counts(where: str, model: Model) -> Iterator[Problem]:
    """Hold the stated counts against the computed ones; a model without a config has none."""
    try:
        count = count_parameters(model)
    except (NoAnswer, UsageError) as error:
        if model.params_total:
            yield Problem(where, "count", f"a total is stated, but {error.message}")
        return
    stated = {
        "total": (model.params_total, count.total),
        "embedding": (model.params_embedding, count.embedding),
        "active": (model.params_active, count.active),
    }
    for what, (fact, computed) in stated.items():
        if fact.value is not None and _is_off(fact.value, computed):
            yield Problem(where, "count", f"{what}: stated {fact.value:,}, computed {computed:,}")
    for part, facts in model.parts.items():
        said = facts["params"].value if "params" in facts else None
        if said and _is_off(said, count.by_part.get(part, 0)):
            yield Problem(where, "count", f"{part}: stated {said:,}, computed {count.by_part.get(part, 0):,}")
    published = model.params_published.value
    is_off = published is not None and _is_off(published, count.checkpoint)
    if is_off != bool(model.published_differs):
        why = model.published_differs or "no reason is given"
        yield Problem(where, "published", f"published {published}, computed {count.checkpoint:,}: {why}")


def _is_off(stated: int, computed: int) -> bool:
    return abs(stated - computed) > TOLERANCE_FRAC * stated


def _kv_bytes(where: str, model: Model) -> Iterator[Problem]:
    """Check that a token adds a key and a value a KV head in each layer with full attention."""
    stated = model.kv_bytes_per_token_bf16.value
    heads, head_dim = model.num_key_value_heads.value, model.head_dim.value
    layers = model.full_attention_layers.value
    if stated is None:
        return
    if heads is None or head_dim is None or layers is None:
        yield Problem(where, "kv", f"{stated} bytes a token are stated without heads or layers")
    elif stated != (computed := 2 * heads * head_dim * BF16_BYTES * layers):
        yield Problem(where, "kv", f"stated {stated} bytes a token, computed {computed}")


def _one_owner_each(spellings: Mapping[str, Iterator[str]]) -> Iterator[Problem]:
    owners: dict[str, str] = {}
    for where, names in spellings.items():
        for name in names:
            owner = owners.setdefault(fold(name), where)
            if owner != where:
                yield Problem(where, "alias", f"{name!r} already means {owner}")
