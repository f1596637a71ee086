"""Precisions: what a name and what a real `quantization_config` leave in 16 bit."""

from __future__ import annotations

from typing import Any

import pytest

from rackrate.catalog.architecture import Architecture
from rackrate.errors import UnknownName
from rackrate.fit.declared import from_config
from rackrate.fit.precision import ALIASES, PRECISIONS, find_precision, precision_in
from rackrate.fit.term import GIB
from rackrate.fit.weights import weight_bytes
from rackrate.sizing import find_weights


def model(slug: str) -> Architecture:
    return find_weights(slug).arch


def gigabytes(slug: str, config: dict[str, Any]) -> float:
    arch = model(slug)
    return weight_bytes(arch, from_config(config, arch)) / 1e9


GPTQ = {
    "bits": 4,
    "damp_percent": 0.1,
    "desc_act": True,
    "group_size": 128,
    "quant_method": "gptq",
    "sym": True,
}
AWQ = {"bits": 4, "group_size": 128, "modules_to_not_convert": None, "quant_method": "awq",
       "version": "gemm", "zero_point": True}  # fmt: skip
FP8_BLOCK = {"activation_scheme": "dynamic", "fmt": "e4m3", "quant_method": "fp8",
             "weight_block_size": [128, 128]}  # fmt: skip
FP8_STATIC = {"activation_scheme": "static", "ignored_layers": ["lm_head"], "quant_method": "fp8"}
BNB = {"_load_in_4bit": True, "_load_in_8bit": False, "bnb_4bit_compute_dtype": "bfloat16",
       "bnb_4bit_quant_storage": "uint8", "bnb_4bit_quant_type": "nf4", "bnb_4bit_use_double_quant": True,
       "llm_int8_skip_modules": None, "llm_int8_threshold": 6.0, "load_in_4bit": True, "load_in_8bit": False,
       "quant_method": "bitsandbytes"}  # fmt: skip
GPT_OSS = {"modules_to_not_convert": ["model.layers.*.self_attn", "model.layers.*.mlp.router",
                                      "model.embed_tokens", "lm_head"], "quant_method": "mxfp4"}  # fmt: skip
MLX = {"group_size": 64, "bits": 4, "mode": "affine"}


def compressed(
    bits: int, kind: str, strategy: str, ignore: list[str], group: int | None = None
) -> dict[str, Any]:
    weights = {
        "actorder": None,
        "dynamic": False,
        "group_size": group,
        "num_bits": bits,
        "observer": "minmax",
        "strategy": strategy,
        "symmetric": True,
        "type": kind,
    }
    return {
        "config_groups": {"group_0": {"input_activations": None, "targets": ["Linear"], "weights": weights}},
        "ignore": ignore,
        "kv_cache_scheme": None,
        "quant_method": "compressed-tensors",
        "quantization_status": "compressed",
    }


