"""`rackrate own`: rent or own one GPU, and after how long that pays."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import click

from rackrate.cli.output import emit, market_options, output_options, write_file
from rackrate.cli.words import store_for

F = TypeVar("F", bound=Callable[..., Any])

_INPUTS = (
    ("hours-per-day", "H", "Hours of use.  [default: 6]"),
    ("utilisation", "SHARE", "Instead: share of all hours, or notebook, inference, shared, training."),
    ("price-usd", "USD", "Of one card.  [default: the catalog's street price]"),
    ("kwh-usd", "USD", "Electricity, a kWh.  [default: businesses' average of the place]"),
    ("years", "N", "How long it is kept.  [default: 5]"),
    ("resale", "SHARE", "Of its value that it keeps each year.  [default: 0.7]"),
    ("selling", "SHARE", "Of the proceeds that a sale costs.  [default: 0.1]"),
    ("rate", "SHARE", "Cost of money a year.  [default: 0.08]"),
    ("support", "SHARE", "Support and failures a year, of the price.  [default: 0.05]"),
    ("host-usd", "USD", "The host without GPUs.  [default: 3000; of 4 GPUs and more 24000]"),
    ("gpus-per-host", "N", "GPUs that share it.  [default: 1; of SXM and OAM boards 8]"),
    ("host-factor", "X", "Power at the wall over that of the GPUs.  [default: 1.4; of 4 and more 1.25]"),
    ("power-w", "W", "Power limit of the card.  [default: its TDP]"),
    ("load", "SHARE", "Of the way from idle to the limit while in use.  [default: 0.75]"),
    ("idle", "SHARE", "Of the limit while idle; 0 when switched off.  [default: 0.1]"),
    ("pue", "X", "Power of the site over that of the machine.  [default: 1.54]"),
    ("colo", "USD", "Colocation, a kW and month; 0 in a room of your own.  [default: 217.30]"),
)
_NAMES = {
    "resale": "resale_frac",
    "selling": "selling_frac",
    "rate": "rate_frac",
    "support": "support_frac",
    "load": "load_frac",
    "idle": "idle_frac",
    "colo": "colo_usd_per_kw_month",
}
"""Of the inputs, where an option is shorter."""


def _input_options(command: F) -> F:
    for name, metavar, says in reversed(_INPUTS):
        command = click.option(f"--{name}", metavar=metavar, help=says)(command)
    return command


@click.command()
@click.argument("name", metavar="GPU")
@_input_options
@click.option(
    "--country",
    "--region",
    "place",
    default="world",
    show_default=True,
    metavar="NAME",
    help="For electricity and carbon: DE, Germany, europe.",
)
@click.option(
    "--kind", default="on_demand", show_default=True, help="on_demand, spot, reserved or serverless."
)
@click.option("--rent-usd", metavar="USD", help="Compare with this GPU-hour, not with the market.")
@click.option("--explain", is_flag=True, help="Write the formulae with the numbers in.")
@click.option(
    "--svg", type=click.Path(dir_okay=False), metavar="FILE", help="Write cost by years kept as SVG."
)
@market_options
@output_options
def own(
    name: str,
    place: str,
    kind: str,
    rent_usd: str | None,
    explain: bool,
    svg: str | None,
    as_of: str | None,
    data: str | None,
    max_data_age: str | None,
    form: str | None,
    **given: str | None,
) -> None:
    """Rent or own one GPU: the rental pages' simple view, the full cost with its range, the breakeven.

    Each number may be a range: --kwh-usd 0.12..0.20.

    \b
    rackrate own l40s --hours-per-day 8 --kwh-usd 0.15 --price-usd 9000
    rackrate own l40s --utilisation training --country DE --gpus-per-host 8 --explain
    rackrate own rtx-4090 --colo 0 --pue 1 --idle 0 --svg own.svg
    """
    from rackrate import owning  # noqa: PLC0415 - start-up

    said = {_NAMES.get(key, key): value for key, value in given.items() if value is not None}
    found = owning.own(
        name,
        place=place,
        kind=kind,
        rent_usd=rent_usd,
        is_explained=explain,
        as_of=as_of,
        data=None if rent_usd else store_for(data, max_data_age),
        **said,
    )
    if svg:
        from rackrate.chart import ownership_svg  # noqa: PLC0415 - a heavy extra

        write_file(svg, ownership_svg(found))
    emit(found, form)
