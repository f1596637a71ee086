"""What an answer is made of when people look at it: texts, tables and plots, each written in four ways.

An answer gives its numbers once (`to_dict`) and its look once (`blocks`). A table keeps raw values; units
stand in the headers, so that a cell is a number to a program and readable to a person. A value that
is absent is `None` and reads as its column's reason.
"""

from __future__ import annotations

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime
from html import escape
from typing import Any, Protocol

from rackrate.errors import UsageError

_UNSEEN = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029]+")
"""Line breaks and terminal controls: somebody's list may hold them, a cell may not."""

_FORMULA = ("=", "+", "-", "@")
"""With these a text begins that a spreadsheet would reckon; an apostrophe keeps it a text."""

_WORD = 20
"""A longer word may be broken over two lines where a table is narrow: only addresses are."""


@dataclass(frozen=True, slots=True)
class Cell:
    """A value that is written otherwise than its column says."""

    value: Any
    text: str


@dataclass(frozen=True, slots=True)
class Column:
    """One column of a table.

    Attributes:
        key: name for programs, with its unit (`usd_per_gpu_hour`).
        title: name for people, with its unit (`USD/GPU-h`).
        digits: digits after the point; None for text.
        absent: what an absent value reads as: the reason.
    """

    key: str
    title: str
    digits: int | None = None
    absent: str = "not said"

    def write(self, value: Any) -> str:
        """Write a value for people."""
        if value is None:
            return self.absent
        if isinstance(value, bool):
            return "yes" if value else "no"
        if isinstance(value, (str, Cell)):
            return _UNSEEN.sub(" ", value if isinstance(value, str) else value.text)
        if isinstance(value, date):
            return value.strftime("%Y-%m-%d %H:%M" if isinstance(value, datetime) else "%Y-%m-%d")
        if isinstance(value, (tuple, list)):
            return ", ".join(str(item) for item in value)
        return _number(float(value), self.digits)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows under columns.

    Attributes:
        title: what it shows.
        columns: its columns.
        rows: raw values in their order.
        notes: what one must know to read it: what was left out, what a word means.
        is_asked_for: whether it is what the question was about, where that is not the first table.
    """

    title: str
    columns: tuple[Column, ...]
    rows: Sequence[tuple[Any, ...]]
    notes: tuple[str, ...] = ()
    is_asked_for: bool = False

    def cells(self) -> list[list[str]]:
        """Return the rows as written for people."""
        return [
            [column.write(value) for column, value in zip(self.columns, row, strict=True)]
            for row in self.rows
        ]

    def least_widths(self) -> list[int]:
        """Return the characters that each column needs: numbers whole, text by its words."""
        cells = [[column.title for column in self.columns], *self.cells()]
        return [
            max(
                len(cell) if column.digits is not None else min(_WORD, max(map(len, cell.split()), default=0))
                for cell in of
            )
            for column, of in zip(self.columns, zip(*cells, strict=True), strict=True)
        ]


@dataclass(frozen=True, slots=True)
class Text:
    """Lines under a title."""

    title: str
    lines: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Plot:
    """A line over days, for terminals; the same numbers always stand in a table too.

    Attributes:
        title: the finding in words.
        days: ascending.
        values: one a day.
        unit: of the values.
    """

    title: str
    days: tuple[date, ...]
    values: tuple[float, ...]
    unit: str


@dataclass(frozen=True, slots=True)
class Stack:
    """Parts on top of each other, against a limit, for terminals; the same numbers stand in a table too.

    Attributes:
        title: the finding in words.
        parts: name and size of each, from the bottom.
        limit: what they may add up to.
        whole: what there is in all; at least `limit`.
        unit: of the sizes.
        mark: what the limit is.
    """

    title: str
    parts: tuple[tuple[str, float], ...]
    limit: float
    whole: float
    unit: str
    mark: str = "limit"


@dataclass(frozen=True, slots=True)
class Line:
    """A line over a count that doubles from mark to mark, for terminals; its numbers stand in a table too.

    Attributes:
        title: the finding in words.
        counts: ascending, from 1.
        values: one a count.
        what: is counted.
        unit: of the values.
    """

    title: str
    counts: tuple[int, ...]
    values: tuple[float, ...]
    what: str
    unit: str


Picture = Plot | Stack | Line
Block = Table | Text | Picture


class Answer(Protocol):
    """What every question returns."""

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers as plain data."""

    def blocks(self) -> Sequence[Block]:
        """Return what people see, in order; CSV holds the table asked for, else the first."""


def count_words(n: int) -> str:
    """Write a count of parameters as people do: 70.6B."""
    scale, letter = next(
        each for each in ((1e12, "T"), (1e9, "B"), (1e6, "M"), (1.0, "")) if n >= 0.9995 * each[0]
    )
    return f"{n / scale:.3g}{letter}"


