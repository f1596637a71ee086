"""What every public function returns can be looked at, drawn, and made a data frame."""

from __future__ import annotations

import copy
from collections.abc import Callable
from html.parser import HTMLParser
from typing import Any

import altair as alt
import pyarrow as pa
import pytest

import rackrate
from rackrate import collecting, overview, upkeep
from rackrate.errors import NoAnswer
from rackrate.report.block import Table, Text, asked_for
from rackrate.report.cards import Card
from rackrate.report.shown import Shown

PLAN = ("llama-3.1-8b",)
ANSWERS: dict[str, Callable[[], Any]] = {
    "compare": lambda: rackrate.compare("l40s", "a10"),
    "fits": lambda: rackrate.fits("llama-3.1-8b", "l40s"),
    "gpu": lambda: rackrate.gpu("l40s"),
    "gpus": rackrate.gpus,
    "model": lambda: rackrate.model("llama-3.1-8b"),
    "models": rackrate.models,
    "models_on": lambda: rackrate.models_on("l40s"),
    "offers": lambda: rackrate.offers("l40s"),
    "open_market": rackrate.open_market,
    "own": lambda: rackrate.own("l40s"),
    "plan": lambda: rackrate.plan(*PLAN, rps=1),
    "price": lambda: rackrate.price("l40s", history="30d"),
    "provider": lambda: rackrate.provider("runpod"),
    "providers": rackrate.providers,
    "speed": lambda: rackrate.speed("llama-3.1-8b", "l40s"),
}
MORE: dict[str, Callable[[], Any]] = {
    "changes": overview.changes,
    "check_market": upkeep.check_market,
    "import_formats": upkeep.import_formats,
    "instances": lambda: overview.instances("l40s"),
    "market": overview.market,
    "market_stats": upkeep.market_stats,
    "market_status": collecting.market_status,
    "one offer": lambda: rackrate.offers("l40s")[0],
}
DRAWN = ("fits", "gpu", "own", "plan", "price", "speed")
NO_FRAME = {"open_market", "one offer"}
EVERYTHING = ANSWERS | MORE


class Parts(HTMLParser):
    """Counts what a reader of the page sees, and checks that what opens is closed."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.seen: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        assert tag not in ("script", "link", "img", "iframe"), tag  # a saved notebook asks nobody
        assert not dict(attrs).keys() & {"style", "color", "bgcolor"}  # it follows the page, light or dark
        self.open.append(tag)
        self.seen.add(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_every_public_function_is_walked_here() -> None:
    functions = {name for name in rackrate.__all__ if not isinstance(getattr(rackrate, name), type)}
    assert functions == ANSWERS.keys()


@pytest.mark.parametrize("name", EVERYTHING)
def test_a_value_shows_itself_as_static_html(name: str) -> None:
    parts = Parts()
    parts.feed(EVERYTHING[name]()._repr_html_())
    assert parts.open == []
    assert "h4" in parts.seen
    assert parts.seen & {"td", "li"}


@pytest.mark.parametrize("name", sorted(EVERYTHING.keys() - NO_FRAME))
def test_an_answer_is_a_data_frame_by_arrow(name: str) -> None:
    answer = EVERYTHING[name]()
    frame = pa.table(answer)
    if name == "offers":  # all that is known of each, not only what is shown
        assert frame["usd_per_hour"].to_pylist() == [offer.usd_per_hour for offer in answer]
        return
    table = asked_for(answer.blocks())
    assert table
    assert frame.column_names == [column.key for column in table.columns]
    assert frame.num_rows == len(table.rows)
    for column in table.columns:
        if column.key.endswith(("_usd", "_gib", "usd_per_hour", "usd_per_gpu_hour")):
            kind = frame.schema.field(column.key).type
            assert pa.types.is_floating(kind) or pa.types.is_integer(kind), column.key


def test_a_frame_has_raw_values_of_their_types() -> None:
    price = rackrate.price("l40s", history="30d")
    frame = pa.table(price)
    assert frame["day"].to_pylist() == [day.day for day in price.history]
    assert frame["median_usd_per_gpu_hour"].to_pylist() == [
        day.median_usd_per_gpu_hour for day in price.history
    ]


@pytest.mark.parametrize("name", DRAWN)
def test_a_plot_is_a_chart_that_says_its_finding(name: str) -> None:
    chart = ANSWERS[name]().plot()
    assert isinstance(chart, alt.TopLevelMixin)
    spec = chart.to_dict()  # checked against the schema of Vega-Lite
    assert spec["title"]["text"]
    assert spec["description"]


def test_what_has_a_chart_is_drawn_here() -> None:
    drawn = {name for name, ask in EVERYTHING.items() if hasattr(ask(), "plot")}
    assert drawn == set(DRAWN)


def test_an_answer_without_a_table_says_so() -> None:
    class Words(Shown):
        def blocks(self) -> list[Text]:
            return [Text("none", ("no table",))]

    with pytest.raises(NoAnswer, match="no table for a data frame"):
        pa.table(Words())


def test_an_empty_table_keeps_its_columns() -> None:
    card = rackrate.model("llama-3.1-8b")
    full = asked_for(card.blocks())
    assert full

    class Empty(Shown):
        def blocks(self) -> list[Table]:
            return [Table("none", full.columns, ())]

    frame = pa.table(Empty())
    assert (frame.num_rows, frame.column_names) == (0, [column.key for column in full.columns])
    assert isinstance(copy.deepcopy(card), Card)
