"""Encoders of text, and encoders with a decoder behind them.

An encoder is read as a decoder is, with traits of its own: it remembers nothing, and what follows it
depends on the class that its config names. T5 and BART have two stacks; the decoder's layers also
attend to the encoder, whose keys and values they keep.

Source: the classes of transformers 5.23 that each function names.
"""

from __future__ import annotations

from dataclasses import replace

from rackrate.catalog.architecture.anatomy import Architecture, Cache, Stack
from rackrate.catalog.architecture.config import Config
from rackrate.catalog.architecture.decoder import read_decoder
from rackrate.catalog.architecture.family import Family
from rackrate.catalog.architecture.feedforward import Dense
from rackrate.catalog.architecture.layers import Attention
from rackrate.catalog.architecture.quirks import in_common_words
from rackrate.catalog.architecture.sheet import Sheet


def classic_stack(  # noqa: PLR0913  (the numbers of a stack)
    name: str,
    n_layers: int,
    width: int,
    inner: int,
    n_heads: int,
    head_dim: int,
    n_cross: int = 0,
    *,
    is_gated: bool = False,
    has_head_norms: bool = False,
) -> Stack:
    """Return a stack whose heads all have a key of their own; the arguments are those of `Stack`."""
    return Stack(
        name=name,
        n_layers=n_layers,
        hidden_size=width,
        ffn_size=inner,
        is_gated=is_gated,
        n_heads=n_heads,
        n_kv_heads=n_heads,
        head_dim=head_dim,
        has_head_norms=has_head_norms,
        n_cross_layers=n_cross,
    )


def encoder(config: Config, kind: Family) -> Architecture:
    """Read `BertModel` and its kin: with its pooler, or with the head that its class has instead."""
    level, traits = in_common_words(config, kind.quirk, kind.traits)
    made = read_decoder(level, traits, tied=True, has_head=False)
    sheet = Sheet(tensors=made.tensors)
    _write_head(sheet, level, kind, made.stack.hidden_size)
    # Shared layers are one set of weights and still as many steps.
    stack = replace(made.stack, n_layers=config.count("num_hidden_layers"))
    return Architecture(
        name="",
        model_type=kind.model_type,
        task=kind.task,
        tensors=tuple(made.tensors),
        caches=(),
        stacks=(stack,),
        vocab_size=made.vocab_size,
        max_context=made.max_context,
    )


def _write_head(sheet: Sheet, config: Config, kind: Family, width: int) -> None:
    """Write what the class that the config names has behind its layers."""
    classes = config.words("architectures") if config.get("architectures") else []
    named, pooler = classes[0] if classes else "", kind.traits.pooler
    if named.endswith(("ForMaskedLM", "ForCausalLM")):
        embed_size = config.count(kind.traits.embed_size, width) if kind.traits.embed_size else width
        sheet.matrix("output_transform", "mlp", width, embed_size, bias=True)
        sheet.norm("output_transform_norm", embed_size, "layer")
        sheet.vector("output_bias", config.count("vocab_size"))
        return
    is_classifier = named.endswith("ForSequenceClassification")
    if pooler == "dense" or (is_classifier and pooler):
        sheet.matrix("pooler", "mlp", width, width, bias=True)
    if is_classifier:
        labels = config.get("id2label")
        n_labels = len(labels) if isinstance(labels, dict) else config.count("num_labels", 2)
        sheet.matrix("cls_output", "mlp", width, n_labels, bias=True)


