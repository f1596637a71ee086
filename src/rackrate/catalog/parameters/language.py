"""Language models, with and without eyes. See the package for the table of the families."""

from __future__ import annotations

from rackrate.catalog.model import Model
from rackrate.catalog.parameters.counting import Config, ParameterCount, config_of, dense
from rackrate.catalog.parameters.layers import (
    conv,
    encoder_layer,
    gated_mlp,
    grouped_attention,
    layer_norm,
    linear,
)


def _decoder(model: Model) -> dict[str, int]:
    """Count `LlamaForCausalLM` and its kin: `Qwen2`, `Qwen3`, `Gemma3` text, `Mistral`."""
    c, family = config_of(model), model.family
    attention = grouped_attention(
        c.hidden_size,
        c.num_attention_heads * c.head_dim,
        c.num_key_value_heads * c.head_dim,
        qkv_bias=family in {"qwen2", "qwen2_5_vl"},
    )
    head_norms = 2 * c.head_dim if family in {"qwen3", "gemma3"} else 0
    norms = (4 if family == "gemma3" else 2) * c.hidden_size
    feed_forward = gated_mlp(c.hidden_size, c.intermediate_size)
    return {
        "embedding": embedding(c),
        "attention": c.num_hidden_layers * (attention + head_norms),
        "mlp": c.num_hidden_layers * feed_forward,
        "norms": c.num_hidden_layers * norms + c.hidden_size,
    }


def embedding(c: Config) -> int:
    """Count the input embedding and, where it is not tied to it, the output embedding."""
    return int((1 if c.tie_word_embeddings else 2) * c.vocab_size * c.hidden_size)


def text(model: Model) -> ParameterCount:
    """Count a language model that only reads text."""
    return dense(_decoder(model))


def gemma3(model: Model) -> ParameterCount:
    """Count `Gemma3ForConditionalGeneration`: SigLIP without its pooling head, one projection."""
    c, v = config_of(model), config_of(model, "vision_config")
    tower = (
        conv(v.num_channels, v.hidden_size, v.patch_size**2)
        + (v.image_size // v.patch_size) ** 2 * v.hidden_size
        + v.num_hidden_layers * encoder_layer(v.hidden_size, v.intermediate_size)
        + layer_norm(v.hidden_size)
    )
    projector = v.hidden_size + linear(v.hidden_size, c.hidden_size, bias=False)
    return dense(_decoder(model) | {"vision tower": tower, "projector": projector})


def llava_next(model: Model) -> ParameterCount:
    """Count `LlavaNextForConditionalGeneration`: `CLIPVisionModel` with a class token."""
    c, v = config_of(model), config_of(model, "vision_config")
    places = (v.image_size // v.patch_size) ** 2 + 1
    tower = (
        conv(v.num_channels, v.hidden_size, v.patch_size**2, bias=False)
        + (places + 1) * v.hidden_size  # the places and the class token itself
        + v.num_hidden_layers * encoder_layer(v.hidden_size, v.intermediate_size)
        + 2 * layer_norm(v.hidden_size)
    )
    projector = linear(v.hidden_size, c.hidden_size) + linear(c.hidden_size, c.hidden_size)
    seeing = {"vision tower": tower, "projector": projector, "image newline": c.hidden_size}
    return dense(_decoder(model) | seeing)


def qwen2_5_vl(model: Model) -> ParameterCount:
    """Count `Qwen2_5_VLForConditionalGeneration`: RMSNorms, gated MLPs with biases."""
    v = config_of(model, "vision_config")
    merged = v.hidden_size * v.spatial_merge_size**2
    patch = v.temporal_patch_size * v.patch_size**2
    block = (
        4 * linear(v.hidden_size, v.hidden_size)
        + gated_mlp(v.hidden_size, v.intermediate_size, bias=True)
        + 2 * v.hidden_size
    )
    tower = conv(v.in_channels, v.hidden_size, patch, bias=False) + v.depth * block
    merger = v.hidden_size + linear(merged, merged) + linear(merged, v.out_hidden_size)
    return dense(_decoder(model) | {"vision tower": tower, "projector": merger})


def qwen3_5_moe(model: Model) -> ParameterCount:
    """Count `Qwen3_5MoeForConditionalGeneration`: gated delta nets, experts, vision, MTP."""
    c, v = config_of(model), config_of(model, "vision_config")
    expert = gated_mlp(c.hidden_size, c.moe_intermediate_size)
    router = c.hidden_size * c.num_experts
    shared = gated_mlp(c.hidden_size, c.shared_expert_intermediate_size) + c.hidden_size
    n_layers, attention = c.num_hidden_layers, _gated_attention(c)
    merged = v.hidden_size * v.spatial_merge_size**2
    patch = v.temporal_patch_size * v.patch_size**2
    language = {
        "embedding": embedding(c),
        "attention": c.full_attention_layers * attention,
        "delta net": c.linear_attention_layers * _gated_delta_net(c),
        "experts": n_layers * c.num_experts * expert,
        "router and shared expert": n_layers * (router + shared),
        "norms": n_layers * 2 * c.hidden_size + c.hidden_size,
    }
    seeing = {
        "vision tower": conv(v.in_channels, v.hidden_size, patch)
        + v.num_position_embeddings * v.hidden_size
        + v.depth * encoder_layer(v.hidden_size, v.intermediate_size),
        "projector": layer_norm(v.hidden_size) + linear(merged, merged) + linear(merged, v.out_hidden_size),
    }
    idle = n_layers * (c.num_experts - c.num_experts_per_tok) * expert
    layer = attention + c.num_experts * expert + router + shared + 2 * c.hidden_size
    join = linear(2 * c.hidden_size, c.hidden_size, bias=False) + 3 * c.hidden_size
    return ParameterCount(
        language | seeing,
        embedding=language["embedding"],
        active=sum(language.values()) - idle,
        mtp=c.mtp_layers * layer + join,
    )


def _gated_attention(c: Config) -> int:
    """Count grouped attention whose query projection also makes an output gate, with head norms."""
    q_width, kv_width = c.num_attention_heads * c.head_dim, c.num_key_value_heads * c.head_dim
    gate = linear(c.hidden_size, q_width, bias=False)
    return grouped_attention(c.hidden_size, q_width, kv_width) + gate + int(2 * c.head_dim)


def _gated_delta_net(c: Config) -> int:
    """Count `Qwen3_5MoeGatedDeltaNet`: q, k, v; gate z; rates a and b; convolution; decay; norm."""
    keys = c.linear_num_key_heads * c.linear_key_head_dim
    values = c.linear_num_value_heads * c.linear_value_head_dim
    mixed = 2 * keys + values
    rates = 2 * c.hidden_size * c.linear_num_value_heads
    decay = 2 * c.linear_num_value_heads  # A_log and dt_bias
    inward = c.hidden_size * (mixed + values) + rates + mixed * c.linear_conv_kernel_dim
    return int(inward + decay + c.linear_value_head_dim + values * c.hidden_size)
