"""The models that are measured: their published configurations, by short name.

Weights are random, so the configuration is all there is to a model here. Every entry is `model_type`
and the numbers that `transformers.AutoConfig.for_model` takes for it; what is left out is the default
of that type. `NUMBERS` are the fields that go into a result row, because memory depends on them.
"""

from __future__ import annotations

from collections.abc import Mapping

Numbers = dict[str, object]

_LLAMA: Numbers = {"model_type": "llama", "vocab_size": 128256, "max_position_embeddings": 131072}
_QWEN2: Numbers = {"model_type": "qwen2", "max_position_embeddings": 32768}
_QWEN3: Numbers = {
    "model_type": "qwen3",
    "max_position_embeddings": 40960,
    "head_dim": 128,
    "vocab_size": 151936,
}
_GEMMA3: Numbers = {"model_type": "gemma3_text", "head_dim": 256, "max_position_embeddings": 131072}
_BERT: Numbers = {"model_type": "bert", "vocab_size": 30522, "max_position_embeddings": 512}


def _sizes(hidden: int, ffn: int, layers: int, heads: int, kv_heads: int = 0) -> Numbers:
    sizes: Numbers = {
        "hidden_size": hidden,
        "intermediate_size": ffn,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
    }
    return sizes | ({"num_key_value_heads": kv_heads} if kv_heads else {})


MODELS: Mapping[str, Mapping[str, object]] = {
    "llama-3.2-1b": _LLAMA | _sizes(2048, 8192, 16, 32, 8) | {"head_dim": 64, "tie_word_embeddings": True},
    "llama-3.2-3b": _LLAMA | _sizes(3072, 8192, 28, 24, 8) | {"head_dim": 128, "tie_word_embeddings": True},
    "llama-3.1-8b": _LLAMA | _sizes(4096, 14336, 32, 32, 8) | {"head_dim": 128, "tie_word_embeddings": False},
    "smollm2-1.7b": {"model_type": "llama", "vocab_size": 49152, "max_position_embeddings": 8192}
    | _sizes(2048, 8192, 24, 32, 32)
    | {"tie_word_embeddings": True},
    "mistral-7b-v0.3": {"model_type": "mistral", "vocab_size": 32768, "max_position_embeddings": 32768}
    | _sizes(4096, 14336, 32, 32, 8)
    | {"head_dim": 128, "sliding_window": None, "tie_word_embeddings": False},
    "qwen2.5-0.5b": _QWEN2
    | _sizes(896, 4864, 24, 14, 2)
    | {"vocab_size": 151936, "tie_word_embeddings": True},
    "qwen2.5-1.5b": _QWEN2
    | _sizes(1536, 8960, 28, 12, 2)
    | {"vocab_size": 151936, "tie_word_embeddings": True},
    "qwen2.5-7b": _QWEN2
    | _sizes(3584, 18944, 28, 28, 4)
    | {"vocab_size": 152064, "tie_word_embeddings": False},
    "qwen3-0.6b": _QWEN3 | _sizes(1024, 3072, 28, 16, 8) | {"tie_word_embeddings": True},
    "qwen3-1.7b": _QWEN3 | _sizes(2048, 6144, 28, 16, 8) | {"tie_word_embeddings": True},
    "qwen3-4b": _QWEN3 | _sizes(2560, 9728, 36, 32, 8) | {"tie_word_embeddings": True},
    "qwen3-8b": _QWEN3 | _sizes(4096, 12288, 36, 32, 8) | {"tie_word_embeddings": False},
    "qwen3-30b-a3b": {
        "model_type": "qwen3_moe",
        "max_position_embeddings": 40960,
        "head_dim": 128,
        "vocab_size": 151936,
        "moe_intermediate_size": 768,
        "num_experts": 128,
        "num_experts_per_tok": 8,
        "tie_word_embeddings": False,
    }
    | _sizes(2048, 6144, 48, 32, 4),
    "gemma-2-2b": {"model_type": "gemma2", "vocab_size": 256000, "head_dim": 256, "sliding_window": 4096}
    | _sizes(2304, 9216, 26, 8, 4)
    | {"max_position_embeddings": 8192},
    "gemma-3-1b": _GEMMA3 | _sizes(1152, 6912, 26, 4, 1) | {"vocab_size": 262144, "sliding_window": 512},
    "gemma-3-4b": _GEMMA3 | _sizes(2560, 10240, 34, 8, 4) | {"vocab_size": 262208, "sliding_window": 1024},
    "gemma-3-12b": _GEMMA3 | _sizes(3840, 15360, 48, 16, 8) | {"vocab_size": 262208, "sliding_window": 1024},
    "phi-3-mini-4k": {"model_type": "phi3", "vocab_size": 32064, "max_position_embeddings": 4096}
    | _sizes(3072, 8192, 32, 32, 32)
    | {"sliding_window": 2047, "tie_word_embeddings": False, "pad_token_id": 0},
    "falcon-7b": {
        "model_type": "falcon",
        "hidden_size": 4544,
        "num_hidden_layers": 32,
        "num_attention_heads": 71,
        "vocab_size": 65024,
        "multi_query": True,
        "parallel_attn": True,
        "bias": False,
        "alibi": False,
        "new_decoder_architecture": False,
    },
    "bert-base": _BERT | _sizes(768, 3072, 12, 12),
    "bert-large": _BERT | _sizes(1024, 4096, 24, 16),
    "roberta-base": {"model_type": "roberta", "vocab_size": 50265, "max_position_embeddings": 514}
    | _sizes(768, 3072, 12, 12)
    | {"type_vocab_size": 1, "pad_token_id": 1},
    "distilbert-base": {
        "model_type": "distilbert",
        "vocab_size": 30522,
        "dim": 768,
        "hidden_dim": 3072,
        "n_layers": 6,
        "n_heads": 12,
    },
    "modernbert-base": {"model_type": "modernbert", "vocab_size": 50368, "max_position_embeddings": 8192}
    | _sizes(768, 1152, 22, 12)
    | {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "cls_token_id": 1, "sep_token_id": 2},
    "t5-base": {
        "model_type": "t5",
        "vocab_size": 32128,
        "d_model": 768,
        "d_kv": 64,
        "d_ff": 3072,
        "num_layers": 12,
        "num_decoder_layers": 12,
        "num_heads": 12,
        "decoder_start_token_id": 0,
    },
}

