from __future__ import annotations

import pytest

from rackrate.catalog.architecture import Architecture
from rackrate.catalog.architecture.bare import best_architecture
from rackrate.catalog.gpu import load_gpu
from rackrate.catalog.model import load_model
from rackrate.errors import UnknownName, UsageError
from rackrate.perf.chip import Chip, chip_of
from rackrate.perf.diffusion import Drawing, batch_spent, images_per_s, usual


def arch_of(slug: str) -> Architecture:
    return best_architecture(load_model(slug))


def chip(slug: str) -> Chip:
    return chip_of(load_gpu(slug))


@pytest.mark.parametrize(
    ("engine", "measured_s"), [("eager", 5.933), ("compiled", 5.132), ("tensorrt", 4.102)]
)
def test_sdxl_on_an_a100_takes_what_strangers_measured(engine: str, measured_s: float) -> None:
    """50 steps end to end by fal.ai's stable-diffusion-benchmarks, which no fit has seen."""
    drawing = usual("stable-diffusion-xl", steps=50, engine=engine)
    found = batch_spent(arch_of("stable-diffusion-xl"), chip("a100-80gb-sxm"), drawing)
    assert found.total_s == pytest.approx(measured_s, rel=0.25)


def test_flux_on_an_h100_takes_what_we_measured() -> None:
    """A step of 4 images without encoders and VAE: 743 ms eager; of 1 compiled: 138 ms (H100 SXM)."""
    for batch, engine, step_s in ((4, "eager", 0.743), (1, "compiled", 0.138)):
        both = [
            batch_spent(
                arch_of("flux.1-dev"), chip("h100-sxm"), Drawing(steps=n, batch=batch, engine=engine)
            ).total_s
            for n in (28, 29)
        ]
        assert both[1] - both[0] == pytest.approx(step_s, rel=0.2)


def test_small_batches_of_small_models_wait_for_python() -> None:
    found = batch_spent(arch_of("stable-diffusion-1.5"), chip("h100-sxm"), usual("stable-diffusion-1.5"))
    assert found.limit == "host"
    full = usual("stable-diffusion-1.5", batch=32)
    assert batch_spent(arch_of("stable-diffusion-1.5"), chip("h100-sxm"), full).limit == "compute"


def test_weights_in_8_bit_that_are_widened_cost_a_fixed_time_a_step() -> None:
    arch, card = arch_of("flux.1-dev"), chip("h100-sxm")
    for batch in (1, 8):
        plain, widened = (
            batch_spent(arch, card, Drawing(batch=batch, number=number)).total_s
            for number in ("fp16", "int8wo")
        )
        extra_s = (widened - plain) / 28
        assert 11.9e9 * 2 / 3.35e12 < extra_s < 11.9e9 * 20 / 3.35e12  # bytes moved of 11.9 billion weights


def test_gpus_work_side_by_side_and_a_server_gets_a_little_less() -> None:
    arch, card, drawing = arch_of("stable-diffusion-xl"), chip("l40s"), usual("stable-diffusion-xl")
    one, four = (images_per_s(arch, card, drawing, n_gpus=n) for n in (1, 4))
    assert four.value == pytest.approx(4 * one.value)
    served = images_per_s(arch, card, drawing, n_gpus=4, is_server=True)
    assert 0.8 * four.value < served.value < four.value
    assert one.unit == "images/s"
    assert one.low < one.value < one.high


def test_a_model_has_its_usual_settings_and_schnell_few_steps() -> None:
    assert usual("flux.1-schnell").steps == 4
    assert usual("stable-diffusion-1.5").pixels == 512 * 512
    assert usual("stable-diffusion-xl").passes == 2
    assert usual("something-new", steps=7).steps == 7


def test_what_cannot_be_drawn_is_refused() -> None:
    with pytest.raises(UsageError, match="steps 0"):
        Drawing(steps=0)
    with pytest.raises(UnknownName, match="engine"):
        Drawing(engine="tensorflow")
    with pytest.raises(UnknownName, match="number type"):
        Drawing(number="fp12")
