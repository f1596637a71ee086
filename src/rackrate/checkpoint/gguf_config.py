"""The metadata of a GGUF file in the words of Hugging Face configs, so that one reader serves both.

Names and meanings follow the converter of llama.cpp, read backwards. What it writes for all
architectures alike is one table; what an architecture has of its own is a few rules below. A key
that no rule knows keeps its own name, without the architecture before it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rackrate.checkpoint.gguf import LongArray
from rackrate.checkpoint.header import Header

MODEL_TYPES = {
    "bailingmoe": "bailing_moe",
    "bailingmoe2": "bailing_moe_v2",
    "chatglm": "chatglm",
    "command-r": "cohere",
    "deepseek2": "deepseek_v2",  # or deepseek_v3: see `_deepseek`
    "ernie4_5-moe": "ernie4_5_moe",
    "exaone-moe": "exaone_moe",
    "falcon-h1": "falcon_h1",
    "gemma-embedding": "gemma3_text",
    "gemma3": "gemma3_text",
    "gemma3n": "gemma3n_text",
    "gemma4": "gemma4_text",
    "glm-dsa": "glm_moe_dsa",
    "glm4moe": "glm4_moe",
    "gpt-oss": "gpt_oss",
    "gptneox": "gpt_neox",
    "granitehybrid": "granitemoehybrid",
    "hunyuan-dense": "hunyuan_v1_dense",
    "hunyuan-moe": "hunyuan_v1_moe",
    "jina-bert-v2": "jina_bert_v2",
    "kimi-linear": "kimi_linear",
    "lfm2moe": "lfm2_moe",
    "llama4": "llama4_text",
    "minimax-m2": "minimax_m2",
    "mistral3": "ministral3",  # the converter writes older Mistrals as llama
    "modern-bert": "modernbert",
    "nomic-bert": "nomic_bert",
    "nomic-bert-moe": "nomic_bert",
    "phi2": "phi",
    "qwen2moe": "qwen2_moe",
    "qwen2vl": "qwen2_vl_text",
    "qwen35": "qwen3_5_text",
    "qwen35moe": "qwen3_5_moe_text",
    "qwen3moe": "qwen3_moe",
    "qwen3next": "qwen3_next",
    "qwen3vl": "qwen3_vl_text",
    "qwen3vlmoe": "qwen3_vl_moe_text",
    "starcoder": "gpt_bigcode",
}
"""Hugging Face's `model_type` of the architectures that llama.cpp calls otherwise.

GGUF keeps a vision tower in a file of its own, so what is here is the language model: `_text`.
"""

NAMES = {
    "context_length": "max_position_embeddings",
    "embedding_length": "hidden_size",
    "feed_forward_length": "intermediate_size",
    "attention.head_count": "num_attention_heads",
    "attention.head_count_kv": "num_key_value_heads",
    "attention.key_length": "head_dim",
    "attention.value_length": "v_head_dim",
    "attention.sliding_window": "sliding_window",
    "attention.layer_norm_epsilon": "layer_norm_eps",
    "attention.layer_norm_rms_epsilon": "rms_norm_eps",
    "attention.q_lora_rank": "q_lora_rank",
    "attention.kv_lora_rank": "kv_lora_rank",
    "attention.causal": "is_causal",
    "attention.shared_kv_layers": "num_kv_shared_layers",
    "attention.indexer.head_count": "index_n_heads",
    "attention.indexer.key_length": "index_head_dim",
    "attention.indexer.top_k": "index_topk",
    "attn_logit_softcapping": "attn_logit_softcapping",
    "final_logit_softcapping": "final_logit_softcapping",
    "embedding_length_per_layer_input": "hidden_size_per_layer_input",
    "expert_count": "num_local_experts",
    "expert_used_count": "num_experts_per_tok",
    "expert_feed_forward_length": "moe_intermediate_size",
    "expert_shared_feed_forward_length": "shared_expert_intermediate_size",
    "expert_shared_count": "n_shared_experts",
    "expert_group_count": "n_group",
    "expert_group_used_count": "topk_group",
    "expert_weights_scale": "routed_scaling_factor",
    "expert_weights_norm": "norm_topk_prob",
    "full_attention_interval": "full_attention_interval",
    "interleave_moe_layer_step": "interleave_moe_layer_step",
    "leading_dense_block_count": "first_k_dense_replace",
    "nextn_predict_layers": "num_nextn_predict_layers",
    "rope.freq_base": "rope_theta",
    "vocab_size": "vocab_size",
}
"""Keys after `ARCHITECTURE.` and their names in configs."""

SWA_PERIODS = {"cohere2": 4, "exaone4": 4, "gemma-embedding": 6, "gemma2": 2, "gemma3": 6, "gpt-oss": 2}
"""Every how many layers one sees everything, where the file may not say: llama.cpp's own numbers."""

