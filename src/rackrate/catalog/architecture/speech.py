"""Models that listen: convolutions over sound, an encoder, perhaps a decoder with cross-attention.

Source: `WhisperForConditionalGeneration`, `Wav2Vec2ForCTC`, `WavLMForCTC` of transformers 5.23.
"""

from __future__ import annotations

from rackrate.catalog.architecture.anatomy import Architecture, Cache, Stack
from rackrate.catalog.architecture.config import Config
from rackrate.catalog.architecture.encoders import classic_stack
from rackrate.catalog.architecture.family import Family
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


def wav2vec2(config: Config, kind: Family) -> Architecture:
    """Read `Wav2Vec2ForCTC` and its kin: a token is 20 ms of sound, and letters are read off each."""
    width, n_layers = config.count("hidden_size", least=1), config.count("num_hidden_layers")
    inner, n_heads = config.count("intermediate_size"), config.count("num_attention_heads", least=1)
    sheet = Sheet("audio")
    heard = _write_sound(config, sheet)
    if config.flag("feat_proj_layer_norm", otherwise=True):
        sheet.norm("feature_norm", heard, "layer")
    sheet.matrix("feature_projection", "mlp", heard, width, bias=True)
    sheet.vector("masked_spec_embd", width)
    taps, groups = (
        config.count("num_conv_pos_embeddings"),
        config.count("num_conv_pos_embedding_groups", least=1),
    )
    sheet.conv("position_conv", width // groups, width, taps)
    sheet.vector("position_conv_scale", taps)
    write_layer(sheet.times(n_layers), width, inner)
    sheet.norm("output_norm", width, "layer")
    n_buckets = config.count("num_buckets", 0)
    if n_buckets:  # WavLM's distances, weighed by each head
        sheet.table("attn_rel_b", n_buckets, n_heads)
        layers = sheet.times(n_layers)
        layers.matrix("attn_rel_gate", "attention", width // n_heads, 8, bias=True)
        layers.vector("attn_rel_scale", n_heads)
    named = (config.words("architectures") if config.get("architectures") else [""])[0]
    if named.endswith("ForCTC"):
        sheet.matrix("ctc_output", "mlp", width, config.count("vocab_size"), bias=True)
    stack = classic_stack("encoder", n_layers, width, inner, n_heads, width // n_heads)
    return Architecture("", kind.model_type, kind.task, tuple(sheet.tensors), (), (stack,))


def _write_sound(config: Config, sheet: Sheet) -> int:
    """Write the convolutions that make features of samples; return the features."""
    widths, taps = config.numbers("conv_dim"), config.numbers("conv_kernel")
    if not widths or len(widths) != len(taps):
        raise BadQuantity(f"{config.where}: `conv_dim` and `conv_kernel` do not name the same layers")
    bias, norms = config.flag("conv_bias"), config.text("feat_extract_norm", "group")
    for i, (n_in, n_out, n_taps) in enumerate(zip([1, *widths], widths, taps, strict=False)):
        sheet.conv("sound_conv", n_in, n_out, n_taps, bias=bias)
        if norms == "layer" or i == 0:
            sheet.norm("sound_norm", n_out, "layer")
    return widths[-1]


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
