"""Layers that carry a state of fixed size from token to token instead of looking back.

    delta net    gated delta rule: a matrix a value head, updated by each token, a short convolution
    kimi delta   the same with a decay for each number of a key
    lightning    linear attention of MiniMax: a matrix a head, an output gate, a norm
    mamba        selective state space: a vector of states a channel, a convolution over the channels
    mamba 2      the same with one decay a head; the convolution also sees the two vectors of each group
    short conv   LFM2: a gated convolution over a few tokens, and nothing else to remember
    rwkv         a weighted mean of all values so far, in each channel
    gated linear recurrent unit   RecurrentGemma: a decaying sum in each channel, behind a convolution

Source: `Qwen3NextGatedDeltaNet`, `KimiLinearDeltaAttention`, `MiniMaxLightningAttention`, `MambaMixer`,
`JambaMambaMixer`, `Mamba2Mixer`, `Lfm2ShortConv`, `RwkvSelfAttention`, `RecurrentGemmaRecurrentBlock` of
transformers 5.23.
"""

from __future__ import annotations

from dataclasses import dataclass

from rackrate.catalog.architecture.anatomy import Cache
from rackrate.catalog.architecture.sheet import Sheet


def _state(n_layers: int, state: int, conv: int) -> tuple[Cache, ...]:
    return (Cache("state", n_layers, state_numbers=state, conv_numbers=conv),)


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

    def caches(self, n_layers: int) -> tuple[Cache, ...]:
        """Return a matrix of key x value a value head, and the convolution's tail."""
        state = self.n_v_heads * self.k_dim * self.v_dim
        return _state(n_layers, state, (self.taps - 1) * self.mixed)


@dataclass(frozen=True, slots=True)
class KimiDelta:
    """Kimi delta attention.

    Attributes:
        n_heads: heads.
        head_dim: numbers of a key and of a value head.
        taps: tokens that the convolutions see.
    """

    n_heads: int
    head_dim: int
    taps: int

    def write(self, sheet: Sheet, width: int) -> None:
        """Write query, key and value; low-rank gates of forgetting and output; rate; norm; output."""
        size = self.n_heads * self.head_dim
        for name in ("attn_q", "attn_k", "attn_v"):
            sheet.matrix(name, "recurrent", width, size, "column")
        sheet.conv("ssm_conv1d", 1, 3 * size, self.taps, "column", bias=False)
        for name in ("ssm_f", "ssm_g"):
            sheet.matrix(f"{name}_a", "recurrent", width, self.head_dim)
            sheet.matrix(f"{name}_b", "recurrent", self.head_dim, size, "column")
        sheet.matrix("ssm_beta", "recurrent", width, self.n_heads, "column")
        sheet.vector("ssm_a", self.n_heads)
        sheet.vector("ssm_dt", size)
        sheet.vector("ssm_norm", self.head_dim)
        sheet.matrix("attn_output", "recurrent", size, width, "row")

    def caches(self, n_layers: int) -> tuple[Cache, ...]:
        """Return a square matrix a head, and the tail of the convolutions."""
        size = self.n_heads * self.head_dim
        return _state(n_layers, size * self.head_dim, (self.taps - 1) * 3 * size)


@dataclass(frozen=True, slots=True)
class Lightning:
    """Lightning attention.

    Attributes:
        n_heads: heads.
        head_dim: numbers of a head.
    """

    n_heads: int
    head_dim: int

    def write(self, sheet: Sheet, width: int) -> None:
        """Write query, key and value together, the output with its gate, the norm."""
        size = self.n_heads * self.head_dim
        sheet.matrix("attn_qkv", "recurrent", width, 3 * size, "column")
        sheet.matrix("attn_gate", "recurrent", width, size, "column")
        sheet.matrix("attn_output", "recurrent", size, width, "row")
        sheet.vector("ssm_norm", size)

    def caches(self, n_layers: int) -> tuple[Cache, ...]:
        """Return a square matrix a head."""
        return _state(n_layers, self.n_heads * self.head_dim**2, 0)


@dataclass(frozen=True, slots=True)
class Mamba:
    """A selective state space.

    Attributes:
        inner: channels.
        state: states a channel.
        taps: tokens that the convolution sees.
        dt_rank: width of the compressed time step.
        conv_bias: whether the convolution has a bias.
        bias: whether the projections in and out have biases.
        has_norms: whether time step and the two vectors are normalised.
    """

    inner: int
    state: int
    taps: int
    dt_rank: int
    conv_bias: bool = True
    bias: bool = False
    has_norms: bool = False

    def write(self, sheet: Sheet, width: int) -> None:
        """Write the way in, the convolution, time step and the two vectors, decay, skip, the way out."""
        sheet.matrix("ssm_in", "recurrent", width, 2 * self.inner, "column", bias=self.bias)
        sheet.conv("ssm_conv1d", 1, self.inner, self.taps, "column", bias=self.conv_bias)
        sheet.matrix("ssm_x", "recurrent", self.inner, self.dt_rank + 2 * self.state, "row")
        sheet.matrix("ssm_dt", "recurrent", self.dt_rank, self.inner, "column", bias=True)
        sheet.small("ssm_a", self.inner, self.state)
        sheet.vector("ssm_d", self.inner)
        if self.has_norms:
            sheet.vector("ssm_dt_norm", self.dt_rank)
            sheet.vector("ssm_b_norm", self.state)
            sheet.vector("ssm_c_norm", self.state)
        sheet.matrix("ssm_out", "recurrent", self.inner, width, "row", bias=self.bias)

    def caches(self, n_layers: int) -> tuple[Cache, ...]:
        """Return the states, and the convolution's tail."""
        return _state(n_layers, self.inner * self.state, (self.taps - 1) * self.inner)


