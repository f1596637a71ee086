"""Models beside GPUs, as functions: of each pair the smallest set-up, its speed, what the result costs."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rackrate import api, speeds
from rackrate.catalog.architecture.sizes import sizes_of
from rackrate.catalog.gpu import find_gpu
from rackrate.catalog.load import slugs
from rackrate.catalog.model import Model, all_models
from rackrate.choice import Choice, Sketch, best_choice
from rackrate.errors import NoAnswer, RackrateError, UsageError
from rackrate.fit.precision import find_precision
from rackrate.fit.setup import check_task
from rackrate.report.pairing import GpusFor, ModelsOn, Pair
from rackrate.report.speed import SpeedAnswer
from rackrate.sizing import USUAL_CONTEXT, model_of, parse_tokens

if TYPE_CHECKING:
    from rackrate.market.store import Store
    from rackrate.pace import Pace
    from rackrate.report.price import Price

SHOWN = 24
"""Models on a page, each with a forecast of its speed."""


def models_on(  # noqa: PLR0913 - each is a filter that people ask for, by name only
    gpu: str,
    *,
    name: str = "",
    kind: str = "",
    precision: str = "",
    count: int = 0,
    task: str = "inference",
    context: int | str | None = None,
    first: int = 0,
    limit: int = SHOWN,
    as_of: api.Instant = None,
    data: Path | str | Store | None = None,
) -> ModelsOn:
    """Return the models of the catalog on a GPU: set-up, memory, reach, speed, price, or why not.

    Those that the rental page listed come first, then those that read the usual sequence, then the larger.

    Args:
        gpu: any usual name of it, without a count.
        name: text within a model's name or slug.
        kind: of model: `text`, `image`, ...; empty for all.
        precision: only models whose widest fitting precision this is; `none` for those that do not fit.
        count: only models that need so many GPUs; 0 for all.
        task: `inference`, `full`, `lora` or `qlora`.
        context: tokens of a sequence; None for 8,192, of training 2,048.
        first: models to pass over.
        limit: models at most.
        as_of: look at the prices of that day or instant; None for the newest.
        data: the market; None for the default.

    Raises:
        UnknownName: no such GPU, precision or task.
        BadQuantity: a number that cannot be.

    Example:
        >>> models_on("l40s", name="llama-3.1-8b", limit=1).pairs[0].choice.fit.setup.precision.name
        'bf16'
    """
    found = find_gpu(gpu)
    check_task(task)
    tokens = None if context is None else parse_tokens(context)
    every = _sketches(found.slug, task, tokens)
    widest = precision if precision in ("", "none") else find_precision(precision).name
    matching = [each for each in every if _matches(each, name, kind, widest, count)]
    price = speeds.rents_of([found.slug], as_of, data)[found.slug]
    pairs = []
    for each in matching[first : first + limit]:
        choice = _choice(each.model, found.slug, task, tokens)
        pairs.append(Pair(model_of(each.model), found.slug, choice, _speed(choice, task, price)))
    return ModelsOn(found.slug, task, tuple(pairs), first, len(matching), every, price)


def gpus_for(
    model: str,
    *,
    task: str = "inference",
    context: int | str | None = None,
    as_of: api.Instant = None,
    data: Path | str | Store | None = None,
) -> GpusFor:
    """Return every GPU for rent with the smallest number of it that runs a model, and how fast.

    Args:
        model: of the catalog.
        task: `inference`, `full`, `lora` or `qlora`.
        context: tokens of a sequence; None for 8,192, of training 2,048.
        as_of: look at the prices of that day or instant; None for the newest.
        data: the market; None for the default.

    Raises:
        UnknownName: no such model or task.
        BadQuantity: a number that cannot be.

    Example:
        >>> gpus_for("llama-3.1-8b").pairs[0].speed.usd["median"]["value"] < 1
        True
    """
    found = model_of(model)
    check_task(task)
    tokens = None if context is None else parse_tokens(context)
    store, at = api.open_market(data), api.to_instant(as_of)
    rented = sorted({row[0] for row in store.tally(at)} & set(slugs("gpus")))
    pairs = []
    for slug, price in speeds.rents_of(rented, at, store).items():
        choice = _choice(found.slug, slug, task, tokens)
        pairs.append(Pair(found, slug, choice, _speed(choice, task, price)))
    pairs.sort(key=_cheapest_first)
    return GpusFor(found, task, tuple(pairs), at or store.newest, store.version)


@lru_cache(maxsize=512)  # some 40 KB each
def _sketches(gpu: str, task: str, context: int | None) -> tuple[Sketch, ...]:
    """Return every model with its best set-up on a GPU, the listed and larger ones first."""
    found = [
        (model, best_choice(model.slug, gpu, task=task, context=context).sketch()) for model in all_models()
    ]
    return tuple(sketch for _, sketch in sorted(found, key=_usefulness))


@lru_cache(maxsize=512)
def _choice(model: str, gpu: str, task: str, context: int | None) -> Choice:
    """Return the best set-up of a model on a GPU, with all its sums."""
    return best_choice(model, gpu, task=task, context=context)


def _usefulness(pair: tuple[Model, Sketch]) -> tuple[bool, bool, bool, int, float, str]:
    model, sketch = pair
    sizes = sizes_of(model)
    is_short = (sizes.context_tokens or USUAL_CONTEXT) < USUAL_CONTEXT
    size = -float(sizes.params_total or 0)
    return not sketch.n_gpus, not model.listed.pages, is_short, sketch.n_gpus, size, model.slug


def _matches(each: Sketch, name: str, kind: str, precision: str, count: int) -> bool:
    return (
        (not name or _plain(name) in _plain(each.model) or _plain(name) in _plain(each.name))
        and kind in ("", model_of(each.model).task)
        and precision in ("", each.precision or "none")
        and count in (0, each.n_gpus)
    )


def _plain(text: str) -> str:
    return "".join(sign for sign in text.casefold() if sign.isalnum() or sign == ".")


def _speed(choice: Choice, task: str, price: Price | None) -> SpeedAnswer | str:
    """Return the speed of a set-up that fits, or why none is known."""
    if choice.fit is None:
        return ""
    setup = choice.fit.setup
    options: dict[str, Any] = {"precision": setup.precision.name} if task == "inference" else {"task": task}
    try:
        pace = _pace(choice.model, f"{choice.fit.card.gpu}:{setup.layout.n_gpus}", tuple(options.items()))
    except (NoAnswer, UsageError) as error:
        return _reason(error)
    return SpeedAnswer(pace, price)


@lru_cache(maxsize=2048)
def _pace(model: str, gpu: str, options: tuple[tuple[str, str], ...]) -> Pace:
    """Return the forecasts of a set-up, which facts alone decide."""
    return speeds.pace_of(model, gpu, **dict(options))


def _reason(error: RackrateError) -> str:
    return f"speed not modelled: {error.message}"


def _cheapest_first(pair: Pair) -> tuple[bool, float, str]:
    usd = pair.usd
    return usd is None, usd.get("value", 0.0) if usd else 0.0, pair.gpu


def fitting(gpu: str, task: str = "inference") -> tuple[Sketch, ...]:
    """Return the best set-up of every model of the catalog on a GPU, in short.

    Raises:
        UnknownName: no such GPU.
    """
    return _sketches(find_gpu(gpu).slug, task, None)
