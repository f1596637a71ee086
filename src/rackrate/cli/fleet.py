"""`rackrate fleet`: nodes that do not outlive their owner."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING, Any

import click

from rackrate.cli.fleet_options import asked_for, fleet_options
from rackrate.cli.output import emit, output_options
from rackrate.errors import UsageError

if TYPE_CHECKING:
    from rackrate.fleet.folder import Folder

_CLOSE_S = 30.0

_FLEET = click.argument("name", metavar="[FLEET]", required=False)
"""The fleet by the beginning of its id; the one that runs where there is one."""


@click.group()
def fleet() -> None:
    """Nodes that do work for you and do not outlive you.

    \b
    rackrate fleet run --nodes 8 -- python train.py     # up, run, down
    rackrate fleet up --nodes 8 --max-hours 2           # until down, idle or two hours
    rackrate fleet ls
    """


@fleet.command()
@fleet_options
@output_options
def up(form: str | None, **asked: Any) -> None:
    """Bring up nodes that live until `down`, idleness or --max-hours; no process of yours keeps them."""
    from rackrate.fleet import opening  # noqa: PLC0415 - start-up

    folder, keeper = opening.open_fleet(is_owned=False, **asked_for(**asked))
    try:
        found = opening.wait_ready(folder, keeper)
    except BaseException:
        opening.end(folder, "it did not come up", _CLOSE_S, keeper)
        raise
    opening.let_live(keeper)
    emit(found, form)


@fleet.command(context_settings={"ignore_unknown_options": True})
@fleet_options
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
def run(command: tuple[str, ...], **asked: Any) -> int:
    """Bring up nodes, run a command, end the nodes; exit as the command does.

    The command finds the fleet by `rackrate.Fleet.attach()`.

    \b
    rackrate fleet run --nodes 8 -- python train.py
    """
    from rackrate.fleet import opening  # noqa: PLC0415 - start-up

    folder, keeper = opening.open_fleet(is_owned=True, **asked_for(**asked))
    try:
        opening.wait_ready(folder, keeper)
        env = os.environ | {"RACKRATE_FLEET": folder.fleet}
        return subprocess.run(command, check=False, env=env).returncode  # noqa: S603 - what the user asked for
    except FileNotFoundError as error:
        raise UsageError(f"{command[0]} is no command: there is no such program") from error
    finally:
        opening.end(folder, "its command has ended", _CLOSE_S, keeper)


@fleet.command()
@_FLEET
@output_options
def status(name: str | None, form: str | None) -> None:
    """Nodes and their states, money, time left; of a fleet that has ended too."""
    from rackrate.fleet import opening  # noqa: PLC0415 - start-up

    emit(opening.status(_folder(name)), form)


@fleet.command()
@_FLEET
def watch(name: str | None) -> None:
    """Nodes, curves, money and time as they change, until the fleet ends; in a pipe, a line for what is new.

    To stop watching (Ctrl-C) does nothing to the fleet.
    """
    from rackrate.cli.watch import watch_folder  # noqa: PLC0415 - start-up

    watch_folder(_folder(name))


@fleet.command()
@_FLEET
@output_options
def cost(name: str | None, form: str | None) -> None:
    """What a fleet has cost, node by node, and what the provider bills for it."""
    from rackrate.fleet import opening  # noqa: PLC0415 - start-up

    emit(opening.cost(_folder(name)), form)


@fleet.command()
@click.argument("name", metavar="FLEET")
@click.argument("node", default="head")
def logs(name: str, node: str) -> None:
    """What a node wrote: its name, its number, or `head`, the process that hands out the work."""
    from rackrate.fleet import opening  # noqa: PLC0415 - start-up

    click.echo(opening.log_of(_folder(name), node), nl=False)


@fleet.command()
@click.argument("name", metavar="FLEET")
@click.argument("nodes", type=int)
@output_options
def scale(name: str, nodes: int, form: str | None) -> None:
    """Have more or fewer nodes; returns when they work."""
    from rackrate.fleet import opening  # noqa: PLC0415 - start-up

    folder = _folder(name)
    opening.scale(folder, nodes)
    emit(opening.wait_ready(folder), form)


@fleet.command()
@_FLEET
@output_options
def down(name: str | None, form: str | None) -> None:
    """End a fleet; returns when nothing of it is left but logs and history."""
    from rackrate.fleet import opening  # noqa: PLC0415 - start-up

    folder = _folder(name)
    opening.end(folder, "it was told to end", _CLOSE_S)
    emit(opening.status(folder), form)


@fleet.command()
@output_options
def ls(form: str | None) -> None:
    """All fleets of this user on this machine, those that have ended too."""
    from rackrate.fleet.listing import listing  # noqa: PLC0415 - start-up

    emit(listing(), form)


@fleet.command()
@output_options
def reap(form: str | None) -> None:
    """End what is left of fleets whose keeper is dead: found by journal and mark, whoever started them."""
    from rackrate.fleet.listing import reap_all  # noqa: PLC0415 - start-up

    emit(reap_all(), form)


@fleet.command()
@click.option("--provider", required=True, metavar="NAME", help="runpod or vast.")
@click.option("--live", is_flag=True, help="Rent the cheapest machine and watch it end itself.")
@click.option("--max-usd", type=float, default=0.05, show_default=True, help="The most that it may cost.")
@click.option("--image", default="", help="That the machine boots; it needs rackrate in it.")
@click.option(
    "--lease-s", type=float, default=10.0, show_default=True, help="After which it must end itself."
)
@output_options
def doctor(provider: str, live: bool, max_usd: float, image: str, lease_s: float, form: str | None) -> None:
    """Does a provider do what a fleet relies on? Key, price, and with --live one machine that ends itself.

    \b
    rackrate fleet doctor --provider runpod
    rackrate fleet doctor --provider runpod --live --max-usd 0.05 --image ghcr.io/me/worker:1
    """
    from rackrate.fleet.doctor import examine  # noqa: PLC0415 - start-up

    if live and not image:
        raise UsageError("a drill needs an image", hint="--image names one with rackrate in it")
    emit(examine(provider, image=image, max_usd=max_usd, lease_s=lease_s, is_live=live), form)


def _folder(name: str | None) -> Folder:
    from rackrate.fleet.folder import find_folder, running_folder  # noqa: PLC0415 - start-up

    return find_folder(name) if name else running_folder()
