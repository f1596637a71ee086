"""`rackrate plan`: which machines to rent for a workload, where, and what that costs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any, TypeVar

import click

from rackrate.cli.output import emit, market_options, output_options, write_file
from rackrate.cli.words import store_for

F = TypeVar("F", bound=Callable[..., Any])

_TEXTS = (
    ("workload", "NAME", "Instead of a model: rendering, doom-eternal, segalign, transcode, ..."),
    ("finetune", "METHOD", "full, lora or qlora."),
    ("sweep", "NAME", "Fine-tune many variants of MODEL, one a GPU: bert."),
    ("rps", "N", "Requests a second."),
    ("tokens-per-day", "N", "Instead: tokens a day, in and out together: 500M."),
    ("users", "N", "Instead: users with a request under way each, all the time."),
    ("images-per-hour", "N", "Of an image model."),
    ("audio-hours-per-day", "N", "Of a speech model."),
    ("tokens", "N", "Of a fine-tuning run, or of each variant of a sweep: 50M."),
    ("variants", "N", "Of a sweep."),
    ("genomes", "N", "Pairs of vertebrate genomes to align."),
    ("as-fast-as", "N", "Of rendering, streaming, transcoding: as much as N L40S do."),
    ("input", "TOKENS", "Of a prompt.  [default: 1000]"),
    ("output", "TOKENS", "Of an answer.  [default: 300]"),
    ("ttft", "TIME", "First token at most: 1s.  [default: 2s; of tokens a day none]"),
    ("tpot", "TIME", "Each further token at most: 60ms.  [default: 100ms; of tokens a day none]"),
    ("percentile", "SHARE", "Of requests whose first token is in time.  [default: 0.9]"),
    ("cached", "SHARE", "Of each prompt that is cached."),
    ("speculative", "N", "Tokens that a step yields by speculation: 1.8."),
    ("kv", "NAME", "Of the KV cache: fp16, fp8.  [default: fp16]"),
    ("pixels", "WxH", "Of an image.  [default: 1024x1024]"),
    ("steps", "N", "Of denoising.  [default: the model's]"),
    ("sequence", "TOKENS", "That is trained on.  [default: 512]"),
    ("batch", "N", "Sequences a GPU and step in training.  [default: 8]"),
    ("within", "TIME", "That a run may take: 8h."),
    ("nodes", "N", "Machines at once of a sweep."),
    ("precision", "NAME", "Of the weights.  [default: the published one and narrower ones]"),
    ("engine", "NAME", "vllm, sglang or llama.cpp.  [default: vllm, and sglang where it was measured]"),
    ("objective", "NAME", "cost, latency or balance.  [default: cost]"),
    ("instead-of", "GPU", "What costs no more than this one and is faster; without MODEL by its facts."),
    ("store-in", "CC", "Country of the object store with the weights."),
    ("users-in", "CC", "Country of most users."),
    ("region", "TEXT", "Text within the region's name."),
    ("max-usd-per-hour", "USD", "For all machines together."),
    ("max-age", "AGE", "Of a price: 24h, 90d; any for undated ones too."),
)
_LISTS = (
    ("gpu", "NAME[:N]", "Only this GPU, with a count or range: l40s, h100:4..8."),
    ("provider", "NAME", "Only who runs or sells it."),
    ("country", "CC", "Only there: ISO code, or EU."),
    ("kind", "NAME", "on_demand, spot, reserved, serverless or any.  [default: on_demand]"),
    ("own", "GPU:N=USD", "Machines of your own and what an hour of one costs: l40s:4=0.80."),
)


def _fields(command: F) -> F:
    command = click.option("--graphics", is_flag=True, default=None, help="Only GPUs that can draw.")(command)
    for name, metavar, says in reversed(_LISTS):
        command = click.option(f"--{name}", metavar=metavar, multiple=True, help=says)(command)
    for name, metavar, says in reversed(_TEXTS):
        command = click.option(f"--{name}", metavar=metavar, help=says)(command)
    return command


class _PlanGroup(click.Group):
    """A group whose first word may be a model: what is no command of it is a question."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        """Put the hidden command in front of a question."""
        if args and args[0] not in self.commands and args[0] not in ctx.help_option_names:
            args = [_ASK, *args]
        return super().parse_args(ctx, args)

    def format_options(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Show the options of a question beside the commands."""
        self.commands[_ASK].format_options(ctx, formatter)
        self.format_commands(ctx, formatter)


