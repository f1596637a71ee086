"""Workloads: what a card can do, what it cannot, and what nobody told."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rackrate.catalog.fact import Fact
from rackrate.catalog.gpu import Gpu, all_gpus, load_gpu
from rackrate.catalog.workload import (
    CAPABILITIES,
    VERDICTS,
    all_workloads,
    capabilities_missing,
    capabilities_unknown,
    find_workload,
    suitable_workloads,
)
from rackrate.errors import UnknownName


def _verdicts(gpu: Gpu) -> dict[str, str]:
    return {judged.workload.slug: judged.verdict for judged in suitable_workloads(gpu)}


def _reasons(gpu: Gpu, slug: str) -> str:
    return " ".join(
        reason
        for judged in suitable_workloads(gpu)
        if judged.workload.slug == slug
        for reason in judged.reasons
    )


def test_the_l40s_does_all_but_tightly_coupled_training() -> None:
    assert _verdicts(load_gpu("l40s")) == {
        "llm-serving": "suitable",
        "image-generation": "suitable",
        "asr": "suitable",
        "finetune-lora": "suitable",
        "finetune-qlora": "suitable",
        "bert-sweep": "suitable",
        "genome-alignment": "suitable",
        "game-streaming": "suitable",
        "rendering": "suitable",
        "video-transcode": "suitable",
        "finetune-full": "possible",
        "tightly-coupled-training": "unsuitable",
    }
    assert "NVLink" in _reasons(load_gpu("l40s"), "tightly-coupled-training")
    assert "graphics API" in _reasons(load_gpu("l40s"), "game-streaming")


def test_the_h100_trains_and_does_not_draw() -> None:
    verdicts = _verdicts(load_gpu("h100-sxm"))
    assert verdicts["tightly-coupled-training"] == "suitable"
    assert verdicts["llm-serving"] == "suitable"
    assert verdicts["game-streaming"] == "unsuitable"
    assert verdicts["video-transcode"] == "unsuitable"


@pytest.mark.parametrize(
    ("slug", "workload", "verdict"),
    [
        ("h100-sxm", "rendering", "unsuitable"),  # compute only: no API listed, no RT cores
        ("v100-16gb-sxm", "rendering", "possible"),  # draws, but traces no rays in hardware
        ("l40s", "rendering", "suitable"),
        ("p100-pcie", "llm-serving", "unsuitable"),  # before tensor cores
        ("rtx-3090", "tightly-coupled-training", "possible"),  # NVLink by bridge, in pairs
        ("mi300x", "tightly-coupled-training", "suitable"),  # Infinity Fabric, all to all
        ("mi300x", "genome-alignment", "unsuitable"),
        ("mi300x", "finetune-qlora", "possible"),
        ("tpu-v5e", "tightly-coupled-training", "unknown"),
    ],
)
def test_the_verdict_follows_the_facts(slug: str, workload: str, verdict: str) -> None:
    assert _verdicts(load_gpu(slug))[workload] == verdict


def test_a_link_without_a_kind_may_be_a_bridge() -> None:
    gpu = replace(load_gpu("h100-sxm"), nvlink_kind=Fact(None, unknown="not stated"))
    assert CAPABILITIES["fabric"](gpu) is None


def test_a_card_without_any_stated_number_is_not_judged() -> None:
    nothing: Fact[float] = Fact(None, unknown="not stated")
    gpu = replace(
        load_gpu("mi300x"),
        fp16_tensor_tflops=nothing,
        bf16_tensor_tflops=nothing,
        fp8_tensor_tflops=nothing,
    )
    assert CAPABILITIES["tensor_cores"](gpu) is None


def test_the_missing_needs_are_named() -> None:
    assert capabilities_missing(find_workload("tightly-coupled-training"), load_gpu("l40s")) == ["nvlink"]
    assert "nvenc" in capabilities_missing(find_workload("game-streaming"), load_gpu("h100-sxm"))
    assert capabilities_missing(find_workload("game-streaming"), load_gpu("l40s")) == []
    assert capabilities_missing(find_workload("genome-alignment"), load_gpu("mi300x")) == ["cuda"]


def test_what_is_not_known_is_not_missing() -> None:
    gpu = replace(load_gpu("l40s"), nvenc=Fact(None, unknown="nobody looked"))
    streaming = find_workload("game-streaming")
    assert capabilities_missing(streaming, gpu) == []
    assert capabilities_unknown(streaming, gpu) == ["nvenc"]
    assert _verdicts(gpu)["game-streaming"] == "unknown"
    assert "NVENC, not known" in _reasons(gpu, "game-streaming")


def test_what_is_missing_outweighs_what_is_not_known() -> None:
    gpu = replace(
        load_gpu("l40s"),
        nvenc=Fact(None, unknown="nobody looked"),
        graphics_apis=replace(load_gpu("l40s").graphics_apis, value=()),
    )
    assert _verdicts(gpu)["game-streaming"] == "unsuitable"


@pytest.mark.parametrize("gpu", all_gpus(), ids=lambda gpu: gpu.slug)
def test_every_gpu_gets_a_verdict_with_reasons_on_every_workload(gpu: Gpu) -> None:
    judged = suitable_workloads(gpu)
    assert {j.workload for j in judged} == set(all_workloads())
    assert all(j.reasons for j in judged)
    ranks = [VERDICTS.index(j.verdict) for j in judged]
    assert ranks == sorted(ranks)


def test_every_capability_is_asked_for_by_some_workload() -> None:
    asked = {need.capability for w in all_workloads() for need in w.needs + w.prefers}
    assert asked == set(CAPABILITIES)


@pytest.mark.parametrize("name", ["llm-serving", "LLM Serving", "llm_serving"])
def test_a_workload_is_found_by_name(name: str) -> None:
    assert find_workload(name).slug == "llm-serving"


def test_an_unknown_workload_gets_the_nearest() -> None:
    with pytest.raises(UnknownName) as raised:
        find_workload("llm-servng")
    assert raised.value.nearest[0] == "llm-serving"
