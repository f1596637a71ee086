"""`rackrate models`: what runs on a GPU, and what is known of each model."""

from __future__ import annotations

import click

from rackrate.cli.output import emit, output_options, progress
from rackrate.errors import UsageError


@click.group(invoke_without_command=True)
@click.option("--gpu", metavar="NAME[:N]", help="Which models run on this card, on at most N (8) of them.")
@click.option("--task", default="inference", show_default=True, help="inference, full, lora or qlora.")
@click.option("--context", metavar="TOKENS", help="Of a sequence: 8192, 8k.  [default: 8k; of training 2k]")
@click.option("--concurrency", type=int, default=1, show_default=True, metavar="N", help="Sequences at once.")
@click.option("--name", default="", metavar="TEXT", help="Only models with this in their name.")
@click.option("--fits-only", is_flag=True, help="Leave out what does not fit.")
@output_options
@click.pass_context
def models(
    ctx: click.Context,
    gpu: str | None,
    task: str,
    context: str | None,
    concurrency: int,
    name: str,
    fits_only: bool,
    form: str | None,
) -> None:
    """What runs on a GPU: for each model the fewest cards, or why it does not fit.

    \b
    rackrate models --gpu l40s
    rackrate models --gpu l40s:4 --task qlora --fits-only
    rackrate models --gpu h100-sxm --context 32k --concurrency 16 --csv
    """
    if ctx.invoked_subcommand:
        if gpu:
            hint = "rackrate models --gpu NAME, without another word"
            raise UsageError(f"`models {ctx.invoked_subcommand}` is not about a GPU", hint=hint)
        return
    if not gpu:
        raise click.exceptions.NoArgsIsHelpError(ctx)
    from rackrate import memory  # noqa: PLC0415 - start-up

    with progress("judging", "models", every=10) as tick:
        found = memory.models_on(
            gpu,
            task=task,
            context=context,
            concurrency=concurrency,
            name=name,
            fits_only=fits_only,
            on_model=tick,
        )
    emit(found, form)


@models.command("list")
@output_options
def list_models(form: str | None) -> None:
    """All models with their parameters, context and KV cache per token."""
    from rackrate import api  # noqa: PLC0415 - start-up

    emit(api.models(), form)


@models.command("show")
@click.argument("name", metavar="MODEL")
@output_options
def show_model(name: str, form: str | None) -> None:
    """Every fact of a model with its source and what the rental page said."""
    from rackrate import api  # noqa: PLC0415 - start-up

    emit(api.model(name), form)
