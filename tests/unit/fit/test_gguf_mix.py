"""GGUF recipes against the sizes that others published."""

from __future__ import annotations

import pytest

from rackrate.catalog.architecture import Architecture, read_config
from rackrate.fit.gguf_mix import FUSED, RECIPES, Shape, types_of
from rackrate.fit.precision import find_precision
from rackrate.fit.term import GIB
from rackrate.fit.weights import weight_bytes
from rackrate.sizing import find_weights

TOKENIZER_BYTES = 12e6  # a file also holds names and the tokenizer, up to about this


def model(slug: str) -> Architecture:
    return find_weights(slug).arch


def file_bytes(arch: Architecture, recipe: str) -> float:
    return weight_bytes(arch, find_precision(f"gguf:{recipe}"))


# llama.cpp, tools/quantize/README.md @311c2c9f: "bits/weight" of Llama-3.1-8B, 4 digits.
LLAMA_8B = {
    "IQ1_S": 2.0042, "IQ1_M": 2.1460, "IQ2_XXS": 2.3824, "IQ2_XS": 2.5882, "IQ2_S": 2.7403,
    "IQ2_M": 2.9294, "IQ3_XXS": 3.2548, "IQ3_XS": 3.4977, "IQ3_S": 3.6606, "IQ3_M": 3.7628,
    "IQ4_XS": 4.4597, "IQ4_NL": 4.6818, "Q2_K_S": 2.9697, "Q2_K": 3.1593, "Q3_K_S": 3.6429,
    "Q3_K_L": 4.2979, "Q4_K_S": 4.6672, "Q4_K_M": 4.8944, "Q5_K_S": 5.5704, "Q5_K_M": 5.7036,
    "Q6_K": 6.5633, "Q8_0": 8.5008, "F16": 16.0005,
}  # fmt: skip


@pytest.mark.parametrize("recipe", LLAMA_8B)
def test_llama_8b_has_the_bits_of_llama_cpps_own_table(recipe: str) -> None:
    arch = model("llama-3.1-8b")
    bits = file_bytes(arch, recipe) * 8 / 8_030_261_248
    assert bits == pytest.approx(LLAMA_8B[recipe], rel=1e-4)


# Sizes in the file lists of the hub, GB with the digits shown there.
FILES = {
    # MaziyarPanahi/Mixtral-8x7B-v0.1-GGUF, mradermacher/Mixtral-8x7B-v0.1-GGUF (IQ3, IQ4)
    "mixtral-8x7b": {
        "Q2_K": 17.3, "Q3_K_S": 20.4, "Q3_K_M": 22.5, "Q3_K_L": 24.2, "Q4_K_S": 26.7, "Q4_K_M": 28.4,
        "Q5_K_S": 32.2, "Q5_K_M": 33.2, "Q6_K": 38.4, "Q8_0": 49.6, "Q4_0": 26.4, "Q5_0": 32.2,
        "IQ3_XS": 19.4, "IQ3_S": 20.4, "IQ3_M": 21.4, "IQ4_XS": 25.4,
    },
    # bartowski/Qwen2-7B-Instruct-GGUF
    "qwen2-7b": {
        "IQ2_XS": 2.47, "IQ2_S": 2.60, "IQ2_M": 2.78, "IQ3_XXS": 3.11, "IQ3_XS": 3.35, "IQ3_M": 3.57,
        "Q2_K": 3.02, "Q3_K_S": 3.49, "Q3_K_M": 3.81, "Q3_K_L": 4.09, "Q4_K_M": 4.68,
    },
    # cognitivecomputations/dolphin-2.9.2-qwen2-72b-gguf: rows of 29568, 80 layers
    "qwen2-72b": {
        "Q2_K": 29.8, "Q3_K_S": 34.5, "Q3_K_M": 37.7, "Q3_K_L": 39.5, "Q4_K_S": 43.9, "Q4_K_M": 47.4,
    },
    # mav23/falcon-7b-GGUF: rows of 4544, one matrix for query, key and value, an output of its own
    "falcon-7b": {
        "Q2_K": 3.86, "Q3_K_S": 3.86, "Q3_K_M": 4.14, "Q3_K_L": 4.38, "Q4_0": 4.21, "Q4_1": 4.64,
        "Q4_K_S": 4.75, "Q4_K_M": 4.98, "Q5_0": 5.08, "Q5_1": 5.51,
    },
    # mradermacher and bartowski/Phi-3-mini-4k-instruct-GGUF: one matrix for query, key and value
    "phi-3-mini": {
        "IQ1_S": 0.842, "IQ1_M": 0.917, "IQ2_XXS": 1.04, "IQ2_XS": 1.15, "IQ2_S": 1.22, "IQ2_M": 1.32,
        "IQ3_XXS": 1.51, "IQ3_XS": 1.63, "IQ3_S": 1.68, "IQ3_M": 1.86, "IQ4_XS": 2.08, "Q2_K": 1.42,
        "Q3_K_S": 1.68, "Q3_K_M": 1.96, "Q3_K_L": 2.09, "Q4_K_S": 2.19, "Q4_K_M": 2.39, "Q5_K_S": 2.64,
        "Q5_K_M": 2.82, "Q6_K": 3.14, "Q8_0": 4.06,
    },
    # RichardErkhov/Qwen_-_Qwen-7B-gguf is left out: its projections are fused, ours are not
}  # fmt: skip


