"""From a page to HTML: the templates, and what they need to write a table cell, a number or a line."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from functools import cache, lru_cache
from importlib.metadata import version
from typing import Any
from urllib.parse import quote, urlencode

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from rackrate import chart
from rackrate.catalog.load import slugs
from rackrate.catalog.provider import all_providers
from rackrate.errors import RackrateError
from rackrate.report.block import Column, Table, Text
from rackrate.report.fit import chance
from rackrate.units import format_age
from rackrate.web.page import Ask, Page, wrong_field
from rackrate.web.pages.structured import breadcrumbs
from rackrate.web.site import HERE, TEMPLATES, Site
from rackrate.web.wording import link, words

_LINKED = {"gpu": "/gpus/", "model": "/models/", "provider": "/providers/", "taken_as": "/gpus/"}


@cache
def environment() -> Environment:
    """Return the templates; a name that a page does not give is an error, not an empty place."""
    found = Environment(
        loader=FileSystemLoader(HERE / "templates"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    found.filters |= {
        "cell": cell, "words": words, "usd": usd, "svg": svg, "spark": spark, "json_ld": json_ld,
        "when": when, "figures": figures, "said": said, "wrong_field": wrong_field,
    }  # fmt: skip
    found.globals |= {"query": query, "chance": chance, "breadcrumbs": breadcrumbs, "range_": range}
    found.tests |= {
        "table": lambda block: isinstance(block, Table),
        "text": lambda block: isinstance(block, Text),
    }
    return found


def html(page: Page, ask: Ask, site: Site) -> str:
    """Write a page as HTML."""
    market = ask.market
    age = ask.now - market.newest if market.newest else None
    written = (
        environment()
        .get_template(page.template)
        .render(
            page=page,
            ask=ask,
            static=f"/static/{TEMPLATES}",
            drawer=drawer(),
            colours=_COLOURS,
            address=site.address,
            as_of=market.newest,
            age=format_age(age) if age else "",
            is_old=bool(age and age.days >= 1),
            is_sample=market.is_sample,
            dataset=market.version,
            is_behind=site.is_behind,
            here=here(ask, {}),
            **page.context,
        )
    )
    return _IMPLIED.sub("", written)


_IMPLIED = re.compile(r"</t[dr]>\n?")
"""Ends of cells and rows, which HTML takes as said where the next begins: a twentieth of a page of tables."""


@cache
def drawer() -> str:
    """Return the address of the script that makes charts interactive; another version has another."""
    return f"/static/{TEMPLATES}-{version('vl-convert-python')}/vega.js"


_COLOURS = json.dumps({name: of for name, of in chart.ON_PAGE.items() if name.startswith("#")})
"""Colours of a spec to those of a page, for the script that draws it anew."""


def error_html(error: RackrateError, links: Sequence[tuple[str, str]], site: Site) -> str:
    """Write an error as a page of its own."""
    return (
        environment()
        .get_template("error.html")
        .render(error=error, links=links, static=f"/static/{TEMPLATES}", address=site.address)
    )


def here(ask: Ask, changed: Mapping[str, str | None], form: str = "") -> str:
    """Return the address of this page with some fields changed, in another form."""
    fields = [(name, value) for name, values in ask.query.values.items() for value in values]
    fields = [(name, value) for name, value in fields if name not in changed]
    fields += [(name, value) for name, value in changed.items() if value is not None]
    path = ask.address
    if form:
        path = f"{'/index' if path == '/' else path}.{form}"
    return quote(path) + (f"?{urlencode(fields)}" if fields else "")


def query(ask: Ask, form: str = "", **changed: str | None) -> str:
    """Return `here` for a template."""
    return here(ask, changed, form)


def cell(value: Any, column: Column) -> Markup:
    """Write a table cell: a known name or an address as a link, a bar as a bar, else as the column does."""
    text = column.write(value)
    if value is None:
        return Markup("<i>{}</i>").format(text)
    if "url" in column.key or column.key == "site":
        return link(text, "view" if "url" in column.key else "launch")
    if column.key in _WRITTEN:
        return escape(_WRITTEN[column.key](text))
    start = _LINKED.get(column.key)
    if start and _is_page(start, text):
        return _inside(start, text)
    if column.key == "bar":
        return _bar(text)
    return _drawn(text) if _BLOCK in text else words(text)


def _drawn(text: str) -> Markup:
    """Write a text that ends in a bar of block signs, which a page draws."""
    said, _, _ = text.partition(_BLOCK)
    return Markup("{} {}").format(said.strip(), _bar(text[len(said) :]))


_BLOCK = "█"


_UNITS = {"gib": "GiB", "gb": "GB", "w": "W", "usd": "USD", "tflops": "TFLOPS", "tops": "TOPS", "s": "s"}
_UNITS |= {word: word.upper() for word in ("fp4", "fp8", "fp16", "fp32", "int8", "bf16", "rt", "pcie", "mig")}


@lru_cache(maxsize=512)
def _fact_words(name: str) -> str:
    """Write the name of a fact as words."""
    return " ".join(_UNITS.get(word, word) for word in name.replace("_per_s", "/s").split("_"))


def _sku(text: str) -> str:
    """Return the last of two names of one shape: the one that who rents it types."""
    return text.partition(" ")[2] or text


def _spaced(text: str) -> str:
    return text.replace("_", " ")


_WRITTEN: Mapping[str, Callable[[str], str]] = {
    "kind": _spaced,
    "tier": _spaced,
    "sku": _sku,
    "fact": _fact_words,
}
"""How a name for programs reads on a page, by its column."""


@lru_cache(maxsize=1024)
def _inside(start: str, slug: str) -> Markup:
    return Markup('<a href="{}{}">{}</a>').format(start, quote(slug), slug)


@cache
def _is_page(start: str, slug: str) -> bool:
    if start == "/gpus/":
        return slug in slugs("gpus")
    if start == "/models/":
        return slug in slugs("models")
    return slug in {provider.slug for provider in all_providers()}


def figures(table: Table) -> list[bool]:
    """Tell of each column whether it holds figures, also where they were written as text."""
    return [
        column.digits is not None or _is_figures(column, [row[at] for row in table.rows])
        for at, column in enumerate(table.columns)
    ]


def said(table: Table) -> Table:
    """Return a table without the columns of which no row says anything, which a note names instead."""
    kept = [at for at in range(len(table.columns)) if any(row[at] is not None for row in table.rows)]
    silent = [column.title for at, column in enumerate(table.columns) if at not in kept]
    return replace(
        table,
        columns=tuple(table.columns[at] for at in kept),
        rows=[tuple(row[at] for at in kept) for row in table.rows],
        notes=(*table.notes, *([f"no list says here: {', '.join(silent)}"] if silent else ())),
    )


_FIGURE = re.compile(r"[+-]?\d[\d,.]*(?:e[+-]?\d+|[kMBT])?%?|never|over 99%|under 1%")


def _is_figures(column: Column, values: Sequence[Any]) -> bool:
    said = [column.write(value) for value in values if value is not None]
    return any(said) and all(not text or _FIGURE.fullmatch(text) for text in said)


def usd(value: float, digits: int = 2) -> str:
    """Write an amount of money."""
    return f"${value:,.{digits}f}"


def when(at: datetime) -> Markup:
    """Write an instant so that people and programs can read it."""
    return Markup('<time datetime="{}">{}</time>').format(at.isoformat(), f"{at:%Y-%m-%d %H:%M} UTC")


def svg(text: str) -> Markup:
    """Hand a chart of ours to a template as it is."""
    return Markup(text)  # noqa: S704 - vl-convert escapes what the data say


def spark(values: Sequence[float], width: int = 88, height: int = 22) -> Markup:
    """Draw a line without axes beside its numbers."""
    if len(values) < 2:  # noqa: PLR2004
        return Markup('<span class="none">{}</span>').format("no history")
    low, high = min(values), max(values)
    reach = (high - low) or 1.0
    room = height - 4
    level = height / 2 if high == low else None
    bends = [
        (i, value)
        for i, value in enumerate(values)
        if i in (0, len(values) - 1) or not values[i - 1] == value == values[i + 1]
    ]
    points = " ".join(
        f"{i * (width - 2) / (len(values) - 1) + 1:.1f},{level or 2 + (high - value) / reach * room:.1f}"
        for i, value in bends
    )
    return Markup(
        '<svg class="spark" width="{}" height="{}" aria-hidden="true" focusable="false">'
        '<polyline points="{}"/></svg>'
    ).format(width, height, points)


def json_ld(data: Mapping[str, Any]) -> Markup:
    """Write structured data so that nothing in it can end the element."""
    text = json.dumps(data, ensure_ascii=False)
    return Markup(text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026"))  # noqa: S704


_CELLS = 24


def _bar(text: str) -> Markup:
    """Draw a bar of block signs as a picture; the numbers stand in the other cells."""
    start = len(text) - len(text.lstrip())
    mark = text.find("|")
    parts = [Markup('<rect x="{}" width="{}" height="8" rx="1"/>').format(start * 4, len(text.strip()) * 4)]
    if mark >= 0:
        parts.append(Markup('<path d="M{0},-1v10"/>').format(mark * 4 + 2))
    drawn = Markup("").join(parts)
    return Markup('<svg class="bar" viewBox="0 -1 {} 10" aria-hidden="true">{}</svg>').format(
        _CELLS * 4, drawn
    )
