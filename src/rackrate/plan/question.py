"""What is asked of a plan: a workload with its load, what users are promised, and what may be rented.

There are two sorts of work. A stream comes for ever at a rate, and a plan says what an hour of it costs; a
run is so much and then done, and a plan says what it costs in all and how long it takes. What nobody said has
a default, and every default that decides stands in `asked`.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from rackrate.errors import BadQuantity, UsageError
from rackrate.market.filter import EU

SERVING, IMAGES, SPEECH, TRAINING, SWEEP, ALIGNMENT, ROUGH = (
    "serving", "images", "speech", "training", "sweep", "alignment", "rough",
)  # fmt: skip
FAMILIES: Mapping[str, str] = {
    "llm-serving": SERVING,
    "image-generation": IMAGES,
    "asr": SPEECH,
    "finetune-full": TRAINING,
    "finetune-lora": TRAINING,
    "finetune-qlora": TRAINING,
    "tightly-coupled-training": TRAINING,
    "bert-sweep": SWEEP,
    "genome-alignment": ALIGNMENT,
    "game-streaming": ROUGH,
    "rendering": ROUGH,
    "video-transcode": ROUGH,
}
"""Workload of the catalog to the way in which it is planned."""

RUNS = (TRAINING, SWEEP, ALIGNMENT)
"""Families whose work is so much and then done; the others are streams."""

OBJECTIVES = ("cost", "latency", "balance")
HOUR_S, DAY_S = 3600.0, 86400.0
USUAL_INPUT, USUAL_OUTPUT = 1000.0, 300.0
"""Tokens of a request where nobody says: a question with some context, and an answer of a page."""


@dataclass(frozen=True, slots=True)
class Owned:
    """Machines of one's own, at what an hour of them costs.

    Attributes:
        gpu: slug.
        count: GPUs of a machine.
        usd_per_hour: of a machine.
    """

    gpu: str
    count: int
    usd_per_hour: float


@dataclass(frozen=True, slots=True)
class Allowed:
    """What may be rented. Every field that is left out allows everything, but `kinds`.

    Attributes:
        gpus: names as given, with a count or range: `l40s`, `h100:4..8`.
        providers: who runs or who sells.
        countries: ISO codes.
        region: text within the region's name.
        kinds: how it is sold; empty for any.
        max_usd_per_hour: for all machines together.
        has_graphics: whether its GPUs must be able to draw.
        own: machines of one's own; they meet no other condition than that on GPUs.
        max_age: how old prices may be: an age, `any`, or empty for the default of `rackrate offers`.
    """

    gpus: tuple[str, ...] = ()
    providers: tuple[str, ...] = ()
    countries: tuple[str, ...] = ()
    region: str = ""
    kinds: tuple[str, ...] = ("on_demand",)
    max_usd_per_hour: float = math.inf
    has_graphics: bool = False
    own: tuple[Owned, ...] = ()
    max_age: str = ""


@dataclass(frozen=True, slots=True)
class Promise:
    """What users of a server are promised.

    Attributes:
        ttft_s: time to first token at most.
        tpot_s: time of each further token at most.
        percentile: share of requests whose first token comes in time.
    """

    ttft_s: float = math.inf
    tpot_s: float = math.inf
    percentile: float = 0.9


@dataclass(frozen=True, slots=True)
class Question:
    """What is asked.

    Attributes:
        workload: slug of the catalog.
        model: as given; empty where a workload has none.
        rate_per_s: of a stream: requests, images or seconds of audio a second.
        amount: of a run: tokens, or variants of a sweep.
        load: the load in the words of who asked.
        input_tokens: of a prompt.
        output_tokens: of an answer.
        promise: what users are promised.
        cached_frac: share of a prompt whose KV cache is there already.
        tokens_a_step: that a step yields: above 1 with speculative decoding.
        pixels: of an image.
        steps: of denoising; 0 for what the model's card recommends.
        sequence: tokens of a sequence that is trained on.
        batch: sequences a GPU and step in training.
        variant_tokens: that each variant of a sweep is trained on.
        within_s: time that a run may take.
        nodes: machines that work at once on a run in parts; 0 for as few as `within_s` allows.
        precision: of the weights; empty to try all that are sensible.
        engine: name; empty to try those that serve many.
        kv: type of the KV cache.
        objective: one of `OBJECTIVES`: what the ranking goes by.
        store: country of the object store that holds the weights; empty for one beside each machine.
        users: country of most users; empty for anywhere.
        instead_of: GPU, of a product or family, that others are to be weighed against; empty for none.
        allowed: what may be rented.
    """

    workload: str
    model: str = ""
    rate_per_s: float = 0.0
    amount: float = 0.0
    load: str = ""
    input_tokens: float = USUAL_INPUT
    output_tokens: float = USUAL_OUTPUT
    promise: Promise = Promise()
    cached_frac: float = 0.0
    tokens_a_step: float = 1.0
    pixels: int = 1024 * 1024
    steps: int = 0
    sequence: int = 512
    batch: int = 8
    variant_tokens: float = 0.0
    within_s: float = math.inf
    nodes: int = 0
    precision: str = ""
    engine: str = ""
    kv: str = "fp16"
    objective: str = "cost"
    store: str = ""
    users: str = ""
    instead_of: str = ""
    allowed: Allowed = field(default_factory=Allowed)

    def __post_init__(self) -> None:
        for name, (low, high) in _BOUNDS.items():
            value = getattr(self, name)
            if not low <= value <= high:
                near = low if value < low else high
                hint = f"the nearest that can be is {near:.12g}"
                raise BadQuantity(f"{name} {value:.12g} is not between {low:.12g} and {high:.12g}", hint=hint)
        if not 0 < self.promise.percentile < 1:
            what = f"percentile {self.promise.percentile:g} is not above 0 and below 1"
            raise BadQuantity(what, hint="0.5 promises it on average, 0.99 nearly always")

    @property
    def family(self) -> str:
        """The way in which the workload is planned."""
        return FAMILIES[self.workload]

    @property
    def is_run(self) -> bool:
        """Whether the work is so much and then done."""
        return self.family in RUNS

    @property
    def is_in_parts(self) -> bool:
        """Whether a run is of parts that know nothing of each other."""
        return self.family in (SWEEP, ALIGNMENT)

    @property
    def context(self) -> int:
        """Tokens of a request, prompt and answer."""
        return math.ceil(self.input_tokens + self.output_tokens)

    @property
    def asked(self) -> tuple[str, ...]:
        """All that decides, defaults included, in words."""
        return tuple(self._words())

    def check_context(self, longest: int) -> None:
        """Check that a request fits what a model was made for.

        Args:
            longest: tokens; 0 where the model does not say.

        Raises:
            BadQuantity: it does not.
        """
        if self.family == SERVING and longest and self.context > longest:
            what = f"input and output of {self.context:,} tokens are more than {self.model} was made for"
            raise BadQuantity(what, hint=f"together at most {longest:,}: the nearest that can be")

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data; what knows no bound is None."""
        found: dict[str, Any] = {
            name: getattr(self, name) for name in Question.__slots__ if name not in ("promise", "allowed")
        }
        found |= {name: getattr(self.promise, name) for name in Promise.__slots__}
        allowed = {name: getattr(self.allowed, name) for name in Allowed.__slots__}
        allowed["own"] = [
            {"gpu": own.gpu, "count": own.count, "usd_per_hour": own.usd_per_hour} for own in self.allowed.own
        ]
        return _finite(found) | {"allowed": _finite(allowed)}

    def _words(self) -> Iterator[str]:
        yield self.load
        if self.family == SERVING:
            yield f"{self.input_tokens:,.0f} tokens in, {self.output_tokens:,.0f} out"
            yield from self._promised()
            if self.cached_frac:
                yield f"{self.cached_frac:.0%} of each prompt cached"
            if self.tokens_a_step > 1:
                yield f"{self.tokens_a_step:g} tokens a step by speculation"
        elif self.family == IMAGES:
            yield f"{self.pixels:,} pixels" + (f", {self.steps} steps" if self.steps else "")
        elif self.family in (TRAINING, SWEEP):
            yield f"sequences of {self.sequence:,} tokens, {self.batch} a GPU and step"
        if self.within_s < math.inf:
            yield f"done within {self.within_s / HOUR_S:,.3g} h, start included"
        yield from self._limits()

    def _promised(self) -> Iterator[str]:
        promise = self.promise
        if promise.ttft_s < math.inf:
            yield f"first token within {promise.ttft_s:g} s for {promise.percentile:.0%}"
        if promise.tpot_s < math.inf:
            yield f"then {promise.tpot_s * 1e3:g} ms a token at most"
        if promise.ttft_s == promise.tpot_s == math.inf:
            yield "no latency promised"

    def _limits(self) -> Iterator[str]:
        allowed = self.allowed
        yield ", ".join(allowed.kinds) or "any kind"
        for what, names in (
            ("only ", allowed.gpus),
            ("from ", allowed.providers),
            ("in ", tuple(_places(allowed.countries))),
        ):
            if names:
                yield what + ", ".join(names)
        if allowed.region:
            yield f"region with {allowed.region!r}"
        if allowed.max_usd_per_hour < math.inf:
            yield f"at most {allowed.max_usd_per_hour:g} USD/h"
        if allowed.has_graphics:
            yield "GPUs that draw"


