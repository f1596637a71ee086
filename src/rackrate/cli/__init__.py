"""The command line: reads words, calls `rackrate.api`, writes what it returns.

Data go to stdout, talk to stderr. Exit codes: 0 answered, 1 our fault, 2 a malformed question, 3 a
question without an answer, 4 data missing, broken or too old, 5 nodes failed, 6 refused, 130 interrupted.
"""

from __future__ import annotations

import os
import sys
from contextlib import suppress
from importlib import import_module

import click

from rackrate.errors import DataError, InternalError, RackrateError, UnknownName, UsageError, nearest

# Name of the command, where it is, and its line in the first screen; a module is loaded when it is used.
_COMMANDS = {
    "gpu": ("rackrate.cli.gpus:gpu", "Everything on one GPU: facts, prices, who rents it."),
    "gpus": ("rackrate.cli.gpus:gpus", "List, show and compare GPUs."),
    "fit": ("rackrate.cli.fit:fit", "Does a model fit a GPU? By how much, and what would help."),
    "perf": ("rackrate.cli.perf:perf", "How fast is a model on a GPU? And what the result costs."),
    "models": ("rackrate.cli.models:models", "What runs on a GPU; list and show open-weights models."),
    "providers": ("rackrate.cli.providers:providers", "List and show providers."),
    "offers": ("rackrate.cli.offers:offers", "What is for rent, filtered and sorted."),
    "price": ("rackrate.cli.price:price", "What a GPU costs, its spread and its history."),
    "plan": ("rackrate.cli.plan:plan", "Which machines to rent for a workload, and what it costs."),
    "own": ("rackrate.cli.own:own", "Rent or own one? What each costs, and the breakeven."),
    "run": ("rackrate.cli.run:run", "Bring up a plan's machines, run a program there, end them."),
    "fleet": ("rackrate.cli.fleet:fleet", "Nodes that do work for you and do not outlive you."),
    "sweep": ("rackrate.cli.sweep:sweep", "One function, many parameters, on nodes that end with it."),
    "market": ("rackrate.cli.market:market", "Import, collect, check, watch and describe price lists."),
    "serve": ("rackrate.cli.serve:serve", "The site and the JSON API, from this machine."),
    "mcp": ("rackrate.cli.mcp:mcp", "The questions as tools of an agent (MCP)."),
    "config": ("rackrate.cli.settings:config", "Show settings and where they come from."),
    "doctor": ("rackrate.cli.settings:doctor", "Check the installation and the data."),
}


class _Lazy(click.Group):
    """A group that imports a command when it is used, and helps with misspelt ones."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        module, name = _COMMANDS[cmd_name][0].split(":")
        command: click.Command = getattr(import_module(module), name)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            raise UnknownName("command", args[0], nearest(args[0], _COMMANDS) or list(_COMMANDS))
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        del ctx
        with formatter.section("Commands"):
            formatter.write_dl([(name, line) for name, (_, line) in _COMMANDS.items()])


@click.group(cls=_Lazy, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="rackrate")
def main() -> None:
    """From a workload to running GPUs at the right price.

    \b
    Try, without network or account:
      rackrate gpu l40s
      rackrate fit llama-3.1-70b --gpu l40s --precision int4
      rackrate perf llama-3.1-8b --gpu l40s --slo ttft=1s
      rackrate offers --gpu l40s:2.. --country EU --sort vram_gib/usd
      rackrate price h100-sxm --history 90d
      rackrate plan llama-3.1-70b --rps 2 --ttft 1s --tpot 60ms
    """


def run() -> None:
    """Run the command line and exit with its status."""
    for name in ("stdout", "stderr"):  # None where whoever started this closed it
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, "w", encoding="utf-8"))  # noqa: PTH123, SIM115 - for ever
    sys.exit(status(sys.argv[1:]))


def status(args: list[str]) -> int:
    """Run one command and return its exit status; an error is one message, never a traceback."""
    try:
        result = main.main(args, prog_name="rackrate", standalone_mode=False)
        sys.stdout.flush()
    except (click.Abort, KeyboardInterrupt):
        return 130
    except (BrokenPipeError, SystemExit):  # click exits when it meets the broken pipe first
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # so that the exit flush is quiet
        return 0
    except click.exceptions.NoArgsIsHelpError as error:
        click.echo(error.format_message(), err=True)  # its message is the help itself
        return UsageError.exit_code
    except Exception as error:
        fault = _fault(error)
        if isinstance(fault, InternalError) and os.environ.get("RACKRATE_DEBUG"):
            raise
        return _fail(fault, args)
    return result if isinstance(result, int) else 0


def _fault(error: Exception) -> RackrateError:
    """Return what went wrong as one of ours."""
    if isinstance(error, RackrateError):
        return error
    if isinstance(error, click.UsageError):
        hint = f"see `{error.ctx.command_path} --help`" if error.ctx else "see `rackrate --help`"
        near = getattr(error, "possibilities", None)
        says = error.message if near else error.format_message().split("\n")[0]
        return UsageError(says, hint=f"did you mean `{near[0]}`?" if near else hint)
    if isinstance(error, OSError):  # a disk that is full, a path that cannot be written
        where = f"{error.filename}: " if error.filename else ""
        return DataError(
            f"{where}{error.strerror or error}", hint="check path, rights and space", code="file"
        )
    return InternalError(f"{type(error).__name__}: {error}", hint="RACKRATE_DEBUG=1 shows the traceback")


def _fail(error: RackrateError, args: list[str]) -> int:
    if "--json" in args:
        import json  # noqa: PLC0415 - start-up

        with suppress(OSError):  # stdout may be what failed
            click.echo(json.dumps({"error": error.to_problem()}, indent=2))
            return error.exit_code
    is_plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    click.echo(("error: " if is_plain else click.style("error: ", fg="red")) + error.message, err=True)
    if error.hint:
        click.echo(f"  {error.hint}", err=True)
    return error.exit_code
