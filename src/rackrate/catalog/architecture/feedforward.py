"""The feed-forward block of a layer: one dense block, or routed experts with shared ones beside.

Source: `LlamaMLP`, `MixtralSparseMoeBlock`, `Qwen2MoeSparseMoeBlock`, `GptOssExperts` of transformers 5.23.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from rackrate.catalog.architecture.sheet import Sheet


class FeedForward(Protocol):
    """The part of a layer that looks at one token alone."""

    @property
    def is_gated(self) -> bool:
        """Whether a gate stands beside the up projection."""

    @property
    def met_size(self) -> int:
        """Inner width as one token meets it."""

    def write(self, sheet: Sheet, width: int) -> None:
        """Write its tensors, in a residual stream of `width` features."""


@dataclass(frozen=True, slots=True)
class Dense:
    """Up and down, with a gate beside the up projection or without.

    Attributes:
        size: inner width.
        is_gated: whether there is a gate.
        bias: whether the matrices have biases.
        suffix: of the tensors' names: empty, or `_shexp` for a shared expert.
    """

    size: int
    is_gated: bool = True
    bias: bool = False
    suffix: str = ""

    @property
    def met_size(self) -> int:
        """Inner width as one token meets it."""
        return self.size

    def write(self, sheet: Sheet, width: int) -> None:
        """Write gate, up and down."""
        if self.is_gated:
            sheet.matrix(f"ffn_gate{self.suffix}", "mlp", width, self.size, "column", bias=self.bias)
        sheet.matrix(f"ffn_up{self.suffix}", "mlp", width, self.size, "column", bias=self.bias)
        sheet.matrix(f"ffn_down{self.suffix}", "mlp", self.size, width, "row", bias=self.bias)


@dataclass(frozen=True, slots=True)
class Experts:
    """Routed experts, of which a token meets a few, and a shared one that every token meets.

    Attributes:
        n_experts: routed experts.
        n_chosen: how many of them a token meets.
        size: inner width of one.
        is_gated: whether they have gates.
        bias: whether their matrices have biases.
        router_bias: whether the router has a bias, or a correction of its scores.
        shared: the shared experts as one block; None when there are none.
        shared_gate: whether a gate weighs the shared expert.
        latent: width to which tokens are compressed for the experts; 0 when they are not.
    """

    n_experts: int
    n_chosen: int
    size: int
    is_gated: bool = True
    bias: bool = False
    router_bias: bool = False
    shared: Dense | None = None
    shared_gate: bool = False
    latent: int = 0

    @property
    def met_size(self) -> int:
        """Inner width as one token meets it."""
        return self.n_chosen * self.size + (self.shared.size if self.shared else 0)

    def write(self, sheet: Sheet, width: int) -> None:
        """Write router, experts and what is shared."""
        sheet.matrix("ffn_gate_inp", "router", width, self.n_experts)
        if self.router_bias:
            sheet.vector("ffn_gate_inp_bias", self.n_experts)
        each, inner = sheet.times(self.n_experts), self.latent or width
        if self.is_gated:
            each.matrix("ffn_gate_exps", "experts", inner, self.size, "expert", bias=self.bias)
        each.matrix("ffn_up_exps", "experts", inner, self.size, "expert", bias=self.bias)
        each.matrix("ffn_down_exps", "experts", self.size, inner, "expert", bias=self.bias)
        if self.latent:
            sheet.matrix("ffn_latent_in", "mlp", width, self.latent)
            sheet.matrix("ffn_latent_out", "mlp", self.latent, width)
        if self.shared:
            self.shared.write(sheet, width)
            if self.shared_gate:
                sheet.matrix("ffn_gate_inp_shexp", "router", width, 1)
