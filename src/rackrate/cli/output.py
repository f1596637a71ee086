"""Write an answer: for people on a terminal, aligned text in a pipe, JSON, CSV or Markdown."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import click

from rackrate.report.block import (
    Answer,
    Block,
    Table,
    Text,
    banded,
    draw,
    to_csv,
    to_html,
    to_markdown,
    to_text,
)

if TYPE_CHECKING:
    from rich.console import Console

F = TypeVar("F", bound=Callable[..., Any])


def output_options(command: F) -> F:
    """Add --json, --csv, --md and --html to a command; it gets `form`."""
    for form, says in (
        ("html", "Write HTML, a part of a page."),
        ("md", "Write Markdown."),
        ("csv", "Write CSV: the table asked for, raw numbers, units in the header."),
        ("json", "Write JSON."),
    ):
        command = click.option(f"--{form}", "form", flag_value=form, help=says)(command)
    return command


def write_file(path: str, text: str) -> None:
    """Write a file that was asked for beside the answer, and say so."""
    Path(path).write_text(text, encoding="utf-8")
    click.echo(f"wrote {path}", err=True)


def data_option(command: F) -> F:
    """Add --data, which is --store too, to a command; it gets `data`."""
    return click.option(
        "--data",
        "--store",
        "data",
        metavar="PLACE",
        help="The market: a folder, or s3://bucket/prefix.  [env: RACKRATE_STORE, RACKRATE_DATA]",
    )(command)


def market_options(command: F) -> F:
    """Add --as-of, --data and --max-data-age to a command; it gets `as_of`, `data` and `max_data_age`."""
    command = click.option(
        "--max-data-age", metavar="AGE", help="Fail (exit 4) when the newest prices are older: 24h, 7d."
    )(command)
    command = data_option(command)
    return click.option("--as-of", metavar="DATE", help="Look at the market of that day or instant (UTC).")(
        command
    )


def month_option(command: F) -> F:
    """Add --hours-per-month to a command; it gets `hours_per_month` as text."""
    return click.option(
        "--hours-per-month",
        metavar="H",
        help="Hours that a month is counted with.  [default: 730; env: RACKRATE_HOURS_PER_MONTH]",
    )(command)


def emit(answer: Answer, form: str | None) -> None:
    """Write an answer to stdout in the form asked for."""
    if form == "json":
        import json  # noqa: PLC0415 - start-up

        click.echo(json.dumps(answer.to_dict(), indent=2, ensure_ascii=False))
        return
    blocks = list(answer.blocks())
    if form == "csv":
        click.echo(to_csv(blocks), nl=False)
    elif form == "md":
        click.echo(to_markdown(blocks))
    elif form == "html":
        click.echo(to_html(blocks))
    elif sys.stdout.isatty() and os.environ.get("TERM") != "dumb":
        _show(blocks)
    else:
        click.echo(to_text(blocks))


def _show(blocks: Sequence[Block]) -> None:
    """Show blocks with rich, which is loaded for a terminal only."""
    from rich.console import Console  # noqa: PLC0415
    from rich.text import Text as RichText  # noqa: PLC0415

    console = Console()  # honours NO_COLOR
    for block in blocks:
        console.print(RichText(block.title, style="bold"))
        if isinstance(block, Table):
            _show_table(console, block)
        elif not isinstance(block, Text):
            for line in draw(block, width=min(72, max(24, console.width - 12 - len(block.unit)))):
                console.print(RichText(line, style="cyan"), no_wrap=True, overflow="crop")
        else:
            for line in block.lines:
                console.print(RichText("• " + line))
        console.print()


def _show_table(console: Console, table: Table) -> None:
    from rich.table import Table as RichTable  # noqa: PLC0415
    from rich.text import Text as RichText  # noqa: PLC0415

    widths = table.least_widths()
    if sum(widths) + 2 * len(widths) - 2 <= console.width:
        grid = RichTable(box=None, pad_edge=False, header_style="dim", padding=(0, 1))
        for column, width in zip(table.columns, widths, strict=True):
            align: Literal["left", "right"] = "left" if column.digits is None else "right"
            grid.add_column(column.title, justify=align, min_width=width, overflow="fold")
        for cells in table.cells():
            grid.add_row(*map(RichText, cells))
        console.print(grid)
    else:
        for line in banded(table, console.width):
            console.print(RichText(line), overflow="fold")
    for note in table.notes:
        console.print(RichText(note, style="dim"))


@contextmanager
def progress(what: str, unit: str = "rows", every: int = 1000) -> Iterator[Callable[[], None]]:
    """Yield a function to call once a row; shows a count on stderr after half a second, on a terminal.

    Args:
        what: is being done.
        unit: of what is counted.
        every: so many rows the clock is looked at.
    """
    if not sys.stderr.isatty() or os.environ.get("TERM") == "dumb":
        yield lambda: None
        return
    import time  # noqa: PLC0415 - start-up

    started = shown = time.monotonic()
    n = 0

    def tick() -> None:
        nonlocal n, shown
        n += 1
        if n % every == 0 and time.monotonic() - max(shown, started + 0.4) > 0.1:  # noqa: PLR2004 - seconds
            shown = time.monotonic()
            click.echo(f"\r{what}: {n:,} {unit}", err=True, nl=False)

    try:
        yield tick
    finally:
        if shown > started:
            click.echo("\r\033[K", err=True, nl=False)
