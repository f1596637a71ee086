"""Tables in four forms: nothing is cut, nothing breaks out of its cell."""

from __future__ import annotations

import csv
import io
from datetime import UTC, date, datetime
from html.parser import HTMLParser

import pytest

from rackrate.report.block import (
    Cell,
    Column,
    Line,
    Plot,
    Table,
    Text,
    banded,
    draw,
    to_csv,
    to_html,
    to_markdown,
    to_text,
)

ODD = [
    "a|b",
    "two\nlines",
    'say "hi"',
    "<b>&amp;",
    "a,b",
    "\x1b[31mred\x1b[0m",
    "tab\there",
    "ÄÖ 価格",
    "",
    "\u2028x",
]
COLUMNS = (Column("name", "name"), Column("usd", "USD", 2), Column("at", "seen", absent="date not stated"))


class Outline(HTMLParser):
    """Collects texts, and checks that what opens also closes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.texts: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        del attrs
        self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def odd_table() -> Table:
    return Table("Odd | <cells>", COLUMNS, [(odd, 1.5, None) for odd in ODD], ("a note | <here>",))


@pytest.mark.parametrize(
    ("value", "digits", "text"),
    [
        (None, 2, "not said"),
        (1234.5, 2, "1,234.50"),
        (1234.5, None, "1,234.5"),
        (48, None, "48"),
        (0, 0, "0"),
        (True, None, "yes"),
        (False, None, "no"),
        ("text", None, "text"),
        (("a", "b"), None, "a, b"),
        (date(2026, 8, 22), None, "2026-08-22"),
        (datetime(2026, 8, 22, 6, 21, 55, tzinfo=UTC), None, "2026-08-22 06:21"),
        (float("inf"), 2, "inf"),
        (Cell(1979.0, "1,979"), 2, "1,979"),
        (Cell(None, "no offer"), 2, "no offer"),
    ],
)
def test_a_value_is_written_for_people(value: object, digits: int | None, text: str) -> None:
    assert Column("key", "title", digits).write(value) == text


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (None, ""),
        (1234.5, "1234.5"),
        (48, "48"),
        (True, "true"),
        (date(2026, 8, 22), "2026-08-22"),
        (Cell(1979.0, "1,979"), "1979"),
        (Cell(None, "no offer"), ""),
    ],
)
def test_csv_holds_raw_values(value: object, text: str) -> None:
    written = to_csv([Table("t", (Column("key", "title", 2), Column("x", "x")), [(value, "x")])])
    assert list(csv.reader(io.StringIO(written))) == [["key", "x"], [text, "x"]]


def test_odd_text_comes_back_from_csv_as_it_was() -> None:
    rows = list(csv.DictReader(io.StringIO(to_csv([odd_table()]), newline="")))
    assert [row["name"] for row in rows] == ODD
    assert {row["usd"] for row in rows} == {"1.5"}


def test_odd_text_stays_in_its_row_and_cell_of_markdown() -> None:
    lines = to_markdown([odd_table()]).splitlines()
    table = [line for line in lines if line.startswith("| ")]
    assert len(table) == len(ODD) + 2
    assert {line.replace("\\|", "").count("|") for line in table} == {4}
    assert table[2].startswith("| a\\|b |")
    assert "- a note | <here>" in lines


def test_odd_text_stays_in_its_line_of_plain_text_and_commands_no_terminal() -> None:
    text = to_text([odd_table()])
    assert len(text.splitlines()) == len(ODD) + 3
    assert "\x1b" not in text
    assert "[31mred" in text


def test_odd_text_is_escaped_in_html() -> None:
    found = Outline()
    html = to_html([odd_table(), Text("<title>", ("<line>",))])
    found.feed(html)
    assert found.open == []
    assert "<b>" not in html
    assert {"<b>&amp;", "a|b", "Odd | <cells>", "a note | <here>", "<title>", "<line>"} <= set(found.texts)


def test_columns_line_up_numbers_to_the_right_text_to_the_left() -> None:
    table = Table("t", COLUMNS, [("a", 1.0, None), ("longer", 1000.0, None)])
    head, one, two = to_text([table]).splitlines()[1:4]
    assert head.index("USD") + 3 == one.index("1.00") + 4 == two.index("1,000.00") + 8
    assert one.index("a") == two.index("longer") == head.index("name")


def test_the_reason_stands_where_a_value_is_absent() -> None:
    assert "date not stated" in to_text([odd_table()])
    assert "date not stated" in to_markdown([odd_table()])
    assert "date not stated" in to_html([odd_table()])


@pytest.mark.parametrize("width", [20, 40, 80])
def test_a_table_in_bands_keeps_every_cell_in_the_order_of_its_row(width: int) -> None:
    columns = tuple(Column(f"c{at}", f"title {at}") for at in range(9))
    rows = [tuple(f"cell-{row}-{at}" for at in range(9)) for row in range(3)]
    lines = banded(Table("wide", columns, rows), width)
    assert max(map(len, lines)) <= width
    assert " ".join(lines).split()[18:] == [cell for row in rows for cell in row]


def test_numbers_need_their_width_and_text_that_of_its_longest_word() -> None:
    table = Table("t", COLUMNS, [("three short words", 123456.0, None), ("x" * 50, 1.0, None)])
    assert table.least_widths() == [20, len("123,456.00"), len("stated")]


def test_only_the_first_table_is_csv_and_a_plot_is_drawn_in_the_others() -> None:
    plot = Plot("up", (date(2026, 1, 1), date(2026, 1, 2)), (1.0, 2.0), "USD/GPU-h")
    blocks = [Text("words", ("said",)), plot, odd_table(), Table("second", (Column("no", "no"),), [(1,)])]
    assert to_csv(blocks).startswith("name,usd,at\n")
    assert "```\n   2.000 |" in to_markdown(blocks)
    assert "2026-01-02  USD/GPU-h" in to_text(blocks)
    assert "<pre>" in to_html(blocks)


def test_a_line_over_counts_rises_where_its_values_do() -> None:
    """Doubling counts lie evenly apart: the middle of 1, 2, 4 is at half the width."""
    drawn = draw(Line("", (1, 2, 4), (10.0, 10.0, 2000.0), "requests", "tokens/s"), width=20, height=4)
    assert drawn[0].startswith("   2,000 |")
    assert drawn[3].startswith("      10 |")
    assert drawn[4].split() == ["1", "4", "requests", "tokens/s"]
    blank = chr(0x2800)
    bottom, top = drawn[3].partition("|")[2], drawn[0].partition("|")[2]
    assert all(sign != blank for sign in bottom[:10])
    assert bottom[15:] == blank * 5
    assert top[:15] == blank * 15
    assert top[19] != blank


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1+1|cmd", "@SUM(A1)", "\t=1", " =HYPERLINK(1)", "\r\n=1"])
def test_no_text_of_a_csv_is_a_formula(text: str) -> None:
    table = Table("t", (Column("sku", "sku"), Column("usd", "USD", 2)), [(text, -1.5), ((text, "b"), -2)])
    rows = list(csv.reader(io.StringIO(to_csv([table]), newline="")))
    assert rows == [["sku", "usd"], [f"'{text}", "-1.5"], [f"'{text} b", "-2"]]
