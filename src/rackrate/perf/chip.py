"""A GPU as the speed model sees it: how fast it multiplies, reads its memory and speaks to its neighbours.

Peaks are the data sheet's, dense; what of them is reached in practice is a factor (`factors`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache

from rackrate.catalog.gpu import Gpu
from rackrate.errors import NoAnswer

TERA, GIGA, MICRO = 1e12, 1e9, 1e-6
USUAL_REACHED_FRAC = 0.79  # median of the 31 GPUs whose best product was measured

CLASSES = (
    "hopper",
    "blackwell-dc",
    "blackwell-rtx",
    "ada",
    "ampere-dc",
    "ampere-rtx",
    "turing",
    "volta",
    "old",
    "cdna",
    "rdna",
    "other",
)
"""Generations that behave alike; what is learnt of one card of a class is first guess for the others."""

_PCIE_GB_PER_S_A_LANE = {3: 0.985, 4: 1.969, 5: 3.938, 6: 7.563}  # one way, after line coding
USUAL_TDP_W = 300.0
_USUAL_PCIE = 31.5e9  # generation 4, 16 lanes: what most cards have, where nothing is said


@dataclass(frozen=True, slots=True)
class Chip:
    """One GPU.

    Attributes:
        gpu: its slug.
        kind: one of `CLASSES`.
        flops: dense peak by type of number (`fp32`, `tf32`, `fp16`, `fp8`, `fp4`, `int8`), FLOP/s.
        bandwidth: of the memory, bytes/s.
        link: `nvlink` where the GPUs of a node have links of their own, `bridge` where these join pairs,
            else `pcie`.
        link_bandwidth: of that link, one way, bytes/s.
        pcie_bandwidth: of the host's link, one way, bytes/s.
        tdp_w: board power.
        reached_frac: of the 16-bit peak in the best matrix product that was measured, 0 to 1.1 (some boost
            above the data sheet's clock); `USUAL_REACHED_FRAC` where none was.
    """

    gpu: str
    kind: str
    flops: Mapping[str, float]
    bandwidth: float
    link: str
    link_bandwidth: float
    pcie_bandwidth: float
    tdp_w: float
    reached_frac: float = USUAL_REACHED_FRAC

    def peak(self, number: str) -> float:
        """Return the FLOP/s for a type of number; of the next wider type where the chip lacks it.

        >>> from rackrate.catalog.gpu import load_gpu
        >>> chip_of(load_gpu("a100-80gb-sxm")).peak("fp8") / 1e12
        312.0

        Raises:
            NoAnswer: no source states it, nor that of a wider type.
        """
        found = self.number(number)
        if found not in self.flops:
            hint = f"it is known in {', '.join(self.flops)}"
            raise NoAnswer(f"no speed in {number} is known of {self.gpu}", hint=hint)
        return self.flops[found]

    def number(self, wanted: str) -> str:
        """Return the type of number in which the chip computes what is stored as `wanted`."""
        for number in _WIDER[wanted]:
            if number in self.flops:
                return number
        return "fp32"


_WIDER: Mapping[str, tuple[str, ...]] = {
    "fp4": ("fp4", "fp8", "fp16"),
    "fp8": ("fp8", "fp16"),
    "int8": ("int8", "fp16"),
    "fp16": ("fp16",),
    "tf32": ("tf32",),
    "fp32": ("fp32",),
}


@cache
def chip_of(gpu: Gpu) -> Chip:
    """Return the chip of a GPU.

    Raises:
        NoAnswer: the catalog knows neither its bandwidth nor how fast it computes.
    """
    bandwidth = gpu.bandwidth_gb_per_s.value
    flops = _peaks(gpu)
    if not bandwidth or "fp16" not in flops:
        raise NoAnswer(f"no speed is known of {gpu.slug}", hint="no source states bandwidth and FLOPS")
    pcie = _pcie(gpu)
    link = _link(gpu)
    own = (gpu.nvlink_gb_per_s.value or 0.0) / 2 * GIGA  # data sheets count both directions
    return Chip(
        gpu.slug,
        class_of(gpu),
        flops,
        bandwidth * GIGA,
        link,
        pcie if link == "pcie" else own,
        pcie,
        gpu.tdp_w.value or USUAL_TDP_W,
        _reached_frac(gpu),
    )


def class_of(gpu: Gpu) -> str:
    """Return the class of a GPU, one of `CLASSES`."""
    name, is_hbm = gpu.architecture, "HBM" in str(gpu.memory_type.value)
    if name.startswith("Blackwell"):
        return "blackwell-dc" if is_hbm else "blackwell-rtx"
    if name == "Ampere":
        return "ampere-dc" if is_hbm else "ampere-rtx"
    if name.startswith(("CDNA", "RDNA")):
        return name[:4].lower()
    known = {"Hopper": "hopper", "Ada Lovelace": "ada", "Turing": "turing", "Volta": "volta"}
    if name in known:
        return known[name]
    return "old" if gpu.vendor == "NVIDIA" else "other"


def _peaks(gpu: Gpu) -> dict[str, float]:
    found = {
        "fp32": gpu.fp32_tflops.value,
        "tf32": gpu.tf32_tensor_tflops.value,
        "fp16": gpu.bf16_tensor_tflops.value or gpu.fp16_tensor_tflops.value,
        "fp8": gpu.fp8_tensor_tflops.value,
        "fp4": gpu.fp4_tensor_tflops.value,
        "int8": gpu.int8_tensor_tops.value,
    }
    if not found["fp16"] and found["fp32"]:
        found["fp16"] = found["fp32"]  # no tensor cores: kernels compute in 32 bit
    return {number: tflops * TERA for number, tflops in found.items() if tflops}


def _reached_frac(gpu: Gpu) -> float:
    measured, peak = gpu.measured_matmul_bf16_tflops.value, gpu.bf16_tensor_tflops.value
    peak = peak or gpu.fp16_tensor_tflops.value
    return measured / peak if measured and peak else USUAL_REACHED_FRAC


def _pcie(gpu: Gpu) -> float:
    generation, lanes = gpu.pcie_gen.value, gpu.pcie_lanes.value
    if generation in _PCIE_GB_PER_S_A_LANE and lanes:
        return _PCIE_GB_PER_S_A_LANE[generation] * lanes * GIGA
    return _USUAL_PCIE


def _link(gpu: Gpu) -> str:
    if not gpu.nvlink_gb_per_s.value:
        return "pcie"
    return "bridge" if "bridge" in (gpu.nvlink_kind.value or "") else "nvlink"
