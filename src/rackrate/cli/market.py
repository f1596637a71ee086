"""`rackrate market`: import, collect, share, check, watch and describe price lists."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rackrate.cli.alerts import watch
from rackrate.cli.output import data_option, emit, output_options, progress
from rackrate.errors import UsageError

if TYPE_CHECKING:
    from rackrate.market.collect.run import Outcome

_BEHIND = 4
"""Exit status where what was added here could not be shared."""


@click.group()
def market() -> None:
    """Import, collect, check, watch and describe price lists."""


market.add_command(watch)


@market.command("import")
@click.argument("path", type=click.Path(path_type=Path), required=False)
@click.option("--format", "form_", metavar="NAME", help="A format that Rackrate knows; --formats lists them.")
@click.option(
    "--mapping", type=click.Path(path_type=Path), metavar="FILE", help="A mapping file, for any CSV or JSON."
)
@click.option("--date", metavar="DATE", help="When the prices were true, for a list that does not say.")
@click.option("--dry-run", is_flag=True, help="Read and judge, show first rows and rejects, write nothing.")
@click.option("--formats", is_flag=True, help="List the known formats.")
@data_option
@output_options
def import_(
    path: Path | None,
    form_: str | None,
    mapping: Path | None,
    date: str | None,
    dry_run: bool,
    formats: bool,
    data: str | None,
    form: str | None,
) -> int:
    """Import a price list, a file or a folder of files.

    \b
    rackrate market import --format gpurentalprices snapshots/
    rackrate market import --mapping acme.toml prices.csv --dry-run
    rackrate market import --format sample
    """
    from rackrate import upkeep  # noqa: PLC0415 - start-up

    if formats:
        emit(upkeep.import_formats(), form)
        return 0
    if bool(form_) == bool(mapping):
        raise UsageError(
            "name either --format or --mapping", hint="rackrate market import --formats lists the formats"
        )
    if path is None and form_ != "sample":
        raise UsageError("name the file or folder to import")
    with progress("reading") as tick:
        done = upkeep.import_prices(
            path,
            form=form_ or "",
            mapping=mapping,
            at=date,
            data=data,
            is_dry_run=dry_run,
            on_row=tick,
        )
    emit(done, form)
    return _BEHIND if done.unshared else 0


@market.command()
@click.option(
    "--limit",
    type=click.IntRange(min=0),
    default=20,
    show_default=True,
    metavar="N",
    help="Quarantined records to show.",
)
@data_option
@output_options
def check(limit: int, data: str | None, form: str | None) -> int:
    """Check catalog and store, count what each quality rule found, show the quarantine. Exit 4 if faulty."""
    from rackrate import upkeep  # noqa: PLC0415 - start-up
    from rackrate.cli.words import market_for  # noqa: PLC0415 - start-up

    found = upkeep.check_market(data=market_for(data), limit=limit)
    emit(found, form)
    return 0 if found.is_sound else 4


@market.command()
@data_option
@output_options
def stats(data: str | None, form: str | None) -> None:
    """What is in the store: lists, ages, licences, GPUs by kind, price changes."""
    from rackrate import upkeep  # noqa: PLC0415 - start-up
    from rackrate.cli.words import market_for  # noqa: PLC0415 - start-up

    emit(upkeep.market_stats(data=market_for(data)), form)


@market.command()
@data_option
@output_options
def compact(data: str | None, form: str | None) -> None:
    """Merge the small files of days and months that are over; whoever reads meanwhile is not disturbed."""
    from rackrate import upkeep  # noqa: PLC0415 - start-up

    emit(upkeep.compact_market(data=data), form)


@market.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option(
    "--enable", multiple=True, metavar="SOURCE", help="Switch on a source that is off by itself; repeatable."
)
@click.option(
    "--timeout",
    type=click.FloatRange(min=0, min_open=True),
    metavar="S",
    help="Seconds for each source at most.  [default: what each declares]",
)
@data_option
@output_options
def collect(
    sources: tuple[str, ...],
    enable: tuple[str, ...],
    timeout: float | None,
    data: str | None,
    form: str | None,
) -> int:
    """Ask sources for today's prices and publish what passes the gate.

    Without SOURCE all that are on are asked, side by side. A source that fails keeps its last good
    prices, with their true age. Exit 5 when a source that you named failed, or all of them did.

    \b
    rackrate market collect
    rackrate market collect vast azure
    rackrate market collect --store s3://bucket/prefix
    """
    from rackrate import collecting  # noqa: PLC0415 - start-up

    def tell(done: Outcome) -> None:
        if sys.stderr.isatty() and done.outcome in ("ok", "failed"):
            told = f"{done.rows:,} offers" if done.outcome == "ok" else f"{done.code}: {done.says}"
            click.echo(f"{done.source}: {told} ({done.seconds:.1f} s)", err=True)

    answer = collecting.collect_prices(sources, data=data, enable=enable, max_s=timeout, on_done=tell)
    emit(answer, form)
    outcomes = [done.outcome for done in answer.outcomes]
    has_failed = "failed" in outcomes
    if has_failed and (sources or "ok" not in outcomes):
        return 5
    return _BEHIND if answer.unshared else 0


@market.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@data_option
@output_options
def status(sources: tuple[str, ...], data: str | None, form: str | None) -> None:
    """How each source stands: last good listing, its age, offers, rejects, and what changed in a day.

    Name a SOURCE to see every offer of it that is new, gone or has another price.
    """
    from rackrate import collecting  # noqa: PLC0415 - start-up

    emit(collecting.market_status(sources, data=data), form)


@market.command()
@click.argument("sources", nargs=-1, metavar="[SOURCE]...")
@click.option("--all", "is_all", is_flag=True, help="Also answers that the present parser read.")
@data_option
@output_options
def replay(sources: tuple[str, ...], is_all: bool, data: str | None, form: str | None) -> int:
    """Read archived answers again, after a parser was mended; what differs takes the old place."""
    from rackrate import collecting  # noqa: PLC0415 - start-up

    answer = collecting.replay_prices(sources, data=data, is_all=is_all)
    emit(answer, form)
    return _BEHIND if answer.unshared else 0


@market.command()
@click.argument("folder", required=False, metavar="[DIR]")
@data_option
@output_options
def publish(folder: str | None, data: str | None, form: str | None) -> None:
    """Put into a shared market what the store in DIR has and it lacks.

    Without DIR: what was collected or imported on this machine and could not be shared then.

    \b
    rackrate market publish /srv/market --store s3://bucket/prefix
    """
    from rackrate import upkeep  # noqa: PLC0415 - start-up

    emit(upkeep.publish_market(folder, data=data), form)