def count_cell(n: int | None) -> Cell | None:
    """Return a count of parameters as a cell that is written as people do; None where there is none."""
    return Cell(n, count_words(n)) if n else None


def asked_for(blocks: Sequence[Block]) -> Table | None:
    """Return the table that the question was about: the one that says so, else the first."""
    tables = [block for block in blocks if isinstance(block, Table)]
    return next((table for table in tables if table.is_asked_for), tables[0] if tables else None)


def to_csv(blocks: Sequence[Block]) -> str:
    """Write the table asked for with raw values, keys with units on top.

    Raises:
        UsageError: there is no table.
    """
    table = asked_for(blocks)
    if table is None:
        raise UsageError("this answer has no table for CSV", hint="use --json")
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow([column.key for column in table.columns])
    writer.writerows([_raw(value) for value in row] for row in table.rows)
    return out.getvalue()


def to_markdown(blocks: Sequence[Block]) -> str:
    """Write all blocks as Markdown."""
    parts = []
    for block in blocks:
        parts.append(f"## {block.title}\n")
        if isinstance(block, Table):
            parts.append(_markdown_table(block))
        elif isinstance(block, Text):
            parts.append("\n".join(f"- {line}" for line in block.lines) + "\n")
        else:
            parts.append("```\n" + "\n".join(draw(block)) + "\n```\n")
    return "\n".join(parts)


def to_text(blocks: Sequence[Block]) -> str:
    """Write all blocks as aligned text that is never cut, for pipes."""
    parts = []
    for block in blocks:
        parts.append(block.title)
        if isinstance(block, Table):
            parts.extend(_aligned(block))
            parts.extend(f"  {note}" for note in block.notes)
        elif isinstance(block, Text):
            parts.extend(f"  {line}" for line in block.lines)
        else:
            parts.extend(f"  {line}" for line in draw(block))
        parts.append("")
    return "\n".join(parts)


def banded(table: Table, width: int) -> list[str]:
    """Write a table that is too wide as rows of several lines each, so that nothing is cut."""
    rows, widths = _padded(table)
    bands: list[list[int]] = [[]]
    room = width
    for at, need in enumerate(widths):
        if bands[-1] and need + 2 > room:
            bands.append([])
            room = width - 4
        bands[-1].append(at)
        room -= need + 2
    return [
        ("    " * bool(number) + "  ".join(row[at] for at in band)).rstrip()
        for row in rows
        for number, band in enumerate(bands)
    ]


