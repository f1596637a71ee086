"""Speech and diffusion pipelines.

    whisper   convolutions and encoder, decoder with cross-attention; the key has no bias
    flux      double and single stream blocks, T5 encoder, CLIP text model, VAE

Source: the classes of transformers 5.23 and diffusers @58eb52c080 named in each function.
"""

from __future__ import annotations

from rackrate.catalog.architecture.anatomy import Architecture, Cache, Stack
from rackrate.catalog.architecture.config import Config
from rackrate.catalog.architecture.encoders import classic_stack
from rackrate.catalog.architecture.family import Family
from rackrate.catalog.architecture.layers import Attention
from rackrate.catalog.architecture.sheet import Sheet
from rackrate.catalog.architecture.towers import write_layer
from rackrate.errors import BadQuantity


def whisper(config: Config, kind: Family) -> Architecture:
    """Read `WhisperForConditionalGeneration`; the fixed sinusoid places of the encoder count."""
    width, vocab = config.count("hidden_size", least=1), config.count("vocab_size")
    n_heard, n_written = config.count("max_source_positions"), config.count("max_target_positions")
    encoder = _whisper_stack(config, "encoder", width, 0)
    decoder = _whisper_stack(config, "decoder", width, config.count("decoder_layers"))
    heads = (decoder.n_heads, decoder.head_dim)
    ears = Sheet("audio")
    ears.conv("conv1", config.count("num_mel_bins"), width, 3)
    ears.conv("conv2", width, width, 3)
    ears.table("position_embd", n_heard, width)
    _whisper_layers(ears.times(encoder.n_layers), encoder, ("attn",))
    ears.norm("output_norm", width, "layer")
    words = Sheet()
    words.table("token_embd", vocab, width, "vocab")
    words.table("position_embd", n_written, width)
    _whisper_layers(words.times(decoder.n_layers), decoder, ("attn", "cross_attn"))
    words.norm("output_norm", width, "layer")
    caches = (
        Cache("full", decoder.n_layers, heads[0], heads[1], heads[1]),
        Cache("cross", decoder.n_layers, heads[0], heads[1], heads[1], n_heard),
    )
    tensors = tuple(words.tensors + ears.tensors)
    return Architecture("", kind.model_type, kind.task, tensors, caches, (decoder, encoder), vocab, n_written)


