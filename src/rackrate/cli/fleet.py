"""`rackrate fleet`: nodes that do not outlive their owner."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeVar

import click

from rackrate.cli.output import emit, output_options
from rackrate.errors import UsageError

if TYPE_CHECKING:
    from rackrate.fleet.folder import Folder

F = TypeVar("F", bound=Callable[..., Any])

_CLOSE_S = 30.0
_OPTIONS = (
    ("nodes", int, 1, "How many."),
    ("backend", str, "local", "Where they live: local, processes on this machine."),
    ("threads", int, 1, "Tasks at once, a node."),
    ("memory-gib", float, None, "At which a node's worker is killed.  [default: no limit]"),
    ("budget-usd", float, None, "The most that all may cost, to their end.  [default: no limit]"),
    ("usd-per-node-hour", float, 0.0, "What an hour of a node costs you."),
    ("max-hours", float, 1.0, "After which all ends in any case."),
    ("idle-s", float, 600.0, "Seconds without work until all ends."),
    ("lease-s", float, 10.0, "Seconds after which a node ends that hears nothing."),
    ("boot-timeout-s", float, 60.0, "Seconds in which a node must come up."),
)


def fleet_options(command: F) -> F:
    """Add what a fleet may be asked for to a command."""
    for name, kind, default, says in reversed(_OPTIONS):
        command = click.option(
            f"--{name}", type=kind, default=default, show_default=default is not None, help=says
        )(command)
    return command


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

    folder, keeper = opening.open_fleet(is_owned=False, **asked)
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

    folder, keeper = opening.open_fleet(is_owned=True, **asked)
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
@output_options
def cost(name: str | None, form: str | None) -> None:
    """What a fleet has cost, node by node."""
    from rackrate.fleet import opening  # noqa: PLC0415 - start-up
    from rackrate.fleet.status import Cost  # noqa: PLC0415 - start-up

    emit(Cost(opening.status(_folder(name)).data), form)


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


def _folder(name: str | None) -> Folder:
    from rackrate.fleet.folder import find_folder, running_folder  # noqa: PLC0415 - start-up

    return find_folder(name) if name else running_folder()
