"""Which GPU a raw name means: the nastiest spellings of the market, and the order of evidence."""

from __future__ import annotations

import pytest

from rackrate.catalog.aliases import (
    family_members,
    gpu_names,
    match_gpu,
    nominal_vram_gib,
)
from rackrate.catalog.gpu_table import gpu_table
from rackrate.errors import UnknownName

# Spelling -> slug: name, SKU and provider as they stand in the source; None is unknown on purpose.
NASTY: list[tuple[str, dict[str, object], str | None]] = [
    # four cards share "6000"
    ("RTX 6000", {}, "rtx-6000"),
    ("RTX 6000", {"provider": "alicloud", "vram_gib": 24}, "quadro-rtx-6000"),
    ("RTX 6000", {"vram_gib": 48}, "rtx-6000-ada"),
    ("RTX 6000", {"vram_gib": 96}, "rtx-pro-6000"),
    ("RTX6000", {"provider": "seeweb"}, "quadro-rtx-6000"),
    ("RTX6000", {"provider": "shadeform"}, "quadro-rtx-6000"),
    # A6000 is not 6000
    ("A6000", {}, "rtx-a6000"),
    ("RTXA6000", {}, "rtx-a6000"),
    ("RTX-A6000", {}, "rtx-a6000"),
    ("NVIDIA RTX A6000", {}, "rtx-a6000"),
    ("RTX6000Ada", {}, "rtx-6000-ada"),
    ("RTX6000-Ada", {}, "rtx-6000-ada"),
    ("RTX-6000-Ada", {}, "rtx-6000-ada"),
    ("RTX 6000 Ada Generation", {}, "rtx-6000-ada"),
    ("NVIDIA RTX PRO-A6000 SE", {}, "rtx-pro-6000-server"),
    ("NVIDIA Blackwell RTX 6000", {}, "rtx-pro-6000"),
    ("RTX 6000 96GB", {}, "rtx-pro-6000"),
    # S is Server, not Super
    ("RTXPRO6000S", {}, "rtx-pro-6000-server"),
    ("RTX PRO 6000 SE", {}, "rtx-pro-6000-server"),
    ("rtx-pro-6000-server", {}, "rtx-pro-6000-server"),
    ("NVIDIA RTX PRO 6000 Blackwell Server Edition", {}, "rtx-pro-6000-server"),
    ("rtx-pro-6000-maxq", {}, "rtx-pro-6000-maxq"),
    ("NVIDIA RTX PRO 6000 Blackwell Max-Q Workstation Edition", {}, "rtx-pro-6000-maxq"),
    ("RTX PRO 6000 WE", {}, "rtx-pro-6000-ws"),
    ("NVIDIA RTX PRO 6000 Blackwell Workstation Edition", {}, "rtx-pro-6000-ws"),
    ("NVIDIA RTX PRO 6000 CC", {}, "rtx-pro-6000"),
    ("RTX 6000 Pro", {}, "rtx-pro-6000"),
    # the SKU beats the label
    ("L40", {"sku": "g3-l40s-large", "provider": "primeintellect"}, "l40s"),
    ("L40", {"sku": "vbm-64c-2048gb-8-l40-gpu", "provider": "vultr"}, "l40"),
    ("", {"sku": "vbm-64c-2048gb-8-a100-gpu", "provider": "vultr"}, "a100"),
    ("L40s 48GB", {}, "l40s"),
    ("NVIDIA L40", {"vram_gib": 40}, "l40"),
    # memory decides
    ("A100", {"vram_gib": 80}, "a100-80gb"),
    ("A100", {"vram_gib": 40}, "a100-40gb"),
    ("A100", {}, "a100"),
    ("A100-80G-sxm4", {}, "a100-80gb-sxm"),
    ("A100_80G", {}, "a100-80gb"),
    ("A100-80GB-SXM", {}, "a100-80gb-sxm"),
    ("A100-80GB", {"provider": "runpod"}, "a100-80gb-pcie"),
    ("A100-PCIe", {"vram_gib": 80}, "a100-80gb-pcie"),
    ("NVIDIA A100 80GB PCle", {}, "a100-80gb-pcie"),
    # other products
    ("A100X", {}, "a100x"),
    ("A800 80G", {}, "a800"),
    ("A800 PCIE", {}, "a800"),
    ("A100-sxm4-80G-DGX", {}, "a100-80gb-sxm"),
    ("NVIDIA H100 80GB HBM3_8", {}, "h100-sxm"),
    ("NVIDIA H100 PCIe NVLink", {}, "h100-pcie"),
    ("H100 NVLink", {}, "h100-pcie"),
    ("H100 NVL", {}, "h100-nvl"),
    ("H100 94 GB", {}, "h100-nvl"),
    ("NVIDIA H100 PCIe 96 GB", {}, "h100-96gb-pcie"),
    ("H100-MEGA", {}, "h100-sxm"),
    ("NVIDIA HGX H100", {}, "h100-sxm"),
    ("HGX B300", {}, "b300-sxm"),
    ("B300 SXM6 AC", {}, "b300-sxm"),
    ("B300 SXM6 PC", {}, "b300-sxm"),
    ("1x B300 SXM6 262GB", {}, "b300-sxm"),
    ("1x B300 SXM6 268GB", {}, "b300-sxm"),
    *(("B200", {"vram_gib": gib}, "b200-sxm") for gib in (180, 183, 184, 186, 192)),
    # superchips contain the names of their GPUs
    ("GB200", {}, "gb200"),
    ("NVIDIA GB200 Grace Blackwell", {}, "gb200"),
    ("GB300", {}, "gb300"),
    ("GH200", {"vram_gib": 96}, "gh200-96gb"),
    ("GH200", {"vram_gib": 144}, "gh200-144gb"),
    ("GH200", {}, "gh200"),
    ("RTX 4070S Ti", {}, "rtx-4070-ti-super"),
    ("RTX 4080S", {}, "rtx-4080-super"),
    ("RTX 4090D", {}, "rtx-4090-d"),
    # modified cards are not "corrected"
    ("RTX 4090 (48 GB mod)", {}, "rtx-4090-48gb"),
    ("RTX 4090", {"vram_gib": 49_140 / 1024}, "rtx-4090-48gb"),
    ("RTX 4080 (32 GB mod)", {}, "rtx-4080-32gb"),
    # the host is not the GPU
    ("RTX 4090 (High freq.)", {}, "rtx-4090"),
    ("massedcompute_A6000-plus", {}, "rtx-a6000"),
    ("A6000", {"sku": "massedcompute_A6000-base"}, "rtx-a6000"),
    # slices, secret chips, debris
    ("NVIDIA L40 x0.25", {"sku": "g6f.2xlarge", "provider": "aws"}, "l4"),
    ("L4", {"vram_gib": 22_888 / 1024 / 8}, "l4"),
    ("A10 1/6", {}, "a10"),
    ("P4*1/4", {}, "p4"),
    ("vGPU8", {}, None),
    ("GPU H", {}, None),
    ("G49E", {}, None),
    ("(96GB)", {}, None),
    ("PPU 810", {}, None),
    ("5090", {"provider": "alicloud", "vram_gib": 96}, None),
    *(("L40S", {"vram_gib": gib}, "l40s") for gib in (45_776 / 1024, 46_068 / 1024, 45, 48, 0)),
]


