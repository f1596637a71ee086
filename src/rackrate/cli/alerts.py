"""`rackrate market watch`: hear of prices, medians, new providers and old lists."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import click

from rackrate.cli.output import data_option
from rackrate.errors import DataError, UsageError

if TYPE_CHECKING:
    from rackrate.alerts.rule import News


@click.command()
@click.argument("file", type=click.Path(path_type=Path), required=False)
@click.option("--below", multiple=True, metavar="GPU=USD", help="Cheapest price of a GPU-hour below.")
@click.option("--moved", multiple=True, metavar="GPU=PERCENT", help="Median moved in 7 days by as much.")
@click.option("--new-provider", multiple=True, metavar="GPU", help="A provider offers it now.")
@click.option("--stale", multiple=True, metavar="[SOURCE=]AGE", help="Newest listing older: vast=24h, 2d.")
@click.option("--kind", default="on_demand", show_default=True, metavar="KIND", help="Of the flags' rules.")
@click.option("--command", default="", metavar="WORDS", help="Run it for each: JSON on its stdin.")
@click.option("--webhook", default="", metavar="URL", help="POST each, signed with RACKRATE_WEBHOOK_KEY.")
@click.option("--feed", type=click.Path(path_type=Path), metavar="FILE", help="Keep an Atom feed there.")
@click.option("--state", type=click.Path(path_type=Path), metavar="FILE", help="What was told before.")
@click.option("--once", is_flag=True, help="Look once, for cron; exit 5 where a way could not tell.")
@click.option(
    "--every", default=900.0, show_default=True, type=click.FloatRange(1), metavar="S", help="Between looks."
)
@click.option("--json", "is_json", is_flag=True, help="Write an object a line instead of a sentence.")
@data_option
def watch(
    file: Path | None,
    below: tuple[str, ...],
    moved: tuple[str, ...],
    new_provider: tuple[str, ...],
    stale: tuple[str, ...],
    kind: str,
    command: str,
    webhook: str,
    feed: Path | None,
    state: Path | None,
    once: bool,
    every: float,
    is_json: bool,
    data: str | None,
) -> int:
    """Tell when a rule comes to hold: each once, until it has ceased to.

    Rules stand in FILE (TOML) or in flags. It asks no source by itself: `market collect` does.

    \b
    rackrate market watch --once --below l40s=0.80 --moved l40s=10%
    rackrate market watch rules.toml
    """
    from rackrate.alerts import reading  # noqa: PLC0415 - start-up
    from rackrate.alerts import watch as watching  # noqa: PLC0415 - start-up

    rules = reading.of_words(below=below, moved=moved, new_provider=new_provider, stale=stale, kind=kind)
    wish = reading.Wish(rules, command, webhook, feed)
    if file:
        wish = reading.read_file(file).merged(wish)
    if not wish.rules:
        raise UsageError("there is no rule to watch", hint="rackrate market watch --below l40s=0.80")
    ways = watching.ways_of(wish, _line if not is_json else _object)
    state_file = state or watching.default_state()
    while True:
        try:
            looked = watching.look(wish, ways, state_file, data)
            failed = looked.failed
            if looked.behind:
                click.echo(f"note: {looked.behind}", err=True)
        except DataError as error:
            if once:
                raise
            failed = (error.message,)
        for says in failed:
            click.echo(f"{says}; tried again on the next look", err=True)
        if once:
            return 5 if failed else 0
        time.sleep(every)


def _line(news: News) -> None:
    click.echo(f"{news.at}  {news.text}")


def _object(news: News) -> None:
    import json  # noqa: PLC0415 - start-up

    click.echo(json.dumps(news.to_dict(), ensure_ascii=False))
