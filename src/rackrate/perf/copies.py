"""How fast is a card by itself: matrix products, copies within its memory, to the host and to a neighbour?

Each is the data sheet's figure times the share that is reached. Whether a cloud gives a card all lanes of
its slot, no data sheet tells: AWS's L40S copies at 13.5 GB/s, OVH's H100 PCIe at 57.6.

Source: nvbandwidth on rented machines, torch's best matrix products (mamf-finder).
"""

from __future__ import annotations

from rackrate.perf.chip import GIGA, TERA, Chip
from rackrate.perf.estimate import Estimate
from rackrate.perf.factors import Factors, load_factors
from rackrate.perf.reach import chosen, copied_bytes_per_s

_UNSWITCHED = ("volta", "old")
SHARE_OF_PAIR = 1 / 3  # without a switch two of a V100's six links lead to any one neighbour
COPIES = ("local", "from-host", "to-host", "peer")


def product_tflops(chip: Chip, number: str, factors: Factors | None = None) -> Estimate:
    """Return the TFLOP/s of the best matrix product of a chip, in a type that `Chip.peak` knows."""
    factors = factors or load_factors("media")
    value = chip.peak(chip.number(number)) * factors.value("matmul", chip.kind) / TERA
    says = (f"{chip.peak(number) / TERA:g} TFLOP/s in {chip.number(number)} by the data sheet",)
    return _ranged(value, "TFLOP/s", "compute", factors, "gemm", says)


def copy_gb_per_s(chip: Chip, copy: str, factors: Factors | None = None) -> Estimate:
    """Return the GB/s (1e9 bytes, each counted once) of a large copy.

    Args:
        chip: one GPU.
        copy: one of `COPIES`: within the memory, from and to pinned memory of the host, to another GPU.
        factors: the table; the bundled one by default.

    Raises:
        UnknownName: another copy.
    """
    chosen("copy", copy, COPIES)
    factors = factors or load_factors("media")
    if copy == "local":
        value, says = copied_bytes_per_s(chip, factors) / 2, f"{chip.bandwidth / GIGA:g} GB/s read or written"
        return _ranged(value / GIGA, "GB/s", "memory", factors, "bandwidth", (says,))
    if copy == "peer" and chip.link != "pcie":
        between_two = chip.link_bandwidth * (SHARE_OF_PAIR if chip.kind in _UNSWITCHED else 1.0)
        value, says = between_two * factors.value("wire", "link"), f"{chip.link} by the data sheet"
    else:
        kind, generation = ("peer" if copy == "peer" else "host"), f"{chip.pcie_bandwidth / GIGA:.0f} GB/s"
        value, says = chip.pcie_bandwidth * factors.value("wire", kind, generation), f"PCIe, {generation}"
    return _ranged(value / GIGA, "GB/s", "link", factors, "bandwidth", (says,))


def _ranged(
    value: float, unit: str, limit: str, factors: Factors, kind: str, says: tuple[str, ...]
) -> Estimate:
    width = factors.value("width", kind)
    return Estimate(value, value / width, value * width, unit, limit, says)
