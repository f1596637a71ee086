"""`rackrate serve`: the site and the JSON API from this machine."""

from __future__ import annotations

import ipaddress
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import click

from rackrate.cli.output import data_option
from rackrate.errors import Refused, UsageError

if TYPE_CHECKING:
    from rackrate.web.site import Site

HOUR_S = 3600


@click.command()
@click.option(
    "--host", default="127.0.0.1", show_default=True, metavar="ADDRESS", help="Address to listen on."
)
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Port; 0 for any that is free.",
)
@click.option("--public", is_flag=True, help="Allow an address that other machines reach.")
@click.option(
    "--address", default="", metavar="URL", help="How the site is reached, for feeds and the site map."
)
@click.option(
    "--rate",
    default=120,
    show_default=True,
    type=click.IntRange(0),
    metavar="N",
    help="New answers a minute and client; 0 for no limit.",
)
@click.option(
    "--collect",
    type=click.FloatRange(min=0, min_open=True),
    metavar="HOURS",
    help="Collect prices now and every so often.",
)
@data_option
def serve(
    host: str,
    port: int,
    public: bool,
    address: str,
    rate: int,
    collect: float | None,
    data: str | None,
) -> None:
    """The site, the JSON API and, for agents, /mcp; on this machine only unless --public says otherwise.

    \b
    rackrate serve
    rackrate serve --port 8080 --data /srv/market
    rackrate serve --collect 1
    rackrate serve --host 0.0.0.0 --public --address https://gpus.example.org
    """
    if not _is_loopback(host) and not public:
        hint = "add --public if other machines shall reach it; what is open is printed then"
        raise Refused(f"{host} is not an address of this machine alone", hint=hint)
    try:
        from rackrate.web.server import run  # noqa: PLC0415 - a heavy extra
    except ImportError as error:
        hint = "pip install 'rackrate[web]'"
        raise UsageError(f"the site needs the package {error.name}", hint=hint, code="extra") from error
    if collect:
        from rackrate.collecting import need_packages  # noqa: PLC0415 - start-up

        need_packages()
    run(
        host,
        port,
        address=address.rstrip("/"),
        per_minute=rate,
        data=data,
        say=lambda line: click.echo(line, err=True),
        is_public=not _is_loopback(host),
        collect_every_s=collect * HOUR_S if collect else None,
        make_agent=_agent if find_spec("mcp") else None,
    )


def _agent(site: Site) -> Any:
    """Return what answers agents of a site, from the same prices and in the same queue as its pages."""
    from rackrate.agent.http import AgentApp  # noqa: PLC0415 - start-up
    from rackrate.web.agents import PATH  # noqa: PLC0415 - a heavy extra

    return AgentApp(PATH, site.market, site.answer)


def _is_loopback(host: str) -> bool:
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
