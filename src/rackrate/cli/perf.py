"""`rackrate perf`: how fast a model is on a GPU, and what the result costs."""

from __future__ import annotations

from typing import Any

import click

from rackrate.cli.fit import pixels_of
from rackrate.cli.output import emit, market_options, output_options, write_file
from rackrate.cli.words import store_for
from rackrate.errors import BadQuantity, UnknownName, nearest


@click.command()
@click.argument("model")
@click.option(
    "--gpu", default="l40s", show_default=True, metavar="NAME[:N]", help="GPU and count: l40s, l40s:2."
)
@click.option("--precision", metavar="NAME", help="Of the weights: fp16, fp8, int4, gguf:q4_k_m, ...")
@click.option("--kv", metavar="NAME", help="Of the KV cache: fp16, fp8, q8_0.  [default: fp16]")
@click.option(
    "--engine",
    metavar="NAME",
    help="And version: vllm, sglang, llama.cpp; of images eager, compiled, tensorrt; of speech "
    "faster-whisper, ...",
)
@click.option("--layout", default="", metavar="tpN,ppN", help="GPUs that share each layer, and stages.")
@click.option("--task", metavar="NAME", help="inference, full, lora or qlora.  [default: inference]")
@click.option(
    "--input", metavar="TOKENS", help="Of a prompt, text or sequence: 1k.  [default: 1000; of training 512]"
)
@click.option("--output", metavar="TOKENS", help="Of an answer.  [default: 300]")
@click.option(
    "--concurrency",
    metavar="N",
    help="Requests at once; images, windows, texts; a GPU's batch.  [default: 16; 1; of training 8]",
)
@click.option("--rps", metavar="N", help="Instead: requests a second.")
@click.option("--slo", multiple=True, metavar="WHAT=TIME", help="Promised at most: ttft=1s, tpot=60ms.")
@click.option("--percentile", metavar="SHARE", help="Of requests in time for ttft.  [default: 0.95]")
@click.option("--cached", metavar="SHARE", help="Of each prompt that is cached.  [default: 0]")
@click.option("--speculative", metavar="N", help="Tokens that a step yields by speculation: 1.6.")
@click.option("--memory-fraction", type=float, metavar="F", help="Of the card for the engine: 0.95.")
@click.option("--max-num-seqs", type=int, metavar="N", help="Sequences in a step.")
@click.option("--max-num-batched-tokens", type=int, metavar="N", help="Tokens in a step.")
@click.option("--pixels", metavar="WxH", help="Of an image.  [default: the model's]")
@click.option("--steps", metavar="N", help="Of denoising.  [default: the model's]")
@click.option("--beams", metavar="N", help="Hypotheses of a speech model.  [default: 1]")
@click.option(
    "--checkpointing/--no-checkpointing",
    "has_checkpointing",
    default=None,
    help="Of training: compute layers again.",
)
@click.option("--explain", is_flag=True, help="Show where the time of each step goes.")
@click.option("--svg", type=click.Path(dir_okay=False), metavar="FILE", help="Write the curve as a chart.")
@market_options
@output_options
def perf(
    model: str,
    gpu: str,
    layout: str,
    slo: tuple[str, ...],
    pixels: str | None,
    explain: bool,
    svg: str | None,
    as_of: str | None,
    data: str | None,
    max_data_age: str | None,
    form: str | None,
    **given: Any,
) -> None:
    """How fast MODEL is on a GPU: time to first token, time a token, tokens/s, each with its range.

    Told for a lone request, for the load that is asked for and for the most that fits or keeps the SLO;
    beside it what a million tokens cost. Models that make images, write down speech or read texts
    have their own figures, and --task gives the speed of fine-tuning.

    \b
    rackrate perf llama-3.1-8b --gpu l40s --slo ttft=1s --slo tpot=60ms
    rackrate perf llama-3.1-70b --gpu l40s:4 --precision fp8 --layout tp2,pp2 --rps 0.5 --explain
    rackrate perf flux.1-dev --gpu l40s --engine compiled
    rackrate perf llama-3.1-8b --gpu h100-sxm --task lora
    """
    from rackrate.speeds import speed  # noqa: PLC0415 - start-up

    options = {**given, **_promises(slo), "pixels": pixels_of(pixels) if pixels else None}
    store = store_for(data, max_data_age)
    found = speed(model, gpu, layout=layout, is_explained=explain, as_of=as_of, data=store, **options)
    if svg:
        from rackrate.chart import speed_svg  # noqa: PLC0415 - a heavy extra

        write_file(svg, speed_svg(found))
    emit(found, form)


def _promises(slo: tuple[str, ...]) -> dict[str, str]:
    """Read what is promised, each as a name and a time."""
    found: dict[str, str] = {}
    for text in slo:
        name, is_set, value = text.partition("=")
        name = name.strip().lower()
        if name not in ("ttft", "tpot"):
            raise UnknownName("SLO", name, nearest(name, ("ttft", "tpot")) or ("ttft", "tpot"))
        if not is_set or name in found:
            raise BadQuantity(f"slo {text!r} names no time of its own", hint=f"write it like {name}=60ms")
        found[name] = value
    return found