_ASK = "ask"


@click.group(cls=_PlanGroup, subcommand_metavar="[MODEL | FILE.toml | COMMAND] [OPTIONS]", options_metavar="")
def plan() -> None:
    """Which machines to rent for a workload, where, and what a unit of the result costs.

    The words are a model, a verb and a model (finetune bert-base-uncased), or a workload.toml with the
    options as its keys.

    \b
    rackrate plan llama-3.1-70b --rps 2 --input 1000 --output 300 --ttft 1s --tpot 60ms
    rackrate plan llama-3.1-8b --tokens-per-day 500M --country EU --max-usd-per-hour 5 -o plan.json
    rackrate plan show plan.json
    rackrate plan diff plan.json other.json
    rackrate plan export plan.json --to skypilot
    """


@plan.command(_ASK, hidden=True)
@click.argument("words", nargs=-1, metavar="MODEL")
@_fields
@click.option("--limit", default=10, show_default=True, metavar="N", help="Rows of the ranking at most.")
@click.option("--explain", is_flag=True, help="Write the formulae with the numbers in.")
@click.option("-o", "--out", type=click.Path(dir_okay=False), metavar="FILE", help="Keep the plan as JSON.")
@click.option(
    "--svg", type=click.Path(dir_okay=False), metavar="FILE", help="Write cost against time as SVG."
)
@market_options
@output_options
def ask(
    words: tuple[str, ...],
    limit: int,
    explain: bool,
    out: str | None,
    svg: str | None,
    as_of: str | None,
    data: str | None,
    max_data_age: str | None,
    form: str | None,
    **given: Any,
) -> None:
    """Which machines to rent for a workload, where, and what a unit of the result costs."""
    from rackrate import api, planning  # noqa: PLC0415 - start-up

    fields = {name: value for name, value in given.items() if value not in (None, ())}
    store = store_for(data, max_data_age)
    if not words and set(fields) == {"instead_of"}:
        emit(api.parity(fields["instead_of"], as_of=as_of, data=store), form)
        return
    found = planning.plan(
        " ".join(words),
        as_of=as_of,
        data=store,
        limit=limit,
        is_explained=explain,
        **fields,
    )
    if out:
        write_file(out, json.dumps(found.to_dict(), indent=2) + "\n")
    if svg:
        from rackrate.chart import frontier_svg  # noqa: PLC0415 - a heavy extra

        write_file(svg, frontier_svg(found))
    emit(found, form)


@plan.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--explain", is_flag=True, help="Write the formulae with the numbers in.")
@output_options
def show(file: str, explain: bool, form: str | None) -> None:
    """Show a plan that was kept."""
    from rackrate import planning  # noqa: PLC0415 - start-up

    emit(planning.kept(file, is_explained=explain), form)


@plan.command()
@click.argument("before", type=click.Path(dir_okay=False))
@click.argument("after", type=click.Path(dir_okay=False))
@output_options
def diff(before: str, after: str, form: str | None) -> None:
    """Show what differs between two plans that were kept."""
    from rackrate import planning  # noqa: PLC0415 - start-up

    emit(planning.compared(before, after), form)


@plan.command()
@click.argument("file", type=click.Path(dir_okay=False))
@click.option("--to", required=True, metavar="TOOL", help="skypilot, dstack, compose or kubernetes.")
@click.option("--row", default=1, show_default=True, metavar="N", help="Of the ranking.")
@click.option(
    "--weights", default="", metavar="REPO", help="Of the model, where the plan's precision needs its own."
)
def export(file: str, to: str, row: int, weights: str) -> None:
    """Write a plan that was kept as the file of another tool, with vLLM's flags."""
    from rackrate import planning  # noqa: PLC0415 - start-up

    click.echo(planning.exported(file, to, weights=weights, row=row), nl=False)