TINY: Mapping[str, object] = {  # what `--dry-run` makes of any model, so that a CPU runs every case
    "hidden_size": 64,
    "intermediate_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "vocab_size": 512,
    "moe_intermediate_size": 32,
    "num_experts": 8,
    "num_experts_per_tok": 2,
    "dim": 64,
    "hidden_dim": 128,
    "n_layers": 2,
    "n_heads": 4,
    "d_model": 64,
    "d_kv": 16,
    "d_ff": 128,
    "num_layers": 2,
    "num_decoder_layers": 2,
    "num_heads": 4,
}

NUMBERS = (
    "model_type",
    "hidden_size",
    "intermediate_size",
    "num_hidden_layers",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "max_position_embeddings",
    "tie_word_embeddings",
    "hidden_act",
    "hidden_activation",
    "attention_bias",
    "attention_dropout",
    "hidden_dropout_prob",
    "attention_probs_dropout_prob",
    "sliding_window",
    "layer_types",
    "attn_logit_softcapping",
    "final_logit_softcapping",
    "moe_intermediate_size",
    "num_experts",
    "num_experts_per_tok",
    "multi_query",
    "parallel_attn",
    "new_decoder_architecture",
    "bias",
    "ffn_hidden_size",
    "type_vocab_size",
    "dim",
    "hidden_dim",
    "n_layers",
    "n_heads",
    "dropout",
    "d_model",
    "d_kv",
    "d_ff",
    "num_layers",
    "num_decoder_layers",
    "num_heads",
    "dropout_rate",
    "feed_forward_proj",
    "is_gated_act",
    "local_attention",
    "global_attn_every_n_layers",
)


def written(config: Mapping[str, object]) -> dict[str, object]:
    """Return what a result row says of a configuration: the fields of `NUMBERS` that it has.

    `layer_types` is left out where all layers are alike.
    """
    kept = {name: config[name] for name in NUMBERS if config.get(name) is not None}
    if "sliding_window" in config:  # none at all is no default
        kept["sliding_window"] = config["sliding_window"]
    kinds = kept.get("layer_types")
    if isinstance(kinds, list) and len(set(kinds)) == 1:
        del kept["layer_types"]
    return kept
