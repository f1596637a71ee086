from __future__ import annotations

import pytest

from rackrate.catalog.gpu import load_gpu
from rackrate.errors import NoAnswer, UnknownName
from rackrate.perf.chip import Chip, chip_of
from rackrate.perf.copies import copy_gb_per_s, product_tflops


def chip(slug: str) -> Chip:
    return chip_of(load_gpu(slug))


@pytest.mark.parametrize(
    ("gpu", "copy", "gb_per_s"),
    [
        ("h200-sxm", "local", 2094),  # nvbandwidth, each byte counted once
        ("h200-sxm", "from-host", 55.4),
        ("l4", "to-host", 13.2),
        ("l4", "peer", 10.1),
        ("h100-sxm", "peer", 395),
        ("v100-16gb-sxm", "peer", 48.1),
    ],
)
def test_copies_are_as_fast_as_on_rented_machines(gpu: str, copy: str, gb_per_s: float) -> None:
    found = copy_gb_per_s(chip(gpu), copy)
    assert found.value == pytest.approx(gb_per_s, rel=0.3)
    assert found.unit == "GB/s"


def test_products_are_as_fast_as_the_usual_card_of_the_class() -> None:
    assert product_tflops(chip("l40s"), "fp16").value == pytest.approx(252, rel=0.25)
    assert product_tflops(chip("h200-sxm"), "fp8").value == pytest.approx(1453, rel=0.25)


def test_an_older_card_computes_8_bits_in_16() -> None:
    card = chip("v100-32gb-sxm")
    assert product_tflops(card, "fp8").value == product_tflops(card, "fp16").value


def test_unknown_copies_and_numbers_are_refused() -> None:
    with pytest.raises(UnknownName, match="copy"):
        copy_gb_per_s(chip("l4"), "sideways")
    with pytest.raises(NoAnswer, match="tpu-v5e"):
        product_tflops(chip("tpu-v5e"), "fp32")
