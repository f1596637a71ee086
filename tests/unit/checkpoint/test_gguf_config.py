"""GGUF metadata in Hugging Face's words, against what the models' own configs say."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from rackrate.checkpoint import Header, StoredTensor, hf_config
from rackrate.checkpoint.gguf import LongArray


def config(arch: str, values: Mapping[str, Any], *shapes: tuple[str, tuple[int, ...]]) -> dict[str, Any]:
    """Return the config of a file of an architecture with these values and tensors."""
    metadata = {"general.architecture": arch} | {f"{arch}.{key}": value for key, value in values.items()}
    tensors = tuple(StoredTensor(name, "F16", shape, 0) for name, shape in shapes)
    return hf_config(Header("m.gguf", tensors, metadata, ("m.gguf",), "gguf"))


def common(layers: int, width: int, ffn: Any, heads: Any, kv: Any, **more: Any) -> dict[str, Any]:
    return {
        "block_count": layers,
        "embedding_length": width,
        "feed_forward_length": ffn,
        "attention.head_count": heads,
        "attention.head_count_kv": kv,
        "context_length": 8192,
        **{key.replace("__", "."): value for key, value in more.items()},
    }


def test_llama_3_70b() -> None:
    values = common(80, 8192, 28672, 64, 8, rope__dimension_count=128, rope__freq_base=500000.0)
    values["attention.layer_norm_rms_epsilon"] = 1e-5
    shapes = [("token_embd.weight", (128256, 8192)), ("output.weight", (128256, 8192))]
    assert config("llama", values, *shapes) == {
        "model_type": "llama",
        "num_hidden_layers": 80,
        "hidden_size": 8192,
        "intermediate_size": 28672,
        "num_attention_heads": 64,
        "num_key_value_heads": 8,
        "head_dim": 128,
        "max_position_embeddings": 8192,
        "rope_theta": 500000.0,
        "rms_norm_eps": 1e-5,
        "vocab_size": 128256,
    }


def test_mixtral_is_llama_with_experts() -> None:
    found = config("llama", common(32, 4096, 14336, 32, 8, expert_count=8, expert_used_count=2))
    assert (found["model_type"], found["num_local_experts"], found["num_experts_per_tok"]) == (
        "mixtral",
        8,
        2,
    )


def test_gemma_3_27b_looks_back_a_window_on_five_layers_of_six() -> None:
    values = common(62, 5376, 21504, 32, 16, attention__sliding_window=1024, attention__key_length=128)
    values["attention.value_length"] = 128
    found = config("gemma3", values, ("token_embd.weight", (262208, 5376)))
    assert (found["model_type"], found["head_dim"], found["tie_word_embeddings"]) == (
        "gemma3_text",
        128,
        True,
    )
    assert found["layer_types"].count("full_attention") == 10  # layers 6, 12, ... 60
    assert found["layer_types"][5] == "full_attention"
    assert found["sliding_window"] == 1024
    assert "v_head_dim" not in found


@pytest.mark.parametrize(
    ("arch", "pattern", "full"),
    [
        ("gemma2", None, [1, 3, 5, 7]),
        ("gpt-oss", None, [1, 3, 5, 7]),
        ("cohere2", None, [3, 7]),
        ("gemma4", [True, True, False, True, True, False, True, False], [2, 5, 7]),
        ("olmo2", 4, [3, 7]),
        ("dream", True, []),
    ],
)
def test_windows_by_the_file_or_by_the_family(arch: str, pattern: Any, full: list[int]) -> None:
    more = {} if pattern is None else {"attention.sliding_window_pattern": pattern}
    found = config(arch, common(8, 64, 128, 4, 2, attention__sliding_window=128) | more)
    kinds = found["layer_types"]
    assert [layer for layer, kind in enumerate(kinds) if kind == "full_attention"] == full
    assert len(kinds) == 8


def test_phi_3_windows_are_not_guessed_where_no_pattern_is_known() -> None:
    found = config("phi3", common(8, 64, 128, 4, 2, attention__sliding_window=2047))
    assert found["sliding_window"] == 2047
    assert "layer_types" not in found


def test_qwen3_moe_30b() -> None:
    more = {"expert_count": 128, "expert_used_count": 8, "expert_feed_forward_length": 768}
    found = config("qwen3moe", common(48, 2048, 6144, 32, 4, attention__key_length=128) | more)
    assert found["model_type"] == "qwen3_moe"
    assert found["num_experts"] == found["num_local_experts"] == 128
    assert (found["moe_intermediate_size"], found["intermediate_size"], found["head_dim"]) == (768, 6144, 128)


def test_qwen3_5_has_linear_attention_on_three_layers_of_four() -> None:
    """The numbers of Qwen3.5-35B-A3B; one block more is multi-token prediction."""
    values = common(41, 2048, 0, 16, 2, attention__key_length=256, attention__value_length=256)
    values |= {"ssm.conv_kernel": 4, "ssm.state_size": 128, "ssm.group_count": 16, "ssm.time_step_rank": 32}
    values |= {"ssm.inner_size": 4096, "full_attention_interval": 4, "nextn_predict_layers": 1}
    values |= {"rope.dimension_count": 64, "expert_shared_feed_forward_length": 512, "expert_count": 256}
    found = config("qwen35moe", values)
    assert found["model_type"] == "qwen3_5_moe_text"
    assert (found["num_hidden_layers"], found["num_nextn_predict_layers"]) == (40, 1)
    assert found["layer_types"].count("linear_attention") == 30
    assert found["layer_types"][3] == "full_attention"
    assert {key: value for key, value in found.items() if key.startswith("linear_")} == {
        "linear_conv_kernel_dim": 4,
        "linear_key_head_dim": 128,
        "linear_num_key_heads": 16,
        "linear_num_value_heads": 32,
        "linear_value_head_dim": 128,
    }
    assert found["partial_rotary_factor"] == 0.25
    assert found["shared_expert_intermediate_size"] == 512
    assert not [key for key in found if key.startswith("ssm.")]
    told = config("qwen3next", values | {"attention.recurrent_layers": [True] * 39 + [False] * 2})
    assert told["layer_types"].count("full_attention") == 1


MLA = {
    "attention.kv_lora_rank": 512,
    "attention.q_lora_rank": 1536,
    "rope.dimension_count": 64,
    "expert_count": 256,
    "expert_used_count": 8,
    "expert_shared_count": 1,
    "leading_dense_block_count": 3,
}


@pytest.mark.parametrize(
    ("kv", "lengths"),
    [
        (1, {"key_length": 576, "value_length": 512, "key_length_mla": 192, "value_length_mla": 128}),
        (128, {"key_length": 192, "value_length": 128}),  # as older converters wrote it
    ],
)
def test_deepseek_v3_by_newer_and_older_converters(kv: int, lengths: dict[str, int]) -> None:
    values = common(61, 7168, 18432, 128, kv) | MLA | {"expert_gating_func": 2}
    found = config("deepseek2", values | {f"attention.{key}": value for key, value in lengths.items()})
    assert found["model_type"] == "deepseek_v3"
    assert (found["kv_lora_rank"], found["q_lora_rank"]) == (512, 1536)
    assert (found["qk_rope_head_dim"], found["qk_nope_head_dim"], found["v_head_dim"]) == (64, 128, 128)
    assert (found["num_attention_heads"], found["num_key_value_heads"]) == (128, 128)
    assert (found["n_routed_experts"], found["n_shared_experts"]) == (256, 1)
    assert found["first_k_dense_replace"] == 3


def test_deepseek_v2_has_another_router() -> None:
    assert config("deepseek2", common(27, 2048, 10944, 16, 16) | MLA)["model_type"] == "deepseek_v2"
    bias = ("blk.3.exp_probs_b.bias", (256,))
    assert config("deepseek2", common(61, 7168, 1, 128, 1) | MLA, bias)["model_type"] == "deepseek_v3"


def test_glm_4_5_air_counts_its_prediction_layer_apart() -> None:
    values = common(47, 4096, 10944, 96, 8, attention__key_length=128, nextn_predict_layers=1)
    found = config("glm4moe", values | {"expert_count": 128})
    assert (found["num_hidden_layers"], found["n_routed_experts"]) == (46, 128)


def test_llama_4_and_gpt_oss_call_an_experts_width_intermediate_size() -> None:
    more = {"expert_count": 16, "expert_feed_forward_length": 8192}
    found = config("llama4", common(48, 5120, 16384, 40, 8) | more)
    assert (found["intermediate_size"], found["intermediate_size_mlp"]) == (8192, 16384)
    found = config("gpt-oss", common(24, 2880, 2880, 64, 8, attention__key_length=64) | more)
    assert (found["intermediate_size"], found["head_dim"]) == (8192, 64)


def test_bert_has_segments_and_no_head_to_tie() -> None:
    values = common(12, 768, 3072, 12, 12) | {"attention.causal": False}
    found = config("bert", values, ("token_embd.weight", (30522, 768)), ("token_types.weight", (2, 768)))
    assert (found["vocab_size"], found["type_vocab_size"], found["is_causal"]) == (30522, 2, False)
    assert "tie_word_embeddings" not in found


def test_granite_hybrids_say_by_the_key_heads_which_layers_attend() -> None:
    values = common(4, 1536, 512, 12, [0, 4, 0, 0], ssm__time_step_rank=48, ssm__inner_size=3072)
    found = config(
        "granitehybrid", values | {"ssm.state_size": 128, "ssm.group_count": 1, "ssm.conv_kernel": 4}
    )
    assert found["layer_types"] == ["mamba", "attention", "mamba", "mamba"]
    assert (found["num_key_value_heads"], found["mamba_n_heads"], found["mamba_d_head"]) == (4, 48, 64)


def test_what_differs_from_layer_to_layer_is_a_list_and_what_does_not_is_a_number() -> None:
    found = config("openelm", common(3, 64, [64, 128, 128], [4, 4, 8], [2, 2, 2]))
    assert found["num_attention_heads"] == [4, 4, 8]
    assert found["intermediate_size"] == [64, 128, 128]
    assert found["num_key_value_heads"] == 2
    assert "head_dim" not in found


def test_a_long_context_is_a_scaled_rope() -> None:
    more = {
        "rope.scaling.type": "yarn",
        "rope.scaling.factor": 4.0,
        "rope.scaling.original_context_length": 32768,
    }
    assert config("qwen2", common(1, 64, 64, 4, 4) | more)["rope_scaling"] == {
        "rope_type": "yarn",
        "factor": 4.0,
        "original_max_position_embeddings": 32768,
    }
    assert "rope_scaling" not in config("qwen2", {"rope.scaling.type": "none"})


@pytest.mark.parametrize(
    ("arch", "model_type"),
    [
        ("qwen2", "qwen2"), ("qwen2moe", "qwen2_moe"), ("qwen3", "qwen3"), ("qwen35", "qwen3_5_text"),
        ("gemma", "gemma"), ("phi2", "phi"), ("phi3", "phi3"), ("mistral3", "ministral3"),
        ("command-r", "cohere"), ("cohere2", "cohere2"), ("falcon", "falcon"), ("starcoder2", "starcoder2"),
        ("gpt-oss", "gpt_oss"), ("glm4", "glm4"), ("nomic-bert", "nomic_bert"), ("granite", "granite"),
        ("olmo2", "olmo2"), ("internlm2", "internlm2"), ("never-heard-of", "never-heard-of"),
    ],
)  # fmt: skip
def test_families_by_hugging_faces_name(arch: str, model_type: str) -> None:
    assert config(arch, common(2, 64, 64, 4, 4))["model_type"] == model_type


def test_what_no_rule_knows_keeps_its_own_name() -> None:
    found = config("wonder", {"warp.factor": 9, "warp.list": LongArray(9999)})
    assert found == {"model_type": "wonder", "warp.factor": 9}


def test_the_vocabulary_is_the_embeddings_then_the_keys_then_the_tokens() -> None:
    metadata = {"general.architecture": "llama", "tokenizer.ggml.tokens": LongArray(32000)}
    assert hf_config(Header("m", (), metadata, (), "gguf"))["vocab_size"] == 32000
    metadata["llama.vocab_size"] = 32001
    assert hf_config(Header("m", (), metadata, (), "gguf"))["vocab_size"] == 32001


def test_the_config_of_safetensors_is_its_config_json() -> None:
    header = Header("m", (), {"model_type": "llama", "x": 1}, (), "safetensors")
    assert hf_config(header) == {"model_type": "llama", "x": 1}
