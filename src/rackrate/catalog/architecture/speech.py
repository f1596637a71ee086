"""Models that listen: convolutions over sound, an encoder, a decoder with cross-attention.

Source: `WhisperForConditionalGeneration` of transformers 5.23.
"""

from __future__ import annotations

from rackrate.catalog.architecture.anatomy import Architecture, Cache, Stack
from rackrate.catalog.architecture.config import Config
from rackrate.catalog.architecture.encoders import classic_stack
from rackrate.catalog.architecture.family import Family
from rackrate.catalog.architecture.sheet import Sheet


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
