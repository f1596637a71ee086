"""Pipelines of several models: FLUX and Whisper against what was measured."""

from __future__ import annotations

import pytest

from rackrate.catalog.architecture import Architecture
from rackrate.errors import UnknownName
from rackrate.fit.parallel import ONE_GPU
from rackrate.fit.pipeline import OFFLOADS, component_bytes, decoder_width, diffusion_terms, speech_terms
from rackrate.fit.precision import find_precision
from rackrate.fit.setup import Load
from rackrate.fit.term import GIB
from rackrate.sizing import find_weights, fits

MEGAPIXEL = 1024 * 1024
BF16 = find_precision("bf16")


def model(slug: str) -> Architecture:
    return find_weights(slug).arch


@pytest.mark.parametrize(("precision", "gib"), [("bf16", 31.447), ("nf4", 12.584)])
def test_flux_after_loading(precision: str, gib: float) -> None:
    """Fit-282, fit-283: the hub's post on quantised diffusers, FLUX.1-dev."""
    parts = component_bytes(model("flux.1-dev"), find_precision(precision))
    assert sum(parts.values()) / GIB == pytest.approx(gib, rel=0.006)


def test_flux_by_hand() -> None:
    """Transformer 11.9B, T5 4.76B, CLIP 123M, VAE 84M parameters: 16.87B in 16 bit."""
    parts = component_bytes(model("flux.1-dev"), BF16)
    sizes = {name: round(size / 2e6) for name, size in parts.items()}
    assert sizes == {"transformer": 11901, "text_encoder": 123, "text_encoder_2": 4762, "vae": 84}


def test_flux_peaks_at_33_9_gib() -> None:
    """Notes, section 4: 1024 x 1024, batch 1, bf16: 0.53 + 1.88 GiB above the weights."""
    fit = fits("flux.1-dev", "h100")
    assert fit.estimate.gib("weights") + fit.estimate.gib("activation peak") == pytest.approx(33.9, rel=0.01)


def test_images_and_pixels_add_up() -> None:
    arch = model("flux.1-dev")

    def peak(pixels: int, images: int) -> float:
        return float(diffusion_terms(arch, BF16, pixels, 1, images, "none")[1].gib)

    assert peak(MEGAPIXEL, 2) - peak(MEGAPIXEL, 1) == pytest.approx(1.88, rel=0.01)
    assert peak(MEGAPIXEL, 4) == pytest.approx(peak(4 * MEGAPIXEL, 1))
    assert peak(MEGAPIXEL // 4, 1) < peak(MEGAPIXEL, 1)


def test_offloading_keeps_less_and_less() -> None:
    sizes = [
        float(diffusion_terms(model("flux.1-dev"), BF16, MEGAPIXEL, 1, 1, offload)[0].gib)
        for offload in OFFLOADS
    ]
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[1] == pytest.approx(2 * 11_901_408_320 / GIB)  # the transformer alone


def test_an_unknown_offload_is_our_error() -> None:
    with pytest.raises(UnknownName):
        diffusion_terms(model("flux.1-dev"), BF16, MEGAPIXEL, 1, 1, "cpu")


def test_the_decoder_of_flux_ends_in_128_channels() -> None:
    assert decoder_width(model("flux.1-dev")) == 128


@pytest.mark.parametrize(
    ("slug", "millions"),
    [
        # openai/whisper README: parameters
        ("whisper-tiny", 39), ("whisper-base", 74), ("whisper-small", 244), ("whisper-medium", 769),
        ("whisper-large-v3", 1550), ("whisper-large-v3-turbo", 809),
    ],
)  # fmt: skip
def test_whisper_weighs_two_bytes_a_parameter(slug: str, millions: int) -> None:
    weights = speech_terms(model(slug), find_precision("fp16"), "faster-whisper", "fp16", Load())[0]
    assert weights.gib * GIB / 2e6 == pytest.approx(millions, rel=0.04)


@pytest.mark.parametrize(
    ("slug", "gib"), [("whisper-large-v3", 9.31), ("whisper-medium", 4.66), ("whisper-large-v3-turbo", 5.59)]
)
def test_openai_whisper_stays_below_its_own_table(slug: str, gib: float) -> None:
    """Fit-294 to 296: "required VRAM", rounded up by the authors."""
    total = fits(slug, "l40s", engine="openai-whisper").total.gib
    assert 0.7 * gib <= total <= 1.15 * gib


def test_a_window_costs_its_crossed_cache() -> None:
    """faster-whisper's table: from batch 1 to 8 measured 1,565 MiB: seven windows of 224."""
    large = model("whisper-large-v2")
    terms = [speech_terms(large, BF16, "faster-whisper", "fp16", Load(concurrency=n)) for n in (1, 8)]
    step = (terms[1][1].gib - terms[0][1].gib) * 1024
    crossed = 7 * 2 * 32 * 1500 * 1280 * 2 / 2**20
    spoken = 7 * 2 * 32 * 448 * 1280 * 2 / 2**20
    assert step == pytest.approx(crossed + spoken)
    assert crossed == pytest.approx(1565, rel=0.05)


def test_beams_multiply_the_spoken_part_only() -> None:
    one, five = (
        speech_terms(model("whisper-tiny"), BF16, "faster-whisper", "fp16", Load(beams=n))[1].gib
        for n in (1, 5)
    )
    spoken = 2 * 4 * 448 * 384 * 2 / GIB
    assert five - one == pytest.approx(4 * spoken)


def test_copies_of_a_pipeline_do_not_speak_to_each_other() -> None:
    one, four = (fits("flux.1-dev", f"h100:{n}") for n in (1, 4))
    assert one.total.gib == four.total.gib
    assert one.setup.layout == ONE_GPU
