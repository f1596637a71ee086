"""`rackrate run`: a plan's machines come up, run a program, and are gone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import click

from rackrate.cli.fleet_options import fleet_options, of_owner


@click.command(context_settings={"ignore_unknown_options": True})
@fleet_options
@click.option("--on-one", is_flag=True, help="Run it on one node only.")
@click.option("--collect", multiple=True, metavar="PATTERN", help="Files to take home when it has ended.")
@click.option(
    "--to",
    type=click.Path(file_okay=False, path_type=Path),
    default="collected",
    show_default=True,
    help="Folder for them, one below it a node.",
)
@click.argument("plan")
@click.argument("command", nargs=-1, required=True, type=click.UNPROCESSED, metavar="-- COMMAND...")
def run(
    plan: str, command: tuple[str, ...], on_one: bool, collect: tuple[str, ...], to: Path, **asked: Any
) -> int:
    """Bring up what a plan names, run a command on every node, bring home what it wrote, end all.

    Exits with the first status that is not 0. What the options say goes before what the plan says.

    \b
    rackrate plan "finetune bert-base-uncased" --tokens 50M -o plan.json
    rackrate run plan.json --sync train.py --collect 'out/*' -- python3 -m train
    rackrate run plan.json --backend ssh --host me@gpu1 --nodes 1 -- nvidia-smi
    """
    from rackrate.fleet import command as program  # noqa: PLC0415 - start-up
    from rackrate.fleet.fleet import Fleet  # noqa: PLC0415 - start-up

    def hear(node: str, line: str) -> None:
        click.echo(line if on_one else f"{node.rpartition('-')[2]}| {line}")

    with Fleet(plan, **of_owner(**asked)) as fleet:
        ran = program.run(fleet, command, hear, on_one=on_one, collect=collect)
    for one in ran if collect else ():
        for path in program.unpack(one, to / one.node):
            click.echo(str(path), err=True)
    return next((one.code for one in ran if one.code), 0)
