"""The pages to read: how each number is made, what each error means. Constants come from the parts."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rackrate.error_codes import all_codes
from rackrate.errors import UnknownName, nearest
from rackrate.fit.solve import SURE
from rackrate.market.quality import RULES
from rackrate.market.stats import FRESH, SHOWN
from rackrate.report.block import Block, Column, Table, Text
from rackrate.report.cards import Listing
from rackrate.units import HOURS_PER_DAY, HOURS_PER_MONTH, HOURS_PER_WEEK, HOURS_PER_YEAR, format_age
from rackrate.web.page import Ask, Page
from rackrate.web.resources import RESOURCES


def methodology(ask: Ask) -> Page:
    """Return how one number is made."""
    metric = ask.path["metric"]
    if metric not in METRICS:
        raise UnknownName("metric", metric, nearest(metric, METRICS) or list(METRICS))
    title, write = METRICS[metric]
    return Page(
        title,
        f"How Rackrate makes this number: {title[0].lower()}{title[1:]}.",
        blocks=write(),
        crumbs=(("Methodology", "/methodology"),),
    )


def contents(ask: Ask) -> Page:
    """Return the list of numbers that are explained."""
    del ask
    columns = (Column("metric", "number"), Column("address", "page"))
    rows = tuple((title, f"/methodology/{name}") for name, (title, _) in METRICS.items())
    return Page(
        "Methodology",
        "One function makes each number; here is what it does. Every number has a unit, a date and a source.",
        Listing("How each number is made", columns, rows),
        template="contents.html",
        context={"entries": [(title, f"/methodology/{name}") for name, (title, _) in METRICS.items()]},
    )


def _prices() -> list[Block]:
    rules = tuple((rule.number, rule.code, rule.action.value, rule.says) for rule in RULES)
    columns = (
        Column("number", "no.", 0),
        Column("code", "rule"),
        Column("action", "action"),
        Column("says", "meaning"),
    )  # fmt: skip
    return [
        Text(
            "A provider's price",
            (
                "the cheapest of its counted offers of that GPU and kind, in USD for one GPU and hour",
                (
                    f"an offer counts while it was seen within {format_age(FRESH)} of the newest list, "
                    "and met "
                    "no rule "
                    "that holds it back"
                ),
                (
                    f"it is shown for {format_age(SHOWN)}; lists made once are shown with their date and "
                    "never "
                    "counted"
                ),
                "on demand, spot, reserved and serverless are never mixed in one statistic",
            ),
        ),
        Table("Rules between a list and the statistics", columns, rules),
    ]


def _spread() -> list[Block]:
    lines = (
        "low, median and high are taken over the providers' prices, one a provider, of one kind on one day",
        "n and the names stand beside them; 'asks X % less' is 1 - low / high of that same kind",
        "rental pages set a spot price against an on-demand one and call the difference a saving: we do not",
    )
    return [Text("Low, median, high", lines)]


def _index() -> list[Block]:
    lines = (
        "plain median: of the providers of each day; it jumps when a provider comes or goes",
        (
            "index: each day's step is the ratio of two medians over the offers that were there on "
            "both days; the steps "
            "are multiplied, 100 on the first day"
        ),
        "a price in another currency moves it with the price, not with the rate of exchange",
        "the table names who entered and left, and how many providers each step rests on",
    )
    return [Text("Median and like-for-like index", lines)]


def _month() -> list[Block]:
    lines = (
        (
            f"a day is {HOURS_PER_DAY} h, a week {HOURS_PER_WEEK} h, a month {HOURS_PER_MONTH:g} h: "
            f"a twelfth of "
            f"{HOURS_PER_YEAR:,} h, so that twelve months make a year"
        ),
        "the field hours_per_month switches it; 720 is the month of 30 days that rental pages use",
    )
    return [Text("Per day, week and month", lines)]


def _memory() -> list[Block]:
    lines = (
        "weights: every tensor at its precision, scales of quantisation included",
        (
            "KV cache: by the kind of each layer (full, grouped, latent, sliding, state), context and "
            "requests "
            "at once"
        ),
        (
            "activations: the peak of a step of that engine; overhead: CUDA context, graphs and buffers by "
            "version"
        ),
        "the limit is the engine's share of what the driver shows, not what the vendor prints",
        f"a model is said to fit at a probability of {SURE:.0%} and more; each term has a range",
        "parameters x bytes x 1.2 is not used: it has no context in it",
    )
    return [Text("Does it fit", lines)]


def _speed() -> list[Block]:
    lines = (
        (
            "a step's time: compute and memory joined smoothly, then the link between GPUs and the engine's "
            "own time"
        ),
        "factors are fitted on measured cases; low to high holds the truth in 4 cases of 5",
        "batches are bounded by the KV cache that fits; the time to the first token has a queue in it",
        "a million tokens cost what the GPUs cost in the time that they take, at on-demand prices of the day",
    )
    return [Text("How fast is it", lines)]


def _own() -> list[Block]:
    lines = (
        "the simple view: price / (rent a day - electricity a day at the power limit); labelled as such",
        (
            "the full view adds the host, support, idle hours, PUE, colocation, interest and resale, each "
            "with "
            "a range"
        ),
        "breakeven: the time after which an owned hour of use costs what a rented one does; it may be never",
        "the verdict is 'too close to call' where the rent lies within the range of the owned hour",
    )
    return [Text("Rent or own", lines)]


def _plan() -> list[Block]:
    lines = (
        "every GPU, count, precision and layout that fits meets every offer; dominated ways are left out",
        "it keeps the promised times at the asked share of requests, and says what limits it",
        "what was left out is counted by rule; payment of any kind changes nothing in the order",
    )
    return [Text("Which machines", lines)]


METRICS: Mapping[str, tuple[str, Callable[[], list[Block]]]] = {
    "price": ("A price", _prices),
    "spread": ("The spread across providers", _spread),
    "index": ("Median and index over time", _index),
    "month": ("Per hour, day, week and month", _month),
    "memory": ("Whether a model fits", _memory),
    "speed": ("How fast a model is", _speed),
    "plan": ("Which machines to rent", _plan),
    "rent-or-own": ("Rent or own", _own),
}


def api_page(ask: Ask) -> Page:
    """Return the resources of the API."""
    del ask
    columns = (Column("path", "path"), Column("says", "answers"), Column("fields", "fields", absent="none"))
    rows = tuple((f"/api/v1{each.path}", each.says, ", ".join(each.names) or None) for each in RESOURCES)
    notes = (
        "lists: limit and cursor; each answer has data and meta (as_of, dataset, method)",
        "errors are application/problem+json (RFC 9457) with a code that never changes",
        "POST /api/v1/plan takes the same fields as JSON; it changes nothing",
        "described in OpenAPI at /api/v1/openapi.json; any site may read it (CORS)",
        "every offer of a day as Parquet, in the columns of /api/v1/offers: /snapshots/YYYY-MM-DD.parquet",
    )
    return Page(
        "The JSON API",
        "The same numbers as the pages, read with GET and without a key.",
        Listing("Resources", columns, rows, notes),
    )


def error(ask: Ask) -> Page:
    """Return what an error code means."""
    code = ask.path["code"]
    known = all_codes()
    if code not in known and not code.startswith("unknown-"):
        raise UnknownName("error code", code, nearest(code, known) or ["usage", "no-answer"])
    cls, says = known.get(code, known["unknown-name"])
    lines = [f"HTTP status {cls.http_status}, exit status {cls.exit_code} of the command line"]
    if code.startswith("unknown-"):
        lines.append(
            f"nothing answers to that {code.removeprefix('unknown-').replace('-', ' ')}; the nearest stand "
            "beside it"
        )
    return Page(
        f"Error: {code.replace('-', ' ')}",
        says,
        blocks=(Text("What it means", (says, *lines)),),
        crumbs=(("Errors", "/errors"),),
    )


def error_list(ask: Ask) -> Page:
    """Return every error code."""
    del ask
    columns = (
        Column("code", "code"),
        Column("status", "HTTP", 0),
        Column("exit", "exit", 0),
        Column("says", "when"),
    )  # fmt: skip
    rows = tuple((code, cls.http_status, cls.exit_code, says) for code, (cls, says) in all_codes().items())
    return Page("Errors", "Every error has a code that never changes; programs match on it, never on words.",
                Listing("Error codes", columns, rows))  # fmt: skip