EXPERT_COUNTS = {
    "deepseek_v2": "n_routed_experts",
    "deepseek_v3": "n_routed_experts",
    "glm4_moe": "n_routed_experts",
    "glm_moe_dsa": "n_routed_experts",
    "olmoe": "num_experts",
    "qwen2_moe": "num_experts",
    "qwen3_5_moe_text": "num_experts",
    "qwen3_moe": "num_experts",
    "qwen3_next": "num_experts",
    "qwen3_vl_moe_text": "num_experts",
}
"""What a family's config calls the number of experts, beside `num_local_experts`."""

_ENCODERS = frozenset({"bert", "nomic_bert", "modernbert", "jina_bert_v2", "eurobert", "neo-bert"})
_LINEAR = frozenset({"qwen3_next", "qwen3_5_text", "qwen3_5_moe_text"})
_SIGMOID = 2  # expert_gating_func of DeepSeek V3; V2 has softmax
_DEFAULT_LINEAR_INTERVAL = 4  # llama.cpp's own number


def hf_config(header: Header) -> dict[str, Any]:
    """Return a model's config in Hugging Face's words, whatever its files are.

    Of safetensors it is the config.json, unchanged. Of GGUF it is made from the metadata and the
    shapes; a value that differs from layer to layer (heads, width) is a list over the layers, and
    `num_local_experts` stands there whatever the family calls it. Values that the file does not have
    are absent: the reader of a config knows its family's defaults.
    """
    if header.format != "gguf":
        return dict(header.config)
    arch = header.config.get("general.architecture")
    arch = arch if isinstance(arch, str) else "unknown"
    raw = _own(header.config, arch)
    shapes = {tensor.name: tensor.shape for tensor in header.tensors}
    config = {NAMES.get(key, key): _scalar(value) for key, value in raw.items()}
    config["model_type"] = MODEL_TYPES.get(arch, arch)
    if isinstance(name := header.config.get("general.name"), str):
        config["_name_or_path"] = name
    _layers(config)
    _vocabulary(config, shapes, header.config)
    if "vocab_size" in config and "output.weight" not in shapes:
        config["tie_word_embeddings"] = True
    _heads(config)
    _rope(config)
    _windows(config, arch)
    for rule in (_llama, _llama4, _deepseek, _linear, _ssm, _gpt_oss, _encoder):
        rule(config, shapes)
    if (experts := EXPERT_COUNTS.get(config["model_type"])) and "num_local_experts" in config:
        config[experts] = config["num_local_experts"]
    return config


def _own(metadata: Mapping[str, Any], arch: str) -> dict[str, Any]:
    """Return the architecture's own values, by the key after its name."""
    prefix = f"{arch}."
    return {
        key.removeprefix(prefix): value
        for key, value in metadata.items()
        if key.startswith(prefix) and not isinstance(value, LongArray)
    }


def _scalar(value: Any) -> Any:
    """Return one number for a list over the layers that says the same of each."""
    return value[0] if isinstance(value, list) and value and value.count(value[0]) == len(value) else value


