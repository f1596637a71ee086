"""What configs of quantised models declare, in the words of each method."""

from __future__ import annotations

from typing import Any

import pytest

from rackrate.catalog.architecture import Architecture, architecture_of, read_config
from rackrate.catalog.model import load_model
from rackrate.errors import UnknownName
from rackrate.fit.declared import from_config
from rackrate.fit.precision import PRECISIONS
from rackrate.fit.weights import weight_bytes


def llama() -> Architecture:
    return architecture_of(load_model("llama-3.1-8b"))


def ao(name: str, **data: Any) -> dict[str, Any]:
    return {"quant_method": "torchao", "quant_type": {"default": {"_type": name, "_data": data}}}


def quark(dtype: str) -> dict[str, Any]:
    return {"quant_method": "quark", "global_quant_config": {"weight": {"dtype": dtype}}}


@pytest.mark.parametrize(
    ("config", "matrix"),
    [
        (ao("Int4WeightOnlyConfig", group_size=128), "int4-g128"),
        (ao("Int8DynamicActivationInt4WeightConfig", group_size=32), "int4-g32"),
        (ao("Int8WeightOnlyConfig"), "int8"),
        (ao("Float8DynamicActivationFloat8WeightConfig"), "fp8"),
        (
            {
                "quant_method": "torchao",
                "quant_type": "int4_weight_only",
                "quant_type_kwargs": {"group_size": 64},
            },
            "int4-g64",
        ),
        ({"quant_method": "quanto", "weights": "int8", "activations": None}, "int8"),
        ({"quant_method": "quanto", "weights": "int4"}, "int4-g128"),
        ({"quant_method": "quanto", "weights": "float8"}, "fp8"),
        ({"quant_method": "eetq", "weights": "int8"}, "int8"),
        (quark("fp8_e4m3"), "fp8"),
        (quark("fp4"), "mxfp4"),
        ({"quant_method": "exl2", "bits": 4.25, "head_bits": 6}, "4.25bpw"),
        (
            {
                "quant_method": "aqlm",
                "in_group_size": 8,
                "nbits_per_codebook": 16,
                "num_codebooks": 1,
            },
            "2bpw",
        ),
        ({"quant_method": "marlin", "bits": 4, "group_size": 128}, "int4-g128"),
        ({"quant_method": "modelopt", "quant_algo": "W4A8_AWQ"}, "int4-g128"),
        ({"quant_method": "modelopt", "quant_algo": "FP8_PB_WO"}, "fp8-block"),
        ({"bits": 4, "group_size": 32, "mode": "mxfp4"}, "mxfp4"),
        ({"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}, "nf4"),  # before methods had names
        ({"load_in_8bit": True}, "int8"),
        ({"quant_method": "mxfp4"}, "mxfp4"),
    ],
)
def test_the_format_of_each_method(config: dict[str, Any], matrix: str) -> None:
    found = from_config(config, llama())
    assert found.matrix == matrix
    assert weight_bytes(llama(), found) < 0.6 * weight_bytes(llama(), PRECISIONS["bf16"])


def test_ternary_weights_as_published() -> None:
    """Microsoft/bitnet-b1.58-2B-4T: 1.18 GB, embeddings in bf16 and four numbers in a byte."""
    config = {"model_type": "bitnet", "hidden_size": 2560, "intermediate_size": 6912, "num_hidden_layers": 30,
              "num_attention_heads": 20, "num_key_value_heads": 5, "vocab_size": 128256,
              "tie_word_embeddings": True}  # fmt: skip
    arch = read_config(config)
    size = weight_bytes(arch, from_config({"quant_method": "bitnet"}, arch))
    assert size == pytest.approx(1.18e9, rel=0.01)


def test_an_output_matrix_that_is_narrowed_too() -> None:
    plain = {"quant_method": "gptq", "bits": 4, "group_size": 128}
    arch = llama()
    spared = weight_bytes(arch, from_config(plain, arch)) - weight_bytes(
        arch, from_config(plain | {"lm_head": True}, arch)
    )
    assert spared == pytest.approx(128_256 * 4096 * (16 - 4.15625) / 8, rel=1e-6)


def test_groups_that_narrow_different_layers() -> None:
    """NVFP4 for the blocks and FP8 for attention: each counts with its own width."""

    def group(pattern: str, **weights: Any) -> dict[str, Any]:
        return {"targets": [pattern], "weights": {"type": "float", **weights}}

    stated = {
        "quant_method": "compressed-tensors",
        "config_groups": {
            "group_0": group("re:.*mlp.*", num_bits=4, strategy="tensor_group", group_size=16),
            "group_1": group("re:.*self_attn.*", num_bits=8, strategy="channel"),
        },
        "ignore": ["lm_head"],
    }
    arch = llama()
    blocks, attention, ends = (
        arch.params_of("mlp"),
        arch.params_of("attention"),
        arch.params_of("embedding", "head", "norm"),
    )
    by_hand = blocks * 4.5 / 8 + attention + ends * 2
    assert weight_bytes(arch, from_config(stated, arch)) == pytest.approx(by_hand, rel=1e-3)


def test_modelopt_that_mixes_its_algorithms_layer_by_layer() -> None:
    layers = {f"model.layers.{i}.mlp.gate_proj": {"quant_algo": "NVFP4"} for i in range(32)}
    layers |= {f"model.layers.{i}.self_attn.q_proj": {"quant_algo": "FP8"} for i in range(32)}
    layers["model.layers.0.mlp.gate_proj"] = {"quant_algo": "FP8"}
    stated = {"quant_method": "modelopt", "quant_algo": "MIXED_PRECISION", "quantized_layers": layers}
    assert dict(from_config(stated, llama()).by_role) == {"attention": "fp8", "mlp": "nvfp4"}


@pytest.mark.parametrize("algorithm", ["MIXED_PRECISION", "W2A99"])
def test_an_algorithm_without_a_rule_is_named(algorithm: str) -> None:
    with pytest.raises(UnknownName, match=algorithm):
        from_config({"quant_method": "modelopt", "quant_algo": algorithm}, llama())