@pytest.mark.parametrize(
    ("config", "matrix"),
    [
        (GPTQ, "int4-g128"),
        (GPTQ | {"bits": 8, "group_size": 32}, "int8-g32"),
        (GPTQ | {"bits": 2, "group_size": 64}, "int2-g64"),
        (GPTQ | {"bits": 3}, "int3-g128"),
        (GPTQ | {"group_size": -1}, "int4-row"),
        (AWQ, "int4-g128"),
        (
            {"zero_point": True, "q_group_size": 64, "w_bit": 4, "version": "GEMM", "quant_method": "awq"},
            "int4-g64",
        ),
        (AWQ | {"quant_method": "AWQ"}, "int4-g128"),
        ({"quant_method": "auto-round", "bits": 2, "group_size": 32, "sym": True}, "int2-g32"),
        (
            {"quant_method": "hqq", "quant_config": {"weight_quant_params": {"nbits": 4, "group_size": 64}}},
            "int4-g64",
        ),
        (FP8_BLOCK, "fp8-block"),
        (FP8_STATIC, "fp8"),
        ({"quant_method": "fbgemm_fp8", "activation_scale_ub": 1200.0}, "fp8"),
        (BNB, "nf4-dq"),
        (BNB | {"bnb_4bit_use_double_quant": False}, "nf4"),
        (BNB | {"load_in_4bit": False, "load_in_8bit": True}, "int8"),
        (GPT_OSS, "mxfp4"),
        (MLX, "mlx4-g64"),
        (MLX | {"bits": 8}, "mlx8-g64"),
        (MLX | {"bits": 6, "group_size": 32}, "mlx6-g32"),
        (compressed(8, "int", "channel", ["lm_head"]), "int8"),
        (compressed(8, "float", "channel", ["lm_head"]), "fp8"),
        (compressed(8, "float", "tensor", ["lm_head"]), "fp8"),
        (compressed(8, "float", "block", ["lm_head"]), "fp8-block"),
        (compressed(4, "int", "group", ["lm_head"], 128), "int4-g128-sym"),
        (compressed(4, "int", "channel", ["lm_head"]), "int4-row-sym"),
        (compressed(4, "float", "tensor_group", ["lm_head"], 16), "nvfp4"),
        ({"quant_method": "modelopt", "quant_algo": "FP8"}, "fp8"),
        ({"quant_method": "modelopt", "quant_algo": "NVFP4", "group_size": 16}, "nvfp4"),
        (
            {"producer": {"name": "modelopt"}, "quantization": {"quant_algo": "NVFP4", "group_size": 16}},
            "nvfp4",
        ),
    ],
)
def test_the_format_that_a_config_states(config: dict[str, Any], matrix: str) -> None:
    assert from_config(config, model("llama-3.1-8b")).matrix == matrix


def test_published_sizes() -> None:
    """Sums of the safetensors files on the hub."""
    # hugging-quants/Meta-Llama-3.1-8B-Instruct-AWQ-INT4: 4.68 + 1.05 GB
    assert gigabytes("llama-3.1-8b", AWQ) == pytest.approx(5.73, abs=0.01)
    # mbehr90/Qwen3-VL-8B-Instruct-fp8: 9.87 GiB, vision tower, lm_head and embedding in bf16
    towers = [f"model.visual.blocks.{i}.{part}" for i in range(27)
              for part in ("attn.qkv", "attn.proj", "mlp.linear_fc1", "mlp.linear_fc2")]  # fmt: skip
    config = compressed(8, "float", "channel", [*towers, "model.visual.merger.linear_fc1", "lm_head"])
    assert gigabytes("qwen3-vl-8b", config) * 1e9 / GIB == pytest.approx(9.87, abs=0.01)
    # fit-101: gpt-oss-120b as vLLM loads it
    arch = model("gpt-oss-120b")
    loaded = weight_bytes(arch, from_config(GPT_OSS, arch), engine="vllm") / GIB
    assert loaded == pytest.approx(64.38, rel=0.005)


def test_mlx_checkpoints_to_the_byte() -> None:
    """Fit-212, fit-213: indexed bytes of two checkpoints."""
    assert gigabytes("qwen3.6-27b", MLX) == pytest.approx(16.054262240, rel=1e-3)
    assert gigabytes("qwen3.6-35b-a3b", MLX) == pytest.approx(20.401929952, rel=1e-3)


def test_a_hybrid_in_fp8_as_vllm_loads_it() -> None:
    """Fit-172: 33.66 GiB, a file of 35.9 GB; the whole `linear_attn` stays in bf16."""
    arch = model("qwen3.6-27b")
    ignore = ["lm_head", "re:.*linear_attn.*", "re:.*visual.*", "re:.*mtp.*"]
    stated = from_config(compressed(8, "float", "channel", ignore), arch)
    assert weight_bytes(arch, stated, engine="vllm") / GIB == pytest.approx(33.66, rel=0.01)
    assert weight_bytes(arch, find_precision("fp8"), engine="vllm") / GIB == pytest.approx(33.66, rel=0.01)


