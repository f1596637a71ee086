"""The pages that are forms: a model on a GPU, which machines, rent or own. Their state is the address."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from rackrate import memory, owning, planning, speeds
from rackrate.catalog.gpu import find_gpu
from rackrate.catalog.load import slugs
from rackrate.catalog.model import find_model
from rackrate.errors import NoAnswer, RackrateError, UsageError
from rackrate.plan.asking import FIELDS
from rackrate.report.block import Block, Text
from rackrate.report.fit import FitAnswer
from rackrate.report.own import OwnAnswer
from rackrate.report.speed import SpeedAnswer
from rackrate.web.page import Ask, Drawing, Field, Page, usual_first
from rackrate.web.pages.gpus import KINDS, TRAINING_TASKS, choices_of_gpus

ON_FIELDS = ("task", "precision", "kv", "engine", "context", "concurrency", "count", "input", "output")
OWN_FIELDS = (
    "gpu", "hours_per_day", "utilisation", "price_usd", "kwh_usd", "years", "resale_frac", "selling_frac",
    "rate_frac", "support_frac", "host_usd", "gpus_per_host", "host_factor", "power_w", "load_frac",
    "idle_frac", "pue", "colo_usd_per_kw_month", "place", "kind", "rent_usd",
)  # fmt: skip
_NOT_INPUTS = ("gpu", "place", "kind", "rent_usd")
PLAN_FIELDS = (*(name for name in FIELDS if name != "own"), "own", "limit")


class ModelOnGpu:
    """A model on a GPU: does it fit, and how fast is it."""

    def __init__(self, fit: FitAnswer, speed: SpeedAnswer | None, why_no_speed: str) -> None:
        self.fit = fit
        self.speed = speed
        self.why_no_speed = why_no_speed

    def to_dict(self) -> dict[str, Any]:
        """Return both answers as plain data."""
        return {
            "fit": self.fit.to_dict(),
            "speed": self.speed.to_dict() if self.speed else None,
            "why_no_speed": self.why_no_speed or None,
        }

    def blocks(self) -> list[Block]:
        """Return memory, then speed."""
        if self.speed:
            return [*self.fit.blocks(), *self.speed.blocks()]
        return [*self.fit.blocks(), Text("How fast", (self.why_no_speed,))]


def on_gpu(ask: Ask) -> Page:
    """Return a model on a GPU: stacked memory, what would make it fit, speed and cost."""
    model, gpu = find_model(ask.path["model"]), find_gpu(ask.path["gpu"])
    if (model.slug, gpu.slug) != (ask.path["model"], ask.path["gpu"]):
        return Page(model.name, "", moved=f"/models/{model.slug}/on/{gpu.slug}")
    page = Page(
        f"{model.name} on the {gpu.name}",
        "Memory by term against what the card has, the longest context, tokens a second and the price of a "
        "million.",
        template="on_gpu.html",
        context={"model": model, "gpu": gpu, "found": None},
        fields=_on_fields(ask),
        crumbs=(("Models", "/models"), (model.name, f"/models/{model.slug}")),
    )
    try:
        found = _both(ask, model.slug, gpu.slug)
    except RackrateError as error:
        return page.with_problem(error)
    charts = [Drawing("memory", found.fit, f"{found.fit.title}. {found.fit.stack().title}.")]
    if found.speed and found.speed.pace.curve:
        charts.append(Drawing("speed", found.speed, found.speed.title))
    return replace(
        page, lead=f"{found.fit.stack().title}. {found.fit.asked}.", answer=found, charts=charts,
        context={"model": model, "gpu": gpu, "found": found},
    )  # fmt: skip


def _both(ask: Ask, model: str, gpu: str) -> ModelOnGpu:
    query = ask.query
    count = query.whole("count", 1, least=1, most=64)
    how: dict[str, Any] = {
        name: query.text(name) for name in ("task", "precision", "kv", "engine") if name in query
    }
    where = f"{gpu}:{count}"
    concurrency = query.whole("concurrency", 1, least=1, most=100_000)
    fit = memory.fits(model, where, context=query.text("context") or None, concurrency=concurrency, **how)
    load: dict[str, Any] = {name: query.text(name) for name in ("input", "output") if name in query}
    if "concurrency" in query:
        load["concurrency"] = str(concurrency)
    try:
        return ModelOnGpu(fit, speeds.speed(model, where, data=ask.market, **how, **load), "")
    except (NoAnswer, UsageError) as error:
        return ModelOnGpu(fit, None, f"{error.message}. {error.hint}")


def _on_fields(ask: Ask) -> tuple[Field, ...]:
    query = ask.query

    def field(name: str, title: str, hint: str = "") -> Field:
        return Field(name, title, query.text(name), hint=hint)

    fields = (
        Field("task", "For", query.text("task", "inference"), choices=TRAINING_TASKS),
        field("precision", "Precision", "fp16, fp8, int4, gguf:q4_k_m"),
        field("count", "GPUs", "1"),
        field("context", "Context, tokens", "8k"),
        field("concurrency", "At once", "1; of speed 16"),
        field("kv", "KV cache", "fp16, fp8"),
        field("engine", "Engine", "vllm, sglang, llama.cpp"),
        field("input", "Prompt, tokens", "1000"),
        field("output", "Answer, tokens", "300"),
    )
    return usual_first(fields, "task", "precision", "count", "context", "concurrency")


def plan(ask: Ask) -> Page:
    """Return the plan for a question, or its form."""
    query = ask.query
    page = Page(
        "Which machines to rent",
        "A model and its load in; machines, places and prices out, with what is left out and why.",
        template="plan.html",
        fields=_plan_fields(ask),
        context={"has_question": bool(query.values)},
    )
    if not set(query.values) - {"limit"}:
        return page
    try:
        limit = query.whole("limit", 10, least=1, most=200)
        found = planning.plan(data=ask.market, limit=limit, **of_catalog(fields_of(ask)))
    except RackrateError as error:
        return page.with_problem(error)
    charts = []
    if len(found.plan.frontier) > 1 and "seconds" in found.best.speed:
        charts.append(Drawing("frontier", found, found.title))
    return replace(page, lead=found.title, answer=found, charts=charts, is_indexed=False)


def of_catalog(fields: dict[str, Any]) -> dict[str, Any]:
    """Return the fields of a plan with its model looked up in the catalog.

    A model may be a file or an address elsewhere: a site must not open what a stranger names.

    Raises:
        UnknownName: no model of that name, or several.
    """
    found = dict(fields)
    if model := str(found.get("model", "")):
        found["model"] = find_model(model).slug
    if (sweep := str(found.get("sweep", "bert"))).lower() != "bert":
        found["sweep"] = find_model(sweep).slug
    return found


_LISTS = ("gpu", "provider", "country", "kind", "own")


def fields_of(ask: Ask) -> dict[str, Any]:
    """Return the fields of a plan from those of an address."""
    found: dict[str, Any] = {}
    for name, values in ask.query.values.items():
        if name in _LISTS:
            found[name] = tuple(part.strip() for value in values for part in value.split(",") if part.strip())
        elif name == "graphics":
            found[name] = ask.query.choice(name, ("yes", "true"), "yes") in ("yes", "true")
        elif name != "limit":
            found[name] = values[-1]
    return found


def _plan_fields(ask: Ask) -> tuple[Field, ...]:
    query = ask.query

    def field(name: str, title: str, hint: str = "") -> Field:
        return Field(name, title, ", ".join(query.several(name)), hint=hint)

    objectives = (("", "cost"), ("latency", "latency"), ("balance", "balance"))
    fields = (
        replace(field("model", "Model", "llama-3.1-70b"), names=slugs("models")),
        field("rps", "Requests a second", "2"),
        field("tokens_per_day", "or tokens a day", "500M"),
        field("users", "or users at once", "50"),
        field("input", "Prompt, tokens", "1000"),
        field("output", "Answer, tokens", "300"),
        field("ttft", "First token within", "2s"),
        field("tpot", "Each token within", "100ms"),
        replace(field("gpu", "Only GPU", "l40s, h100:4..8"), names=slugs("gpus")),
        field("country", "Only in", "EU, US"),
        field("provider", "Only provider", "runpod"),
        Field(
            "kind", "Kind", query.text("kind"), choices=(("", "on demand"), ("spot", "spot"), ("any", "any"))
        ),
        field("max_usd_per_hour", "At most USD/h", "10"),
        field("instead_of", "Instead of", "a10"),
        field("finetune", "Fine-tune", "full, lora, qlora"),
        field("tokens", "of so many tokens", "50M"),
        field("images_per_hour", "Images an hour", "1000"),
        field("audio_hours_per_day", "Hours of sound a day", "500"),
        Field("objective", "Best is", query.text("objective"), choices=objectives),
    )
    return usual_first(
        fields, "model", "rps", "tokens_per_day", "users", "gpu", "country", "kind", "max_usd_per_hour",
        "objective",
    )  # fmt: skip


def own(ask: Ask) -> Page:
    """Return whether to rent or to own one GPU."""
    query = ask.query
    gpu = find_gpu(query.text("gpu", "l40s"))
    page = Page(
        f"Rent or own: {gpu.name}",
        "What an hour of use costs rented and owned, each input with its range and source, and after how "
        "long owning "
        "pays, if ever.",
        template="own.html",
        fields=_own_fields(ask, {}),
        context={"gpu": gpu},
    )
    try:
        found = find_own(ask)
    except RackrateError as error:
        return page.with_problem(error)
    usual = {each.key: f"{each.value:g}" for each in found.doubt.inputs}
    drawn = Drawing("ownership", found, f"{found.title}. {found.years_table().title}.")
    return replace(
        page, lead=f"{found.title}. {found.stack().title if found.rents else ''}", answer=found,
        charts=(drawn,), fields=_own_fields(ask, usual),
    )  # fmt: skip


def find_own(ask: Ask) -> OwnAnswer:
    """Return the answer that the fields of an address ask for.

    Raises:
        RackrateError: as `rackrate.own` does.
    """
    query = ask.query
    said: dict[str, Any] = {
        name: query.text(name) for name in OWN_FIELDS if name in query and name not in _NOT_INPUTS
    }
    return owning.own(
        query.text("gpu", "l40s"),
        place=query.text("place", "world"),
        kind=query.text("kind", "on_demand"),
        rent_usd=query.text("rent_usd") or None,
        is_explained=True,
        data=ask.market,
        **said,
    )


def _own_fields(ask: Ask, usual: dict[str, str]) -> tuple[Field, ...]:
    query = ask.query

    def field(name: str, title: str, hint: str = "") -> Field:
        return Field(name, title, query.text(name), hint=usual.get(name, hint))

    fields = (
        Field("gpu", "GPU", query.text("gpu", "l40s"), choices=choices_of_gpus()),
        field("hours_per_day", "Hours of use a day", "6"),
        field("price_usd", "Price of the card, USD"),
        field("kwh_usd", "Electricity, USD/kWh", "0.15"),
        field("place", "Country", "DE, world"),
        Field(
            "kind",
            "Rents",
            query.text("kind", "on_demand"),
            choices=tuple((k, k.replace("_", " ")) for k in KINDS),
        ),
        field("rent_usd", "or this rent, USD/h", "0.79"),
        field("years", "Kept, years", "5"),
        field("resale_frac", "Keeps of its value a year", "0.7"),
        field("rate_frac", "Cost of money a year", "0.08"),
        field("host_usd", "Host without GPUs, USD", "3000"),
        field("gpus_per_host", "GPUs in it", "1"),
        field("load_frac", "Load in use", "0.75"),
        field("pue", "PUE of the site", "1.54"),
        field("colo_usd_per_kw_month", "Colocation, USD a kW-month", "217.30"),
        field("support_frac", "Support a year, of the price", "0.05"),
    )
    return usual_first(fields, "gpu", "hours_per_day", "price_usd", "kwh_usd", "kind")
