"""The pages of the market as a whole: all GPUs, what changed, how fresh the lists are, the questions."""

from __future__ import annotations

from dataclasses import replace

from rackrate import api, collecting, overview, upkeep
from rackrate.catalog.gpu import find_gpu
from rackrate.errors import NoAnswer
from rackrate.market.offer import Kind
from rackrate.report.block import Block, Column, Table, Text
from rackrate.report.cards import Listing
from rackrate.report.collected import Freshness
from rackrate.web.page import Ask, Field, Page, sorted_by
from rackrate.web.pages.faq import questions
from rackrate.web.pages.gpus import KINDS, choices_of_gpus
from rackrate.web.shared import once

SEGMENTS = ("datacenter", "workstation", "consumer", "other-accelerator")
HOME_FIELDS = ("q", "segment", "kind", "all", "sort")


def home(ask: Ask) -> Page:
    """Return the market: every GPU with low, median, high, its week and how many have it."""
    query = ask.query
    kind = query.choice("kind", KINDS, Kind.ON_DEMAND.value)
    segment = query.choice("segment", ("", *SEGMENTS), "")
    everything = once(ask.market, ("market", kind), lambda: overview.market(kind=kind, data=ask.market))
    name = query.text("q").casefold()
    is_all = query.choice("all", ("", "1"), "") == "1"
    shown = tuple(
        each
        for each in everything.gpus
        if (each.spread or is_all)
        and segment in ("", each.gpu.segment)
        and (name in each.gpu.name.casefold() or name in each.gpu.slug)
    )
    found = replace(everything, gpus=shown)
    table = found.blocks()[0]
    assert_table = sorted_by(table, query) if isinstance(table, Table) else None
    lines = {each.gpu.slug: [day.index for day in each.history] for each in shown}
    return Page(
        title="What GPUs rent for, and what they can do",
        lead="Prices of cloud GPUs like for like, whether a model fits, how fast it is, and whether to rent "
        "or own: "
        "each number with its unit, date and source.",
        answer=found,
        template="home.html",
        blocks=(assert_table,) if assert_table else (),
        context={
            "table": assert_table,
            "lines": lines,
            "market": everything,
            "n_hidden": sum(each.spread is None for each in everything.gpus) if not is_all else 0,
            "is_all": is_all,
            "kind": kind,
        },
        fields=(
            Field("q", "Name", query.text("q"), hint="l40s", kind="search"),
            Field(
                "segment",
                "Segment",
                segment,
                choices=(("", "any"), *((each, each) for each in SEGMENTS)),
            ),
            Field("kind", "Kind", kind, choices=tuple((each, each.replace("_", " ")) for each in KINDS)),
        ),
    )


def changes(ask: Ask) -> Page:
    """Return which prices moved in a week, and who entered or left."""
    found = overview.changes(data=ask.market)
    return Page("What changed", "Prices that moved and providers that came and went, on demand.", found)


def status(ask: Ask) -> Page:
    """Return how fresh each price list is, and how each source stands that was ever asked here."""
    standings = collecting.market_status(data=ask.market)
    asked = tuple(source for source in standings.sources if source.good_at or source.state == "failed")
    live = replace(standings, sources=asked, folder="") if asked else None
    return Page(
        "Status of the data",
        "Each price list with its rows, dates, licence and credit. A list that was made once is shown with "
        "its date "
        "and never counted in a statistic of today.",
        Freshness(upkeep.market_stats(data=ask.market), live),
    )


def faq(ask: Ask) -> Page:
    """Return what people ask about a GPU, with its numbers."""
    gpu = find_gpu(ask.query.text("gpu", "l40s"))
    try:
        price = api.price(gpu.slug, data=ask.market)
    except NoAnswer:
        price = None
    return Page(
        f"Questions about the {gpu.name}",
        "Answered by the engine: change the GPU and the numbers change.",
        blocks=questions(gpu.slug, price),
        fields=(Field("gpu", "GPU", gpu.slug, choices=choices_of_gpus()),),
    )


def about(ask: Ask) -> Page:
    """Return what this is and whose data it shows."""
    stats = upkeep.market_stats(data=ask.market)
    columns = (Column("source", "source"), Column("licence", "licence"), Column("credit", "credit"))
    rows = tuple((row[0], row[-2], row[-1]) for row in stats.sources)
    blocks: list[Block] = [
        Text(
            "What it is",
            (
                (
                    "Rackrate answers five questions about GPUs: what exists, what it costs, whether a model "
                    "fits, how "
                    "fast it is, and which one to rent or own."
                ),
                (
                    "The rack rate is the published price of a room before anyone has haggled. Ours are "
                    "rooms "
                    "in a rack."
                ),
                "No link on this site is paid for, and no payment changes an order.",
                (
                    "The same answers come from the command line (rackrate gpu l40s), from Python and from "
                    "/api/v1."
                ),
            ),
        ),
        Table("Whose prices these are", columns, rows),
    ]
    return Page(
        "About",
        "What Rackrate is, and whose data it shows.",
        Listing("Credits", columns, rows),
        blocks=blocks,
    )