# Lists of exceptions as they stand in configs on the hub, and the roles that they leave in 16 bit.
LISTS: list[tuple[str, list[str], set[str]]] = [
    # the eyes have an mlp, too: it is not the language model's
    ("qwen3-vl-8b", [f"model.visual.blocks.{i}.mlp.linear_fc1" for i in range(27)] +
                    [f"model.visual.blocks.{i}.mlp.linear_fc2" for i in range(27)], set()),
    ("gemma-3-27b", [f"vision_tower.vision_model.encoder.layers.{i}.self_attn.{p}_proj"
                     for i in range(27) for p in "qkv"], set()),
    ("qwen3-vl-8b", ["visual"], set()),
    # as RedHatAI writes them
    ("qwen3-30b-a3b", ["re:.*lm_head", "re:.*mlp.gate$"], set()),
    ("deepseek-v3", ["re:.*lm_head", "re:.*mlp.gate$"], set()),
    ("qwen3-next-80b-a3b",
     ["lm_head", "re:.*mlp.gate$", "re:.*mlp.shared_expert_gate$", "re:.*linear_attn.*"], {"recurrent"}),
    # Qwen3-Next in FP8 keeps the two small inputs of the gated delta net alone
    ("qwen3-next-80b-a3b",
     [f"model.layers.{i}.linear_attn.in_proj_ba" for i in range(48) if i % 4 != 3], set()),
    # nvidia/DeepSeek-R1-0528-NVFP4: attention of every layer, one by one
    ("deepseek-r1", ["lm_head", *(f"model.layers.{i}.self_attn*" for i in range(61))], {"attention"}),
    # FINAL-Bench/Darwin-9B: one layer of four is attention, the others are recurrent
    ("qwen3.5-9b", ["lm_head"] + [f"model.layers.{i}.{'self_attn' if i % 4 == 3 else 'linear_attn'}*"
                                  for i in range(32)], {"attention", "recurrent"}),
    # Unsloth: some layers only
    ("qwen3-8b", ["lm_head", "model.layers.0.self_attn", "model.layers.0.mlp", "model.layers.5.mlp"], set()),
    # Meta's Llama-3.1-405B-Instruct-FP8: attention, and the first and last layer
    ("llama-3.1-405b", [f"model.layers.{i}.self_attn.{p}_proj" for i in range(126) for p in "qkvo"] +
                       [f"model.layers.{i}.mlp.{p}_proj" for i in (0, 125) for p in ("gate", "up", "down")],
     {"attention"}),
    # four projections of a quarter of the layers are not all of them
    ("llama-3.1-405b", [f"model.layers.{i}.self_attn.{p}_proj" for i in range(32) for p in "qkvo"], set()),
    ("mixtral-8x7b", ["gate"], set()),
    ("mixtral-8x7b", [f"model.layers.{i}.block_sparse_moe.gate" for i in range(32)], set()),
    ("llama-3.1-8b", ["o_proj"], set()),  # a part of the attention only
    ("llama-3.1-8b", ["down_proj"], set()),
    ("llama-3.1-8b", ["model.layers.0.mlp.down_proj"], set()),
    ("llama-3.1-8b", ["re:.*self_attn.*"], {"attention"}),
    ("qwen3.5-9b", ["mtp.layers.0.mlp.gate_proj", "mtp.fc", "model.visual.merger"], set()),
]  # fmt: skip


@pytest.mark.parametrize(("slug", "names", "kept"), LISTS)
@pytest.mark.parametrize("key", ["modules_to_not_convert", "ignored_layers", "llm_int8_skip_modules"])
def test_lists_of_exceptions(slug: str, names: list[str], kept: set[str], key: str) -> None:
    found = from_config({"quant_method": "fp8", key: names}, model(slug))
    assert {"attention", "mlp", "experts", "recurrent"} - found.narrowed == kept


def test_eyes_that_bitsandbytes_was_told_to_skip_stay_wide() -> None:
    arch = model("qwen3-vl-8b")
    assert "vision" not in from_config(BNB, arch).kept_parts
    assert "vision" in from_config(BNB | {"llm_int8_skip_modules": ["lm_head", "visual"]}, arch).kept_parts


