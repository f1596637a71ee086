"""What the API has: each resource with its path, its fields and the function that answers."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from rackrate import api, memory, overview, pairing, planning, speeds, upkeep
from rackrate.catalog.gpu import all_gpus, find_gpu
from rackrate.catalog.load import slugs
from rackrate.catalog.model import find_model
from rackrate.errors import BadQuantity
from rackrate.report.cards import gpu_card
from rackrate.units import parse_instant
from rackrate.web.page import Ask
from rackrate.web.pages import asking, lists
from rackrate.web.pages.gpus import KINDS, TRAINING_TASKS

_TASKS = [name for name, _ in TRAINING_TASKS]


@dataclass(frozen=True)
class Resource:
    """One address of the API.

    Attributes:
        name: stable name of the operation.
        path: with its parts in braces.
        says: what it answers.
        answer: makes it, from what was asked: an object, or of a list all its objects.
        names: fields of the address.
        needs: those that must be given.
        is_list: whether it is cut into pages.
    """

    name: str
    path: str
    says: str
    answer: Callable[[Ask], Any]
    names: tuple[str, ...] = ()
    needs: tuple[str, ...] = ()
    is_list: bool = False


def _gpus(ask: Ask) -> Any:
    kind = ask.query.choice("kind", KINDS, "on_demand")
    return overview.market(kind=kind, data=ask.market).to_dict()["data"]


def _gpu(ask: Ask) -> Any:
    return api.gpu(_slug(ask), data=ask.market).to_dict()


def _facts(ask: Ask) -> Any:
    return gpu_card(find_gpu(ask.path["gpu"])).to_dict()


def _gpu_offers(ask: Ask) -> Any:
    kind = ask.query.choice("kind", (*KINDS, "any"), "any")
    return api.offers(_slug(ask), kind=kind, data=ask.market).to_dict()["data"]


def _instances(ask: Ask) -> Any:
    kind = ask.query.choice("kind", (*KINDS, "any"), "on_demand")
    return overview.instances(_slug(ask), kind=kind, data=ask.market).to_dict()


def _spread(ask: Ask) -> Any:
    kind = ask.query.choice("kind", KINDS, "on_demand")
    found = api.price(_slug(ask), kind=kind, data=ask.market).to_dict()
    return {
        "gpu": found["gpu"],
        "kind": found["kind"],
        "spread": found["spread"],
        "other_kinds": found["other_kinds"],
    }


def _history(ask: Ask) -> Any:
    """Return the days of a history from one to another."""
    query = ask.query
    start, end = (
        parse_instant(query.text(name), name).date() if name in query else None for name in ("from", "to")
    )
    if start and end and start > end:
        raise BadQuantity(f"from {start} is after to {end}", hint="turn them round")
    kind = query.choice("kind", KINDS, "on_demand")
    found = api.price(_slug(ask), kind=kind, history=timedelta(days=36500), data=ask.market).to_dict()
    return [
        day
        for day in found["history"]
        if (start is None or day["day"] >= start.isoformat())
        and (end is None or day["day"] <= end.isoformat())
    ]


def _models_on(ask: Ask) -> Any:
    task = ask.query.choice("task", _TASKS, "inference")
    found = pairing.models_on(
        _slug(ask),
        name=ask.query.text("q"),
        precision=ask.query.text("precision"),
        task=task,
        first=ask.query.whole("first", 0, most=10_000),
        data=ask.market,
    )
    return found.to_dict()


def _compare(ask: Ask) -> Any:
    return api.compare(*ask.query.several("gpu"), data=ask.market).to_dict()


def _models(ask: Ask) -> Any:
    del ask
    return api.models().to_dict()["data"]


def _model(ask: Ask) -> Any:
    return api.model(ask.path["model"]).to_dict()


def _gpus_for(ask: Ask) -> Any:
    task = ask.query.choice("task", _TASKS, "inference")
    context = ask.query.text("context") or None
    return pairing.gpus_for(_model_slug(ask), task=task, context=context, data=ask.market).to_dict()


def _fit(ask: Ask) -> Any:
    query = ask.query
    how: dict[str, Any] = {
        name: query.text(name) for name in ("task", "precision", "kv", "engine", "context") if name in query
    }
    concurrency = query.whole("concurrency", 1, least=1, most=100_000)
    return memory.fits(_model_slug(ask), query.text("gpu", "l40s"), concurrency=concurrency, **how).to_dict()


def _perf(ask: Ask) -> Any:
    query = ask.query
    how: dict[str, Any] = {name: query.text(name) for name in _OF_PERF if name in query}
    model = find_model(query.text("model", "llama-3.1-8b")).slug
    return speeds.speed(model, query.text("gpu", "l40s"), data=ask.market, **how).to_dict()


_OF_PERF = (
    "task", "precision", "kv", "engine", "input", "output", "concurrency", "rps", "ttft", "tpot",
    "percentile", "cached", "speculative",
)  # fmt: skip


def _offers(ask: Ask) -> Any:
    return lists.find_offers(ask, None).to_dict()["data"]


def _providers(ask: Ask) -> Any:
    return api.providers(data=ask.market).to_dict()["data"]


def _provider(ask: Ask) -> Any:
    return api.provider(ask.path["provider"], data=ask.market).to_dict()


def _plan(ask: Ask) -> Any:
    limit = ask.query.whole("limit", 10, least=1, most=200)
    return planning.plan(data=ask.market, limit=limit, **asking.of_catalog(asking.fields_of(ask))).to_dict()


def _own(ask: Ask) -> Any:
    return asking.find_own(ask).to_dict()


def _changes(ask: Ask) -> Any:
    return overview.changes(data=ask.market).to_dict()


def _meta(ask: Ask) -> Any:
    found = upkeep.market_stats(data=ask.market).to_dict()
    counts = {"gpus": len(all_gpus()), "models": len(slugs("models"))}
    return {"sources": found["sources"], "catalog": counts, "hours_per_month": ask.hours_per_month}


def _slug(ask: Ask) -> str:
    return find_gpu(ask.path["gpu"]).slug


def _model_slug(ask: Ask) -> str:
    return find_model(ask.path["model"]).slug


PLAN = Resource("plan", "/plan", "Which machines to rent.", _plan, asking.PLAN_FIELDS)
_OFFER_NAMES = tuple(name for name in lists.OFFER_FIELDS if name not in ("limit", "hours_per_month"))

RESOURCES = (
    Resource("gpus", "/gpus", "Every GPU with its prices and its week.", _gpus, ("kind",), is_list=True),
    Resource("gpu", "/gpus/{gpu}", "Everything on one GPU.", _gpu),
    Resource("gpu_facts", "/gpus/{gpu}/facts", "Every fact of a GPU with its source.", _facts),
    Resource("gpu_offers", "/gpus/{gpu}/offers", "Current offers.", _gpu_offers, ("kind",), is_list=True),
    Resource("gpu_instances", "/gpus/{gpu}/instances", "Whole machines with it.", _instances, ("kind",)),
    Resource("gpu_spread", "/gpus/{gpu}/spread", "Low, median, high of its providers.", _spread, ("kind",)),
    Resource(
        "gpu_history", "/gpus/{gpu}/history", "Its price by day.", _history, ("kind", "from", "to"),
        is_list=True,
    ),
    Resource(
        "gpu_models", "/gpus/{gpu}/models", "Models on it, 24 at a time.", _models_on,
        ("q", "precision", "task", "first"),
    ),
    Resource("compare", "/compare", "GPUs side by side.", _compare, ("gpu",), ("gpu",)),
    Resource("models", "/models", "Every model.", _models, is_list=True),
    Resource("model", "/models/{model}", "Every fact of a model.", _model),
    Resource(
        "model_gpus", "/models/{model}/gpus", "The GPUs for rent that run it, how fast.", _gpus_for,
        ("task", "context"),
    ),
    Resource(
        "model_fit", "/models/{model}/fit", "Does it fit a GPU?", _fit,
        ("gpu", "task", "precision", "kv", "engine", "context", "concurrency"),
    ),
    Resource("perf", "/perf", "How fast is a model?", _perf, ("model", "gpu", *_OF_PERF), ("model",)),
    Resource("providers", "/providers", "Every provider.", _providers, is_list=True),
    Resource("provider", "/providers/{provider}", "One provider and its prices.", _provider),
    Resource("offers", "/offers", "What is for rent.", _offers, _OFFER_NAMES, is_list=True),
    PLAN,
    Resource("rent_or_own", "/rent-or-own", "Rent or own a GPU?", _own, asking.OWN_FIELDS),
    Resource("changes", "/changes", "What moved in a week.", _changes),
    Resource("meta", "/meta", "The price lists with their dates.", _meta),
)  # fmt: skip

_WORDS: Mapping[str, str] = {
    "gpu": "name of a GPU, in most places with a count: l40s, l40s:2",
    "model": "name of a model: llama-3.1-70b",
    "from": "first day: 2026-07-01",
    "to": "last day",
    "cursor": "`next` of the part before",
    "limit": "rows at most",
    "context": "tokens of a sequence: 8192, 8k",
    "sort": "a column or a ratio of two: usd, vram_gib/usd",
    "max_age": "of an offer: 24h, any",
}
_WHOLE = {"limit": (1, 200), "concurrency": (1, 100_000), "first": (0, 10_000)}


def schema_of(name: str) -> dict[str, Any]:
    """Return the JSON schema of a field: most are texts of people, whose meaning is told in words."""
    if name in _WHOLE:
        least, most = _WHOLE[name]
        return {"type": "integer", "minimum": least, "maximum": most}
    schema: dict[str, Any] = {
        "type": "string",
        "minLength": 1,
        "maxLength": 200,
        "pattern": r"^[^\x00-\x1f\x7f/]+$",
    }
    if name in _WORDS:
        schema["description"] = _WORDS[name]
    return schema
