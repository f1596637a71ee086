"""How fast is it, as a function: forecasts of `rackrate.perf` beside what an hour of the GPUs costs."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rackrate import api, config
from rackrate.errors import BadQuantity, UsageError
from rackrate.market.offer import Kind
from rackrate.pace import Demand, Pace, layout_of, llm_pace
from rackrate.pace_media import media_pace, training_pace
from rackrate.report.price import Price, price_of
from rackrate.report.speed import SpeedAnswer
from rackrate.sizing import Weights, find_weights, wish_of
from rackrate.units import parse_amount, parse_number, parse_seconds

if TYPE_CHECKING:
    from rackrate.market.store import Store

USUAL_SEQUENCE, USUAL_BATCH = 512, 8
"""Tokens of a sequence that is trained on, and sequences a GPU and step, where nobody says."""

_OF_SERVING = ("output", "rps", "ttft", "tpot", "percentile", "cached", "speculative")
_OF_TASK = {"image": ("pixels", "steps"), "asr": ("beams",), "encoder": ("input",)}


def speed(
    model: str,
    gpu: str = "l40s",
    *,
    layout: str = "",
    is_explained: bool = False,
    as_of: api.Instant = None,
    data: Path | str | Store | None = None,
    **options: Any,
) -> SpeedAnswer:
    """Return how fast a model runs on a GPU, under a load, and what the result costs.

    Args:
        model: a name of the catalog, a `config.json`, a file of weights or its address, `hf:owner/name`, or
            a bare count such as `70B`.
        gpu: name with a count, `l40s:2`.
        layout: how the GPUs share a language model: `tp2`, `pp2`, `tp2,pp2`; empty for the engine's way.
        is_explained: whether the parts of each step are told.
        as_of: look at the prices of that day or instant; None for the newest.
        data: the market; None for the default.
        options: the load: `input` and `output` tokens, `concurrency` or `rps`, `ttft`, `tpot` and
            `percentile` that are promised, `cached` share of the prompt, `speculative` tokens a step; of an
            image `pixels` and `steps`, of speech `beams`; and how it is run, as `rackrate.fits` takes it
            (`task`, `precision`, `kv`, `engine`, ...).

    Raises:
        UnknownName: a model, GPU, engine, precision or option that is not there, with the nearest.
        BadQuantity: a number that cannot be.
        UsageError: options that do not go together.
        NoAnswer: it does not fit, the promise is below what the card can do, or no speed is known.

    Example:
        >>> import rackrate
        >>> alone = rackrate.speed("llama-3.1-8b", "l40s").pace.situations[0]
        >>> alone.figures["tpot_ms"].low < 19.09 < alone.figures["tpot_ms"].high
        True
    """
    pace = pace_of(model, gpu, layout=layout, **options)
    price = rents_of([pace.fit.card.gpu], as_of, data)[pace.fit.card.gpu]
    return SpeedAnswer(pace, price, is_explained=is_explained)


def pace_of(model: str, gpu: str, *, layout: str = "", **options: Any) -> Pace:
    """Return the forecasts of `speed` without a price, for who has many to make and the price already.

    Raises:
        RackrateError: as `speed` does.
    """
    given = {name: value for name, value in options.items() if value is not None}
    return _pace(find_weights(model), gpu, given, layout)


def _pace(weights: Weights, gpu: str, given: dict[str, Any], layout: str) -> Pace:
    task = weights.arch.task
    loads = {name: given.pop(name) for name in _LOADS if name in given}
    wish = wish_of(_wish_with(given, layout))
    if wish.task != "inference":
        _refuse(loads, ("input", "concurrency"), f"training {weights.arch.name}")
        tokens, batch = _whole(loads, "input", USUAL_SEQUENCE), _whole(loads, "concurrency", USUAL_BATCH)
        return training_pace(weights, gpu, wish, tokens=tokens, batch=batch)
    if task in _OF_TASK:
        _refuse(loads, ("concurrency", *_OF_TASK[task]), weights.arch.name)
        load = {name: _whole(loads, name) for name in _OF_TASK[task] if name in loads}
        return media_pace(weights, gpu, wish, batch=_whole(loads, "concurrency", 1), load=load)
    _refuse(loads, ("input", "concurrency", *_OF_SERVING), weights.arch.name)
    return llm_pace(weights, gpu, wish, _demand(loads))


def _wish_with(options: Mapping[str, Any], layout: str) -> dict[str, Any]:
    """Return the options of a wish with those that a layout stands for.

    Raises:
        UsageError: both are given.
    """
    found = dict(options)
    if layout:
        if {"tensor", "pipeline"} & found.keys():
            raise UsageError("a layout and its parts were given", hint="give --layout tp2,pp2 alone")
        read = layout_of(layout)
        found |= {"tensor": read.tensor, "pipeline": read.pipeline}
    return found


_LOADS = ("input", "concurrency", *_OF_SERVING, "pixels", "steps", "beams")


def _refuse(given: dict[str, Any], known: tuple[str, ...], what: str) -> None:
    """Refuse parts of a load that mean nothing here."""
    other = [name for name in given if name not in known]
    if other:
        raise UsageError(f"{other[0]} says nothing of {what}", hint=f"its load is: {', '.join(known)}")


def _demand(given: dict[str, Any]) -> Demand:
    if "rps" in given and "concurrency" in given:
        raise UsageError("rps and concurrency were both given", hint="one follows from the other: give one")
    usual = Demand()
    return Demand(
        input_tokens=_whole(given, "input", usual.input_tokens),
        output_tokens=_whole(given, "output", usual.output_tokens),
        concurrency=_whole(given, "concurrency", usual.concurrency),
        requests_per_s=parse_amount(str(given["rps"]), "rps") if "rps" in given else usual.requests_per_s,
        ttft_s=parse_seconds(str(given["ttft"]), "ttft") if "ttft" in given else usual.ttft_s,
        tpot_s=parse_seconds(str(given["tpot"]), "tpot") if "tpot" in given else usual.tpot_s,
        percentile=_number(given, "percentile", usual.percentile),
        cached_frac=_number(given, "cached", usual.cached_frac),
        tokens_a_step=_number(given, "speculative", usual.tokens_a_step),
    )


def _number(given: dict[str, Any], name: str, usual: float) -> float:
    return parse_number(str(given[name]), name) if name in given else usual


def _whole(given: dict[str, Any], name: str, usual: int = 0) -> int:
    if name not in given:
        return usual
    number = parse_amount(str(given[name]), name)
    if number != int(number):
        raise BadQuantity(f"{name} {given[name]!r} is no whole number", hint="write it like 300 or 2k")
    return int(number)


def rents_of(
    gpus: Iterable[str], as_of: api.Instant, data: Path | str | Store | None
) -> dict[str, Price | None]:
    """Return what an hour of each GPU costs on demand; None of one that nobody rents out.

    Args:
        gpus: slugs.
        as_of: look at the prices of that day or instant; None for the newest.
        data: the market; None for the default.
    """
    store, at, hours = api.open_market(data), api.to_instant(as_of), config.load().hours_per_month
    tally = store.tally(at)
    found = {
        gpu: price_of(store, tally, gpu, Kind.ON_DEMAND, as_of=at, hours_per_month=hours) for gpu in gpus
    }
    return {gpu: price if price.spread else None for gpu, price in found.items()}
