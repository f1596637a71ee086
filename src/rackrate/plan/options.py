"""What is not language serving: options one by one, each with a speed that no load changes.

Images, speech, training and the rough workloads have no queue in their model: a copy does so many results a
second, each of which takes a time of its own.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from rackrate.catalog.architecture import Architecture
from rackrate.fit.precision import Precision
from rackrate.fit.setup import Load, Setup
from rackrate.fit.term import GIB
from rackrate.fit.weights import weight_bytes
from rackrate.perf.estimate import Estimate
from rackrate.plan.cards import Cards
from rackrate.plan.copies import Copies
from rackrate.plan.room import Held, held


@dataclass(frozen=True, slots=True)
class Option:
    """One way to do the work on some GPUs of a kind.

    Attributes:
        card: place in `Cards`.
        n_gpus: of a copy.
        engine: in words.
        precision: name; empty where there are no weights.
        bits: of a weight.
        layout: in words.
        speed: results a second.
        seconds: of one result.
        weights_gib: of a copy.
        headroom_gib: left on the fullest GPU.
        memory: how that was reckoned; empty where nothing is held.
    """

    card: int
    n_gpus: int
    engine: str
    precision: str
    bits: float
    layout: str
    speed: Estimate
    seconds: float
    weights_gib: float = 0.0
    headroom_gib: float = 0.0
    memory: str = ""


@dataclass(frozen=True, eq=False)
class Options:
    """Every option, sorted by card.

    Attributes:
        options: one by one.
        copies: as arrays.
    """

    options: tuple[Option, ...]
    copies: Copies = field(init=False)

    def __post_init__(self) -> None:
        def column(values: Iterable[float], kind: type = float) -> Any:
            return np.array(list(values), dtype=kind)

        options = self.options
        copies = Copies(
            card=column((o.card for o in options), int),
            n_gpus=column((o.n_gpus for o in options), int),
            capacity=column(o.speed.value for o in options),
            low=column(o.speed.low for o in options),
            high=column(o.speed.high for o in options),
            bits=column(o.bits for o in options),
            weights_gib=column(o.weights_gib for o in options),
        )
        object.__setattr__(self, "copies", copies)

    def at(self, copies: Any, rate_per_s: Any) -> Mapping[str, Any]:
        """Return the time of one result, seconds."""
        del rate_per_s  # no load changes it
        return {"seconds": np.array([option.seconds for option in self.options])[copies]}

    def precision(self, copy: int) -> str:
        """Return the name of a copy's precision."""
        return self.options[copy].precision

    def engine(self, copy: int) -> str:
        """Return the engine that runs a copy, in words."""
        return self.options[copy].engine

    def choice(self, copy: int, batch: float) -> Mapping[str, Any]:
        """Return how a copy is run: the fields of `answer.Row` from `engine` to `weights_gib`, `limit`."""
        del batch
        option = self.options[copy]
        return {
            "engine": option.engine,
            "precision": option.precision,
            "layout": option.layout,
            "tensor": 1,
            "pipeline": 1,
            "max_num_seqs": 0,
            "max_num_batched_tokens": 0,
            "memory_fraction": 1.0,
            "headroom_gib": option.headroom_gib,
            "weights_gib": option.weights_gib,
            "limit": option.speed.limit,
        }

    def explained(self, copy: int, rate_per_s: float) -> Iterator[str]:
        """Yield how its memory and speed were reckoned, with the numbers in."""
        del rate_per_s
        option, speed = self.options[copy], self.options[copy].speed
        if option.memory:
            yield option.memory
        yield (
            f"speed of a copy = {speed.value:.4g} ({speed.low:.4g} to {speed.high:.4g}) a second, limited by "
            f"{speed.limit}: {'; '.join(speed.assumptions)}"
        )
        for case in speed.nearest:
            yield f"measured nearest to it: {case}"

    def assumptions(self, copy: int) -> Iterator[str]:
        """Yield what the numbers of a copy rest on."""
        yield from self.options[copy].speed.assumptions
        yield "the range holds the truth in 4 cases of 5"


def room_on(arch: Architecture, cards: Cards, at: int, setup: Setup, load: Load) -> tuple[Held, float] | None:
    """Return what a load holds and the GiB that it leaves on a card; None where it does not fit for sure."""
    one = held(arch, cards.memory[at], setup, load)
    limit = setup.memory_fraction * cards.gib[at]
    most = float(one.most(limit, setup.memory_fraction * cards.sigma_gib[at]))
    if most < one.kv_gib:
        return None
    return one, float(limit - one.fixed_gib - one.kv_gib)


def memory_words(one: Held, limit_gib: float) -> str:
    """Write what a GPU holds against what it has."""
    terms = " + ".join(f"{term.name} {float(term.gib):.2f}" for term in one.terms)
    return f"a GPU holds {terms} = {one.fixed_gib + one.kv_gib:.2f} of {limit_gib:.2f} GiB"


def weights_gib(arch: Architecture, precision: Precision) -> float:
    """Return the weights of a whole copy, GiB."""
    return weight_bytes(arch, precision) / GIB
