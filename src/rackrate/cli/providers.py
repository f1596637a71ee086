"""`rackrate providers`: what is known of them, with sources."""

from __future__ import annotations

import click

from rackrate.cli.output import emit, market_options, output_options


@click.group()
def providers() -> None:
    """List and show providers."""


@providers.command("list")
@market_options
@output_options
def list_providers(as_of: str | None, data: str | None, max_data_age: str | None, form: str | None) -> None:
    """All providers with tier, home country, currency and counted offers."""
    from rackrate import api  # noqa: PLC0415 - start-up
    from rackrate.cli.words import store_for  # noqa: PLC0415 - start-up

    emit(api.providers(as_of=as_of, data=store_for(data, max_data_age)), form)


@providers.command("show")
@click.argument("name", metavar="PROVIDER")
@market_options
@output_options
def show_provider(
    name: str, as_of: str | None, data: str | None, max_data_age: str | None, form: str | None
) -> None:
    """Every fact of a provider with its source, and its cheapest price of each GPU and kind."""
    from rackrate import api  # noqa: PLC0415 - start-up
    from rackrate.cli.words import store_for  # noqa: PLC0415 - start-up

    emit(api.provider(name, as_of=as_of, data=store_for(data, max_data_age)), form)