def to_html(blocks: Sequence[Block]) -> str:
    """Write all blocks as static HTML that follows the page's own colours, light or dark."""
    parts = []
    for block in blocks:
        parts.append(f"<h4>{escape(block.title)}</h4>")
        if isinstance(block, Table):
            head = "".join(f"<th>{escape(column.title)}</th>" for column in block.columns)
            body = "".join(
                "<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>"
                for row in block.cells()
            )
            parts.append(f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>")
            parts.extend(f"<p><small>{escape(note)}</small></p>" for note in block.notes)
        elif isinstance(block, Text):
            parts.append("<ul>" + "".join(f"<li>{escape(line)}</li>" for line in block.lines) + "</ul>")
        else:
            parts.append("<pre>" + escape("\n".join(draw(block))) + "</pre>")
    return "<div>" + "".join(parts) + "</div>"


def draw(picture: Picture, width: int = 64, height: int = 8) -> list[str]:
    """Draw a line of `height` rows, or a stack, in characters; a line needs some more for its labels."""
    if isinstance(picture, Stack):
        return _draw_stack(picture, width)
    if isinstance(picture, Line):
        return _draw_counts(picture, width, height)
    return _draw_days(picture, width, height)


def _draw_days(plot: Plot, width: int, height: int) -> list[str]:
    first, span = plot.days[0], max((plot.days[-1] - plot.days[0]).days, 1)
    columns = 2 * width - 1
    seen = {
        round((day - first).days / span * columns): value
        for day, value in zip(plot.days, plot.values, strict=True)
    }
    values = [seen[0]]
    for x in range(1, max(seen) + 1):
        values.append(seen.get(x, values[-1]))  # a price holds until it changes
    lines = _braille(values, min(plot.values), max(plot.values), width, height, ".3f")
    end = plot.days[-1].isoformat()
    return [*lines, f"{'':>8}  {first.isoformat()}{end:>{width - len(first.isoformat())}}  {plot.unit}"]


def _draw_counts(line: Line, width: int, height: int) -> list[str]:
    """Draw a line over counts, each doubling as wide as the last, straight from point to point."""
    marks = [math.log2(count) for count in line.counts]
    values, at = [], 0
    for x in range(2 * width):
        here = x / (2 * width - 1) * marks[-1]
        while at < len(marks) - 2 and here > marks[at + 1]:
            at += 1
        part = (here - marks[at]) / (marks[at + 1] - marks[at])
        values.append(line.values[at] + part * (line.values[at + 1] - line.values[at]))
    lines = _braille(values, min(line.values), max(line.values), width, height, ",.0f")
    first, end = f"{line.counts[0]:,}", f"{line.counts[-1]:,} {line.what}"
    return [*lines, f"{'':>8}  {first}{end:>{width - len(first)}}  {line.unit}"]


def _braille(
    values: Sequence[float], low: float, high: float, width: int, height: int, form: str
) -> list[str]:
    """Draw a value a column in Braille dots: 2 x 4 to a character, highest and lowest at the left."""
    reach = (high - low) or 1.0
    dots = [[0] * width for _ in range(height)]
    last = None
    for x, value in enumerate(values):
        y = round((high - value) / reach * (4 * height - 1))
        before = y if last is None else last
        for dot in range(min(before, y), max(before, y) + 1):
            dots[dot // 4][x // 2] |= _DOTS[dot % 4][x % 2]
        last = y
    labels = {0: f"{high:{form}}", height - 1: f"{low:{form}}"}
    return [
        f"{labels.get(row, ''):>8} |" + "".join(chr(0x2800 + bits) for bits in dots[row])
        for row in range(height)
    ]


def _draw_stack(stack: Stack, width: int) -> list[str]:
    """Draw the parts side by side, each with its letter and shade, a bar at the limit, dots for what is free.

    A letter tells the parts apart where the shades do not, and the legend has those too thin to be seen.
    """
    room = width - 1  # the bar takes one
    reach = max(sum(size for _, size in stack.parts), stack.whole)
    cells: list[str] = []
    legend: list[str] = []
    end = 0.0
    letters = _letters([name for name, _ in stack.parts])
    for at, (name, size) in enumerate(stack.parts):
        end += size
        shades = round(end / reach * room) - len(cells)
        cells += ([letters[at]] + [_SHADES[at % len(_SHADES)]] * (shades - 1)) if shades > 0 else []
        legend.append(f"{letters[at]} {name} {size:.2f}")
    cells += ["·"] * (round(stack.whole / reach * room) - len(cells))
    cells.insert(round(stack.limit / reach * room), "|")
    of = f" of {stack.whole:.2f}" if stack.whole > stack.limit else ""
    legend.append(f"| {stack.mark} {stack.limit:.2f}{of} {stack.unit}")
    return ["".join(cells), *_wrapped(legend, width)]


_SHADES = "█▓▒░"


def _letters(names: Sequence[str]) -> list[str]:
    """Return a capital for each name: its first letter that is still free."""
    found: list[str] = []
    for name in names:
        found.append(
            next(sign for sign in (name + _CAPITALS).upper() if sign.isalpha() and sign not in found)
        )
    return found


_CAPITALS = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"


def _wrapped(words: Sequence[str], width: int) -> list[str]:
    """Return lines of whole entries, two blanks between them, of at most `width` where an entry allows."""
    lines = [""]
    for word in words:
        if lines[-1] and len(lines[-1]) + 2 + len(word) > width:
            lines.append("")
        lines[-1] += ("  " if lines[-1] else "") + word
    return lines


_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))


def _number(value: float, digits: int | None) -> str:
    if not math.isfinite(value):
        return str(value)
    if digits is None:
        return f"{value:,.10g}"
    return f"{value:,.{digits}f}"


def _raw(value: Any) -> Any:
    if isinstance(value, Cell):
        value = value.value
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, (datetime, date)):
        return value.isoformat()
    if isinstance(value, (tuple, list)):
        value = " ".join(str(item) for item in value)
    if isinstance(value, str) and value.lstrip().startswith(_FORMULA):
        return f"'{value}"
    if isinstance(value, float):
        return f"{value:.10g}"  # 1.535, not 1.5350000000000001
    return value


def _markdown_table(table: Table) -> str:
    def line(cells: Sequence[str]) -> str:
        return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"

    rule = ["---" if column.digits is None else "---:" for column in table.columns]
    rows = [line([column.title for column in table.columns]), line(rule), *map(line, table.cells())]
    return "\n".join([*rows, "", *(f"- {note}" for note in table.notes)]) + "\n"


def _aligned(table: Table) -> list[str]:
    return ["  " + "  ".join(row).rstrip() for row in _padded(table)[0]]


def _padded(table: Table) -> tuple[list[list[str]], list[int]]:
    """Return the header and the rows with their cells made equally wide, and the widths."""
    rows = [[column.title for column in table.columns], *table.cells()]
    widths = [max(len(row[at]) for row in rows) for at in range(len(table.columns))]

    def pad(cell: str, at: int) -> str:
        return cell.ljust(widths[at]) if table.columns[at].digits is None else cell.rjust(widths[at])

    return [[pad(cell, at) for at, cell in enumerate(row)] for row in rows], widths
