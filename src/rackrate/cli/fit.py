"""`rackrate fit`: does a model fit a GPU, and did it measure so."""

from __future__ import annotations

import re
from typing import Any

import click

from rackrate.cli.output import emit, output_options, write_file
from rackrate.errors import BadQuantity, NoAnswer, UsageError


@click.command()
@click.argument("model", required=False)
@click.option("--gpu", metavar="NAME[:N]", help="GPU and count, or memory: l40s:2, 24GiB.  [default: l40s]")
@click.option(
    "--precision", metavar="NAME", help="Of the weights: fp16, fp8, int8, int4, gguf:q4_k_m, nf4, ..."
)
@click.option("--kv", metavar="NAME", help="Of the KV cache: fp16, fp8, q8_0, ...  [default: fp16]")
@click.option("--context", metavar="TOKENS", help="Of a sequence: 8192, 8k.  [default: 8k; of training 2k]")
@click.option(
    "--concurrency",
    type=int,
    metavar="N",
    help="Sequences, images, windows at once; a GPU's batch.  [default: 1]",
)
@click.option(
    "--engine", metavar="NAME", help="And version: vllm, 'vllm 0.11', sglang, transformers, llama.cpp, ..."
)
@click.option("--task", metavar="NAME", help="inference, full, lora or qlora.  [default: inference]")
@click.option("--tensor-parallel", "tensor", type=int, metavar="N", help="GPUs that share every layer.")
@click.option(
    "--pipeline-parallel", "pipeline", type=int, metavar="N", help="Groups of GPUs, a run of layers each."
)
@click.option("--memory-fraction", type=float, metavar="F", help="Of the card for the engine: 0.95.")
@click.option("--max-num-seqs", type=int, metavar="N", help="Sequences in a step (vLLM, SGLang).")
@click.option("--max-num-batched-tokens", type=int, metavar="N", help="Tokens in a step (vLLM, SGLang).")
@click.option("--eager", "is_eager", is_flag=True, default=None, help="Without CUDA graphs.")
@click.option(
    "--no-flash-attention",
    "has_flash_attention",
    flag_value=False,
    default=None,
    help="Scores are written out.",
)
@click.option("--pixels", metavar="WxH", help="Of an image that is made.  [default: 1024x1024]")
@click.option("--beams", type=int, metavar="N", help="Hypotheses of a speech model.  [default: 5]")
@click.option("--offload", metavar="NAME", help="Of an image pipeline: none, model or sequential.")
@click.option("--optimiser", metavar="NAME", help="adamw, adamw-8bit, paged-adamw-8bit, adafactor, sgd, ...")
@click.option(
    "--checkpointing/--no-checkpointing",
    "has_checkpointing",
    default=None,
    help="Compute layers again on the way back.",
)
@click.option(
    "--mixed", "is_mixed", is_flag=True, default=None, help="32-bit weights, work in 16 (autocast)."
)
@click.option("--fp32", "is_fp32", is_flag=True, default=None, help="Train in 32 bit throughout.")
@click.option("--loss", metavar="NAME", help="full, chunked or fused cross entropy.")
@click.option("--rank", type=int, metavar="N", help="Of LoRA.  [default: 16]")
@click.option(
    "--targets", metavar="NAMES", help="What LoRA adapts: q_proj,v_proj.  [default: all linear layers]"
)
@click.option("--check", is_flag=True, help="Exit 3 unless it fits with 95% and more.")
@click.option("--svg", type=click.Path(dir_okay=False), metavar="FILE", help="Write the memory as a chart.")
@click.option(
    "--from-log",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Compare with an engine's start-up log.",
)
@click.option("--model", "named", metavar="MODEL", help="Of the log, where its name says nothing.")
@click.option("--save", is_flag=True, help="Add what the log measured to your calibration file.")
@output_options
def fit(
    model: str | None,
    gpu: str | None,
    check: bool,
    svg: str | None,
    from_log: str | None,
    named: str | None,
    save: bool,
    form: str | None,
    **given: Any,
) -> int:
    """Does MODEL fit a GPU: memory by term with its range, how far it goes, what would help.

    MODEL is a name of the catalog, a config.json, a safetensors or GGUF file or its address,
    hf:owner/name, or a bare count such as 70B.

    \b
    rackrate fit llama-3.1-70b --gpu l40s --precision int4
    rackrate fit gemma-3-27b --gpu l40s --precision fp8 --context 32k --concurrency 4
    rackrate fit qwen2.5-32b --gpu l40s:2 --task qlora --rank 8 --optimiser adamw-8bit
    rackrate fit --from-log vllm.log --gpu l40s --save
    """
    options = {name: value for name, value in given.items() if value is not None}
    if from_log:
        return _compare(from_log, named or model or "", gpu or "", options, save=save, form=form)
    if not model or named or save:
        what = "--model and --save belong to --from-log" if named or save else "name a model"
        raise UsageError(what, hint="rackrate fit llama-3.1-70b --gpu l40s, or rackrate fit --from-log FILE")
    from rackrate import memory  # noqa: PLC0415 - start-up

    if "pixels" in options:
        options["pixels"] = pixels_of(options["pixels"])
    if "targets" in options:
        options["targets"] = tuple(options["targets"].split(","))
    found = memory.fits(model, gpu or "l40s", **options)
    if svg:
        from rackrate.chart import memory_svg  # noqa: PLC0415 - a heavy extra

        write_file(svg, memory_svg(found))
    emit(found, form)
    return NoAnswer.exit_code if check and found.verdict != "fits" else 0


def _compare(
    path: str, model: str, gpu: str, options: dict[str, Any], *, save: bool, form: str | None
) -> int:
    """Show what a log measured beside what was predicted."""
    precision = options.pop("precision", "")
    if options:
        hint = "the log says how it was run: give only --model, --gpu and --precision beside it"
        raise UsageError(f"--from-log takes no {', '.join(sorted(options))}", hint=hint)
    from rackrate import memory  # noqa: PLC0415 - start-up

    found = memory.measured(path, model=model, gpu=gpu, precision=precision)
    emit(memory.saved(found) if save else found, form)
    return 0


def pixels_of(text: str) -> int:
    """Read the size of an image.

    Raises:
        BadQuantity: not a width and a height.
    """
    size = re.fullmatch(r"\s*(\d{1,5})\s*[x*]\s*(\d{1,5})\s*", text.lower())
    if not size:
        raise BadQuantity(f"pixels {text!r} are no width and height", hint="write them like 1024x1024")
    return int(size[1]) * int(size[2])
