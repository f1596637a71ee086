"""`rackrate price`: what a GPU costs, its spread and its history."""

from __future__ import annotations

import click

from rackrate.cli.output import emit, market_options, month_option, output_options, write_file
from rackrate.cli.words import month, store_for


@click.command()
@click.argument("name", metavar="GPU")
@click.option(
    "--kind", default="on_demand", show_default=True, help="on_demand, spot, reserved or serverless."
)
@click.option("--history", metavar="AGE", help="Look back: 30d, 90d, 1y.")
@click.option("--by-provider", is_flag=True, help="Show each provider's first, last, low and high too.")
@click.option(
    "--svg", type=click.Path(dir_okay=False), metavar="FILE", help="Write the history chart as SVG."
)
@market_options
@month_option
@output_options
def price(
    name: str,
    kind: str,
    history: str | None,
    by_provider: bool,
    svg: str | None,
    as_of: str | None,
    data: str | None,
    max_data_age: str | None,
    hours_per_month: str | None,
    form: str | None,
) -> None:
    """What a GPU costs per hour, day, week and month, across providers and over time.

    \b
    rackrate price l40s
    rackrate price l40s --history 90d --svg l40s.svg
    rackrate price h100-sxm --kind spot --history 30d --csv
    """
    from rackrate import api  # noqa: PLC0415 - start-up

    found = api.price(
        name,
        kind=kind,
        history=history or ("90d" if svg or by_provider else None),
        by_provider=by_provider,
        as_of=as_of,
        data=store_for(data, max_data_age),
        hours_per_month=month(hours_per_month),
    )
    if svg:
        from rackrate.chart import history_svg  # noqa: PLC0415 - a heavy extra

        write_file(svg, history_svg(found))
    emit(found, form)
