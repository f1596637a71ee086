"""`rackrate offers`: what is for rent, filtered and sorted."""

from __future__ import annotations

from typing import Any

import click

from rackrate.cli.output import emit, market_options, month_option, output_options
from rackrate.cli.words import month, store_for
from rackrate.errors import UsageError


@click.command()
@click.option(
    "--gpu", multiple=True, metavar="NAME[:N]", help="GPU, with a count or range: l40s, l40s:2, h100:4..8."
)
@click.option("--count", metavar="N", help="GPUs in the offer: 8, 2.., ..4.")
@click.option("--vram", "vram_gib", metavar="GIB", help="Memory of one GPU: 40.., 24..48.")
@click.option("--vram-total", "vram_total_gib", metavar="GIB", help="Memory of all its GPUs.")
@click.option(
    "--kind", default="on_demand", show_default=True, help="on_demand, spot, reserved, serverless or any."
)
@click.option("--provider", multiple=True, metavar="NAME", help="Who runs or sells it.")
@click.option("--country", multiple=True, metavar="CC", help="ISO code of two letters, or EU.")
@click.option("--region", default="", metavar="TEXT", help="Text within the region's name.")
@click.option("--max-price", "max_usd_per_gpu_hour", metavar="USD", help="At most this per GPU-hour.")
@click.option(
    "--max-total", "max_usd_per_hour", metavar="USD", help="At most this per hour for the whole offer."
)
@click.option("--vcpu", metavar="N", help="vCPUs of the offer: 16, 8..32.")
@click.option("--ram", "ram_gib", metavar="GIB", help="Main memory of the offer: 64, 64..256.")
@click.option("--disk", "disk_gib", metavar="GIB", help="Local disk of the offer: 500, ..2000.")
@click.option("--nvlink/--no-nvlink", default=None, help="GPUs with, or without, NVLink.")
@click.option("--graphics/--no-graphics", default=None, help="GPUs that can, or cannot, render.")
@click.option(
    "--sort",
    default="usd",
    show_default=True,
    metavar="COLUMN",
    help="A column or a ratio of two: usd, ram_gib, vram_gib/usd; - in front turns it round.",
)
@click.option("--limit", default=20, show_default=True, metavar="N", help="How many at most; 0 for all.")
@click.option(
    "--max-age",
    metavar="AGE",
    help="Leave out what is older or undated: 24h, 90d; any for nothing.  "
    "[default: 7d, but undated offers and lists made once stay]",
)
@market_options
@month_option
@output_options
def offers(
    form: str | None,
    data: str | None,
    max_data_age: str | None,
    limit: int,
    hours_per_month: str | None,
    **asked: Any,
) -> None:
    """What is for rent, cheapest first.

    \b
    rackrate offers --gpu l40s
    rackrate offers --gpu l40s:2.. --country EU --sort vram_gib/usd
    rackrate offers --vram 80.. --nvlink --count 8 --max-price 3 --csv
    """
    from rackrate import api  # noqa: PLC0415 - start-up

    if limit < 0:
        raise UsageError(f"--limit {limit} is negative", hint="0 shows all")
    found = api.offers(
        asked.pop("gpu") or None,
        **asked,
        limit=limit or None,
        data=store_for(data, max_data_age),
        hours_per_month=month(hours_per_month),
    )
    emit(found, form)