@pytest.mark.parametrize(("raw", "evidence", "slug"), NASTY)
def test_nasty_spellings(raw: str, evidence: dict[str, object], slug: str | None) -> None:
    assert match_gpu(raw, **evidence).slug == slug  # type: ignore[arg-type]


def test_families_list_what_remains_possible() -> None:
    match = match_gpu("H100", vram_gib=80)
    assert match.slug == "h100"
    assert match.is_family
    assert match.by == "family"
    assert match.candidates == ("h100-sxm", "h100-pcie")


@pytest.mark.parametrize(
    ("raw", "evidence", "by"),
    [
        ("L40S", {}, "name"),
        ("L40", {"sku": "g3-l40s-large"}, "sku"),
        ("H100", {"vram_gib": 94}, "vram"),
        ("H100 SXM5", {"vram_gib": 80}, "form"),
        ("H100", {"vram_gib": 80, "form": "SXM"}, "form"),
        ("H100", {"vram_gib": 80, "provider": "gcp"}, "provider"),
        ("H100", {"vram_gib": 80, "provider": "unheard-of"}, "family"),
        ("H10", {}, "unknown"),
    ],
)
def test_says_which_evidence_decided(raw: str, evidence: dict[str, object], by: str) -> None:
    assert match_gpu(raw, **evidence).by == by  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("raw", "sku", "count"),
    [
        ("L40S", "", None),
        ("8x H100", "", 8),
        ("1x-A40-32-65536", "", 1),
        ("NVIDIA H100 80GB HBM3_8", "", 8),
        ("NVIDIA L40 x0.25", "", 0.25),
        ("A10 1/6", "", 1 / 6),
        ("P4*1/4", "", 0.25),
        ("L40S", "crusoe_L40Sx10", 10),
        ("H100", "n3-H100-SXM5x8", 8),
        ("A100", "8A100.40S.176V", 8),
        ("H200", "gpu-h200-sxm_8gpu-128vcpu-1600gb", 8),
        ("L40S", "g6e.12xlarge", None),
        ("H100", "g3.large.x86", None),
        ("RTX5090", "", None),
        ("MI300X", "", None),
        ("RTX 4090 1/0", "", None),
    ],
)
def test_reads_the_count(raw: str, sku: str, count: float | None) -> None:
    assert match_gpu(raw, sku=sku).count == count


