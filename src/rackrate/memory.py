"""Questions of memory, as functions: does it fit, what fits on this card, what did my engine measure.

They stand beside `rackrate.api` because they need no market: a question of memory is to start at once.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rackrate.catalog.load import slugs
from rackrate.choice import COUNTS, best_choice
from rackrate.config import calibration_file
from rackrate.errors import ImportRejected, NoAnswer, UnknownName, UsageError, nearest
from rackrate.fit.precision import find_precision
from rackrate.fit.setup import check_task
from rackrate.fit.ways import ways
from rackrate.report.fit import FitAnswer
from rackrate.sizing import Weights, find_card, find_weights, parse_tokens
from rackrate.sizing import fits as _fits

if TYPE_CHECKING:
    from rackrate.fit.cases import Case
    from rackrate.fit.logs import EngineLog
    from rackrate.fit.overhead import Card
    from rackrate.fit.solve import Fit
    from rackrate.report.cards import Listing
    from rackrate.report.measured import Compared, MeasuredRun

# A card of the log whose memory is this share off is another one; ECC moves it by 6 %.
_SAME_CARD = 0.1


def fits(
    model: str,
    gpu: str = "l40s",
    *,
    context: int | str | None = None,
    concurrency: int = 1,
    pixels: int = 1024 * 1024,
    beams: int = 5,
    **options: Any,
) -> FitAnswer:
    """Return whether a model fits a card under a load, and what would make it fit.

    Args:
        model: a name of the catalog, a `config.json`, a safetensors or GGUF file or its address,
            `hf:owner/name`, or a bare count such as `70B`.
        gpu: name with a count, `l40s:2`, or an amount of memory, `24GiB`.
        context: tokens of a sequence, `8192` or `8k`; None for 8,192, of training 2,048.
        concurrency: sequences, images or windows of speech at once; of training a GPU's batch.
        pixels: of an image that is made.
        beams: hypotheses of a speech decoder.
        options: how it is run, by the names of `rackrate.sizing.Wish` (`task`, `precision`, `kv`,
            `engine`, `tensor`, ...) and `rackrate.fit.training.Training` (`optimiser`, `rank`, ...).

    Raises:
        UnknownName: a model, GPU, engine, precision or option that is not there, with the nearest.
        BadQuantity: a number that cannot be.
        UsageError: values that do not go together.

    Example:
        >>> import rackrate
        >>> rackrate.fits("llama-3.1-70b", "l40s", precision="fp16").verdict
        'does not fit'
    """
    fit = _fits(model, gpu, context=context, concurrency=concurrency, pixels=pixels, beams=beams, **options)
    return FitAnswer(fit, tuple(ways(fit)), _measured_before(fit))


def _measured_before(fit: Fit) -> tuple[Case, ...]:
    if not calibration_file().exists():
        return ()
    from rackrate import calibration  # noqa: PLC0415 - start-up: most people have no such file

    return calibration.nearest_run(
        calibration.load(),
        model=fit.arch.name,
        engine=fit.setup.engine.name,
        gpu=fit.card.gpu,
        precision=fit.setup.precision.name,
        context=fit.load.context,
    )


def models_on(
    gpu: str = "l40s",
    *,
    task: str = "inference",
    context: int | str | None = None,
    concurrency: int = 1,
    name: str = "",
    fits_only: bool = False,
    on_model: Callable[[], None] = lambda: None,
) -> Listing:
    """Return every model of the catalog with the smallest number of cards that runs it, or why not.

    Args:
        gpu: name of a card; with a count, `l40s:4`, at most so many are tried, else 8.
        task: `inference`, `full`, `lora` or `qlora`.
        context: tokens of a sequence, cut to what a model was made for; None for 8,192, of training 2,048.
        concurrency: sequences at once; of training a GPU's batch.
        name: text within the model's name or slug.
        fits_only: leave out what does not fit.
        on_model: called after each model.

    Raises:
        UnknownName: no such GPU or task, or no model of that name.
        BadQuantity: a number that cannot be.

    Example:
        >>> import rackrate
        >>> rackrate.models_on("l40s", name="llama-3.1-70b").to_dict()["data"][0]["gpu_count"]
        2
    """
    from rackrate.report.on_gpu import on_gpu  # noqa: PLC0415 - start-up

    check_task(task)
    card, count = find_card(gpu)
    most = count if ":" in gpu else COUNTS[-1]
    tokens = None if context is None else parse_tokens(context)
    wanted = [slug for slug in slugs("models") if _plain(name) in _plain(slug)]
    if not wanted:
        raise UnknownName("model", name, nearest(name, slugs("models")), hint="rackrate models list")
    choices = []
    for slug in wanted:
        choices.append(
            best_choice(
                slug,
                gpu.partition(":")[0],
                task=task,
                context=tokens,
                concurrency=concurrency,
                most_gpus=most,
            )
        )
        on_model()
    length = f"{tokens:,} tokens" if tokens else "8,192 tokens" if task == "inference" else "2,048 tokens"
    load = f"{concurrency} x {length}, or all that a model was made for"
    return on_gpu(choices, card, task=task, asked=load, most_gpus=most, fits_only=fits_only)


def _plain(text: str) -> str:
    return re.sub(r"[\s_-]+", "", text.casefold())


def measured(path: str | Path, *, model: str = "", gpu: str = "", precision: str = "") -> MeasuredRun:
    """Return what a start-up log of vLLM, SGLang or llama.cpp measured, beside what was to be expected.

    Args:
        path: of the log.
        model: which one it was, in the words of `fits`; empty for the name in the log.
        gpu: which card; empty for what the log says.
        precision: of the weights, such as `int4` or `gguf:q4_k_m`; empty for what the log says.

    Raises:
        ImportRejected: no such file, or no log of an engine's start.
        UnknownName: a model, GPU or precision that is not there.
        UsageError: the log does not name its model, its GPU or how its file is quantised.
    """
    from rackrate.fit.cases import case_from_row  # noqa: PLC0415 - start-up
    from rackrate.fit.logs import parse_log, to_cases  # noqa: PLC0415
    from rackrate.report.measured import MeasuredRun  # noqa: PLC0415

    try:
        text = Path(path).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ImportRejected(f"{path} cannot be read: {error.strerror}") from None
    log = parse_log(text)
    weights = find_weights(model) if model else _model_named(log)
    card, assumed = _card_of(log, gpu)
    rows, of_weights = _with_precision(to_cases(log, card.gpu), precision, weights)
    assumed = (*assumed, *of_weights, *_other_card(log, card))
    cases = [case_from_row(row | {"model": weights.arch.name}) for row in rows]
    compared = tuple(_compared(case, cases, weights, card) for case in cases)
    return MeasuredRun(log, weights.arch.name, card.gpu, compared, assumed)


def saved(run: MeasuredRun) -> MeasuredRun:
    """Append the cases of a run to the user's calibration file, and say so in the answer.

    Raises:
        ImportRejected: the file that is there is broken.
    """
    from rackrate import calibration  # noqa: PLC0415 - start-up

    n = calibration.save(run.cases)
    where = calibration_file()
    words = f"saved {n} cases to {where}" if n else f"this run is in {where} already: nothing saved"
    return replace(run, saved=words)


def _compared(case: Case, run: list[Case], weights: Weights, card: Card) -> Compared:
    from rackrate.fit.predict import predict  # noqa: PLC0415 - start-up
    from rackrate.report.measured import Compared  # noqa: PLC0415

    room = next((other.value for other in run if other.quantity == "kv_gib"), None)
    try:
        return Compared(case, predict(case, weights.arch, card, room))
    except NoAnswer:
        return Compared(case, None)
    except UnknownName as error:
        if error.kind != "quantity":
            raise
        return Compared(case, None)


def _card_of(log: EngineLog, gpu: str) -> tuple[Card, tuple[str, ...]]:
    if gpu:
        return find_card(gpu)[0], ()
    total = log.measured.get("total_gib")
    names = list(dict.fromkeys(log.settings["gpu"].split(", "))) if "gpu" in log.settings else []
    if names:
        several = f"the log names several GPUs: all taken as {names[0]}"
        return find_card(names[0])[0], (several,) if names[1:] else ()
    if total:
        said = f"the log does not name its GPU: one of {total:.2f} GiB, as it says"
        return find_card(f"{total:.2f}GiB")[0], (said,)
    raise UsageError("the log does not say on which GPU it ran", hint="add --gpu, such as --gpu l40s")


def _other_card(log: EngineLog, card: Card) -> Iterator[str]:
    """Yield a warning where the log saw a card of another size than the one that was named."""
    total_gib = log.measured.get("total_gib")
    if total_gib and abs(total_gib / card.gib - 1) > _SAME_CARD:
        yield f"the log saw a card of {total_gib:.2f} GiB, {card.gpu} has {card.gib:.2f}: was it another?"


def _with_precision(
    rows: list[dict[str, str]], precision: str, weights: Weights
) -> tuple[list[dict[str, str]], tuple[str, ...]]:
    """Return the rows with the precision that was given, or else the usual one where the log has none."""
    if precision:
        name = find_precision(precision).name
        return [row | {"precision": name, "quant_format": ""} for row in rows], ()
    if any(row["precision"] == row["quant_format"] == "gguf" for row in rows):
        hint = "add --precision, such as --precision gguf:q4_k_m"
        raise UsageError("the log does not say how its file is quantised", hint=hint)
    if all(row["precision"] for row in rows):
        return rows, ()
    usual = "fp16" if weights.arch.dtype == "fp16" else "bf16"
    said = f"the log does not say the precision of the weights: {usual} taken"
    return [row | {"precision": row["precision"] or usual} for row in rows], (said,)


def _model_named(log: EngineLog) -> Weights:
    """Return the model of the catalog that a log means: the last part of the path, of any quantisation."""
    if not log.model:
        raise UsageError("the log does not name its model", hint="add --model with a slug or a config.json")
    from rackrate.fit.resolve import model_for  # noqa: PLC0415 - start-up

    tries = list(_shorter(log.model))
    found = next(filter(None, (model_for(short, log.measured.get("params_b")) for short in tries)), None)
    if found:
        return find_weights(found.slug)
    why = "so the log names it; --model says which it is"
    near = nearest(tries[-1], slugs("models"))
    raise UnknownName("model", tries[0], near, why=why, hint="rackrate models list")


_OF_FILES = re.compile(
    r"[-_.](?:gguf|i?q\d\w*|awq|gptq|nf4|fp8|fp16|bf16|f16|int[48]|w\d+a\d+|g\d+|[48]-?bit|bnb|mlx|dynamic|"
    r"quantized|\d{5}-of-\d{5}|instruct|chat|it|hf)$",
    re.IGNORECASE,
)


def _shorter(name: str) -> Iterator[str]:
    """Yield the model's name in a log, and that without the words of files, one after the other."""
    cached = re.search(r"models--.*?--([^/]+)", name)
    short = cached[1] if cached else re.split(r"[/\\]", name.rstrip("/\\"))[-1]
    yield short
    while _OF_FILES.search(short):
        short = _OF_FILES.sub("", short)
        yield short
