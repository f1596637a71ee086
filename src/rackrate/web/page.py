"""What a page is: one context, from which its HTML and all its other forms are written."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import TYPE_CHECKING, Any

from rackrate import chart
from rackrate.errors import NoAnswer, RackrateError, UnknownName, UsageError, nearest
from rackrate.report.block import Answer, Block, Table, to_csv, to_markdown
from rackrate.report.shown import to_parquet
from rackrate.units import parse_number
from rackrate.web.artist import draw
from rackrate.web.query import Query

if TYPE_CHECKING:
    from rackrate.market.store import Store

FORMS: Mapping[str, str] = {
    "html": "text/html; charset=utf-8",
    "json": "application/json",
    "md": "text/markdown; charset=utf-8",
    "csv": "text/csv; charset=utf-8",
    "parquet": "application/vnd.apache.parquet",
    "vl": "application/vnd.vegalite.v6+json",
}
"""How a page is written, with its media type."""


@dataclass(frozen=True)
class Field:
    """One field of a GET form.

    Attributes:
        name: in the address.
        title: for people, with the unit.
        value: that it has now.
        choices: values and their titles, of a field that has few.
        hint: an example or the default.
        kind: `text`, `number`, `range` or `checkbox`.
        limits: least, most and step, of a number.
        names: that it may have, to choose from while one types.
        is_rare: whether it waits behind "more", for who needs it.
    """

    name: str
    title: str
    value: str = ""
    choices: Sequence[tuple[str, str]] = ()
    hint: str = ""
    kind: str = "text"
    limits: tuple[float, float, float] | None = None
    names: Sequence[str] = ()
    is_rare: bool = False


def usual_first(fields: Sequence[Field], *usual: str) -> tuple[Field, ...]:
    """Return the fields that most questions need, in that order, then the rare ones."""
    by_name = {each.name: each for each in fields}
    rare = (replace(each, is_rare=True) for each in fields if each.name not in usual)
    return (*(by_name[name] for name in usual), *rare)


def wrong_field(fields: Sequence[Field], problem: RackrateError | None) -> str:
    """Return the name of the field that a problem is about; empty where its message names none of them."""
    if problem is None:
        return ""
    said, words = problem.message, problem.message.split()
    found = (each.name for each in fields if each.value and (each.name in words or repr(each.value) in said))
    return next(found, "")


@dataclass(frozen=True)
class Ask:
    """A question that came in.

    Attributes:
        market: the prices to answer from.
        path: the parts of the address that vary, by name.
        query: the fields.
        address: path of the page, without form.
        now: for the age of the data.
        hours_per_month: as configured.
    """

    market: Store
    path: Mapping[str, str]
    query: Query
    address: str
    now: datetime
    hours_per_month: float


@dataclass(frozen=True)
class Drawing:
    """A chart of a page: drawn where the page is shown, and a spec for who wants to draw it otherwise.

    Attributes:
        name: of a function of `rackrate.chart`.
        answer: what it draws.
        says: the finding, for who cannot see it.
        keep: returns what was drawn before, where pages share a chart.
    """

    name: str
    answer: Any
    says: str
    keep: Callable[[Callable[[], str]], str] = lambda make: make()

    @property
    def finding(self) -> str:
        """The first sentence of what it says, for screens on which its title is cut."""
        return self.says.partition(". ")[0]

    def svg(self) -> str:
        """Return the chart as SVG text in a page's own colours."""
        return chart.on_page(self.keep(self._drawn), self.says)

    def _drawn(self) -> str:
        return draw(f"{self.name}_svg", self.answer)

    def spec(self) -> str:
        """Return the chart as Vega-Lite."""
        return draw("spec", self.name, self.answer)


