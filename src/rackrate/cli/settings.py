"""`rackrate config` and `rackrate doctor`."""

from __future__ import annotations

import click

from rackrate import config as settings
from rackrate.cli.output import emit, output_options


@click.group()
def config() -> None:
    """Show settings and where they come from."""


@config.command()
@output_options
def show(form: str | None) -> None:
    """All settings with their values and origins."""
    from rackrate.report.block import Column  # noqa: PLC0415 - start-up
    from rackrate.report.cards import Listing  # noqa: PLC0415 - start-up

    columns = (
        Column("key", "setting"),
        Column("value", "value", absent="(not set)"),
        Column("origin", "from"),
        Column("means", "means"),
    )
    rows = tuple((s.key, s.value or None, s.origin, s.means) for s in settings.load().settings)
    emit(Listing("Settings", columns, rows), form)


@config.command()
def path() -> None:
    """The file for your own settings."""
    click.echo(settings.user_folder() / "config.toml")


@click.command()
@output_options
def doctor(form: str | None) -> int:
    """Check Python, packages, catalog and market data. Exit 4 when something is wrong."""
    from rackrate import upkeep  # noqa: PLC0415 - start-up

    found = upkeep.doctor()
    emit(found, form)
    return 0 if all(row[1] != "fault" for row in found.rows) else 4