@dataclass(frozen=True, slots=True)
class Mamba2:
    """A selective state space with heads.

    Attributes:
        n_heads: heads.
        head_dim: channels of a head.
        n_groups: groups of heads that share the two vectors.
        state: states a channel.
        taps: tokens that the convolution sees.
        conv_bias: whether the convolution has a bias.
        bias: whether the projections in and out have biases.
        has_norm: whether the output is normalised.
    """

    n_heads: int
    head_dim: int
    n_groups: int
    state: int
    taps: int
    conv_bias: bool = True
    bias: bool = False
    has_norm: bool = True

    @property
    def mixed(self) -> int:
        """Channels that pass the convolution: those of the heads and the two vectors of each group."""
        return self.n_heads * self.head_dim + 2 * self.n_groups * self.state

    def write(self, sheet: Sheet, width: int) -> None:
        """Write the way in with gate and time step, the convolution, decay, skip, norm, the way out."""
        inner = self.n_heads * self.head_dim
        size = inner + self.mixed + self.n_heads
        sheet.matrix("ssm_in", "recurrent", width, size, "column", bias=self.bias)
        sheet.conv("ssm_conv1d", 1, self.mixed, self.taps, "column", bias=self.conv_bias)
        for name in ("ssm_dt", "ssm_a", "ssm_d"):
            sheet.vector(name, self.n_heads)
        if self.has_norm:
            sheet.vector("ssm_norm", inner)
        sheet.matrix("ssm_out", "recurrent", inner, width, "row", bias=self.bias)

    def caches(self, n_layers: int) -> tuple[Cache, ...]:
        """Return the states, and the convolution's tail."""
        inner = self.n_heads * self.head_dim
        return _state(n_layers, inner * self.state, (self.taps - 1) * self.mixed)


@dataclass(frozen=True, slots=True)
class ShortConv:
    """A gated convolution over a few tokens.

    Attributes:
        width: channels: the width of the residual stream.
        taps: tokens that it sees.
        bias: whether convolution and projections have biases.
    """

    width: int
    taps: int
    bias: bool = False

    def write(self, sheet: Sheet, width: int) -> None:
        """Write the way in (two gates and the input), the convolution, the way out."""
        sheet.matrix("shortconv_in", "recurrent", width, 3 * width, "column", bias=self.bias)
        sheet.conv("shortconv_conv", 1, width, self.taps, "column", bias=self.bias)
        sheet.matrix("shortconv_out", "recurrent", width, width, "row", bias=self.bias)

    def caches(self, n_layers: int) -> tuple[Cache, ...]:
        """Return the convolution's tail."""
        return _state(n_layers, 0, (self.taps - 1) * self.width)


@dataclass(frozen=True, slots=True)
class Rwkv:
    """RWKV's mixing of times (version 4), and what of its mixing of channels is no feed-forward block.

    Attributes:
        inner: channels.
    """

    inner: int

    def write(self, sheet: Sheet, width: int) -> None:
        """Write key, value, receptance and output; decay, bonus and shares of the last token; the gate."""
        for name in ("attn_k", "attn_v", "attn_r"):
            sheet.matrix(name, "recurrent", width, self.inner, "column")
        sheet.matrix("attn_output", "recurrent", self.inner, width, "row")
        sheet.times(2).vector("time_decay", self.inner)
        sheet.times(5).vector("time_mix", width)
        sheet.matrix("channel_r", "mlp", width, width, "column")

    def caches(self, n_layers: int) -> tuple[Cache, ...]:
        """Return numerator, denominator and largest exponent of the mean, and the last token twice."""
        return _state(n_layers, 5 * self.inner, 0)


@dataclass(frozen=True, slots=True)
class RecurrentUnit:
    """A gated linear recurrent unit (Griffin, RecurrentGemma).

    Attributes:
        inner: channels.
        n_heads: blocks of channels that the gates see together.
        taps: tokens that the convolution sees.
    """

    inner: int
    n_heads: int
    taps: int

    def write(self, sheet: Sheet, width: int) -> None:
        """Write the two ways in, the convolution, decay and gates, the way out."""
        for name in ("lru_x", "lru_y"):
            sheet.matrix(name, "recurrent", width, self.inner, "column", bias=True)
        sheet.conv("lru_conv", 1, self.inner, self.taps, "column")
        sheet.vector("lru_decay", self.inner)
        gates, block = sheet.times(2), self.inner // self.n_heads
        gates.times(self.n_heads).matrix("lru_gate", "recurrent", block, block, bias=True)
        sheet.matrix("lru_out", "recurrent", self.inner, width, "row", bias=True)

    def caches(self, n_layers: int) -> tuple[Cache, ...]:
        """Return the sums, and the convolution's tail."""
        return _state(n_layers, self.inner, (self.taps - 1) * self.inner)
