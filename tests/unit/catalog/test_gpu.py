"""The facts of GPUs: reading, finding, and the small answers that rules ask for."""

from __future__ import annotations

import json

import pytest

from rackrate.catalog import gpu as module
from rackrate.catalog.gpu import FACTS, Gpu, all_gpus, find_gpu, load_gpu
from rackrate.errors import CatalogInvalid, UnknownName


def test_there_is_one_gpu_a_file() -> None:
    assert len(all_gpus()) == 85
    assert {gpu.segment for gpu in all_gpus()} == {
        *("datacenter", "workstation", "consumer", "other-accelerator")
    }


def test_the_l40s_is_right_where_others_are_wrong() -> None:
    l40s = load_gpu("l40s")
    assert (l40s.tdp_w.value, [claim.value for claim in l40s.tdp_w.also]) == (350, [300])
    assert l40s.fp8_tensor_tflops.value == 733
    assert l40s.fp8_tensor_sparse_tflops.value == 1466
    assert not l40s.msrp_usd
    assert l40s.msrp_usd.unknown == "NVIDIA publishes no list price"
    assert l40s.memory_gib.value == 48
    assert l40s.memory_visible_gib.value == pytest.approx(46_068 / 1024)
    assert not l40s.has_nvlink
    assert not l40s.has_mig
    assert l40s.has_graphics
    assert l40s.has_video_encoder


def test_capabilities_follow_from_facts() -> None:
    assert load_gpu("h100-sxm").has_nvlink
    assert load_gpu("h100-sxm").has_mig
    assert not load_gpu("h100-sxm").has_graphics
    assert not load_gpu("mi300x").has_nvlink
    assert load_gpu("mi300x").nvlink_gb_per_s.value == 896
    assert not load_gpu("a100-80gb-sxm").has_video_encoder


def test_dense_tflops_by_precision() -> None:
    l40s = load_gpu("l40s")
    assert l40s.dense_tflops("bf16") is l40s.bf16_tensor_tflops
    assert l40s.dense_tflops("fp32").value == 91.6
    assert l40s.dense_tflops("fp4").unknown == "the part has no FP4 tensor cores"
    with pytest.raises(UnknownName) as caught:
        l40s.dense_tflops("fp9")
    assert caught.value.code == "unknown-precision"


@pytest.mark.parametrize("gpu", all_gpus(), ids=lambda gpu: gpu.slug)
def test_each_gpu_is_plain_data(gpu: Gpu) -> None:
    data = json.loads(json.dumps(gpu.to_dict()))
    assert data["slug"] == gpu.slug
    assert tuple(data["facts"]) == FACTS
    assert all("value" in fact for fact in data["facts"].values())


@pytest.mark.parametrize(
    "name", ["l40s", "L40S", "nvidia-l40s", "NVIDIA L40S", "L40s 48GB", "L 40 S", "l40S-48gb"]
)
def test_finds_a_gpu_by_any_spelling(name: str) -> None:
    assert find_gpu(name) is load_gpu("l40s")


def test_a_family_is_ambiguous_and_lists_its_members() -> None:
    with pytest.raises(UnknownName) as caught:
        find_gpu("H100")
    assert caught.value.code == "unknown-gpu"
    assert caught.value.nearest == ("h100-sxm", "h100-pcie", "h100-nvl")
    assert "family" in caught.value.message


def test_an_unknown_name_offers_the_nearest() -> None:
    with pytest.raises(UnknownName) as caught:
        find_gpu("l40x")
    assert set(caught.value.nearest) & {"l40", "l40s"}
    with pytest.raises(UnknownName) as caught:
        load_gpu("L40S")
    assert "l40s" in caught.value.nearest


def test_a_product_without_facts_says_so() -> None:
    with pytest.raises(UnknownName) as caught:
        find_gpu("RTX 3060")
    assert "data sheet" in caught.value.message


def test_a_file_of_another_schema_is_refused() -> None:
    good = {
        "slug": "x",
        "name": "X",
        "vendor": "V",
        "architecture": "A",
        "segment": "consumer",
        "memory_label": "1 GB",
        "flops_sources": [],
    }
    with pytest.raises(CatalogInvalid):
        module._from_table({**good, "facts": {"tdp": {"value": 1, "source": "s"}}})
    with pytest.raises(CatalogInvalid):
        module._from_table({**good, "watts": 1, "facts": {}})
    assert module._from_table({**good, "facts": {}}).tdp_w.unknown