@pytest.mark.parametrize(
    ("slug", "recipe"), [(slug, name) for slug, sizes in FILES.items() for name in sizes]
)
def test_files_have_their_published_size(slug: str, recipe: str) -> None:
    published = FILES[slug][recipe]
    digit = 0.1 if published > 10 else 0.001 if published < 1 else 0.01
    ours = file_bytes(model(slug), recipe) / 1e9
    assert published - 0.5 * digit - 0.01 <= ours <= published + 0.51 * digit


def test_magnum_72b_is_47_4_gb_because_its_rows_do_not_divide() -> None:
    """The file of fit-210: 47.4 GB, 44.14 GiB, 5.2 bits a weight; with rows of 29696 it were 4.85."""
    size = file_bytes(model("magnum-v4-72b"), "q4_k_m")
    assert size / 1e9 == pytest.approx(47.4, abs=0.05)
    assert size / GIB == pytest.approx(44.1447, abs=0.05)
    assert size * 8 / model("magnum-v4-72b").n_params == pytest.approx(5.2, abs=0.03)


def test_llama_70b_logs() -> None:
    """Fit-184, fit-187: start-up logs; the first is the sum over all devices, the host among them."""
    arch = model("llama-3.1-70b")
    assert file_bytes(arch, "q4_k_s") / GIB == pytest.approx(37.569, abs=0.002)
    assert file_bytes(arch, "q4_0") / GIB == pytest.approx(37.22, abs=0.01)


def test_a_tied_embedding_is_stored_once_as_the_output() -> None:
    tied = {"model_type": "llama", "hidden_size": 2048, "intermediate_size": 8192, "num_hidden_layers": 16,
            "num_attention_heads": 32, "num_key_value_heads": 8, "vocab_size": 128256,
            "max_position_embeddings": 131072, "tie_word_embeddings": True}  # fmt: skip
    both = read_config(tied | {"tie_word_embeddings": False}, "untied")
    once = file_bytes(read_config(tied, "tied"), "q4_k_m")
    assert file_bytes(both, "q4_k_m") - once == 128256 * 2048 * 4.5 / 8  # the embedding in Q4_K beside it


def test_places_and_segments_of_an_encoder_are_never_narrowed() -> None:
    arch = model("bert-large-uncased")
    outer = [t for t in arch.tensors if t.name in ("position_embd", "token_types")]
    precision = find_precision("gguf:q4_k_m")
    assert {precision.bytes_of(t, arch) / t.n_params for t in outer} == {4.0}


def share_of(counts: dict[str, int], kind: str) -> float:
    return counts.get(kind, 0) / sum(counts.values())