def _count(config: Mapping[str, Any], key: str) -> int:
    """Return a count; 0 where it is absent or none."""
    value = config.get(key)
    return value if type(value) is int and value > 0 else 0


def _layers(config: dict[str, Any]) -> None:
    """Split the blocks into layers and multi-token prediction: block_count counts both."""
    blocks = config.pop("block_count", None)
    if type(blocks) is int:
        extra = _count(config, "num_nextn_predict_layers")
        config["num_hidden_layers"] = blocks - extra if extra < blocks else blocks


def _vocabulary(
    config: dict[str, Any], shapes: Mapping[str, tuple[int, ...]], metadata: Mapping[str, Any]
) -> None:
    """Take the vocabulary from the embedding: the key may be absent, and tokens may lack the padding."""
    embedding = shapes.get("token_embd.weight", ())
    tokens = metadata.get("tokenizer.ggml.tokens")
    if len(embedding) == 2:  # noqa: PLR2004 - a matrix
        config["vocab_size"] = embedding[0]
    elif "vocab_size" not in config and isinstance(tokens, LongArray):
        config["vocab_size"] = tokens.n


def _heads(config: dict[str, Any]) -> None:
    """Fill in what the format leaves out where it follows: head size, key heads."""
    heads, width = _count(config, "num_attention_heads"), _count(config, "hidden_size")
    if heads and "num_key_value_heads" not in config:
        config["num_key_value_heads"] = heads
    if heads and width and not width % heads:
        config.setdefault("head_dim", width // heads)
    if config.get("v_head_dim") == config.get("head_dim"):
        config.pop("v_head_dim", None)


def _rope(config: dict[str, Any]) -> None:
    kind, factor = config.pop("rope.scaling.type", None), config.pop("rope.scaling.factor", None)
    original = config.pop("rope.scaling.original_context_length", None)
    if kind not in (None, "none"):
        parts = {"rope_type": kind, "factor": factor, "original_max_position_embeddings": original}
        config["rope_scaling"] = {key: value for key, value in parts.items() if value is not None}
    head, turned = _count(config, "head_dim"), _count(config, "rope.dimension_count")
    if turned and head and "kv_lora_rank" not in config:
        del config["rope.dimension_count"]
        if turned < head:
            config["partial_rotary_factor"] = turned / head


def _windows(config: dict[str, Any], arch: str) -> None:
    """Say which layers look back only a window, as `layer_types`."""
    pattern = config.pop("attention.sliding_window_pattern", SWA_PERIODS.get(arch))
    n_layers = _count(config, "num_hidden_layers")
    if not _count(config, "sliding_window") or n_layers > 2**16:  # a lie about layers makes no long list
        return
    if type(pattern) is int and pattern > 1:
        config["sliding_window_pattern"] = pattern
        pattern = [layer % pattern < pattern - 1 for layer in range(n_layers)]
    if isinstance(pattern, bool):
        pattern = [pattern] * n_layers
    if isinstance(pattern, list):
        kinds = ("full_attention", "sliding_attention")
        config["layer_types"] = [kinds[bool(is_sliding)] for is_sliding in pattern[:n_layers]]


def _llama(config: dict[str, Any], _: object) -> None:
    """Tell Mixtral, which llama.cpp calls llama, from Llama."""
    if config["model_type"] == "llama" and _count(config, "num_local_experts"):
        config["model_type"] = "mixtral"


def _llama4(config: dict[str, Any], _: object) -> None:
    """Exchange the widths: there `intermediate_size` is an expert's."""
    if config["model_type"] == "llama4_text" and "moe_intermediate_size" in config:
        config["intermediate_size_mlp"] = config.pop("intermediate_size", 0)
        config["intermediate_size"] = config.pop("moe_intermediate_size")


def _deepseek(config: dict[str, Any], shapes: Mapping[str, object]) -> None:
    """Undo how multi-head latent attention is written: as one key head of the compressed token.

    Newer files give the true lengths of a head as `..._mla`; older ones have no other.
    """
    if config["model_type"] == "deepseek_v2" and (
        config.get("expert_gating_func") == _SIGMOID or any(".exp_probs_b" in name for name in shapes)
    ):
        config["model_type"] = "deepseek_v3"
    if not _count(config, "kv_lora_rank"):
        return
    key = config.pop("attention.key_length_mla", None) or config.get("head_dim")
    value = config.pop("attention.value_length_mla", None) or config.get("v_head_dim", key)
    turned = config.pop("rope.dimension_count", None)
    if type(key) is int and type(turned) is int and key > turned:
        config |= {"qk_rope_head_dim": turned, "qk_nope_head_dim": key - turned, "v_head_dim": value}
        config["head_dim"] = turned  # what transformers' configs of this family say
        config["num_key_value_heads"] = config.get("num_attention_heads")


def _name_heads(config: dict[str, Any], count: str, size: str) -> None:
    """Name the heads of a state space, whose file has their number and what they are wide together."""
    heads, inner = _count(config, "ssm.time_step_rank"), _count(config, "ssm.inner_size")
    if heads and inner:
        config[count] = heads
        config[size] = inner // heads


def _rename(config: dict[str, Any], names: Mapping[str, str]) -> None:
    for key, name in names.items():
        if key in config:
            config[name] = config.pop(key)


def _linear(config: dict[str, Any], _: object) -> None:
    """Name the gated delta nets of Qwen3-Next and Qwen3.5, which are written as state spaces."""
    if config["model_type"] not in _LINEAR:
        return
    _name_heads(config, "linear_num_value_heads", "linear_value_head_dim")
    _rename(
        config,
        {
            "ssm.group_count": "linear_num_key_heads",
            "ssm.state_size": "linear_key_head_dim",
            "ssm.conv_kernel": "linear_conv_kernel_dim",
        },
    )
    config.pop("ssm.time_step_rank", None)
    config.pop("ssm.inner_size", None)
    n_layers = _count(config, "num_hidden_layers")
    every = config.setdefault("full_attention_interval", _DEFAULT_LINEAR_INTERVAL)
    recurrent = config.pop("attention.recurrent_layers", None)
    if not isinstance(recurrent, list) and type(every) is int and every > 0 and n_layers <= 2**16:
        recurrent = [bool((layer + 1) % every) for layer in range(n_layers)]
    if isinstance(recurrent, list):
        kinds = ("full_attention", "linear_attention")
        config["layer_types"] = [kinds[bool(is_linear)] for is_linear in recurrent[:n_layers]]


def _ssm(config: dict[str, Any], _: object) -> None:
    """Name the Mamba layers of Granite's hybrids."""
    if config["model_type"] != "granitemoehybrid":
        return
    _name_heads(config, "mamba_n_heads", "mamba_d_head")
    _rename(
        config,
        {
            "ssm.group_count": "mamba_n_groups",
            "ssm.state_size": "mamba_d_state",
            "ssm.conv_kernel": "mamba_d_conv",
        },
    )
    kv_heads = config.get("num_key_value_heads")
    if isinstance(kv_heads, list) and kv_heads:  # no key heads: no attention
        config["layer_types"] = ["attention" if heads else "mamba" for heads in kv_heads]
        config["num_key_value_heads"] = max(kv_heads)


def _gpt_oss(config: dict[str, Any], _: object) -> None:
    """Give back the width of an expert its name there."""
    if config["model_type"] == "gpt_oss" and "moe_intermediate_size" in config:
        config["intermediate_size"] = config.pop("moe_intermediate_size")


def _encoder(config: dict[str, Any], shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Leave an encoder what it has: no key heads of its own, no head to tie, segments."""
    if config["model_type"] not in _ENCODERS:
        return
    config.pop("tie_word_embeddings", None)
    segments = shapes.get("token_types.weight", ())
    if segments:
        config["type_vocab_size"] = segments[0] if len(segments) > 1 else 1
