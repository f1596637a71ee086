"""Weights: what engines' logs say they loaded, and how several GPUs share them."""

from __future__ import annotations

import pytest

from rackrate.catalog.architecture import Architecture
from rackrate.fit.parallel import Layout
from rackrate.fit.precision import find_precision
from rackrate.fit.term import GIB
from rackrate.fit.weights import largest_matrix_bytes, weight_bytes, weights_term
from rackrate.sizing import find_weights


def model(slug: str) -> Architecture:
    return find_weights(slug).arch


@pytest.mark.parametrize(
    ("slug", "precision", "tensor", "gib"),
    [
        ("llama-3.1-8b", "bf16", 1, 14.99),  # fit-144, vLLM's log in a book on AI engineering
        ("qwen3-32b", "bf16", 1, 61.03),  # fit-117, llm-d-planner
        ("qwen3-32b", "bf16", 2, 30.59),  # fit-121
        ("qwen2.5-1.5b", "fp16", 1, 2.89),  # fit-139, a notebook's log
        ("deepseek-r1-0528-qwen3-8b", "fp16", 4, 3.85),  # fit-152
        ("qwen3-30b-a3b", "bf16", 4, 14.2474),  # fit-165, vllm-project/vllm#17469
        ("gpt-oss-120b", "mxfp4", 1, 64.38),  # fit-101
    ],
)
def test_what_vllm_says_it_loaded(slug: str, precision: str, tensor: int, gib: float) -> None:
    loaded = weight_bytes(model(slug), find_precision(precision), Layout(tensor=tensor), "vllm") / GIB
    assert loaded == pytest.approx(gib, rel=0.01)


@pytest.mark.parametrize(
    ("slug", "recipe", "mib"),
    [
        ("qwen2.5-32b", "q4_k_m", 18508.35),  # fit-188: the embedding stays on the host
    ],
)
def test_what_llama_cpp_puts_on_the_gpu(slug: str, recipe: str, mib: float) -> None:
    loaded = weight_bytes(model(slug), find_precision(recipe), engine="llama.cpp") / 2**20
    assert loaded == pytest.approx(mib, rel=0.003)


def test_16_bit_weights_are_two_bytes_a_parameter() -> None:
    assert weight_bytes(model("llama-3.1-70b"), find_precision("bf16")) == 2 * 70_553_706_496


def test_nf4_of_llama_8b_by_hand() -> None:
    """Linear layers 6,979,321,856 numbers at 4.5 bits; embedding and head 2 x 128256 x 4096 and 65 norms."""
    linear = 32 * (2 * 4096 * 4096 + 2 * 4096 * 1024 + 3 * 4096 * 14336)
    wide = 2 * 128256 * 4096 + 65 * 4096
    assert linear == 6_979_321_856
    assert weight_bytes(model("llama-3.1-8b"), find_precision("nf4")) == linear * 4.5 / 8 + wide * 2


def test_vllm_pads_the_vocabulary_to_64_for_each_gpu() -> None:
    arch = model("qwen3-32b")  # 151,936 divides by 64 and not by 64 x 4
    plain = weight_bytes(arch, find_precision("bf16"), Layout(tensor=4))
    padded = weight_bytes(arch, find_precision("bf16"), Layout(tensor=4), "vllm")
    rows = -(-151_936 // 256) * 256 - 151_936
    sines = 40_960 * 128 * 2  # the rotary table, whole on each
    assert padded - plain == pytest.approx(2 * rows * 5120 * 2 / 4 + sines)


def test_few_key_heads_are_copied() -> None:
    """Qwen2.5-7B has 4 key heads: on 7 GPUs (28 query heads) each holds a whole one."""
    arch = model("qwen2.5-7b")
    keys = [t for t in arch.tensors if t.split == "kv" and t.is_matrix]
    one = sum(t.n_params for t in keys)
    on_seven = weight_bytes(arch, find_precision("bf16"), Layout(tensor=7))
    others = sum(t.n_params for t in arch.tensors if t.split in ("column", "row", "vocab"))
    vectors = sum(t.n_params for t in arch.tensors if t.split == "kv" and not t.is_matrix)
    whole = sum(t.n_params for t in arch.tensors if t.split == "whole")
    assert on_seven == pytest.approx(2 * (others / 7 + (one + vectors) / 4 + whole))


def test_experts_go_whole_to_a_gpu() -> None:
    arch = model("mixtral-8x7b")
    experts = arch.params_of("experts")
    spread = weight_bytes(arch, find_precision("bf16"), Layout(expert=8))
    assert spread == 2 * (arch.n_params - experts + experts / 8)


def test_a_stage_of_a_pipeline_holds_its_layers_and_one_end() -> None:
    arch = model("llama-3.1-8b")
    ends = 2 * 128256 * 4096
    stage = weight_bytes(arch, find_precision("bf16"), Layout(pipeline=4)) / 2
    layers = arch.n_params - ends
    assert layers / 4 + ends / 2 <= stage <= layers / 4 + ends + 4096


def test_the_files_headers_decide_where_they_were_read() -> None:
    arch = model("llama-3.1-8b")
    term = weights_term(arch, find_precision("bf16"), Layout(), "transformers", 16_060_522_496)
    assert term.gib == pytest.approx(16_060_522_496 / GIB)
    half = weights_term(arch, find_precision("bf16"), Layout(tensor=2), "transformers", 16_060_522_496)
    assert half.gib == pytest.approx(term.gib / 2, rel=0.001)


def test_the_largest_matrix() -> None:
    assert largest_matrix_bytes(model("llama-3.1-70b")) == 2 * 28672 * 8192


def test_published_parameter_counts() -> None:
    """Totals in llama.cpp's logs and reports (notes, section 4)."""
    found = {
        slug: round(model(slug).n_params / 1e9, 2) for slug in ("llama-3.1-70b", "qwen2.5-32b", "gemma-3-27b")
    }
    assert found == {"llama-3.1-70b": 70.55, "qwen2.5-32b": 32.76, "gemma-3-27b": 27.43}
