"""Does it fit: the verdict with its probability, and how far it would still fit."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Any

from rackrate.catalog.architecture import Architecture
from rackrate.fit.estimate import Estimate, estimate
from rackrate.fit.overhead import Card
from rackrate.fit.setup import Load, Setup
from rackrate.fit.term import Z90, Total, probability_below

SURE, HOPELESS = 0.95, 0.05
"""Probabilities from which a verdict is `fits` and below which it is `does not fit`; between: `tight`."""

MOST_CONCURRENT = 4096
_LONGEST = 1 << 20  # tokens, where the model names no limit


@dataclass(frozen=True)
class Fit:
    """Whether a model fits a card under a load, and why.

    Attributes:
        arch: the model.
        card: one GPU.
        setup: how it is run.
        load: what is asked at once.
        estimate: the terms of the fullest GPU and the limit.
    """

    arch: Architecture
    card: Card
    setup: Setup
    load: Load
    estimate: Estimate

    @property
    def total(self) -> Total:
        """Memory of the fullest GPU."""
        return self.estimate.total

    @property
    def probability(self) -> float:
        """That it fits, 0 to 1."""
        return probability(self.estimate)

    @property
    def verdict(self) -> str:
        """`fits`, `tight` or `does not fit`."""
        return verdict(self.probability)

    @property
    def dominating(self) -> str:
        """The largest term."""
        return max(self.estimate.terms, key=lambda term: float(term.gib)).name

    @cached_property
    def longest_context(self) -> int:
        """Tokens of a sequence that fit at this concurrency, at most what the model was made for."""
        most = self.arch.max_context or _LONGEST
        return _largest(most, lambda tokens: replace(self.load, context=tokens), self)

    @cached_property
    def most_concurrent(self) -> int:
        """Sequences (images, windows, a GPU's batch) that fit at this context."""
        return _largest(MOST_CONCURRENT, lambda n: replace(self.load, concurrency=n), self)

    @property
    def assumptions(self) -> tuple[str, ...]:
        """What was not said and had to be assumed, beside the defaults that the setup states."""
        found = list(self.arch.assumptions)
        most = self.arch.max_context
        if most and self.load.context > most and not self.setup.is_training:
            found.append(
                f"{self.load.context:,} tokens are more than the {most:,} that the model was made for"
            )
        return tuple(found)

    def to_dict(self) -> dict[str, Any]:
        """Return the answer as plain data, memory in GiB on the fullest GPU."""
        total, setup = self.total, self.setup
        return {
            "model": self.arch.name,
            "gpu": self.card.gpu,
            "n_gpus": setup.layout.n_gpus,
            "layout": str(setup.layout),
            "task": setup.task,
            "engine": setup.named(),
            "precision": setup.precision.name,
            "kv_cache": setup.kv,
            "context_tokens": self.load.context,
            "concurrency": self.load.concurrency,
            "verdict": self.verdict,
            "probability": self.probability,
            "total_gib": {"low": total.low_gib, "value": total.gib, "high": total.high_gib},
            "limit_gib": self.estimate.limit_gib,
            "card_gib": self.card.gib,
            "card_source": f"{self.card.formula} [{self.card.source}]",
            "terms": [term.to_dict() for term in self.estimate.terms],
            "dominating": self.dominating,
            "longest_context_tokens": self.longest_context,
            "most_concurrent": self.most_concurrent,
            "assumptions": list(self.assumptions),
        }


def solve(arch: Architecture, card: Card, setup: Setup, load: Load) -> Fit:
    """Return the answer for one model, card, set-up and load."""
    return Fit(arch, card, setup, load, estimate(arch, card, setup, load))


UNSEEN_FRAC = 0.006  # of the whole: what no formula here holds; weighed in verdicts alone


def probability(found: Estimate) -> float:
    """Return the probability that an estimate stays below its limit, and what is beside it in the rest."""
    total = found.total
    inside = probability_below(found.limit_gib, float(total.gib), _sigma_gib(found, total))
    return inside * probability_beside(found)


def _sigma_gib(found: Estimate, total: Total) -> float:
    unseen = UNSEEN_FRAC * total.gib
    return math.sqrt(total.sigma_gib**2 + found.limit_sigma_gib**2 + unseen**2)


def _spare_gib(found: Estimate) -> float:
    """Return what is left where the whole is as large as it may be in 19 cases of 20, about."""
    total = found.total
    return float(found.limit_gib - total.gib) - Z90 * _sigma_gib(found, total)


def probability_beside(found: Estimate) -> float:
    """Return the probability that the rest of the card holds what is beside the engine's share."""
    if not found.beside:
        return 1.0
    return probability_below(found.left_gib, found.beside.gib, found.beside.sigma_gib)


def verdict(chance: float) -> str:
    """Return the word for a probability."""
    if chance >= SURE:
        return "fits"
    return "tight" if chance > HOPELESS else "does not fit"


def _largest(most: int, load_of: Callable[[int], Load], fit: Fit) -> int:
    """Return the largest number of 1 to `most` that fits as well as `fits` asks; else 0.

    More takes more memory, and nearly in proportion: so where it ends is reckoned from two ends, and looked
    at on both sides of that. Every third step halves, whatever the proportion.
    """

    def look(number: int) -> tuple[bool, float]:
        found = estimate(fit.arch, fit.card, fit.setup, load_of(number))
        return probability(found) >= SURE, _spare_gib(found)

    ends = {most: look(most)}
    if ends[most][0]:
        return most
    ends[1] = look(1)
    if not ends[1][0]:
        return 0
    low, high, step = 1, most, 0
    while high - low > 1:
        step += 1
        guess = _between(low, high, ends[low][1], ends[high][1]) if step % 3 else (low + high) // 2
        ends[guess] = look(guess)
        beside = guess + 1 if ends[guess][0] else guess - 1
        if low < beside < high:
            ends[beside] = look(beside)
        low = max(n for n in ends if ends[n][0])
        high = min(n for n in ends if not ends[n][0])
    return low


def _between(low: int, high: int, low_gib: float, high_gib: float) -> int:
    """Return the number between two at which what is to spare runs out, if it does so evenly."""
    reach = low_gib / (low_gib - high_gib) if high_gib < low_gib else 0.5
    return min(max(low + int(reach * (high - low)), low + 1), high - 1)