def t5(config: Config, kind: Family) -> Architecture:
    """Read `T5ForConditionalGeneration`: distances in a table, no biases, an inner width of its own."""
    width, inner = config.count("hidden_size", least=1), config.count("intermediate_size")
    vocab, head_dim = config.count("vocab_size"), config.count("head_dim", config.count("d_kv", 64), least=1)
    n_heads = config.count("num_attention_heads", least=1)
    is_gated = config.text("feed_forward_proj").startswith("gated") or config.flag("is_gated_act")
    n_encoder = config.count("num_hidden_layers")
    n_decoder = config.count("num_decoder_layers", n_encoder)
    attention = Attention("full", n_heads, n_heads, head_dim, head_dim)
    words, encoded = Sheet(), Sheet("encoder")
    words.table("token_embd", vocab, width, "vocab")
    if not config.flag("tie_word_embeddings", otherwise=True):
        words.matrix("output", "head", width, vocab, "vocab")
    for sheet, n_layers, n_looks in ((encoded, n_encoder, 1), (words, n_decoder, 2)):
        # The first layer's distances serve all, but where a family says otherwise.
        n_tables = n_layers if config.flag("has_distances_a_layer") else 1
        buckets = config.count("relative_attention_num_buckets")
        sheet.times(n_tables).table("attn_rel_b", buckets, n_heads)
        layers = sheet.times(n_layers)
        attention.write(layers.times(n_looks), width)
        Dense(inner, is_gated).write(layers, width)
        layers.times(n_looks + 1).norm("layer_norm", width)
        sheet.norm("output_norm", width)
    stacks = tuple(
        classic_stack(name, n, width, inner, n_heads, head_dim, n_cross, is_gated=is_gated)
        for name, n, n_cross in (("decoder", n_decoder, n_decoder), ("encoder", n_encoder, 0))
    )
    return _both_ways(config, kind, words, encoded, stacks, vocab)


def bart(config: Config, kind: Family) -> Architecture:
    """Read `BartForConditionalGeneration` and its kin: biases everywhere, places in a table or none."""
    width, vocab = config.count("hidden_size", least=1), config.count("vocab_size")
    words, encoded, traits = Sheet(), Sheet("encoder"), kind.traits
    words.table("token_embd", vocab, width, "vocab")
    if not config.flag("tie_word_embeddings", otherwise=True):
        words.matrix("output", "head", width, vocab, "vocab")
    stacks: list[Stack] = []
    for sheet, side, n_looks in ((encoded, "encoder", 1), (words, "decoder", 2)):
        n_heads = config.count(f"{side}_attention_heads", config.count("num_attention_heads"), least=1)
        inner, n_layers = config.count(f"{side}_ffn_dim"), config.count(f"{side}_layers")
        if traits.places:
            n_places = config.count("max_position_embeddings") + traits.places_offset
            sheet.table("position_embd", n_places, width)
        if traits.embedding_norm:
            sheet.norm("token_embd_norm", width, "layer")
        head_dim, layers = width // n_heads, sheet.times(n_layers)
        attention = Attention("full", n_heads, n_heads, head_dim, head_dim, qkv_bias=True, output_bias=True)
        attention.write(layers.times(n_looks), width)
        Dense(inner, is_gated=False, bias=True).write(layers, width)
        layers.times(n_looks + 1).norm("layer_norm", width, "layer")
        if traits.final_norm:
            sheet.norm("output_norm", width, "layer")
        n_cross = n_layers if side == "decoder" else 0
        made = classic_stack(side, n_layers, width, inner, n_heads, head_dim, n_cross)
        stacks.insert(0, made)
    return _both_ways(config, kind, words, encoded, tuple(stacks), vocab)


def _both_ways(
    config: Config, kind: Family, words: Sheet, encoded: Sheet, stacks: tuple[Stack, ...], vocab: int
) -> Architecture:
    """Put an encoder and a decoder together; the longest source is as long as the longest text."""
    decoder = stacks[0]
    n_tokens = config.count("max_position_embeddings", 0)
    numbers = (decoder.n_layers, decoder.n_heads, decoder.head_dim, decoder.head_dim)
    return Architecture(
        name="",
        model_type=kind.model_type,
        task=kind.task,
        tensors=tuple(words.tensors + encoded.tensors),
        caches=(Cache("full", *numbers), Cache("cross", *numbers, n_tokens)),
        stacks=stacks,
        vocab_size=vocab,
        max_context=n_tokens,
    )