@dataclass(frozen=True)
class Page:
    """One page.

    Attributes:
        title: of the page.
        lead: what it says, in a sentence or two: also its description for search engines.
        answer: its numbers, of which JSON, Markdown and CSV are made; None of a page without.
        template: of the HTML.
        context: what only the template needs.
        blocks: shown by the template, where not those of the answer.
        fields: of its form.
        charts: in their order.
        picture: address of the one that previews of links show; empty for none.
        crumbs: titles and addresses of the pages above.
        problem: what went wrong, of a form that could not be answered.
        json_ld: structured data.
        is_indexed: whether search engines may list it.
        moved: address that the page has now.
    """

    title: str
    lead: str
    answer: Answer | None = None
    template: str = "page.html"
    context: Mapping[str, Any] = field(default_factory=dict)
    blocks: Sequence[Block] = ()
    fields: Sequence[Field] = ()
    charts: Sequence[Drawing] = ()
    picture: str = ""
    crumbs: Sequence[tuple[str, str]] = ()
    problem: RackrateError | None = None
    json_ld: Sequence[Mapping[str, Any]] = ()
    is_indexed: bool = True
    moved: str = ""

    @property
    def status(self) -> int:
        """HTTP status of the HTML: an unknown name in a field is a bad field, no missing page.

        A page without a form asked nothing: that there is nothing is what it has to say.
        """
        if isinstance(self.problem, UnknownName):
            return UsageError.http_status
        if isinstance(self.problem, NoAnswer) and not self.fields:
            return 200
        return self.problem.http_status if self.problem else 200

    def with_problem(self, error: RackrateError) -> Page:
        """Return the page as the form that was not answered."""
        return replace(self, problem=error, is_indexed=False)

    def shown(self) -> Sequence[Block]:
        """Return the blocks of the page."""
        return self.blocks or (self.answer.blocks() if self.answer else ())


Build = Callable[[Ask], Page]


def written(page: Page, form: str, chart_at: int = 1) -> str | bytes:
    """Write a page in a form other than HTML.

    Args:
        page: what to write.
        form: of `FORMS`.
        chart_at: which of its charts, from 1, where the form is that of a chart.

    Raises:
        RackrateError: the problem of a form that was not answered.
        UsageError: the page has no such form.
    """
    if page.problem:
        raise page.problem
    if form == "vl":
        if chart_at > len(page.charts):
            says = f"this page has {len(page.charts)} charts" if page.charts else "this page has no chart"
            raise UsageError(says, hint="ask for .json or .md", code="no-chart")
        return page.charts[chart_at - 1].spec()
    if form == "json":
        if page.answer is None:
            data: Any = {"title": page.title, "says": to_markdown(page.shown())}
        else:
            data = page.answer.to_dict()
        return json.dumps(data, ensure_ascii=False, allow_nan=False, default=str)
    if form == "md":
        return f"# {page.title}\n\n{page.lead}\n\n{to_markdown(page.shown())}"
    if not any(isinstance(block, Table) for block in page.shown()):
        raise UsageError("this page has no table", hint="ask for .json or .md", code="no-table")
    return to_parquet(page.shown()) if form == "parquet" else to_csv(page.shown())


def sorted_by(table: Table, query: Query) -> Table:
    """Return a table sorted by the column that `sort` names, `-` in front turning it round; unknowns last.

    Raises:
        UnknownName: no such column.
    """
    asked = query.text("sort")
    if not asked:
        return table
    name, is_down = asked.removeprefix("-"), asked.startswith("-")
    keys = [column.key for column in table.columns]
    if name not in keys:
        raise UnknownName("sort column", name, nearest(name, keys) or keys)
    at = keys.index(name)
    known = [row for row in table.rows if _raw(row[at]) is not None]
    known.sort(key=lambda row: _order(_raw(row[at])), reverse=is_down)
    unknown = [row for row in table.rows if _raw(row[at]) is None]
    return replace(table, rows=[*known, *unknown])


def month_of(ask: Ask) -> float:
    """Return the hours that a month has: those of the address, else those configured.

    Raises:
        UsageError: not above 0 and up to 744.
    """
    text = ask.query.text("hours_per_month")
    if not text:
        return ask.hours_per_month
    hours = parse_number(text, "hours_per_month")
    if not 0 < hours <= 744:  # noqa: PLR2004 - 31 days
        hint = "730 is a twelfth of a year, 720 are 30 days"
        raise UsageError(f"hours_per_month {text!r} is not between 0 and 744", hint=hint)
    return hours


def _raw(value: Any) -> Any:
    return getattr(value, "value", value)


def _order(value: Any) -> tuple[bool, Any]:
    return (True, str(value).casefold()) if isinstance(value, str) else (False, value)