@pytest.mark.parametrize(
    ("raw", "sku", "stated_gib", "slug", "per_gpu_gib"),
    [
        ("L40S", "", 48, "l40s", 48),
        ("L40S", "", 46_068, "l40s", 46_068 / 1024),  # MiB where GiB were promised
        ("L40S", "", 48 / 1024, "l40s", 48),  # GiB divided as if they were MiB
        ("L40S", "", 92_136 / 1024, "l40s", 92_136 / 2048),  # total of two, nobody says so
        ("A100", "gpu_8x_a100", 320, "a100-40gb", 40),  # total of a count that is known
        ("A100", "", 320, "a100", 320),  # 8 x 40 or 4 x 80: left open
        ("RTX 4090", "2x-RTX_4090", 48, "rtx-4090", 24),  # two plain cards, not a modified one
        ("RTX 4090", "1x-RTX_4090", 48, "rtx-4090-48gb", 48),
        ("T4", "", 4, "t4", 4),  # a slice fits no nominal size and is reported as given
        ("A100-80GB", "", None, "a100-80gb", 80),
        ("8x A100 320GB", "", None, "a100-40gb", 320),
    ],
)
def test_reads_memory(raw: str, sku: str, stated_gib: float | None, slug: str, per_gpu_gib: float) -> None:
    match = match_gpu(raw, sku=sku, vram_gib=stated_gib)
    assert (match.slug, match.vram_gib) == (slug, pytest.approx(per_gpu_gib))


@pytest.mark.parametrize("gib", [0, -80, float("nan"), float("inf")])
def test_a_figure_that_says_nothing_is_not_evidence(gib: float) -> None:
    assert match_gpu("A100", vram_gib=gib) == match_gpu("A100")


def test_a_unit_in_the_name_beats_the_field_and_a_bare_number_does_not() -> None:
    assert match_gpu("A100 (80 GB)", vram_gib=40).slug == "a100-80gb"
    assert match_gpu("a100-pcie-80", vram_gib=40).slug == "a100-40gb-pcie"
    assert match_gpu("a100-pcie-80").slug == "a100-80gb-pcie"


def test_a_bare_number_is_a_name_unless_the_memory_contradicts() -> None:
    assert match_gpu("4090").slug == "rtx-4090"
    assert match_gpu("3080Ti (12 GB)").slug == "rtx-3080-ti"
    assert match_gpu("5090", vram_gib=96).slug is None


def test_vcpus_in_a_sku_are_not_a_gpu() -> None:
    assert match_gpu("NVIDIA A2", sku="nva2-a16-ram32-disk50-perf2").slug == "a2"
    assert match_gpu("", sku="n1-a16-large").slug is None


def test_a_laptop_gpu_is_another_product() -> None:
    assert match_gpu("NVIDIA GeForce RTX 4090 Laptop GPU").slug is None


@pytest.mark.parametrize("form", ["NVLink", "", "Ethernet"])
def test_an_interconnect_is_not_a_form(form: str) -> None:
    assert match_gpu("NVIDIA H200", form=form).slug == "h200"


def test_pcie_means_nvl_where_no_other_card_exists() -> None:
    assert match_gpu("H200 PCIe").slug == "h200-nvl"
    assert match_gpu("H100 PCIe").slug == "h100-pcie"


def test_every_slug_stands_for_itself() -> None:
    assert {slug: match_gpu(slug).slug for slug in gpu_names()} == {s: s for s in gpu_names()}


def test_family_members_let_a_filter_through() -> None:
    assert family_members("h100") == ("h100", "h100-sxm", "h100-pcie", "h100-nvl")
    assert family_members("l40s") == ("l40s",)
    assert {"a100-80gb", "a100-pcie", "a100-80gb-sxm"} < set(family_members("a100"))
    with pytest.raises(UnknownName) as caught:
        family_members("h10")
    assert caught.value.code == "unknown-gpu"
    assert "h100" in caught.value.nearest


def test_nominal_memory_is_said_only_where_there_is_one() -> None:
    assert nominal_vram_gib("l40s") == 48
    assert nominal_vram_gib("a100-80gb") == 80
    assert nominal_vram_gib("a100") is None
    assert nominal_vram_gib("rtx-3060") is None
    assert nominal_vram_gib("qualcomm-ai-100") is None
    assert nominal_vram_gib("no-such-gpu") is None


def test_provider_rules_name_providers_as_matching_folds_them() -> None:
    table = gpu_table()
    named = {*table.provider_defaults, *(provider for provider, _ in table.provider_names)}
    assert {provider for provider in named if not provider.isalnum()} == set()
    assert match_gpu("A100 NVLink", provider="Core-Weave").slug == "a100-sxm"
