"""Language models that predict the next token, of every family: a table of traits, one reader.

A model is an embedding, layers, a norm and a head. A layer mixes tokens (`layers`), works on each
alone (`feedforward`) and has norms. Layers with equal numbers are written once, with a count.

Source: the `...ForCausalLM` classes of transformers 5.23.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from rackrate.catalog.architecture.anatomy import Cache, Stack, Tensor
from rackrate.catalog.architecture.config import Config
from rackrate.catalog.architecture.family import Traits
from rackrate.catalog.architecture.feedforward import Dense, Experts, FeedForward
from rackrate.catalog.architecture.layers import Attention, DeltaNet, Latent, Mixer
from rackrate.catalog.architecture.layout import attention_kinds, sparse_layers, window
from rackrate.catalog.architecture.sheet import Sheet

LAYER_NORMS = ("attn_norm", "ffn_norm", "post_attention_norm", "post_ffw_norm")


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
    mixers = _mixers(config, traits, n_layers)
    blocks = _blocks(config, traits, n_layers, width)
    sheet = Sheet()
    _write_outside(sheet, config, traits, width, vocab, head=has_head and not tied)
    for mixer, n in Counter(mixers).items():
        mixer.write(sheet.times(n), width)
    for block, n in Counter(blocks).items():
        block.write(sheet.times(n), width)
    for name in LAYER_NORMS[: traits.layer_norms]:
        sheet.times(n_layers).norm(name, width, traits.norm)
    _write_extra(sheet, config, traits, mixers, blocks, width, vocab)
    return Decoder(
        tensors=sheet.tensors,
        caches=caches_of(mixers),
        stack=stack_of(width, mixers, blocks),
        vocab_size=vocab,
        max_context=config.count("max_position_embeddings", 0),
    )


def caches_of(mixers: Sequence[Mixer]) -> tuple[Cache, ...]:
    """Return what layers remember, those that remember alike as one entry."""
    found = (mixer.cache(n) for mixer, n in Counter(mixers).items())
    return tuple(cache for cache in found if cache is not None)


def stack_of(width: int, mixers: Sequence[Mixer], blocks: Sequence[FeedForward]) -> Stack:
    """Return the shape of a stack of layers: that of its widest attention and feed-forward."""
    attention = max(
        (m for m in mixers if isinstance(m, Attention)), key=lambda m: m.n_heads * m.head_dim, default=None
    )
    latent = next((m for m in mixers if isinstance(m, Latent)), None)
    widest = max(blocks, key=lambda block: block.met_size)
    experts = next((b for b in blocks if isinstance(b, Experts)), None)
    n_heads, n_kv_heads, head_dim = 1, 1, 0
    if latent:
        n_heads = n_kv_heads = latent.n_heads
        head_dim = latent.nope_dim + latent.rope_dim
    elif attention:
        n_heads, n_kv_heads, head_dim = attention.n_heads, attention.n_kv_heads, attention.head_dim
    return Stack(
        name="decoder",
        n_layers=len(mixers),
        hidden_size=width,
        ffn_size=widest.met_size,
        is_gated=isinstance(widest, (Dense, Experts)) and widest.is_gated,
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
    sheet.table("token_embd", vocab, width, "vocab")
    if traits.places:
        n_places = config.count("max_position_embeddings", least=1) + traits.places_offset
        sheet.table("position_embd", n_places, width)
    if config.flag(traits.embedding_norm):
        sheet.norm("token_embd_norm", width, traits.norm)
    if config.flag(traits.final_norm, otherwise=True):
        sheet.norm("output_norm", width, traits.norm)
    if head:
        sheet.matrix("output", "head", width, vocab, "vocab", bias=config.flag(traits.head_bias))


def _mixers(config: Config, traits: Traits, n_layers: int) -> list[Mixer]:
    """Return what mixes tokens in each layer."""
    kinds = attention_kinds(config, traits, n_layers)
    made: dict[str, Mixer] = {}
    for kind in kinds:
        if kind not in made:
            made[kind] = _recurrent(config) if kind == "linear" else _attention(config, traits, kind)
    return [made[kind] for kind in kinds]


def _attention(config: Config, traits: Traits, kind: str) -> Mixer:
    n_heads = config.count("num_attention_heads", least=1)
    if config.states("kv_lora_rank"):
        return _latent(config, n_heads)
    head_dim = config.count("head_dim", 0) or config.count("hidden_size") // n_heads
    has_norms = bool(traits.head_norms) and (not traits.head_norms_if or config.flag(traits.head_norms_if))
    return Attention(
        kind=kind,
        n_heads=n_heads,
        n_kv_heads=config.count("num_key_value_heads", n_heads, least=1),
        head_dim=head_dim,
        v_dim=config.count("v_head_dim", head_dim),
        window=window(config) if kind == "sliding" else 0,
        qkv_bias=config.flag(traits.qkv_bias),
        output_bias=config.flag(traits.output_bias),
        head_norms=traits.head_norms if has_norms else "",
        head_norm=traits.head_norm,
        output_gate=config.flag(traits.output_gate),
        sinks=config.flag(traits.sinks),
    )


def _latent(config: Config, n_heads: int) -> Latent:
    return Latent(
        n_heads=n_heads,
        q_rank=config.count("q_lora_rank", 0),
        kv_rank=config.count("kv_lora_rank"),
        nope_dim=config.count("qk_nope_head_dim"),
        rope_dim=config.count("qk_rope_head_dim"),
        v_dim=config.count("v_head_dim"),
        bias=config.flag("attention_bias"),
    )


def _recurrent(config: Config) -> Mixer:
    return DeltaNet(
        n_k_heads=config.count("linear_num_key_heads", least=1),
        n_v_heads=config.count("linear_num_value_heads", least=1),
        k_dim=config.count("linear_key_head_dim", least=1),
        v_dim=config.count("linear_value_head_dim", least=1),
        taps=config.count("linear_conv_kernel_dim", least=1),
    )


def _blocks(config: Config, traits: Traits, n_layers: int, width: int) -> list[FeedForward]:
    """Return the feed-forward block of each layer."""
    n_experts = config.count("num_experts", 0)
    is_sparse = sparse_layers(config, n_layers) if n_experts else [False] * n_layers
    sparse = _experts(config, traits, n_experts) if any(is_sparse) else None
    is_gated, bias = config.flag(traits.gated), config.flag(traits.mlp_bias)
    if sparse is not None and all(is_sparse):
        return [sparse] * n_layers
    sizes = config.per_layer("intermediate_size", n_layers, traits.ffn_factor * width)
    return [
        sparse if sparse is not None and on else Dense(size, is_gated, bias)
        for on, size in zip(is_sparse, sizes, strict=True)
    ]


def _experts(config: Config, traits: Traits, n_experts: int) -> Experts:
    is_gated = config.flag(traits.gated)
    size = config.count(traits.expert_size)
    shared = config.count("shared_expert_intermediate_size", 0)
    shared = shared or size * config.count("n_shared_experts", 0)
    return Experts(
        n_experts=n_experts,
        n_chosen=config.count("num_experts_per_tok"),
        size=size,
        is_gated=is_gated,
        bias=config.flag(traits.expert_bias),
        router_bias=config.flag(traits.router_bias),
        shared=Dense(shared, is_gated, suffix="_shexp") if shared else None,
        shared_gate=config.flag(traits.shared_gate),
    )


def _write_extra(
    sheet: Sheet,
    config: Config,
    traits: Traits,
    mixers: Sequence[Mixer],
    blocks: Sequence[FeedForward],
    width: int,
    vocab: int,
) -> None:
    """Write the layers that predict further tokens: one like the last, and what joins it."""
    n_extra = config.count("mtp_layers", 0)
    if not n_extra or not traits.mtp:
        return
    extra = Sheet(tensors=sheet.tensors, is_extra=True)
    mixers[-1].write(extra.times(n_extra), width)
    blocks[-1].write(extra.times(n_extra), width)
    for name in LAYER_NORMS[: traits.layer_norms]:
        extra.times(n_extra).norm(name, width, traits.norm)
    # Qwen has one join for all of its extra layers; DeepSeek has one in each, with tables of its own.
    join = extra if traits.mtp == "qwen" else extra.times(n_extra)
    join.matrix("nextn_eh_proj", "mlp", 2 * width, width)
    for name in ("nextn_enorm", "nextn_hnorm", "nextn_shared_head_norm"):
        join.norm(name, width, traits.norm)
    if traits.mtp == "deepseek":
        join.table("nextn_embed_tokens", vocab, width, "vocab")
        join.matrix("nextn_shared_head_head", "head", width, vocab, "vocab")
