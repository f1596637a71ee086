"""In which ways a model may be served: kernels, layouts, engines, each by a rule that can be told."""

from __future__ import annotations

import pytest

from rackrate.catalog.gpu import load_gpu
from rackrate.fit.engine import ENGINES
from rackrate.fit.precision import PRECISIONS
from rackrate.perf.chip import chip_of
from rackrate.plan.ways import Way, engines, is_sensible, is_tried, layouts, precisions, takes
from rackrate.sizing import find_weights

VLLM, SGLANG, LLAMA = ENGINES["vllm"], ENGINES["sglang"], ENGINES["llama.cpp"]


@pytest.mark.parametrize(
    ("gpu", "packing", "is_run"),
    [
        ("l40s", "fp8", True),
        ("a10", "fp8", True),  # Marlin unpacks what the card cannot multiply
        ("t4", "fp8", False),  # before compute capability 8.0
        ("t4", "int4", True),
        ("v100-16gb-pcie", "wide", True),
        ("v100-16gb-pcie", "int4", False),
        ("mi300x", "fp8", True),
        ("mi300x", "int8", False),
        ("l40s", "gguf", False),  # llama.cpp's own files
    ],
)
def test_a_card_takes_what_vllm_has_kernels_for(gpu: str, packing: str, *, is_run: bool) -> None:
    assert takes(load_gpu(gpu), chip_of(load_gpu(gpu)), VLLM, packing) is is_run


def test_llama_cpp_takes_its_own_files_and_wide_weights_alone() -> None:
    l40s = load_gpu("l40s")
    taken = {
        packing for packing in ("gguf", "wide", "fp8", "int4") if takes(l40s, chip_of(l40s), LLAMA, packing)
    }
    assert taken == {"gguf", "wide"}


def test_what_saves_little_is_not_tried() -> None:
    assert [p.name for p in precisions(PRECISIONS["bf16"], VLLM)] == ["bf16", "fp8", "int8", "int4"]
    assert [p.name for p in precisions(PRECISIONS["fp8"], VLLM)] == ["fp8", "int4"]
    assert [p.name for p in precisions(PRECISIONS["int4"], VLLM)] == ["int4"]
    assert [p.name for p in precisions(PRECISIONS["bf16"], VLLM, "int8")] == ["int8"]


def test_every_layout_uses_all_its_gpus_and_divides_the_heads() -> None:
    arch = find_weights("llama-3.1-70b").arch  # 64 heads
    assert set(layouts(arch, VLLM, 4)) == {(1, 1), (1, 2), (2, 1), (1, 4), (2, 2), (4, 1)}
    assert all(tensor == 1 for tensor, _ in layouts(arch, LLAMA, 8))
    odd = find_weights("qwen2.5-0.5b").arch  # 14 heads
    assert {tensor for tensor, _ in layouts(odd, VLLM, 8)} == {1, 2}


def test_stages_are_for_cards_without_a_fabric() -> None:
    sizes = ((1, 1), (1, 2), (2, 1))
    staged = Way(VLLM, PRECISIONS["bf16"], 1, 2)
    assert is_sensible(staged, chip_of(load_gpu("l40s")), sizes)
    assert not is_sensible(staged, chip_of(load_gpu("h100-sxm")), sizes)
    assert is_sensible(staged, chip_of(load_gpu("h100-sxm")), ((1, 1), (1, 2)))  # its heads do not divide


def test_engines_that_nobody_named() -> None:
    assert engines("") == (VLLM, SGLANG)
    assert engines("sglang") == (SGLANG,)
    assert engines("", "gguf:q4_k_m") == (LLAMA,)
    assert is_tried(SGLANG, chip_of(load_gpu("h200-sxm")))
    assert not is_tried(SGLANG, chip_of(load_gpu("l40s")))  # where its serving was never measured
    assert all(is_tried(VLLM, chip_of(load_gpu(gpu))) for gpu in ("l40s", "t4", "mi300x"))
