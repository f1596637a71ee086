"""What else could one have for the price of a GPU? By the facts that decide, and by what they cost.

A card is an alternative where it costs no more (or hardly more) and has more of something that decides and
less of nothing; it is a trade where it has more of one and less of another.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from rackrate.catalog.gpu import Gpu

PARITY_FRAC = 0.10
"""Two medians this near to each other are one price: providers of one GPU lie much further apart."""

SAME_FRAC = 0.05  # of memory, bandwidth or rate: less is no difference

FIGURES: Mapping[str, str] = {
    "memory_gib": "memory",
    "bandwidth_gb_per_s": "bandwidth",
    "fp16_dense_tflops": "16-bit rate",
}
"""What decides, and its name for people."""


@dataclass(frozen=True, slots=True)
class Alternative:
    """Another GPU for the same price or less.

    Attributes:
        gpu: slug.
        usd_per_gpu_hour: its price.
        price_ratio: of its price to that of the GPU it stands in for.
        ratios: of each of `FIGURES` to that of the other; what a source does not say is left out.
    """

    gpu: str
    usd_per_gpu_hour: float
    price_ratio: float
    ratios: Mapping[str, float]

    @property
    def is_better(self) -> bool:
        """Whether it has less of nothing and more of something."""
        values = self.ratios.values()
        return min(values) >= 1 - SAME_FRAC and max(values) > 1 + SAME_FRAC

    def __str__(self) -> str:
        """Say what it has, and for how much."""
        has = ", ".join(f"{ratio:.1f}x the {FIGURES[name]}" for name, ratio in self.ratios.items())
        price = f"{abs(1 - self.price_ratio):.0%} {'more' if self.price_ratio > 1 else 'less'}"
        same = round(abs(1 - self.price_ratio), 2) == 0
        return f"{self.gpu}: {has}; {'the same price' if same else price} ({self.usd_per_gpu_hour:.2f} USD/h)"

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "gpu": self.gpu,
            "usd_per_gpu_hour": self.usd_per_gpu_hour,
            "price_ratio": self.price_ratio,
            "ratios": dict(self.ratios),
            "is_better": self.is_better,
        }


def alternatives(gpu: Gpu, others: Iterable[Gpu], usd_per_gpu_hour: Mapping[str, float]) -> list[Alternative]:
    """Return GPUs that cost at most a tenth more and have more of something, the better ones first.

    Args:
        gpu: what they stand in for.
        others: GPUs to choose from.
        usd_per_gpu_hour: price by slug, all of one kind and statistic.
    """
    base = usd_per_gpu_hour.get(gpu.slug)
    if not base:
        return []
    found = []
    for other in others:
        usd = usd_per_gpu_hour.get(other.slug)
        ratios = _ratios(gpu, other)
        if other.slug == gpu.slug or not usd or usd > base * (1 + PARITY_FRAC) or not ratios:
            continue
        if max(ratios.values()) > 1 + SAME_FRAC:
            found.append(Alternative(other.slug, usd, usd / base, ratios))
    return sorted(found, key=lambda each: (not each.is_better, -_worth(each), each.gpu))


def _worth(each: Alternative) -> float:
    """Return how much more one gets for the money, all figures alike."""
    product = 1.0
    for ratio in each.ratios.values():
        product *= ratio
    return float(product ** (1 / len(each.ratios)) / each.price_ratio)


def _ratios(gpu: Gpu, other: Gpu) -> dict[str, float]:
    figures = {
        "memory_gib": (gpu.memory_gib.value, other.memory_gib.value),
        "bandwidth_gb_per_s": (gpu.bandwidth_gb_per_s.value, other.bandwidth_gb_per_s.value),
        "fp16_dense_tflops": (gpu.dense_tflops("fp16").value, other.dense_tflops("fp16").value),
    }
    return {name: theirs / ours for name, (ours, theirs) in figures.items() if ours and theirs}