def _whisper_stack(config: Config, side: str, width: int, n_cross: int) -> Stack:
    n_heads = config.count(f"{side}_attention_heads", config.count("num_attention_heads", 1), least=1)
    inner = config.count(f"{side}_ffn_dim", config.count("intermediate_size", 4 * width))
    n_layers = config.count(f"{side}_layers")
    return classic_stack(side, n_layers, width, inner, n_heads, width // n_heads, n_cross)


def _whisper_layers(sheet: Sheet, stack: Stack, looks: tuple[str, ...]) -> None:
    """Write layers that look at tokens once, or also at the encoder; a key has no bias."""
    width = stack.hidden_size
    for look in looks:
        sheet.matrix(f"{look}_q", "attention", width, width, "column", bias=True)
        sheet.matrix(f"{look}_k", "attention", width, width, "kv")
        sheet.matrix(f"{look}_v", "attention", width, width, "kv", bias=True)
        sheet.matrix(f"{look}_output", "attention", width, width, "row", bias=True)
        sheet.norm(f"{look}_norm", width, "layer")
    sheet.matrix("ffn_up", "mlp", width, stack.ffn_size, "column", bias=True)
    sheet.matrix("ffn_down", "mlp", stack.ffn_size, width, "row", bias=True)
    sheet.norm("ffn_norm", width, "layer")


def flux(config: Config, kind: Family) -> Architecture:
    """Read `FluxPipeline`; only the transformer works in every denoising step."""
    parts = {
        name: Config(
            _part(config, name), kind.defaults.get(name, {}), f"{config.where}, {name}", config.notes
        )
        for name in ("transformer", "text_encoder", "text_encoder_2", "vae")
    }
    sheets = {name: Sheet(name) for name in parts}
    stack = _flux_transformer(parts["transformer"], sheets["transformer"])
    clip = _clip_text(parts["text_encoder"], sheets["text_encoder"])
    t5 = _t5_encoder(parts["text_encoder_2"], sheets["text_encoder_2"])
    _autoencoder(parts["vae"], sheets["vae"])
    tensors = tuple(tensor for sheet in sheets.values() for tensor in sheet.tensors)
    return Architecture("", kind.model_type, kind.task, tensors, (), (stack, clip, t5))


def _part(config: Config, name: str) -> dict[str, object]:
    """Return a component's own config; the transformer's may stand at the top, as in its own file."""
    inner = dict(config.section(name))
    return {**config.values, **inner} if name == "transformer" else inner


def _flux_transformer(config: Config, sheet: Sheet) -> Stack:
    """Write `FluxTransformer2DModel`: each block is modulated by a projection of the time step."""
    n_heads, head_dim = config.count("num_attention_heads", least=1), config.count("head_dim", least=1)
    width, pooled = n_heads * head_dim, config.count("pooled_projection_dim")
    channels, text = config.count("in_channels"), config.count("joint_attention_dim")
    sheet.matrix("img_in", "mlp", channels, width, bias=True)
    sheet.matrix("txt_in", "mlp", text, width, bias=True)
    clocks = sheet.times(2 if config.flag("guidance_embeds") else 1)  # guidance where it was distilled in
    clocks.matrix("time_in_1", "mlp", 256, width, bias=True)
    clocks.matrix("time_in_2", "mlp", width, width, bias=True)
    sheet.matrix("vector_in_1", "mlp", pooled, width, bias=True)
    sheet.matrix("vector_in_2", "mlp", width, width, bias=True)
    n_double, n_single = config.count("num_layers"), config.count("num_single_layers")
    heads = {"qkv_bias": True, "head_norms": "head"}
    stream = sheet.times(2 * n_double)  # one for the image, one for the text
    stream.matrix("double_mod", "mlp", width, 6 * width, "column", bias=True)
    Attention("full", n_heads, n_heads, head_dim, head_dim, output_bias=True, **heads).write(stream, width)  # type: ignore[arg-type]
    stream.matrix("ffn_up", "mlp", width, 4 * width, "column", bias=True)
    stream.matrix("ffn_down", "mlp", 4 * width, width, "row", bias=True)
    single = sheet.times(n_single)
    single.matrix("single_mod", "mlp", width, 3 * width, "column", bias=True)
    for name in ("attn_q", "attn_k", "attn_v"):
        single.matrix(name, "attention", width, width, "column", bias=True)
    single.vector("attn_q_norm", head_dim)
    single.vector("attn_k_norm", head_dim)
    single.matrix("ffn_up", "mlp", width, 4 * width, "column", bias=True)
    single.matrix("linear2", "mlp", 5 * width, width, "row", bias=True)
    sheet.matrix("output_mod", "mlp", width, 2 * width, bias=True)
    sheet.matrix("img_out", "mlp", width, config.count("out_channels", channels), bias=True)
    n_layers = n_double + n_single
    return classic_stack("transformer", n_layers, width, 4 * width, n_heads, head_dim, has_head_norms=True)


def _clip_text(config: Config, sheet: Sheet) -> Stack:
    """Write `CLIPTextModel`."""
    width, inner = config.count("hidden_size", least=1), config.count("intermediate_size")
    n_layers, n_heads = config.count("num_hidden_layers"), config.count("num_attention_heads", 12, least=1)
    sheet.table("token_embd", config.count("vocab_size"), width, "vocab")
    sheet.table("position_embd", config.count("max_position_embeddings"), width)
    write_layer(sheet.times(n_layers), width, inner)
    sheet.norm("output_norm", width, "layer")
    return classic_stack("text_encoder", n_layers, width, inner, n_heads, width // n_heads)


def _t5_encoder(config: Config, sheet: Sheet) -> Stack:
    """Write `T5EncoderModel` 1.1: gated blocks; the first layer's places serve all."""
    width, inner = config.count("hidden_size", least=1), config.count("intermediate_size")
    n_heads, head_dim = config.count("num_heads", least=1), config.count("d_kv", least=1)
    n_layers = config.count("num_hidden_layers")
    sheet.table("token_embd", config.count("vocab_size"), width, "vocab")
    sheet.table("attn_rel_b", config.count("relative_attention_num_buckets"), n_heads)
    layers = sheet.times(n_layers)
    Attention("full", n_heads, n_heads, head_dim, head_dim).write(layers, width)
    layers.matrix("ffn_gate", "mlp", width, inner, "column")
    layers.matrix("ffn_up", "mlp", width, inner, "column")
    layers.matrix("ffn_down", "mlp", inner, width, "row")
    layers.norm("attn_norm", width)
    layers.norm("ffn_norm", width)
    sheet.norm("output_norm", width)
    return classic_stack("text_encoder_2", n_layers, width, inner, n_heads, head_dim, is_gated=True)


def _autoencoder(config: Config, sheet: Sheet) -> None:
    """Write encoder and decoder of `AutoencoderKL` without quant layers.

    Source: `Encoder`, `Decoder`, `UNetMidBlock2D` of diffusers.
    """
    n_in, n_latent = config.count("in_channels"), config.count("latent_channels")
    widths, n_resnets = config.numbers("block_out_channels"), config.count("layers_per_block", least=1)
    if not widths:
        raise BadQuantity(f"{config.where}: `block_out_channels` is empty")
    first, last = widths[0], widths[-1]
    sheet.conv("encoder_conv_in", n_in, first, 9)
    _sampling(sheet, widths, n_resnets)
    sheet.norm("encoder_norm_out", last, "layer")
    sheet.conv("encoder_conv_out", last, 2 * n_latent, 9)  # mean and variance
    sheet.conv("decoder_conv_in", n_latent, last, 9)
    _sampling(sheet, widths[::-1], n_resnets + 1)
    sheet.norm("decoder_norm_out", first, "layer")
    sheet.conv("decoder_conv_out", first, n_in, 9)
    both = sheet.times(2)
    _resnet(both.times(2), last, last)
    both.norm("mid_attn_norm", last, "layer")
    both.times(4).matrix("mid_attn", "attention", last, last, bias=True)


def _sampling(sheet: Sheet, widths: list[int], n_resnets: int) -> None:
    """Write the blocks of one side; all but the last end in a resampling convolution."""
    previous = widths[0]
    for i, width in enumerate(widths):
        _resnet(sheet, previous, width)
        _resnet(sheet.times(n_resnets - 1), width, width)
        if i < len(widths) - 1:
            sheet.conv("resample", width, width, 9)
        previous = width


def _resnet(sheet: Sheet, n_in: int, n_out: int) -> None:
    """Write two normalised 3 x 3 convolutions and, where the width changes, a 1 x 1 shortcut."""
    sheet.norm("norm1", n_in, "layer")
    sheet.conv("conv1", n_in, n_out, 9)
    sheet.norm("norm2", n_out, "layer")
    sheet.conv("conv2", n_out, n_out, 9)
    if n_in != n_out:
        sheet.conv("shortcut", n_in, n_out, 1)
