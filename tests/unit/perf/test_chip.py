"""Chips: figures of data sheets by hand, types of number that a card lacks, links."""

from __future__ import annotations

import pytest

from rackrate.catalog.gpu import all_gpus, load_gpu
from rackrate.errors import NoAnswer
from rackrate.perf.chip import CLASSES, USUAL_REACHED_FRAC, Chip, chip_of, class_of


def chip(slug: str) -> Chip:
    return chip_of(load_gpu(slug))


def test_an_l40s_has_the_figures_of_its_data_sheet() -> None:
    """Dense: 362 TFLOPS in 16 bit, 733 in 8; 864 GB/s; 350 W; PCIe 4.0 x16 carries 31.5 GB/s one way."""
    found = chip("l40s")
    assert (found.kind, found.link, found.tdp_w) == ("ada", "pcie", 350)
    assert found.bandwidth == 864e9
    assert found.peak("fp16") == pytest.approx(362e12, rel=0.001)
    assert found.peak("fp8") == pytest.approx(733e12, rel=0.001)
    assert found.link_bandwidth == found.pcie_bandwidth == pytest.approx(31.5e9, rel=0.001)
    assert found.reached_frac == pytest.approx(252 / 362, abs=0.01)  # its best measured product


@pytest.mark.parametrize(
    ("slug", "kind", "link", "one_way_gb_per_s"),
    [
        ("h100-sxm", "hopper", "nvlink", 450),  # 900 GB/s counts both ways
        ("a100-80gb-sxm", "ampere-dc", "nvlink", 300),
        ("a10", "ampere-rtx", "pcie", 31.5),
        ("rtx-4090", "ada", "pcie", 31.5),
        ("t4", "turing", "pcie", 15.8),
        ("v100-16gb-sxm", "volta", "nvlink", 150),
        ("b200-sxm", "blackwell-dc", "nvlink", 900),
        ("rtx-pro-6000-server", "blackwell-rtx", "pcie", 63.0),
    ],
)
def test_class_and_link(slug: str, kind: str, link: str, one_way_gb_per_s: float) -> None:
    found = chip(slug)
    assert (found.kind, found.link) == (kind, link)
    assert found.link_bandwidth / 1e9 == pytest.approx(one_way_gb_per_s, rel=0.01)


@pytest.mark.parametrize(
    ("slug", "stored", "computed"),
    [
        ("h100-sxm", "fp8", "fp8"),
        ("h100-sxm", "fp4", "fp8"),  # Hopper has no 4-bit units
        ("a100-80gb-sxm", "fp8", "fp16"),
        ("a100-80gb-sxm", "int8", "int8"),
        ("b200-sxm", "fp4", "fp4"),
        ("v100-16gb-sxm", "tf32", "fp32"),
    ],
)
def test_what_a_chip_lacks_is_computed_in_the_next_wider_type(slug: str, stored: str, computed: str) -> None:
    found = chip(slug)
    assert found.number(stored) == computed
    assert found.peak(stored) == found.flops[computed]


def test_every_gpu_of_the_catalog_has_a_class_and_most_have_a_chip() -> None:
    lacking = []
    for gpu in all_gpus():
        assert class_of(gpu) in CLASSES
        try:
            found = chip_of(gpu)
        except NoAnswer:
            lacking.append(gpu.slug)
            continue
        assert found.bandwidth > 1e10
        assert 0.2 < found.reached_frac <= 1.2
    assert len(lacking) < 0.1 * len(all_gpus())


def test_a_card_whose_product_nobody_measured_has_the_usual_share() -> None:
    unmeasured = [
        g for g in all_gpus() if not g.measured_matmul_bf16_tflops.value and g.bandwidth_gb_per_s.value
    ]
    assert chip_of(unmeasured[0]).reached_frac == USUAL_REACHED_FRAC
