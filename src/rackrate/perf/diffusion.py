"""How many images a second does a diffusion pipeline make?

    time = steps x passes x time of the denoiser + time of encoders and VAE

The denoiser of FLUX.1-dev does 74 TFLOP a step at 1,024 px, the UNet of SDXL 6.8 a pass with attention; with
guidance that was not distilled in, every step takes two passes. Several GPUs each make images of their own.
"""

from __future__ import annotations

from dataclasses import dataclass

from rackrate.catalog.architecture import Architecture
from rackrate.perf.chip import Chip
from rackrate.perf.denoiser import denoiser_pass, launched_layers, pipeline_rest
from rackrate.perf.estimate import Estimate
from rackrate.perf.factors import Factors, load_factors
from rackrate.perf.reach import (
    Asked,
    Spent,
    at_least_one,
    chosen,
    copied_bytes_per_s,
    multiplied_in,
    ranged,
    spent,
)
from rackrate.units import counted

ENGINES = ("eager", "compiled", "tensorrt")
"""How its kernels are run: one by one (diffusers, ComfyUI), by torch.compile, or by TensorRT and its like."""

NUMBERS = ("fp32", "tf32", "fp16", "fp8", "int8", "int8wo", "8-bit")
"""In which type the denoiser computes: `int8wo` stores 8 bits and computes in 16; `8-bit` is what is fastest
on the card, as MLPerf's submitters choose."""

_STEPS_AND_PASSES = (
    ("schnell", 4, 1),
    ("turbo", 4, 1),
    ("lightning", 4, 1),
    ("flux", 28, 1),
    ("stable-diffusion-3", 28, 2),
    ("stable-diffusion-xl", 30, 2),
    ("stable-diffusion", 50, 2),
)  # the defaults of diffusers' pipelines and of the model cards
_SMALL = ("stable-diffusion-1", "stable-diffusion-2")  # made for 512 x 512
_WIDENED_BYTES = {"eager": 12.0, "compiled": 6.0, "tensorrt": 6.0}
"""Moved for each weight stored in 8 bits: read, widened to 16, scaled, read again, in one kernel or more."""


@dataclass(frozen=True, slots=True)
class Drawing:
    """What is asked of a pipeline, and how it is run.

    Attributes:
        pixels: of an image.
        steps: of denoising.
        passes: of the denoiser in a step: 2 with classifier-free guidance.
        batch: images made at once.
        engine: one of `ENGINES`.
        number: one of `NUMBERS`.
    """

    pixels: int = 1024 * 1024
    steps: int = 28
    passes: int = 1
    batch: int = 1
    engine: str = "eager"
    number: str = "fp16"

    def __post_init__(self) -> None:
        at_least_one(pixels=self.pixels, steps=self.steps, passes=self.passes, batch=self.batch)
        chosen("engine", self.engine, ENGINES)
        chosen("number type", self.number, NUMBERS)


def usual(model: str, **how: object) -> Drawing:
    """Return the drawing that a model's card recommends, with what is known otherwise.

    >>> usual("stable-diffusion-1.5", batch=4)
    Drawing(pixels=262144, steps=50, passes=2, batch=4, engine='eager', number='fp16')
    """
    steps, passes = next(((s, p) for part, s, p in _STEPS_AND_PASSES if part in model), (28, 1))
    side = 512 if model.startswith(_SMALL) else 1024
    found: dict[str, object] = {"pixels": side * side, "steps": steps, "passes": passes}
    return Drawing(**{**found, **how})  # type: ignore[arg-type]


def batch_spent(arch: Architecture, chip: Chip, drawing: Drawing, factors: Factors | None = None) -> Spent:
    """Return the time of one batch of images on one GPU."""
    factors = factors or load_factors("media")
    keys = ("diffusion", drawing.engine)
    number = multiplied_in(chip, "fp16" if drawing.number == "int8wo" else drawing.number)
    one_pass = denoiser_pass(arch, drawing.pixels).times(drawing.batch * drawing.passes)
    step = spent(one_pass, chip, factors, number, keys, launched_layers(arch))
    if drawing.number == "int8wo":
        step += Spent(memory_s=_widening_s(arch, chip, factors, drawing.engine))
    rest = pipeline_rest(arch, drawing.pixels).times(drawing.batch)
    return step.times(drawing.steps) + spent(rest, chip, factors, "fp16", keys)


def images_per_s(
    arch: Architecture,
    chip: Chip,
    drawing: Drawing,
    *,
    n_gpus: int = 1,
    is_server: bool = False,
    factors: Factors | None = None,
) -> Estimate:
    """Return the images a second of some GPUs, each with a copy of the pipeline.

    Args:
        arch: the pipeline.
        chip: one GPU.
        drawing: images and engine.
        n_gpus: how many.
        is_server: whether requests come at random and must not wait for long, instead of all at once.
        factors: the table; the bundled one by default.
    """
    at_least_one(GPUs=n_gpus)
    factors = factors or load_factors("media")
    batch = batch_spent(arch, chip, drawing, factors)
    passes = counted(drawing.passes, "pass", "passes")
    on = "1 GPU" if n_gpus == 1 else f"each of {n_gpus} GPUs"
    share = factors.value("server", "diffusion") if is_server else 1.0
    return ranged(
        n_gpus * drawing.batch / batch.total_s * share,
        "images/s",
        batch.limit,
        Asked("diffusion", arch.name, chip.gpu),
        factors,
        (
            f"{drawing.pixels / 2**20:.2f} megapixels, {counted(drawing.steps, 'step')} x {passes}",
            f"{drawing.engine} in {drawing.number}, {drawing.batch} at once on {on}",
        ),
    )


def _widening_s(arch: Architecture, chip: Chip, factors: Factors, engine: str) -> float:
    """Return the time to widen a denoiser's weights for one step, which no batch makes longer."""
    held = sum(t.n_params for t in arch.tensors if t.part in ("unet", "transformer"))
    return held * _WIDENED_BYTES[engine] / copied_bytes_per_s(chip, factors)
