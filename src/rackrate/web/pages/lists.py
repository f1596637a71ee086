"""The pages that list: models, providers, offers; and one model, one provider."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rackrate import api, pairing
from rackrate.catalog.load import slugs
from rackrate.catalog.model import TASKS, find_model
from rackrate.catalog.provider import find_provider
from rackrate.errors import RackrateError
from rackrate.report import cards
from rackrate.report.block import Table
from rackrate.report.cards import Listing
from rackrate.report.offers import Offers
from rackrate.web.page import Ask, Field, Page, month_of, sorted_by, usual_first
from rackrate.web.pages.gpus import KINDS, TRAINING_TASKS

PAGE_ROWS = 100
LIST_FIELDS = ("q", "task", "maker", "sort", "page")
PROVIDER_FIELDS = ("q", "tier", "sort", "page")
OFFER_FIELDS = (
    "gpu", "count", "vram_gib", "vram_total_gib", "kind", "provider", "country", "region",
    "max_usd_per_gpu_hour", "max_usd_per_hour", "vcpu", "ram_gib", "disk_gib", "nvlink", "graphics", "sort",
    "limit", "max_age", "hours_per_month",
)  # fmt: skip
_YES_NO = (("", "either"), ("yes", "yes"), ("no", "no"))


def models(ask: Ask) -> Page:
    """Return the models of the catalog."""
    query = ask.query
    task = query.choice("task", ("", *TASKS), "")
    found = api.models()
    kept = _matching(found, query.text("q"), {"task": task, "maker": query.text("maker")})
    page = Page(
        "Open-weights models",
        "Parameters, context and cache of each model; its page has the GPUs that run it, how fast, and at "
        "what price.",
        kept,
        template="listing.html",
        fields=(
            Field("q", "Name", query.text("q"), hint="llama", kind="search"),
            Field("task", "Kind", task, choices=(("", "any"), *((each, each) for each in TASKS))),
        ),
    )
    return _listed(ask, page, kept)


def providers(ask: Ask) -> Page:
    """Return the providers of the catalog."""
    query = ask.query
    found = api.providers(data=ask.market)
    tiers = sorted({row[2] for row in found.rows if row[2]})
    tier = query.choice("tier", ("", *tiers), "")
    kept = _matching(found, query.text("q"), {"tier": tier})
    page = Page(
        "Providers",
        "Who rents out GPUs, of what kind they are, in what they bill, and how many of their offers count "
        "today.",
        kept,
        template="listing.html",
        fields=(
            Field("q", "Name", query.text("q"), hint="nebius", kind="search"),
            Field("tier", "Tier", tier, choices=(("", "any"), *((each, each) for each in tiers))),
        ),
    )
    return _listed(ask, page, kept)


def provider(ask: Ask) -> Page:
    """Return one provider with its prices."""
    found = find_provider(ask.path["provider"])
    if found.slug != ask.path["provider"]:
        return Page(found.name, "", moved=f"/providers/{found.slug}")
    answer = api.provider(found.slug, data=ask.market)
    prices = [block for block in answer.blocks() if isinstance(block, Table)][::-1]
    others = [block for block in answer.blocks() if not isinstance(block, Table)]
    n = len({row[0] for row in answer.prices})
    return Page(
        found.name,
        f"{found.name}: facts with their sources, and its cheapest counted price of each of {n} GPUs and "
        "kinds.",
        answer,
        blocks=(*prices, *others),
        crumbs=(("Providers", "/providers"),),
    )


def model(ask: Ask) -> Page:
    """Return one model: the GPUs that run it, how fast, at what price, and its facts."""
    found = find_model(ask.path["model"])
    if found.slug != ask.path["model"]:
        return Page(found.name, "", moved=f"/models/{found.slug}")
    query = ask.query
    task = query.choice("task", [name for name, _ in TRAINING_TASKS], "inference")
    answer = pairing.gpus_for(found.slug, task=task, context=query.text("context") or None, data=ask.market)
    card = cards.model_card(found)
    table = answer.blocks()[0]
    shown = sorted_by(table, query) if isinstance(table, Table) else table
    n = sum(pair.choice.fit is not None for pair in answer.pairs)
    return Page(
        found.name,
        f"{found.name} by {found.maker}: runs on {n} of the {len(answer.pairs)} GPUs that are for rent; "
        "with what "
        "precision and memory, how fast, and what the result costs.",
        answer,
        template="model.html",
        blocks=(shown, *card.blocks()),
        context={"model": found, "table": shown, "card": card.blocks(), "pairs": answer.pairs},
        fields=(
            Field("task", "For", task, choices=TRAINING_TASKS),
            Field("context", "Context, tokens", query.text("context"), hint="8k"),
        ),
        crumbs=(("Models", "/models"),),
    )


def offers(ask: Ask) -> Page:
    """Return what is for rent, by the filters of the form."""
    page = Page(
        "What is for rent",
        "Every current offer, cheapest per GPU first; the address holds the filters, so it can be sent on.",
        template="offers.html",
        fields=_offer_fields(ask),
        context={"table": None},
    )
    try:
        limit = ask.query.whole("limit", PAGE_ROWS, least=0, most=100_000)
        found = find_offers(ask, limit or None)
    except RackrateError as error:
        return page.with_problem(error)
    return replace(page, answer=found, context={"table": found.blocks()[0]})


def find_offers(ask: Ask, limit: int | None) -> Offers:
    """Return the offers that the fields of an address ask for.

    Raises:
        RackrateError: as `rackrate.offers` does.
    """
    query = ask.query
    read: dict[str, object] = {
        name: query.text(name)
        for name in (*_LIMITS, "region", "max_usd_per_gpu_hour", "max_usd_per_hour", "max_age")
        if name in query
    }
    for name in ("nvlink", "graphics"):
        if name in query:
            read[name] = query.choice(name, ("yes", "no"), "yes") == "yes"
    return api.offers(
        query.several("gpu") or None,
        kind=query.text("kind", "on_demand"),
        provider=query.several("provider"),
        country=query.several("country"),
        sort=query.text("sort", "usd"),
        limit=limit,
        data=ask.market,
        hours_per_month=month_of(ask),
        **read,  # type: ignore[arg-type]  # texts, which it reads itself
    )


_LIMITS = ("count", "vram_gib", "vram_total_gib", "vcpu", "ram_gib", "disk_gib")


def _offer_fields(ask: Ask) -> tuple[Field, ...]:
    query = ask.query

    def field(name: str, title: str, hint: str = "", choices: Sequence[tuple[str, str]] = ()) -> Field:
        return Field(name, title, query.text(name), choices=choices, hint=hint)

    kinds = tuple((each, each.replace("_", " ")) for each in (*KINDS, "any"))
    fields = (
        replace(field("gpu", "GPU, count", "l40s:2.."), names=slugs("gpus")),
        Field("kind", "Kind", query.text("kind", "on_demand"), choices=kinds),
        field("vram_gib", "GiB a GPU", "40.."),
        field("count", "GPUs", "1, 4..8"),
        field("provider", "Provider", "runpod"),
        field("country", "Country", "DE, EU"),
        field("region", "Region", "us-east"),
        field("max_usd_per_gpu_hour", "At most USD/GPU-h", "1.50"),
        field("vcpu", "vCPU", "16.."),
        field("ram_gib", "RAM GiB", "64.."),
        field("disk_gib", "Disk GiB", "500.."),
        field("nvlink", "NVLink", choices=_YES_NO),
        field("graphics", "Renders", choices=_YES_NO),
        field("max_age", "Not older than", "24h, any"),
        field("sort", "Sort", "usd, vram_gib/usd"),
    )
    return usual_first(fields, "gpu", "kind", "count", "country", "max_usd_per_gpu_hour")


def _matching(found: Listing, name: str, wanted: dict[str, str]) -> Listing:
    """Return the rows whose first two columns have a text and whose others are as wanted."""
    keys = [column.key for column in found.columns]

    def is_wanted(row: tuple[object, ...]) -> bool:
        texts = " ".join(str(value) for value in row[:3]).casefold()
        return name.casefold() in texts and all(
            not value or str(row[keys.index(key)]).casefold() == value.casefold()
            for key, value in wanted.items()
        )

    rows = tuple(filter(is_wanted, found.rows))
    hidden = len(found.rows) - len(rows)
    notes = (*found.notes, f"{hidden} more do not match") if hidden else found.notes
    return replace(
        found, title=f"{len(rows)} of {found.title}" if hidden else found.title, rows=rows, notes=notes
    )


def _listed(ask: Ask, page: Page, found: Listing) -> Page:
    """Return a page of a list: sorted, and cut to a page's length."""
    table = found.blocks()[0]
    if not isinstance(table, Table):
        return page
    table = sorted_by(table, ask.query)
    number = ask.query.whole("page", 1, least=1, most=10_000)
    n_pages = max(1, -(-len(table.rows) // PAGE_ROWS))
    rows = table.rows[(number - 1) * PAGE_ROWS : number * PAGE_ROWS]
    shown = replace(table, rows=rows)
    answer = replace(found, rows=tuple(rows))
    return replace(
        page,
        answer=answer,
        blocks=(shown,),
        context={"table": shown, "number": number, "n_pages": n_pages},
    )
