"""How fast is it: from what a person writes to the forecasts of `rackrate.perf` for a language model.

A speed means nothing without its load, so each is told for three of them: a lone request, the load that was
asked for, and the most that fits or keeps the promise. Images, speech, texts and training: `pace_media`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from rackrate.catalog.aliases import match_gpu
from rackrate.catalog.gpu import Gpu, find_gpu, load_gpu
from rackrate.errors import BadQuantity, NoAnswer, UnknownName, nearest
from rackrate.fit.overhead import usable_memory
from rackrate.fit.parallel import Layout
from rackrate.fit.solve import Fit
from rackrate.fit.ways import ways
from rackrate.perf.chip import Chip, chip_of
from rackrate.perf.estimate import Estimate
from rackrate.perf.factors import Factors, load_factors
from rackrate.perf.floor import floor_tpot_s, floor_ttft_s
from rackrate.perf.machine import Machine, habits_of, packing_of, rates_of
from rackrate.perf.nearest import all_measured, nearest_measured
from rackrate.perf.power import drawn_w
from rackrate.perf.predict_llm import room_of
from rackrate.perf.ranges import is_seen, width_of
from rackrate.perf.serving import (
    MAX_SEQUENCES,
    Habits,
    Request,
    Served,
    Target,
    at_rate,
    capacity,
    decode,
    prefill_step,
    serve,
    unloaded_ttft_s,
)
from rackrate.perf.step import Rates, Step, limit_of
from rackrate.perf.work import Work, work_of
from rackrate.sizing import Weights, Wish, find_card, fits

ENGINES = ("vllm", "sglang", "llama.cpp")
"""Engines whose speed with language models was measured and that the memory model knows."""

MS = 1e3
USUAL_CONCURRENCY = 16
_TOLD_APART = 1e-3  # of a rate: what halving leaves


@dataclass(frozen=True, slots=True)
class Demand:
    """What is asked of a server, and what users are promised.

    Attributes:
        input_tokens: of a prompt.
        output_tokens: of an answer.
        concurrency: requests that are there all the time, where no rate is given.
        requests_per_s: that come; 0 where `concurrency` says how many are there.
        ttft_s: time to first token at most.
        tpot_s: time of each further token at most.
        percentile: share of requests whose first token comes in time.
        cached_frac: share of each prompt whose KV cache is there already.
        tokens_a_step: that a step yields: above 1 with speculative decoding.
    """

    input_tokens: int = 1000
    output_tokens: int = 300
    concurrency: int = USUAL_CONCURRENCY
    requests_per_s: float = 0.0
    ttft_s: float = math.inf
    tpot_s: float = math.inf
    percentile: float = 0.95
    cached_frac: float = 0.0
    tokens_a_step: float = 1.0

    def __post_init__(self) -> None:
        for name, value, least, most in (
            ("input", self.input_tokens, 1, 1 << 30),
            ("output", self.output_tokens, 1, 1 << 30),
            ("concurrency", self.concurrency, 1, 65_536),
            ("tokens a step (speculative)", self.tokens_a_step, 1, 16),
            ("cached", self.cached_frac, 0, 0.999),
            ("percentile", self.percentile, 0.01, 0.999),
        ):
            if not least <= value <= most:
                near = least if value < least else most
                hint = f"the nearest that can be asked for is {near:g}"
                raise BadQuantity(f"{name} {value:g} is not from {least:g} to {most:g}", hint=hint)

    @property
    def has_promise(self) -> bool:
        """Whether anything is promised."""
        return min(self.ttft_s, self.tpot_s) < math.inf

    @property
    def request(self) -> Request:
        """One request, as the speed model has it."""
        return Request(
            float(self.input_tokens), float(self.output_tokens), self.cached_frac, self.tokens_a_step
        )


@dataclass(frozen=True, eq=False)
class Situation:
    """Speeds under one load.

    Attributes:
        title: of the load, for people.
        concurrency: requests (images, windows, texts, sequences) that are worked on at once.
        figures: by name with its unit: `ttft_ms`, `tpot_ms`, `tokens_per_s`, `images_per_s`, ...
    """

    title: str
    concurrency: float
    figures: Mapping[str, Estimate]


@dataclass(frozen=True, eq=False)
class Curve:
    """A server by the requests that are in it, one element a number of requests.

    Attributes:
        concurrency: requests.
        ttft_ms: mean time to first token.
        tpot_ms: mean time of each further token.
        tokens_per_s: of all requests together.
        limits: what holds it up, each one of `rackrate.perf.estimate.LIMITS`.
    """

    concurrency: tuple[int, ...]
    ttft_ms: tuple[float, ...]
    tpot_ms: tuple[float, ...]
    tokens_per_s: tuple[float, ...]
    limits: tuple[str, ...]


@dataclass(frozen=True, eq=False)
class Pace:
    """How fast a model is.

    Attributes:
        fit: model, GPU and how it is run; that it fits.
        asked: the load, for people.
        asked_for: speeds under it.
        paid: the figure that counts what is paid for.
        watts: that the GPUs draw under the load.
        room: requests whose KV cache fits; None where there is none.
    """

    fit: Fit
    asked: str
    asked_for: Situation
    paid: str
    watts: Estimate
    room: float | None = None

    @property
    def situations(self) -> tuple[Situation, ...]:
        """Speeds, each under its load."""
        return (self.asked_for,)

    @property
    def curve(self) -> Curve | None:
        """The server by the requests in it; of language models."""

    @property
    def parts(self) -> Mapping[str, Step]:
        """Steps by name, for who wants to know where the time goes."""
        return {}


def card_for(text: str) -> tuple[Gpu, int]:
    """Return the GPU that a person means and how many of them; an amount of memory has no speed.

    Raises:
        UnknownName: no such GPU.
        BadQuantity: a count that is none, or an amount of memory.
    """
    card, n_gpus = find_card(text)
    if re.match(r"\s*\d+(\.\d+)?\s*gi?b", text, re.IGNORECASE):
        raise BadQuantity(f"{text!r} is an amount of memory, not a GPU", hint="name the card: l40s:2")
    return (load_gpu(card.gpu) if card.gpu else find_gpu(text)), n_gpus


def taken_words(text: str, card: Gpu) -> tuple[str, ...]:
    """Return which card was taken for a name that several answer to; nothing where only one does.

    >>> from rackrate.catalog.gpu import load_gpu
    >>> taken_words("h200:2", load_gpu("h200-nvl"))
    ('h200 may be any of its family: h200-nvl is taken, which has the least memory',)
    """
    match = match_gpu(text.partition(":")[0])
    if not match.is_family:
        return ()
    return (f"{match.slug} may be any of its family: {card.slug} is taken, which has the least memory",)


def fitting(weights: Weights, gpu: str, wish: Wish, **load: Any) -> Fit:
    """Return how a model fits, which it must do before it can be fast.

    Args:
        weights: the model.
        gpu: name with a count.
        wish: how it is run.
        load: context, concurrency, pixels, beams.

    Raises:
        NoAnswer: it does not fit; the hint names the nearest ways in which it would.
    """
    fit = fits(weights, gpu, wish=wish, **load)
    if fit.verdict == "does not fit":
        total, limit = float(fit.total.gib), fit.estimate.limit_gib
        near = "; ".join(way.change for way in ways(fit))
        hint = f"it fits with: {near}" if near else "no way to make it fit is known"
        what = f"{fit.arch.name} does not fit {gpu}: {total:.1f} of {limit:.1f} GiB"
        raise NoAnswer(what, hint=hint, code="does-not-fit")
    return fit


def layout_of(text: str) -> Layout:
    """Read `tp2`, `pp2` or `tp2,pp2`.

    >>> str(layout_of("tp2,pp4"))
    'TP2 PP4'

    Raises:
        BadQuantity: anything else.
    """
    found: dict[str, int] = {}
    for part in re.split(r"[\s,]+", text.strip().lower()):
        match = re.fullmatch(r"(tp|pp)(\d{1,4})", part)
        if not match or match[1] in found or not int(match[2]):
            raise BadQuantity(f"layout {text!r} is none", hint="write it like tp2, pp2 or tp2,pp2")
        found[match[1]] = int(match[2])
    return Layout(tensor=found.get("tp", 1), pipeline=found.get("pp", 1))


@dataclass(frozen=True, eq=False)
class _Server:
    """A copy of a model that serves."""

    work: Work
    machine: Machine
    rates: Rates
    habits: Habits
    request: Request
    room: float
    factors: Factors
    model: str
    says: tuple[str, ...]

    @property
    def chip(self) -> Chip:
        return self.machine.chip

    def serve(self, concurrency: float) -> Served:
        return serve(self.work, self.rates, self.habits, self.request, concurrency, self.room)

    def estimate(self, value: Any, unit: str, kind: str, workload: str, limit: str) -> Estimate:
        width, number = width_of(self.factors, kind, self.chip), float(value)
        near = nearest_measured(workload, self.model, self.chip.gpu)
        return Estimate(number, number / width, number * width, unit, limit, self.says, near)


@dataclass(frozen=True, eq=False, kw_only=True)
class _Serving(Pace):
    """How fast a server is; what a list of them does not show is reckoned when somebody asks."""

    server: _Server
    demand: Demand
    served: Served

    @cached_property
    def situations(self) -> tuple[Situation, ...]:
        return _alone(self.server), self.asked_for, _most(self.server, self.demand)

    @cached_property
    def curve(self) -> Curve:
        return _curve(self.server)

    @cached_property
    def parts(self) -> Mapping[str, Step]:
        return _parts(self.server, self.served)


def llm_pace(weights: Weights, gpu: str, wish: Wish, demand: Demand) -> Pace:
    """Return how fast a language model answers.

    Args:
        weights: the model.
        gpu: name with a count.
        wish: how it is run.
        demand: the load and what is promised.

    Raises:
        NoAnswer: it does not fit, no speed of the GPU is known, the promise is below what the card can do,
            or the rate is more than it serves.
        UnknownName: an engine whose speed was never measured.
        BadQuantity: more tokens than the model was made for.
    """
    card, _ = card_for(gpu)
    _check_length(weights, demand)
    fit = fitting(weights, gpu, wish, context=demand.input_tokens + demand.output_tokens)
    server = _server(fit, card, demand, taken_words(gpu, card))
    _check_promise(server, demand)
    at_load, served = _at_load(server, demand, fit)
    doing = "prefill" if float(served.prompt_frac) > 0.5 else "decode"  # noqa: PLR2004 - the larger half
    watts = drawn_w(server.chip, doing, fit.setup.layout.n_gpus)
    room, asked = server.room, _asked(demand)
    return _Serving(
        fit, asked, at_load, "tokens_per_s", watts, room, server=server, demand=demand, served=served
    )


def _check_length(weights: Weights, demand: Demand) -> None:
    most, asked = weights.arch.max_context, demand.input_tokens + demand.output_tokens
    if most and asked > most:
        raise BadQuantity(
            f"{demand.input_tokens:,} tokens in and {demand.output_tokens:,} out are more than the {most:,} "
            f"that {weights.arch.name} was made for",
            hint=f"with this answer a prompt of at most {max(most - demand.output_tokens, 0):,}",
        )


def _server(fit: Fit, card: Gpu, demand: Demand, taken: tuple[str, ...]) -> _Server:
    setup, arch = fit.setup, fit.arch
    name = setup.engine.name
    if name not in ENGINES:
        why = "its speed with language models was never measured"
        raise UnknownName("engine", name, nearest(name, ENGINES) or ENGINES, why=why)
    memory, context = usable_memory(card), fit.load.context
    seats = setup.seats(memory, context) or MAX_SEQUENCES
    fit_at_once = room_of(arch, card, setup, demand.request)
    machine = Machine(
        chip_of(card),
        name,
        packing_of(setup.precision),
        setup.layout.tensor,
        setup.layout.pipeline,
        setup.chunk_tokens(memory, context),
    )
    factors = load_factors("llm")
    says = [
        f"{demand.input_tokens:,} tokens in, {demand.output_tokens:,} out",
        f"{setup.named()}, {setup.precision.name} weights, {setup.kv} KV cache, {setup.layout}",
        f"factors of {factors.date}; low to high holds the truth in 4 cases of 5",
        *taken,
        *arch.assumptions,
    ]
    if seats < fit_at_once:
        says.append(f"the engine runs at most {seats:,} requests at once, though memory has room for more")
    if fit.verdict == "tight":
        says.append("whether it fits is not sure")
    if not is_seen(factors, card.slug):
        has_cases = any(row.gpu == card.slug and row.workload.startswith("llm") for row in all_measured())
        why = "too few cases, or none unlike the others'" if has_cases else "no case of it was fitted to"
        says.append(f"the {card.slug} has the factors of its class: {why}")
    return _Server(
        work=work_of(arch, setup.precision, setup.kv),
        machine=machine,
        rates=rates_of(machine, factors),
        habits=habits_of(machine, factors),
        request=demand.request,
        room=max(math.floor(min(fit_at_once, seats)), 1.0),
        factors=factors,
        model=arch.name,
        says=tuple(says),
    )


def _check_promise(server: _Server, demand: Demand) -> None:
    """Refuse what no engine could keep on this card."""
    for name, asked_s, floor_s, does in (
        ("tpot", demand.tpot_s, floor_tpot_s(server.work, server.machine, server.request), "a token"),
        ("ttft", demand.ttft_s, floor_ttft_s(server.work, server.machine, server.request), "the prompt"),
    ):
        if asked_s < floor_s:
            raise NoAnswer(
                f"{name} {asked_s * MS:g} ms is below what {server.chip.gpu} can do: by its data sheet "
                f"{does} takes {floor_s * MS:.3g} ms",
                hint=f"ask for more than {floor_s * MS:.3g} ms, for narrower weights or for more GPUs",
                code="below-floor",
            )


def _alone(server: _Server) -> Situation:
    request = server.request
    context = request.input_tokens + request.output_tokens / 2
    one = decode(server.work, server.rates, server.habits, 1.0, context)
    step_s, limit = float(one.total) / float(request.tokens_a_step), limit_of(one, is_full=False)
    ttft_s = unloaded_ttft_s(server.work, server.rates, server.habits, request.fresh_tokens)
    part, _ = prefill_step(server.work, server.rates, server.habits, request.fresh_tokens)
    begin = limit_of(part, is_full=False)
    return Situation(
        "a lone request",
        1.0,
        {
            "ttft_ms": server.estimate(ttft_s * MS, "ms", "ttft", "llm_prefill", begin),
            "tpot_ms": server.estimate(step_s * MS, "ms", "decode", "llm_decode", limit),
            "tokens_per_s": server.estimate(1 / step_s, "tokens/s", "decode", "llm_decode", limit),
        },
    )


def _at_load(server: _Server, demand: Demand, fit: Fit) -> tuple[Situation, Served]:
    if not demand.requests_per_s:
        served = server.serve(float(demand.concurrency))
        return _situation(server, f"{demand.concurrency} at once", demand.concurrency, served), served
    rate = demand.requests_per_s
    served = at_rate(server.work, server.rates, server.habits, server.request, rate, server.room)
    reached = float(served.output_tokens_per_s) / demand.output_tokens
    if reached < rate * (1 - _TOLD_APART):
        n = math.ceil(rate / reached)
        what = f"{rate:g} requests/s are more than {fit.card.gpu} serves: {reached:.3g} at most"
        raise NoAnswer(what, hint=f"{n:,} such copies serve it", code="too-much")
    return _situation(server, f"{rate:g} requests/s", float(served.batch), served), served


def _most(server: _Server, demand: Demand) -> Situation:
    target = Target(demand.ttft_s, demand.tpot_s, demand.percentile)
    served, is_kept = capacity(server.work, server.rates, server.habits, server.request, target, server.room)
    if not demand.has_promise:
        return _situation(server, "all that fits", float(served.batch), served)
    if bool(is_kept):
        return _situation(server, "most within the SLO", float(served.batch), served)
    return _situation(server, "one request, which misses the SLO", 1.0, served)


def _situation(server: _Server, title: str, concurrency: float, served: Served) -> Situation:
    limit = limit_of(served.step, is_full=float(served.batch) >= server.room * (1 - _TOLD_APART))
    chunk, _ = prefill_step(server.work, server.rates, server.habits, server.request.fresh_tokens)
    is_waiting = float(served.waiting_s) > float(served.ttft_s) / 2
    begin = "queue" if is_waiting else limit_of(chunk, is_full=False)
    kinds = ("loaded_ttft", "tpot") if float(served.batch) > 1 else ("ttft", "decode")
    flow = served.output_tokens_per_s
    return Situation(
        title,
        concurrency,
        {
            "ttft_ms": server.estimate(served.ttft_s * MS, "ms", kinds[0], "llm_server", begin),
            "tpot_ms": server.estimate(served.tpot_s * MS, "ms", kinds[1], "llm_server", limit),
            "tokens_per_s": server.estimate(flow, "tokens/s", "throughput", "llm_offline", limit),
            "requests_per_s": server.estimate(
                flow / server.request.output_tokens, "requests/s", "throughput", "llm_offline", limit
            ),
        },
    )


def _curve(server: _Server) -> Curve:
    """Return the server at 1, 2, 4 ... requests and at all that fit."""
    n = int(server.room)
    numbers = sorted({2**k for k in range(n.bit_length())} | {n})
    each = [server.serve(float(number)) for number in numbers]
    return Curve(
        concurrency=tuple(numbers),
        ttft_ms=tuple(float(served.ttft_s) * MS for served in each),
        tpot_ms=tuple(float(served.tpot_s) * MS for served in each),
        tokens_per_s=tuple(float(served.output_tokens_per_s) for served in each),
        limits=tuple(limit_of(served.step, is_full=False) for served in each),
    )


def _parts(server: _Server, at_load: Served) -> dict[str, Step]:
    request = server.request
    context = request.input_tokens + request.output_tokens / 2
    chunk, n_chunks = prefill_step(server.work, server.rates, server.habits, request.fresh_tokens)
    return {
        f"the prompt, 1 of {int(n_chunks)}": chunk,
        "a token of 1": decode(server.work, server.rates, server.habits, 1.0, context),
        f"a token of {float(at_load.batch):.0f}": at_load.step,
    }


def _asked(demand: Demand) -> str:
    load = (
        f"{demand.requests_per_s:g} requests/s" if demand.requests_per_s else f"{demand.concurrency} at once"
    )
    words = [f"{demand.input_tokens:,} tokens in, {demand.output_tokens:,} out, {load}"]
    if demand.ttft_s < math.inf:
        words.append(f"TTFT {demand.ttft_s:g} s for {demand.percentile:.0%}")
    if demand.tpot_s < math.inf:
        words.append(f"TPOT {demand.tpot_s * MS:g} ms")
    if not demand.has_promise:
        words.append("no SLO")
    if demand.cached_frac:
        words.append(f"{demand.cached_frac:.0%} of the prompt cached")
    if demand.tokens_a_step > 1:
        words.append(f"{demand.tokens_a_step:g} tokens a step")
    return ", ".join(words)
