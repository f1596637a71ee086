"""How many watts does a GPU draw while it works? The card alone; its host and cooling are not counted.

    watts = idle + share x (board power - idle)

Prefill, training and pictures keep the matrix units busy, decoding waits for memory, speech for its host.

Source: an H100 of 700 W drew 696 to 699 W in products without a pause; the other shares and the idle draw
are assumed, and the range says so.
"""

from __future__ import annotations

from rackrate.perf.chip import Chip
from rackrate.perf.estimate import Estimate
from rackrate.perf.reach import at_least_one, chosen

IDLE_FRAC = 0.10  # of the board's power; assumed
SHARES = {
    "products": 1.0,
    "training": 0.85,
    "prefill": 0.85,
    "diffusion": 0.85,
    "encoder": 0.75,
    "decode": 0.65,
    "speech": 0.45,
    "idle": 0.0,
}
"""By what is done: share of the power between idle and full. `products` measured, the others assumed."""

_WIDTH = 1.25


def drawn_w(chip: Chip, doing: str, n_gpus: int = 1) -> Estimate:
    """Return the watts that some GPUs draw together.

    Args:
        chip: one of them.
        doing: one of `SHARES`.
        n_gpus: how many.

    Raises:
        UnknownName: something else.
        UsageError: fewer GPUs than one.
    """
    chosen("kind of work", doing, tuple(SHARES))
    at_least_one(GPUs=n_gpus)
    one_w = chip.tdp_w * (IDLE_FRAC + SHARES[doing] * (1 - IDLE_FRAC))
    high = min(one_w * _WIDTH, chip.tdp_w)  # boards hold their limit
    says = (
        f"{SHARES[doing]:.0%} of the way from {IDLE_FRAC:.0%} to all of {chip.tdp_w:g} W",
        "the GPU alone, without its host",
    )
    return Estimate(n_gpus * one_w, n_gpus * one_w / _WIDTH, n_gpus * high, "W", "compute", says)
