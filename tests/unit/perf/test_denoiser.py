from __future__ import annotations

import pytest

from rackrate.catalog.architecture import Architecture
from rackrate.catalog.architecture.bare import best_architecture
from rackrate.catalog.model import load_model
from rackrate.perf.denoiser import UNET_SHARE, denoiser_pass, launched_layers, pipeline_rest

MEGAPIXEL = 1024 * 1024


def arch_of(slug: str) -> Architecture:
    return best_architecture(load_model(slug))


@pytest.mark.parametrize(
    ("slug", "side", "tflop"),
    [
        ("stable-diffusion-1.5", 512, 0.80),  # 0.40 TMAC, by the counters that papers quote
        ("flux.1-dev", 1024, 74.0),  # shared notes, 4.6: 2 x 6.45e9 x 4608 + attention
        ("flux.1-schnell", 1024, 74.0),
    ],
)
def test_passes_are_as_long_as_others_count_them(slug: str, side: int, tflop: float) -> None:
    assert denoiser_pass(arch_of(slug), side * side).flop / 1e12 == pytest.approx(tflop, rel=0.015)


def test_sdxl_does_5_98_tflop_a_pass_and_attention_on_top() -> None:
    attention = 4 * (10 * 4096**2 * 640 + 60 * 1024**2 * 1280) / 1e12  # 10 layers at 64 x 64, 60 at 32 x 32
    found = denoiser_pass(arch_of("stable-diffusion-xl"), MEGAPIXEL).flop / 1e12
    assert found - attention == pytest.approx(5.98, rel=0.01)


def test_a_third_of_flux_meets_the_text_alone_or_the_time_step() -> None:
    """Each token meets 6.45 of the 11.9 billion parameters."""
    arch = arch_of("flux.1-dev")
    without_attention = denoiser_pass(arch, MEGAPIXEL).flop - 4 * 57 * 4608**2 * 3072
    assert without_attention / 2 / 4608 == pytest.approx(6.45e9, rel=0.01)


def test_in_stable_diffusion_3_image_and_text_each_meet_a_stream_of_their_own() -> None:
    """A stream of 24 layers has 12 x 1536^2 parameters a layer; modulation meets no token."""
    arch = arch_of("stable-diffusion-3-medium")
    attention = 4 * 24 * (4096 + 333) ** 2 * 1536
    products = denoiser_pass(arch, MEGAPIXEL).flop - attention
    assert products == pytest.approx(2 * 24 * 12 * 1536**2 * (4096 + 333), rel=0.01)


def test_four_times_the_pixels_cost_more_than_four_times() -> None:
    for slug in ("stable-diffusion-1.5", "flux.1-dev"):
        small, large = (denoiser_pass(arch_of(slug), n).flop for n in (512**2, 1024**2))
        assert large > 3 * small
    assert large < 16 * small


def test_a_denoiser_of_which_only_the_size_is_known_is_counted_by_its_parameters() -> None:
    unet = arch_of("stable-diffusion-2.1")
    assert denoiser_pass(unet, 512**2).flop == pytest.approx(2 * 865.9e6 * UNET_SHARE * 4096, rel=0.02)
    whole = arch_of("qwen-image")
    least = 2 * 20.4e9 * 4096
    assert least < denoiser_pass(whole, MEGAPIXEL).flop < 1.5 * least


def test_what_is_done_once_is_less_than_a_step_of_flux_and_more_than_a_pass_of_sd_1_5() -> None:
    for slug, side, least, most in (("flux.1-dev", 1024, 0.05, 0.2), ("stable-diffusion-1.5", 512, 1.0, 2.0)):
        arch = arch_of(slug)
        share = pipeline_rest(arch, side**2).flop / denoiser_pass(arch, side**2).flop
        assert least < share < most


def test_the_vae_paints_in_proportion_to_the_pixels() -> None:
    arch = arch_of("stable-diffusion-xl")
    small, large = pipeline_rest(arch, MEGAPIXEL), pipeline_rest(arch, 2 * MEGAPIXEL)
    text = 2 * small.flop - large.flop
    assert 0 < text < 0.1 * small.flop


def test_a_unet_is_launched_block_by_block_too() -> None:
    assert launched_layers(arch_of("flux.1-dev")) == 57
    assert launched_layers(arch_of("stable-diffusion-1.5")) == 16 + 22 / 2
