"""What mixes tokens in a layer, and what it remembers: attention and latent attention.

    attention   q, k, v and output; keys and values of every token, or of a window
    latent      MLA: keys and values are unfolded from one compressed token, which is all it keeps
    both        two mixers side by side, as Falcon-H1 has attention and Mamba

Each is a frozen set of numbers that can write its tensors and tell its caches, so that layers of one
kind are one entry with a count. Recurrences stand in `recurrent`.

Source: `LlamaAttention`, `DeepseekV3Attention`, `DeepseekV32Attention` of transformers 5.23.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rackrate.catalog.architecture.anatomy import Cache
from rackrate.catalog.architecture.sheet import Sheet


class Mixer(Protocol):
    """The part of a layer that looks at other tokens."""

    def write(self, sheet: Sheet, width: int) -> None:
        """Write its tensors, in a residual stream of `width` features."""

    def caches(self, n_layers: int) -> tuple[Cache, ...]:
        """Return what `n_layers` such layers keep of a sequence."""


@dataclass(frozen=True, slots=True)
class Attention:
    """Grouped-query attention.

    Attributes:
        kind: `full`, `sliding` or `cross`; of the cache.
        n_heads: query heads.
        n_kv_heads: key heads.
        head_dim: numbers of a query or key head.
        v_dim: numbers of a value head.
        window: tokens that a sliding layer looks back, or of the encoder for `cross`.
        qkv_bias: whether query, key and value have biases.
        output_bias: whether the output has one.
        head_norms: as in `family.Traits`.
        head_norm: kind of those norms.
        gate_size: width of the gate of the output; 0 when it has none.
        sinks: whether each head has a sink.
        has_value: whether the value has a matrix of its own; else it is made from the key.
        makes_keys: whether keys and values are made here; else those of an earlier layer serve.
    """

    kind: str
    n_heads: int
    n_kv_heads: int
    head_dim: int
    v_dim: int
    window: int = 0
    qkv_bias: bool = False
    output_bias: bool = False
    head_norms: str = ""
    head_norm: str = "rms"
    gate_size: int = 0
    sinks: bool = False
    has_value: bool = True
    makes_keys: bool = True

    def write(self, sheet: Sheet, width: int) -> None:
        """Write query, key, value and output, then norms and sinks."""
        q_size, k_size = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        sheet.matrix("attn_q", "attention", width, q_size, "column", bias=self.qkv_bias)
        if self.makes_keys:
            sheet.matrix("attn_k", "attention", width, k_size, "kv", bias=self.qkv_bias)
            if self.has_value:
                v_size = self.n_kv_heads * self.v_dim
                sheet.matrix("attn_v", "attention", width, v_size, "kv", bias=self.qkv_bias)
        if self.gate_size:
            sheet.matrix("attn_gate", "attention", width, self.gate_size, "column", bias=self.qkv_bias)
        out_size = self.n_heads * self.v_dim
        sheet.matrix("attn_output", "attention", out_size, width, "row", bias=self.output_bias)
        self._write_norms(sheet, q_size, k_size)
        if self.sinks:
            sheet.vector("attn_sinks", self.n_heads)

    def _write_norms(self, sheet: Sheet, q_size: int, k_size: int) -> None:
        if self.head_norms:
            is_shared = self.head_norms == "head"
            sheet.norm("attn_q_norm", self.head_dim if is_shared else q_size, self.head_norm)
            if self.makes_keys:
                sheet.norm("attn_k_norm", self.head_dim if is_shared else k_size, self.head_norm)

    def caches(self, n_layers: int) -> tuple[Cache, ...]:
        """Return keys and values a token; nothing where those of an earlier layer serve."""
        if not self.makes_keys:
            return ()
        return (Cache(self.kind, n_layers, self.n_kv_heads, self.head_dim, self.v_dim, self.window),)


@dataclass(frozen=True, slots=True)
class Latent:
    """Multi-head latent attention (MLA).

    Attributes:
        n_heads: heads.
        q_rank: width of the compressed query; 0 when the query is made directly.
        kv_rank: width of the compressed key and value.
        nope_dim: numbers of a key head without rotation.
        rope_dim: numbers of the rotated key that all heads share.
        v_dim: numbers of a value head.
        bias: whether the projections from and to the residual stream have biases.
        index_heads: heads of the indexer that picks the tokens worth a look; 0 when all are looked at.
        index_dim: numbers of an indexer's head.
    """

    n_heads: int
    q_rank: int
    kv_rank: int
    nope_dim: int
    rope_dim: int
    v_dim: int
    bias: bool = False
    index_heads: int = 0
    index_dim: int = 0

    def write(self, sheet: Sheet, width: int) -> None:
        """Write the projections down to the latents and up to the heads, and the output."""
        q_size = self.n_heads * (self.nope_dim + self.rope_dim)
        if self.q_rank:
            sheet.matrix("attn_q_a", "attention", width, self.q_rank, bias=self.bias)
            sheet.norm("attn_q_a_norm", self.q_rank)
            sheet.matrix("attn_q_b", "attention", self.q_rank, q_size, "column")
        else:
            sheet.matrix("attn_q", "attention", width, q_size, "column")
        sheet.matrix("attn_kv_a_mqa", "attention", width, self.kv_rank + self.rope_dim, bias=self.bias)
        sheet.norm("attn_kv_a_norm", self.kv_rank)
        unfolded = self.n_heads * (self.nope_dim + self.v_dim)
        sheet.matrix("attn_kv_b", "attention", self.kv_rank, unfolded, "column")
        out_size = self.n_heads * self.v_dim
        sheet.matrix("attn_output", "attention", out_size, width, "row", bias=self.bias)
        if self.index_heads:
            index_size = self.index_heads * self.index_dim
            sheet.matrix("indexer_attn_q_b", "attention", self.q_rank, index_size)
            sheet.matrix("indexer_attn_k", "attention", width, self.index_dim)
            sheet.norm("indexer_k_norm", self.index_dim, "layer")
            sheet.matrix("indexer_proj", "attention", width, self.index_heads)

    def caches(self, n_layers: int) -> tuple[Cache, ...]:
        """Return the compressed token with its rotated key, and the indexer's key where there is one."""
        token = Cache("latent", n_layers, 1, self.kv_rank + self.rope_dim)
        return (token, Cache("full", n_layers, 1, self.index_dim)) if self.index_heads else (token,)


@dataclass(frozen=True, slots=True)
class Both:
    """Two mixers that read the same stream and whose outputs are added.

    Attributes:
        first: one of them.
        second: the other.
    """

    first: Mixer
    second: Mixer

    def write(self, sheet: Sheet, width: int) -> None:
        """Write the tensors of both."""
        self.first.write(sheet, width)
        self.second.write(sheet, width)

    def caches(self, n_layers: int) -> tuple[Cache, ...]:
        """Return what both keep."""
        return self.first.caches(n_layers) + self.second.caches(n_layers)