_BOUNDS: Mapping[str, tuple[float, float]] = {
    "rate_per_s": (0, 1e9),
    "amount": (0, 1e16),
    "input_tokens": (1, 1e8),
    "output_tokens": (1, 1e7),
    "cached_frac": (0, 0.999),
    "tokens_a_step": (1, 16),
    "pixels": (64 * 64, 1 << 28),
    "steps": (0, 1000),
    "sequence": (1, 1 << 20),
    "batch": (1, 65536),
    "nodes": (0, 65536),
}
"""What each number may be; beyond stands nothing that a machine of this world does."""


def one_load(given: Mapping[str, Any], choices: tuple[str, ...]) -> str:
    """Return the one load that was given.

    Raises:
        UsageError: none or several.
    """
    said = [name for name in choices if name in given]
    if len(said) == 1:
        return said[0]
    options = " or ".join(f"--{name.replace('_', '-')}" for name in choices)
    if not said:
        raise UsageError("the question states no load", hint=f"say how much: {options}")
    both = " and ".join(said)
    raise UsageError(f"{both} are given at once", hint=f"say one of {options}")


def _places(countries: tuple[str, ...]) -> Iterator[str]:
    """Yield countries, those of the European Union under its name where all of them are there."""
    union = set(EU) <= set(countries)
    if union:
        yield "EU"
    yield from (country for country in countries if not (union and country in EU))


def _finite(values: Mapping[str, Any]) -> dict[str, Any]:
    return {
        name: None
        if isinstance(value, float) and math.isinf(value)
        else list(value)
        if isinstance(value, tuple)
        else value
        for name, value in values.items()
    }
