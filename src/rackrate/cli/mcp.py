"""`rackrate mcp`: the questions as tools of an agent."""

from __future__ import annotations

import click

from rackrate.errors import UsageError


@click.command()
def mcp() -> None:
    """The questions as tools of an agent, by the Model Context Protocol on stdin and stdout.

    It only reads: nothing is rented or started. In an agent's settings: command "rackrate", argument "mcp".
    """
    try:
        from rackrate.agent.server import make_server  # noqa: PLC0415 - a heavy extra
    except ImportError as error:
        hint = "pip install 'rackrate[agent]'"
        raise UsageError(f"agents need the package {error.name}", hint=hint, code="extra") from error
    make_server().run("stdio")
