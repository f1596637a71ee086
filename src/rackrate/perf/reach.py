"""How long does a chip take for some work, and what holds it up?

    compute = FLOP / (peak x share of the best matrix product x share that the engine reaches)
    memory  = numbers written x bytes moved for each / (bandwidth x share of a plain copy)
    host    = layers x time in which Python launches a layer's kernels
    time    = larger of compute + memory and host

Products and the kernels between them take turns, so their times add up; launches run ahead of the GPU, so
that only the slower of the two counts. What no engine can change (the card's best product and copy) is kept
apart from what it can: the first two factors are of the GPU's class, the others of the engine.

Source: the rows `gemm` and `bandwidth` of the measured cases for the card, all others for the engine
(bench/fit_media.py).
"""

from __future__ import annotations

from dataclasses import dataclass

from rackrate.errors import UnknownName, UsageError, nearest
from rackrate.perf.chip import USUAL_REACHED_FRAC, Chip
from rackrate.perf.estimate import Estimate
from rackrate.perf.factors import Factors
from rackrate.perf.flop import Work
from rackrate.perf.nearest import nearest_measured, was_measured


@dataclass(frozen=True, slots=True)
class Spent:
    """Where the time of some work goes, seconds.

    Attributes:
        compute_s: in matrix products.
        memory_s: in moving numbers between them.
        host_s: until the host has launched them, which goes on at the same time.
        link_s: waiting for other GPUs.
    """

    compute_s: float = 0.0
    memory_s: float = 0.0
    host_s: float = 0.0
    link_s: float = 0.0

    @property
    def total_s(self) -> float:
        """All of it."""
        return max(self.compute_s + self.memory_s, self.host_s) + self.link_s

    @property
    def limit(self) -> str:
        """Return the largest part, one of `rackrate.perf.estimate.LIMITS`."""
        if self.host_s > self.compute_s + self.memory_s:
            return "host"
        parts = {"compute": self.compute_s, "memory": self.memory_s, "link": self.link_s}
        return max(parts, key=parts.__getitem__)

    def __add__(self, other: Spent) -> Spent:
        return Spent(
            self.compute_s + other.compute_s,
            self.memory_s + other.memory_s,
            self.host_s + other.host_s,
            self.link_s + other.link_s,
        )

    def times(self, n: float) -> Spent:
        """Return the time of `n` such pieces of work."""
        return Spent(self.compute_s * n, self.memory_s * n, self.host_s * n, self.link_s * n)


def spent(
    work: Work, chip: Chip, factors: Factors, number: str, keys: tuple[str, ...], n_layers: float = 0.0
) -> Spent:
    """Return the time of some work on one chip.

    Args:
        work: arithmetic and numbers written.
        chip: one GPU.
        factors: with `matmul`, `copy`, `reach`, `traffic` and `host_s`.
        number: type in which the products are computed, as `Chip.peak` has them.
        keys: of the engine's factors: the kind of work, the engine.
        n_layers: launched by the host, where that counts.
    """
    number = chip.number(number)
    narrow = (f"{keys[0]} in 8 bit",) if number in ("fp8", "int8") else ()
    wide = 0.5 if narrow else 2.0 if number in ("fp32", "tf32") else 1.0  # than the 16 bit of `traffic`
    return Spent(
        work.flop / (product_flops(chip, factors, number) * factors.value("reach", *keys, *narrow)),
        work.numbers * wide * factors.value("traffic", *keys, chip.kind) / copied_bytes_per_s(chip, factors),
        n_layers * factors.value("host_s", *keys),
    )


def product_flops(chip: Chip, factors: Factors, number: str) -> float:
    """Return the FLOP/s of the best matrix product that a chip reaches in practice.

    Boards of one chip differ by what their power allows (an H100 reaches 83 % as SXM, 66 % as PCIe), in any
    type of number, so that a card's own measured product goes before the usual one of its class.
    """
    is_measured = chip.reached_frac != USUAL_REACHED_FRAC
    return chip.peak(number) * (chip.reached_frac if is_measured else factors.value("matmul", chip.kind))


def copied_bytes_per_s(chip: Chip, factors: Factors) -> float:
    """Return the traffic, read and written, that a copy within the memory reaches."""
    return chip.bandwidth * factors.value("copy", chip.kind)


def multiplied_in(chip: Chip, number: str) -> str:
    """Return the type in which a chip multiplies; `8-bit` is the faster of two: some lack a fast INT8."""
    return max(("fp8", "int8"), key=chip.peak) if number == "8-bit" else number


@dataclass(frozen=True, slots=True)
class Asked:
    """What an estimate is about: for its range, and for what was measured nearest to it.

    Attributes:
        workload: `diffusion`, `encoder`, `speech`, `training` or `benchmark`.
        model: slug, or the benchmark's name.
        gpu: slug.
        is_unlike: whether hardly any case speaks of it, as of every model that was never measured.
    """

    workload: str
    model: str
    gpu: str
    is_unlike: bool = False


def ranged(
    value: float, unit: str, limit: str, asked: Asked, factors: Factors, says: tuple[str, ...]
) -> Estimate:
    """Return an estimate with the 80 % range of its workload, and what was measured nearest to it.

    Args:
        value: expected.
        unit: of it.
        limit: what holds it up.
        asked: what it is about.
        factors: with `width`: by what the truth may be above or below.
        says: what it rests on, for people.
    """
    is_unlike = asked.is_unlike or not was_measured(asked.workload, asked.model)
    near = nearest_measured(asked.workload, asked.model, asked.gpu)
    width = max(factors.value("width", asked.workload, "unlike" if is_unlike else ""), 1.0)
    if is_unlike:
        says = (*says, "hardly anything like it was measured: the range is wider")
    return Estimate(value, value / width, value * width, unit, limit, says, near)


def chosen(what: str, name: str, known: tuple[str, ...]) -> str:
    """Return a name that is one of the known ones.

    Raises:
        UnknownName: it is not.
    """
    if name not in known:
        raise UnknownName(what, name, nearest(name, known) or known)
    return name


def at_least_one(**counts: float) -> None:
    """Check that every count is 1 or more.

    Raises:
        UsageError: one is not.
    """
    for name, count in counts.items():
        if not count >= 1:
            raise UsageError(f"{name} {count} is below 1", hint="give 1 or more")
