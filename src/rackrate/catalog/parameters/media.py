"""Speech, text encoders and diffusion pipelines. See the package for the table of the families."""

from __future__ import annotations

from rackrate.catalog.model import Model
from rackrate.catalog.parameters.counting import ParameterCount, config_of, dense
from rackrate.catalog.parameters.language import embedding
from rackrate.catalog.parameters.layers import (
    autoencoder,
    conv,
    encoder_layer,
    gated_mlp,
    grouped_attention,
    layer_norm,
    linear,
    mlp,
)


def whisper(model: Model) -> ParameterCount:
    """Count `WhisperForConditionalGeneration`; the fixed sinusoid places of the encoder count."""
    c = config_of(model)
    d = c.hidden_size
    attention = 4 * linear(d, d) - d  # the key has no bias
    feed_forward = mlp(d, c.intermediate_size)
    stem = conv(c.num_mel_bins, d, 3) + conv(d, d, 3) + c.max_source_positions * d
    encoder = attention + feed_forward + 2 * layer_norm(d)
    decoder = 2 * attention + feed_forward + 3 * layer_norm(d)
    return dense(
        {
            "embedding": embedding(c),
            "encoder": stem + c.encoder_layers * encoder + layer_norm(d),
            "decoder": c.max_target_positions * d + c.decoder_layers * decoder + layer_norm(d),
        }
    )


def bert(model: Model) -> ParameterCount:
    """Count `BertModel` with its pooler and without a pre-training head."""
    c = config_of(model)
    d = c.hidden_size
    return dense(
        {
            "embedding": c.vocab_size * d,
            "places and segments": (c.max_position_embeddings + c.type_vocab_size) * d + layer_norm(d),
            "encoder": c.num_hidden_layers * encoder_layer(d, c.intermediate_size),
            "pooler": linear(d, d),
        }
    )


def flux(model: Model) -> ParameterCount:
    """Count `FluxPipeline`; only the transformer works in every denoising step."""
    text, t5, vae = (config_of(model, p) for p in ("text_encoder", "text_encoder_2", "vae"))
    words = {"clip": text.vocab_size * text.hidden_size, "t5": t5.vocab_size * t5.d_model}
    heads = t5.num_heads * t5.d_kv
    clip = (
        text.max_position_embeddings * text.hidden_size
        + text.num_hidden_layers * encoder_layer(text.hidden_size, text.intermediate_size)
        + layer_norm(text.hidden_size)
    )
    t5_layer = grouped_attention(t5.d_model, heads, heads) + gated_mlp(t5.d_model, t5.d_ff)
    buckets = t5.relative_attention_num_buckets * t5.num_heads  # the first layer's places serve all
    t5_encoder = t5.num_layers * (t5_layer + 2 * t5.d_model) + buckets + t5.d_model
    shape = (vae.in_channels, vae.latent_channels, vae.block_out_channels, vae.layers_per_block)
    transformer = _flux_transformer(model)
    return ParameterCount(
        {
            "transformer": transformer,
            "CLIP text encoder": words["clip"] + clip,
            "T5 encoder": words["t5"] + t5_encoder,
            "VAE": sum(autoencoder(*shape)),
        },
        embedding=sum(words.values()),
        active=transformer,
    )


def _flux_transformer(model: Model) -> int:
    """Count `FluxTransformer2DModel`: each block is modulated by a projection of the time step."""
    c, t = config_of(model), config_of(model, "transformer")
    d, head_norms = c.hidden_size, 2 * c.head_dim
    clocks = 2 if t.guidance_embeds else 1  # time step, and guidance where it was distilled in
    inward = (
        linear(t.in_channels, d)
        + linear(t.joint_attention_dim, d)
        + clocks * (linear(256, d) + linear(d, d))
        + linear(t.pooled_projection_dim, d)
        + linear(d, d)
    )
    stream = linear(d, 6 * d) + 4 * linear(d, d) + head_norms + mlp(d, 4 * d)
    single = linear(d, 3 * d) + 3 * linear(d, d) + head_norms + linear(d, 4 * d) + linear(5 * d, d)
    outward = linear(d, 2 * d) + linear(d, t.in_channels)
    return int(inward + t.num_layers * 2 * stream + t.num_single_layers * single + outward)