def test_half_of_the_layers_get_more_bits() -> None:
    """Of 32 layers: the first 4, the last 4, and every third between: 5, 8, ... hand counted 16."""
    shape = Shape(32, 4)
    assert types_of(RECIPES["q4_k_m"], "ffn_down", 32, shape) == {"Q6_K": 16, "Q4_K": 16}
    assert types_of(RECIPES["q4_k_s"], "ffn_down", 32, shape) == {"Q5_K": 4, "Q4_K": 28}
    assert types_of(RECIPES["q3_k_m"], "ffn_down", 32, shape) == {"Q5_K": 2, "Q4_K": 30}


def test_eighty_layers_raise_the_value_projection() -> None:
    deep, flat = Shape(80, 8), Shape(64, 8)
    assert types_of(RECIPES["q3_k_s"], "attn_v", 80, deep) == {"Q5_K": 80}
    assert types_of(RECIPES["q3_k_s"], "attn_v", 64, flat) == {"Q3_K": 64}
    assert types_of(RECIPES["q4_k_m"], "attn_v", 80, deep).keys() == {"Q6_K", "Q5_K"}
    assert types_of(RECIPES["q6_k"], "attn_v", 80, deep) == {"Q6_K": 80}


def test_eight_experts_get_precise_attention() -> None:
    eight, many = Shape(32, 4, n_experts=8), Shape(48, 8, n_experts=128)
    for name in ("attn_k", "attn_v"):
        assert types_of(RECIPES["q4_k_m"], name, 32, eight) == {"Q8_0": 32}
    assert types_of(RECIPES["q4_k_m"], "attn_output", 32, eight) == {"Q5_K": 32}
    assert types_of(RECIPES["q5_k_m"], "attn_output", 32, eight) == {"Q5_K": 32}
    assert types_of(RECIPES["q4_k_m"], "attn_k", 48, many) == {"Q4_K": 48}
    assert types_of(RECIPES["iq2_xs"], "attn_v", 48, many) == {"Q4_K": 48}


def test_experts_down_projections_follow_the_recipe() -> None:
    counts = types_of(RECIPES["q4_k_m"], "ffn_down_exps", 48, Shape(48, 8, n_experts=128))
    assert share_of(counts, "Q6_K") == 0.5


def test_few_queries_a_key_make_the_value_projection_expensive() -> None:
    assert types_of(RECIPES["q2_k"], "attn_v", 32, Shape(32, 1)) == {"Q3_K": 32}
    assert types_of(RECIPES["q2_k"], "attn_v", 32, Shape(32, 4)) == {"Q4_K": 32}


def test_a_fused_projection_gets_one_type_in_all_layers() -> None:
    shape = Shape(32, 1)
    kinds = {
        name: types_of(RECIPES[name], FUSED, 32, shape) for name in ("q3_k_m", "q4_k_m", "q5_k_m", "q6_k")
    }
    assert kinds == {
        "q3_k_m": {"Q4_K": 32},
        "q4_k_m": {"Q5_K": 32},
        "q5_k_m": {"Q6_K": 32},
        "q6_k": {"Q6_K": 32},
    }


@pytest.mark.parametrize("name", [name for name in RECIPES if name.startswith(("q", "iq"))])
def test_every_layer_gets_exactly_one_type(name: str) -> None:
    for n_layers in (1, 2, 7, 16, 61, 80, 126):
        for tensor in ("attn_q", "attn_k", "attn_v", "attn_output", "ffn_gate", "ffn_up", "ffn_down"):
            counts = types_of(RECIPES[name], tensor, n_layers, Shape(n_layers, 8, 8))
            assert sum(counts.values()) == n_layers


def test_gpt_oss_keeps_its_mxfp4_experts() -> None:
    """ggml-org's gpt-oss-20b-mxfp4.gguf is 12.1 GB; the experts are MXFP4, the rest Q8_0."""
    assert file_bytes(model("gpt-oss-20b"), "mxfp4") / 1e9 == pytest.approx(12.1, rel=0.01)
