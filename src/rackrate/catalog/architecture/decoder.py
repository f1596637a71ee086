"""Language models that predict the next token, of every family: a table of traits, one reader.

A model is an embedding, layers, a norm and a head. A layer mixes tokens (`layers`), works on each
alone (`feedforward`) and has norms. Layers with equal numbers are written once, with a count.

Source: the `...ForCausalLM` classes of transformers 5.23.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TypeVar

from rackrate.catalog.architecture.anatomy import Cache, Stack, Tensor
from rackrate.catalog.architecture.config import Config
from rackrate.catalog.architecture.extras import EXTRAS
from rackrate.catalog.architecture.family import Traits
from rackrate.catalog.architecture.feedforward import Dense, Experts, FeedForward
from rackrate.catalog.architecture.layers import Attention, Both, Latent, Mixer
from rackrate.catalog.architecture.layout import sparse_layers
from rackrate.catalog.architecture.mixing import read_mixers
from rackrate.catalog.architecture.sheet import Sheet

Part = TypeVar("Part", Mixer, FeedForward)

LAYER_NORMS = ("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm")
"""Norms of a layer in the order in which families have them: those of two have the first two."""


@dataclass(frozen=True, slots=True)
class Decoder:
    """A language model read from its config.

    Attributes:
        tensors: its weights.
        caches: what its layers remember.
        stack: its shape.
        vocab_size: tokens.
        max_context: tokens that it was made for; 0 when not said.
    """

    tensors: list[Tensor]
    caches: tuple[Cache, ...]
    stack: Stack
    vocab_size: int
    max_context: int


def read_decoder(config: Config, traits: Traits, *, tied: bool, has_head: bool = True) -> Decoder:
    """Return the language model that a config describes.

    Args:
        config: its own level of the config.
        traits: of its family.
        tied: whether the head is the embedding.
        has_head: whether there is a head at all; an embedding model has none.
    """
    width = config.count("hidden_size", least=1)
    n_layers = config.count("num_hidden_layers", least=1)
    vocab = config.count("vocab_size", least=1)
    mixers = read_mixers(config, traits, n_layers)
    blocks = _blocks(config, traits, n_layers, width)
    sheet = Sheet()
    _write_outside(sheet, config, traits, width, vocab, head=has_head and not tied)
    _write_layers(sheet, traits, width, mixers, blocks)
    if traits.extra:
        EXTRAS[traits.extra](config, sheet, width, n_layers)
    _write_mtp(sheet, config, traits, mixers, blocks, width, vocab)
    return Decoder(
        tensors=sheet.tensors,
        caches=() if traits.is_encoder else caches_of(mixers),
        stack=stack_of("encoder" if traits.is_encoder else "decoder", width, mixers, blocks),
        vocab_size=vocab,
        max_context=config.count("max_position_embeddings", 0),
    )


def _counted(parts: Sequence[Part | None]) -> list[tuple[Part, int]]:
    """Return the parts of layers that are there, equal ones once, with their counts."""
    by_id = Counter(map(id, parts))  # most layers share one object, which spares comparing its numbers
    found: Counter[Part] = Counter()
    for part in {id(part): part for part in parts}.values():
        if part is not None:
            found[part] += by_id[id(part)]
    return list(found.items())


def _write_layers(
    sheet: Sheet,
    traits: Traits,
    width: int,
    mixers: Sequence[Mixer | None],
    blocks: Sequence[FeedForward | None],
) -> None:
    """Write layers, those that are equal once with their count, and their norms."""
    for mixer, n in _counted(mixers):
        mixer.write(sheet.times(n), width)
    for block, n in _counted(blocks):
        block.write(sheet.times(n), width)
    n_mixers = len(mixers) - mixers.count(None)
    first = n_mixers if traits.first_norm else n_mixers - 1
    n_blocks = len(blocks) - blocks.count(None)
    if traits.layer_norms == 1:  # before attention and feed-forward side by side, or before the only one
        sheet.times(len(mixers)).norm("attn_norm", width, traits.norm)
        return
    n_each = (first, n_blocks, n_mixers, n_blocks)
    for name, n in zip(LAYER_NORMS[: traits.layer_norms], n_each, strict=False):
        sheet.times(n).norm(name, width, traits.norm)


def caches_of(mixers: Sequence[Mixer | None]) -> tuple[Cache, ...]:
    """Return what layers remember, those that remember alike as one entry."""
    n_layers: Counter[Cache] = Counter()
    for mixer, n in Counter(mixers).items():
        if mixer is not None:
            n_layers.update(dict.fromkeys(mixer.caches(1), n))
    return tuple(replace(cache, n_layers=n) for cache, n in n_layers.items())


def stack_of(
    name: str, width: int, mixers: Sequence[Mixer | None], blocks: Sequence[FeedForward | None]
) -> Stack:
    """Return the shape of a stack of layers: that of its widest attention and feed-forward."""
    firsts = [mixer.first if isinstance(mixer, Both) else mixer for mixer in mixers]
    attention = max(
        (m for m in firsts if isinstance(m, Attention)), key=lambda m: m.n_heads * m.head_dim, default=None
    )
    latent = next((m for m in firsts if isinstance(m, Latent)), None)
    widest = max((b for b in blocks if b is not None), key=lambda b: b.met_size, default=None)
    experts = next((b for b in blocks if isinstance(b, Experts)), None)
    n_heads, n_kv_heads, head_dim = 1, 1, 0
    if latent:
        n_heads = n_kv_heads = latent.n_heads
        head_dim = latent.nope_dim + latent.rope_dim
    elif attention:
        n_heads, n_kv_heads, head_dim = attention.n_heads, attention.n_kv_heads, attention.head_dim
    return Stack(
        name=name,
        n_layers=len(mixers),
        hidden_size=width,
        ffn_size=widest.met_size if widest else 0,
        is_gated=widest is not None and widest.is_gated,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        has_head_norms=bool(attention and attention.head_norms),
        n_experts=experts.n_experts if experts else 0,
        n_experts_per_token=experts.n_chosen if experts else 0,
    )


def _write_outside(
    sheet: Sheet, config: Config, traits: Traits, width: int, vocab: int, *, head: bool
) -> None:
    """Write what stands before and after the layers."""
    embed_size = config.count(traits.embed_size, width) if traits.embed_size else width
    sheet.table("token_embd", vocab, embed_size, "vocab")
    if embed_size != width:
        sheet.matrix("project_in", "mlp", embed_size, width, bias=traits.is_encoder)
        if not traits.is_encoder:
            sheet.matrix("project_out", "mlp", width, embed_size)
    inner = embed_size if traits.is_encoder else width
    if config.flag(traits.places, otherwise=True):
        n_places = config.count("max_position_embeddings", least=1) + traits.places_offset
        sheet.table("position_embd", n_places, inner)
    if traits.types:
        sheet.table("token_types", config.count("type_vocab_size", 0), inner)
    if config.flag(traits.embedding_norm):
        sheet.norm("token_embd_norm", inner, traits.norm)
    if config.flag(traits.final_norm, otherwise=True):
        sheet.norm("output_norm", width, traits.norm)
    if head:
        sheet.matrix("output", "head", embed_size, vocab, "vocab", bias=config.flag(traits.head_bias))


def _blocks(config: Config, traits: Traits, n_layers: int, width: int) -> list[FeedForward | None]:
    """Return the feed-forward block of each layer; None where a layer has none."""
    if traits.blocks == "none":
        return [None] * n_layers
    n_experts = config.count("num_experts", 0)
    if traits.blocks == "either":  # a layer of its own, named among those that attend
        named = config.words("layer_types")[:n_layers]
        has_block, is_sparse = [n in ("mlp", "moe") for n in named], [n == "moe" for n in named]
    else:
        has_block = [True] * n_layers
        is_sparse = sparse_layers(config, n_layers) if n_experts > 1 else [False] * n_layers
    sparse = _experts(config, traits, n_experts) if any(is_sparse) else None
    if sparse is not None and all(is_sparse):
        return [sparse] * n_layers
    is_gated, bias = config.flag(traits.gated), config.flag(traits.mlp_bias)
    sizes = config.per_layer("intermediate_size", n_layers, traits.ffn_factor * width)
    dense = {size: Dense(size, is_gated, bias) if size else None for size in set(sizes)}
    return [
        None if not has else sparse if on else dense[size]
        for has, on, size in zip(has_block, is_sparse, sizes, strict=True)
    ]


def _experts(config: Config, traits: Traits, n_experts: int) -> Experts:
    is_gated, bias = config.flag(traits.gated), config.flag(traits.mlp_bias)
    size = config.count(traits.expert_size, config.count("intermediate_size", 0) or None)
    shared = config.count("shared_expert_intermediate_size", 0)
    shared = shared or size * config.count("n_shared_experts", 0)
    return Experts(
        n_experts=n_experts,
        n_chosen=config.count("num_experts_per_tok"),
        size=size,
        is_gated=is_gated,
        bias=config.flag(traits.expert_bias),
        router_bias=config.flag(traits.router_bias),
        shared=Dense(shared, is_gated, bias, "_shexp") if shared else None,
        shared_gate=config.flag(traits.shared_gate),
        latent=config.count("moe_latent_size", 0),
    )


def _write_mtp(
    sheet: Sheet,
    config: Config,
    traits: Traits,
    mixers: Sequence[Mixer | None],
    blocks: Sequence[FeedForward | None],
    width: int,
    vocab: int,
) -> None:
    """Write the layers that predict further tokens: one like the last, and what joins it."""
    n_extra = config.count("mtp_layers", 0)
    if not n_extra or not traits.mtp:
        return
    extra = Sheet(tensors=sheet.tensors, is_extra=True)
    _write_layers(extra.times(n_extra), traits, width, mixers[-1:], blocks[-1:])
    # Qwen has one join for all of its extra layers; DeepSeek has one in each, with tables of its own.
    join = extra if traits.mtp == "qwen" else extra.times(n_extra)
    join.matrix("nextn_eh_proj", "mlp", 2 * width, width)
    for name in ("nextn_enorm", "nextn_hnorm", "nextn_shared_head_norm"):
        join.norm(name, width, traits.norm)
    if traits.mtp == "deepseek":
        join.table("nextn_embed_tokens", vocab, width, "vocab")
        join.matrix("nextn_shared_head_head", "head", width, vocab, "vocab")
