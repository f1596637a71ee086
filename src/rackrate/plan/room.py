"""How many requests fit, on all cards at once: the memory model of `rackrate.fit`, turned round.

What a way of running a model takes does not depend on the card, but for vLLM's defaults, which differ between
large cards and others. So each way is estimated once for each of the two, and the cards are an array:

    limit - fixed - x  =  z sqrt(v + (c x)^2 + (u (fixed + x))^2)        x = KV cache of n requests

with the same certainty z as the verdict `fits`; the smaller root is the most that may be held.
"""

from __future__ import annotations

from dataclasses import dataclass
from statistics import NormalDist
from typing import Any

import numpy as np

from rackrate.catalog.architecture import Architecture
from rackrate.fit.estimate import estimate
from rackrate.fit.overhead import Card
from rackrate.fit.setup import Load, Setup
from rackrate.fit.solve import SURE, UNSEEN_FRAC
from rackrate.fit.term import Term, Total

Z = NormalDist().inv_cdf(SURE)
KV = "KV cache"


@dataclass(frozen=True, slots=True)
class Held:
    """What the fullest GPU holds, whatever the card.

    Attributes:
        fixed_gib: without the KV cache.
        sigma_gib: one standard deviation of that.
        kv_gib: of KV cache for one request.
        kv_error_frac: one standard deviation of that, as a share.
        terms: of one request.
    """

    fixed_gib: float
    sigma_gib: float
    kv_gib: float
    kv_error_frac: float
    terms: tuple[Term, ...]

    def most(self, limit_gib: Any, limit_sigma_gib: Any) -> Any:
        """Return the GiB of KV cache that fit below a limit for sure; below 0 where nothing fits."""
        unseen = (Z * UNSEEN_FRAC) ** 2
        spare = limit_gib - self.fixed_gib
        variance = self.sigma_gib**2 + limit_sigma_gib**2
        a = 1 - (Z * self.kv_error_frac) ** 2 - unseen
        half_b = spare + unseen * self.fixed_gib
        c = spare**2 - Z**2 * variance - unseen * self.fixed_gib**2
        root = (half_b - np.sqrt(np.maximum(half_b**2 - a * c, 0.0))) / a
        return np.where((spare > 0) & (c >= 0), root, -1.0)

    def requests(self, limit_gib: Any, limit_sigma_gib: Any) -> Any:
        """Return how many whole requests fit below a limit for sure."""
        most = self.most(limit_gib, limit_sigma_gib)
        if not self.kv_gib:
            return np.where(most >= 0, np.inf, 0.0)
        return np.maximum(np.floor(most / self.kv_gib + 1e-9), 0.0)


def held(arch: Architecture, card: Card, setup: Setup, load: Load) -> Held:
    """Return what one GPU holds under a load of one request (image, window, batch).

    Args:
        arch: the model.
        card: any of the cards that the engine treats alike.
        setup: how it is run.
        load: of one request.
    """
    terms = estimate(arch, card, setup, load).terms
    fixed = Total.of(term for term in terms if term.name != KV)
    cache = Total.of(term for term in terms if term.name == KV)
    kv_gib = float(cache.gib)
    error = float(cache.sigma_gib) / kv_gib if kv_gib else 0.0
    return Held(float(fixed.gib), float(fixed.sigma_gib), kv_gib, error, terms)
