"""`rackrate gpu` and `rackrate gpus`: dossier, list, facts and comparison."""

from __future__ import annotations

import click

from rackrate.cli.output import emit, market_options, month_option, output_options
from rackrate.cli.words import month, store_for


@click.command()
@click.argument("name", metavar="GPU")
@market_options
@month_option
@output_options
def gpu(
    name: str,
    as_of: str | None,
    data: str | None,
    max_data_age: str | None,
    hours_per_month: str | None,
    form: str | None,
) -> None:
    """Everything on one GPU: facts, prices, spread, history, who rents it, instances, peers.

    \b
    rackrate gpu l40s
    rackrate gpu "NVIDIA A100 80GB SXM" --json
    """
    from rackrate import api  # noqa: PLC0415 - start-up

    store = store_for(data, max_data_age)
    emit(api.gpu(name, as_of=as_of, data=store, hours_per_month=month(hours_per_month)), form)


@click.group()
def gpus() -> None:
    """List, show and compare GPUs."""


@gpus.command("list")
@click.option("--segment", metavar="NAME", help="datacenter, workstation, consumer or other-accelerator.")
@market_options
@output_options
def list_gpus(
    segment: str | None, as_of: str | None, data: str | None, max_data_age: str | None, form: str | None
) -> None:
    """All GPUs with memory, dense rates, power and on-demand prices."""
    from rackrate import api  # noqa: PLC0415 - start-up

    emit(api.gpus(segment=segment, as_of=as_of, data=store_for(data, max_data_age)), form)


@gpus.command()
@click.argument("name", metavar="GPU")
@output_options
def show(name: str, form: str | None) -> None:
    """Every fact of a GPU with its source, date and what other sources say."""
    from rackrate.catalog.gpu import find_gpu  # noqa: PLC0415 - start-up
    from rackrate.report.cards import gpu_card  # noqa: PLC0415 - start-up

    emit(gpu_card(find_gpu(name)), form)


@gpus.command()
@click.argument("names", metavar="GPU GPU...", nargs=-1, required=True)
@market_options
@output_options
def compare(
    names: tuple[str, ...], as_of: str | None, data: str | None, max_data_age: str | None, form: str | None
) -> None:
    """GPUs side by side, like with like, the first being the baseline.

    \b
    rackrate gpus compare l40s a10 a100-80gb-sxm h100-sxm l40 rtx-4090
    """
    from rackrate import api  # noqa: PLC0415 - start-up

    emit(api.compare(*names, as_of=as_of, data=store_for(data, max_data_age)), form)