@pytest.mark.parametrize("method", ["spqr", "vptq", "", "gptqq", "7"])
def test_a_method_without_a_rule_is_an_error_that_names_the_nearest(method: str) -> None:
    config = {"quant_method": method, "bits": 99}
    with pytest.raises(UnknownName):
        from_config(config, model("llama-3.1-8b"))


@pytest.mark.parametrize("config", [GPTQ | {"bits": 5}, GPTQ | {"group_size": 100}, MLX | {"bits": 7}])
def test_a_width_that_nobody_packs_is_an_error(config: dict[str, Any]) -> None:
    with pytest.raises(UnknownName):
        from_config(config, model("llama-3.1-8b"))


def test_every_alias_leads_to_a_precision() -> None:
    assert all(find_precision(alias).name in PRECISIONS for alias in ALIASES)
    assert find_precision(" Q4_K_M ").recipe == "q4_k_m"
    assert find_precision("gguf-IQ3_XS").recipe == "iq3_xs"


@pytest.mark.parametrize(
    ("name", "bits"),
    [("bf16", 16), ("fp8-block", 8.002), ("int4", 4.156), ("nf4", 4.5), ("nf4-dq", 4.127), ("mxfp4", 4.25),
     ("nvfp4", 4.5), ("mlx", 4.5), ("q4_k_m", 4.5)],
)  # fmt: skip
def test_bits_of_a_linear_layer(name: str, bits: float) -> None:
    assert find_precision(name).bits == pytest.approx(bits, abs=5e-4)


@pytest.mark.parametrize("precision", PRECISIONS.values(), ids=lambda p: p.name)
def test_narrow_is_smaller_than_wide(precision: Any) -> None:
    for slug in ("llama-3.1-8b", "mixtral-8x7b", "qwen3.6-27b", "gpt-oss-20b"):
        arch = model(slug)
        size = weight_bytes(arch, precision)
        assert 0.1 * arch.n_params < size <= 4.0 * arch.n_params
        if precision.bits < 16 and (precision.name != "mxfp4" or arch.main.n_experts):
            assert size < weight_bytes(arch, PRECISIONS["bf16"])


def test_shared_experts_that_stay_wide_leave_the_routed_ones_narrow() -> None:
    """As Kimi K2.6 NVFP4 and K2.5 state it, layer by layer or at once."""
    arch = find_weights("qwen2-57b-a14b").arch
    n = arch.main.n_layers
    listed = [f"model.layers.{i}.{name}*" for i in range(n) for name in ("mlp.shared_experts", "self_attn")]
    group = {"weights": {"num_bits": 4, "type": "float", "group_size": 16}, "targets": ["Linear"]}
    for ignore in (listed, ["re:.*self_attn.*", "re:.*shared_experts.*"]):
        stated = {"quant_method": "compressed-tensors", "config_groups": {"group_0": group}, "ignore": ignore}
        found = from_config(stated, arch)
        assert "experts" in found.narrowed
        assert "attention" not in found.narrowed
        assert found.matrix == "nvfp4"


def test_four_bit_floats_in_groups_of_32_are_mxfp4() -> None:
    """As Kimi K3 states them."""
    weights = {"num_bits": 4, "type": "float", "group_size": 32, "strategy": "group"}
    stated = {"quant_method": "compressed-tensors", "config_groups": {"group_0": {"weights": weights}}}
    assert from_config(stated, find_weights("qwen3-8b").arch).matrix == "mxfp4"


@pytest.mark.parametrize(
    ("words", "name"),
    [
        ("gptq_marlin", "int4"), ("awq", "int4"), ("GPTQ-Int8 g128", "int8-g128"), ("bitsandbytes", "nf4"),
        ("bitsandbytes int8", "int8"), ("modelopt_fp4", "nvfp4"), ("mxfp4", "mxfp4"), ("w8a8", "int8"),
        ("FP8 block 128x128", "fp8-block"), ("bnb nf4 double-quant", "nf4-dq"), ("compressed-tensors", ""),
    ],
)  # fmt: skip
def test_words_of_sources_and_engines_tell_a_precision(words: str, name: str) -> None:
    assert precision_in(words) == name
