"""How do cards compare at genome alignment, rendering, streaming and transcoding? Rough scalings.

There is no model of these from first principles here. Alignment scales one published run by the bandwidth of
the memory; rendering is relative to an L40S, by ray-tracing cores x clock; transcoding by video encoders; a
game streamed needs both. An estimate's range is what such scalings miss.

Sources: SegAlign (Goenka et al., SC20): human against mouse takes 11 hours on 96 cores, and up to 14 times
less on 8 V100. V-Ray GPU of Chaos: 1.86 between RTX 3080 and 4080, 2.2 between RTX 3090 and 4090 (here 1.64
and 2.32), 2.53 between RTX 2080 and 3080, of which cores x clock explain 1.48.
"""

from __future__ import annotations

from rackrate.catalog.gpu import Gpu, load_gpu
from rackrate.errors import NoAnswer
from rackrate.perf.estimate import Estimate
from rackrate.perf.reach import at_least_one

ALIGNED_CPU_HOURS, ALIGNED_SPEEDUP = 11.0, 14.0
ALIGNED_GPU, ALIGNED_GPUS = "v100-16gb-sxm", 8
RENDERED_GPU = "l40s"
_RAYS_A_CYCLE = {"Turing": 0.58}  # over those of the generations since: 1.48 / 2.53
_WIDTHS = {"alignment": 1.6, "rendering": 1.4, "transcoding": 1.5}


def alignment_hours(gpu: Gpu, n_gpus: int = 1) -> Estimate:
    """Return the hours to align two genomes of vertebrates (human and mouse) with SegAlign.

    Raises:
        NoAnswer: no CUDA, or no bandwidth is known.
    """
    at_least_one(GPUs=n_gpus)
    if gpu.vendor != "NVIDIA":
        raise NoAnswer(f"SegAlign does not run on {gpu.slug}", hint="its kernels are CUDA's")
    known = load_gpu(ALIGNED_GPU)
    share = _bandwidth(known) * ALIGNED_GPUS / (_bandwidth(gpu) * n_gpus)
    hours = ALIGNED_CPU_HOURS / ALIGNED_SPEEDUP
    says = (
        f"rough: {hours:.2f} hours on {ALIGNED_GPUS} V100 at best (SegAlign, SC20)",
        "scaled by memory bandwidth and number of GPUs",
    )
    return _rough(hours * share, "hours", "memory", "alignment", says)


def rendering_speed(gpu: Gpu) -> Estimate:
    """Return how fast a card traces rays, as a multiple of an L40S.

    Raises:
        NoAnswer: it has no ray-tracing cores, or their number or clock is not known.
    """
    says = (f"rough: ray-tracing cores x clock, relative to an {RENDERED_GPU}; no absolute figure",)
    value = _rays(gpu) / _rays(load_gpu(RENDERED_GPU))
    return _rough(value, f"x {RENDERED_GPU}", "compute", "rendering", says)


def transcoding_speed(gpu: Gpu) -> Estimate:
    """Return how much video a card encodes, as a multiple of an L40S.

    Raises:
        NoAnswer: it has no video encoder, or their number is not known.
    """
    says = (f"rough: number of video encoders, relative to an {RENDERED_GPU}; no absolute figure",)
    value = _encoders(gpu) / _encoders(load_gpu(RENDERED_GPU))
    return _rough(value, f"x {RENDERED_GPU}", "compute", "transcoding", says)


def streaming_speed(gpu: Gpu) -> Estimate:
    """Return how many games a card renders and streams, as a multiple of an L40S.

    Raises:
        NoAnswer: it cannot render, or cannot encode.
    """
    return min(rendering_speed(gpu), transcoding_speed(gpu), key=lambda found: found.value)


def _rough(value: float, unit: str, limit: str, what: str, says: tuple[str, ...]) -> Estimate:
    return Estimate(value, value / _WIDTHS[what], value * _WIDTHS[what], unit, limit, says)


def _bandwidth(gpu: Gpu) -> float:
    if not gpu.bandwidth_gb_per_s.value:
        raise NoAnswer(f"the memory bandwidth of {gpu.slug} is not known")
    return gpu.bandwidth_gb_per_s.value


def _rays(gpu: Gpu) -> float:
    cores, clock = gpu.rt_cores.value, gpu.boost_mhz.value
    if not cores or not clock:
        why = "has no ray-tracing cores" if cores == 0 else "has cores or a clock that no source states"
        raise NoAnswer(f"{gpu.slug} {why}", hint="cards of the L, RTX and A10/A40 series have them")
    return cores * clock * _RAYS_A_CYCLE.get(gpu.architecture, 1.0)


def _encoders(gpu: Gpu) -> int:
    if not gpu.nvenc.value:
        why = "has no video encoder" if gpu.nvenc.value == 0 else "has encoders whose number no source states"
        raise NoAnswer(f"{gpu.slug} {why}", hint="cards of the L, RTX and A10/A40 series have them")
    return gpu.nvenc.value
