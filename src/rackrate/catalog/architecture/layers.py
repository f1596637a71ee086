"""What mixes tokens in a layer, and what it remembers: attention, latent attention, recurrences.

    attention   q, k, v and output; keys and values of every token, or of a window
    latent      MLA: keys and values are unfolded from one compressed token, which is all it keeps
    delta net   gated delta rule: a matrix a value head, updated by each token, and a short convolution

Each is a frozen set of numbers that can write its tensors and tell its cache, so that layers of one
kind are one entry with a count.

Source: `LlamaAttention`, `DeepseekV3Attention`, `Qwen3NextGatedDeltaNet` of transformers 5.23.
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

    def cache(self, n_layers: int) -> Cache | None:
        """Return what `n_layers` such layers keep of a sequence; None when nothing."""


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
        output_gate: whether the query also makes a gate.
        sinks: whether each head has a sink.
        has_value: whether the value has a matrix of its own; else the key is the value too.
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
    output_gate: bool = False
    sinks: bool = False
    has_value: bool = True
    makes_keys: bool = True

    def write(self, sheet: Sheet, width: int) -> None:
        """Write query, key, value and output, then norms and sinks."""
        q_size, k_size = self.n_heads * self.head_dim, self.n_kv_heads * self.head_dim
        gates = 2 if self.output_gate else 1
        sheet.matrix("attn_q", "attention", width, gates * q_size, "column", bias=self.qkv_bias)
        if self.makes_keys:
            sheet.matrix("attn_k", "attention", width, k_size, "kv", bias=self.qkv_bias)
            if self.has_value:
                v_size = self.n_kv_heads * self.v_dim
                sheet.matrix("attn_v", "attention", width, v_size, "kv", bias=self.qkv_bias)
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

    def cache(self, n_layers: int) -> Cache | None:
        """Return keys and values a token; nothing where those of an earlier layer serve."""
        if not self.makes_keys:
            return None
        v_dim = self.v_dim if self.has_value else 0
        return Cache(self.kind, n_layers, self.n_kv_heads, self.head_dim, v_dim, self.window)


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
    """

    n_heads: int
    q_rank: int
    kv_rank: int
    nope_dim: int
    rope_dim: int
    v_dim: int
    bias: bool = False

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

    def cache(self, n_layers: int) -> Cache | None:
        """Return the compressed token with its rotated key."""
        return Cache("latent", n_layers, 1, self.kv_rank + self.rope_dim)


@dataclass(frozen=True, slots=True)
class DeltaNet:
    """A gated delta net.

    Attributes:
        n_k_heads: key (and query) heads.
        n_v_heads: value heads.
        k_dim: numbers of a key head.
        v_dim: numbers of a value head.
        taps: tokens that the convolution sees.
    """

    n_k_heads: int
    n_v_heads: int
    k_dim: int
    v_dim: int
    taps: int

    @property
    def mixed(self) -> int:
        """Channels that pass the convolution: query, key and value."""
        return 2 * self.n_k_heads * self.k_dim + self.n_v_heads * self.v_dim

    def write(self, sheet: Sheet, width: int) -> None:
        """Write query, key and value; the gate; rates a and b; convolution, decay, norm, output."""
        values = self.n_v_heads * self.v_dim
        sheet.matrix("attn_qkv", "recurrent", width, self.mixed, "column")
        sheet.matrix("attn_gate", "recurrent", width, values, "column")
        sheet.matrix("ssm_beta", "recurrent", width, self.n_v_heads, "column")
        sheet.matrix("ssm_alpha", "recurrent", width, self.n_v_heads, "column")
        sheet.conv("ssm_conv1d", 1, self.mixed, self.taps, "column", bias=False)
        sheet.vector("ssm_a", self.n_v_heads)
        sheet.vector("ssm_dt", self.n_v_heads)
        sheet.vector("ssm_norm", self.v_dim)
        sheet.matrix("ssm_out", "recurrent", values, width, "row")

    def cache(self, n_layers: int) -> Cache | None:
        """Return a matrix of key x value a value head, and the convolution's tail."""
        state = self.n_v_heads * self.k_dim * self.v_dim
        return Cache("state", n_layers, state_numbers=state, conv_numbers=(self.taps - 1) * self.mixed)
