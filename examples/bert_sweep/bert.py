"""BERT of any size in plain PyTorch, and its training on masked words.

The training tells its caller what it reaches and where it stands, and asks nothing of where it runs: on a
node of a fleet, or on a machine that has PyTorch and nothing else.
"""

from __future__ import annotations

import io
import math
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, fields
from typing import Any

import torch
import torch._dynamo
from corpus import CLS, MASK, SPECIAL, Corpus
from torch import Tensor, nn
from torch.nn import functional

Report = Callable[[int, float, float], None]
"""Takes step, held-out loss and training loss."""
Keep = Callable[[bytes], None]
_MASKED = 0.15
_IGNORED = -100
_SPREAD = 0.55
"""Of first weights, times the root of the width: at BERT-base's 768 that is its 0.02."""
_N_HELD_OUT = 2048
"""Tokens of the held-out texts that a report is measured on, about."""


@dataclass(frozen=True)
class Variant:
    """A BERT and how it is trained.

    Attributes:
        layers: of the encoder.
        width: of a token's vector.
        heads: of attention; they divide the width.
        seq: tokens of a sequence.
        batch: sequences of a step.
        lr: highest learning rate; it rises over a tenth of the steps and falls to zero.
        dropout: of attention's and feed-forward's outputs.
        steps: of training.
        every: steps between two reports.
        seed: of weights, batches and masks.
    """

    layers: int = 2
    width: int = 64
    heads: int = 4
    seq: int = 48
    batch: int = 16
    lr: float = 1e-3
    dropout: float = 0.0
    steps: int = 480
    every: int = 8
    seed: int = 0

    @classmethod
    def of(cls, params: dict[str, Any]) -> Variant:
        """Return the variant that parameters describe; others than its own are not looked at."""
        return cls(**{one.name: params[one.name] for one in fields(cls) if one.name in params})


def _waves(seq: int, width: int) -> Tensor:
    """Return vectors of places in which near ones are alike: attention finds neighbours from the start."""
    rates = torch.exp(torch.arange(0, width, 2) / width * -math.log(1000.0))
    angles = torch.arange(seq)[:, None] * rates
    return torch.stack([angles.sin(), angles.cos()], dim=2).flatten(1)[:, :width]


class _Layer(nn.Module):
    def __init__(self, variant: Variant) -> None:
        super().__init__()
        width = variant.width
        self.heads = variant.heads
        self.to_qkv = nn.Linear(width, 3 * width)
        self.from_heads = nn.Linear(width, width)
        self.widen = nn.Linear(width, 4 * width)
        self.narrow = nn.Linear(4 * width, width)
        self.norms = nn.ModuleList([nn.LayerNorm(width), nn.LayerNorm(width)])
        self.dropout = nn.Dropout(variant.dropout)

    def forward(self, x: Tensor) -> Tensor:
        n, seq, width = x.shape
        q, k, v = (
            part.view(n, seq, self.heads, -1).transpose(1, 2) for part in self.to_qkv(x).chunk(3, dim=-1)
        )
        heads = functional.scaled_dot_product_attention(q, k, v)
        mixed = self.from_heads(heads.transpose(1, 2).reshape(n, seq, width))
        x = self.norms[0](x + self.dropout(mixed))
        return self.norms[1](x + self.dropout(self.narrow(functional.gelu(self.widen(x)))))


class Bert(nn.Module):
    """The encoder, with the head that guesses masked words; input and output vectors are the same."""

    def __init__(self, variant: Variant, n_words: int) -> None:
        super().__init__()
        self.words = nn.Embedding(n_words, variant.width)
        self.places = nn.Embedding(variant.seq, variant.width)
        self.norm = nn.LayerNorm(variant.width)
        self.layers = nn.ModuleList(_Layer(variant) for _ in range(variant.layers))
        self.head = nn.Sequential(
            nn.Linear(variant.width, variant.width), nn.GELU(), nn.LayerNorm(variant.width)
        )
        self.bias = nn.Parameter(torch.zeros(n_words))
        for module in self.modules():
            if isinstance(module, nn.Linear | nn.Embedding):
                nn.init.normal_(module.weight, std=_SPREAD / math.sqrt(variant.width))
        with torch.no_grad():
            self.places.weight.copy_(_waves(variant.seq, variant.width) * _SPREAD / math.sqrt(variant.width))

    def forward(self, ids: Tensor) -> Tensor:
        """Return a score for every word at every place."""
        x = self.norm(self.words(ids) + self.places.weight[: ids.shape[1]])
        for layer in self.layers:
            x = layer(x)
        return functional.linear(self.head(x), self.words.weight, self.bias)


def _windows(tokens: Tensor, starts: Tensor, seq: int) -> Tensor:
    """Return sequences that begin with [CLS] and go on with the text at each start."""
    ids = tokens[starts[:, None] + torch.arange(seq - 1)]
    return torch.cat([torch.full((len(starts), 1), CLS), ids], dim=1)


def _masked(ids: Tensor, n_words: int, draw: torch.Generator) -> tuple[Tensor, Tensor]:
    """Return what the model sees and what it is to say, as BERT does it: 15 %, of these 80/10/10."""
    is_word = ids >= len(SPECIAL)
    is_chosen = (torch.rand(ids.shape, generator=draw) < _MASKED) & is_word
    how = torch.rand(ids.shape, generator=draw)
    other = torch.randint(len(SPECIAL), n_words, ids.shape, generator=draw)
    seen = torch.where(is_chosen & (how < 0.8), MASK, ids)  # noqa: PLR2004 - Devlin et al. 2019, section 3.1
    seen = torch.where(is_chosen & (how >= 0.9), other, seen)  # noqa: PLR2004
    return seen, torch.where(is_chosen, ids, _IGNORED)


class Training:
    """One variant on its way.

    Args:
        variant: what is trained.
        corpus: on what.
        device: `cpu` or `cuda`.
        is_compiled: whether torch.compile makes the model; it pays on a GPU.
        saved: what `keep` was given, to go on from there.

    Attributes:
        model: as it stands.
        n_params: its parameters.
    """

    def __init__(
        self,
        variant: Variant,
        corpus: Corpus,
        device: str = "cpu",
        *,
        is_compiled: bool = False,
        saved: bytes | None = None,
    ) -> None:
        torch.manual_seed(variant.seed)
        self.variant = variant
        self.model = Bert(variant, corpus.n_words).to(device)
        self.n_params = sum(part.numel() for part in self.model.parameters())
        self._corpus = corpus
        self._device = device
        self._optimiser = torch.optim.AdamW(
            self.model.parameters(), lr=variant.lr, weight_decay=0.01, fused=device == "cuda"
        )
        self._step = 0
        if saved is not None:
            state = torch.load(io.BytesIO(saved), map_location=device, weights_only=True)
            self.model.load_state_dict(state["model"])
            self._optimiser.load_state_dict(state["optimiser"])
            self._step = state["step"]
        self._forward = torch.compile(self.model, dynamic=False) if is_compiled else self.model
        self._held_out = self._held_out_batch()

    def _held_out_batch(self) -> tuple[Tensor, Tensor]:
        tokens, seq = self._corpus.held_out, self.variant.seq
        n = min(max(_N_HELD_OUT, 16 * seq), len(tokens)) // seq
        starts = torch.arange(n) * seq % (len(tokens) - seq)
        draw = torch.Generator().manual_seed(12345)  # the same for every variant of this length
        return self._moved(_masked(_windows(tokens, starts, seq), self._corpus.n_words, draw))

    def _moved(self, pair: tuple[Tensor, Tensor]) -> tuple[Tensor, Tensor]:
        return pair[0].to(self._device), pair[1].to(self._device)

    def _batch(self) -> tuple[Tensor, Tensor]:
        """Return the batch of this step; seed and step alone decide it, so a resumed run is the same."""
        draw = torch.Generator().manual_seed(self.variant.seed * 1_000_003 + self._step)
        n = len(self._corpus.train) - self.variant.seq
        starts = torch.randint(n, (self.variant.batch,), generator=draw)
        ids = _windows(self._corpus.train, starts, self.variant.seq)
        return self._moved(_masked(ids, self._corpus.n_words, draw))

    def _precision(self) -> AbstractContextManager[Any]:
        return torch.autocast("cuda", torch.bfloat16) if self._device == "cuda" else nullcontext()

    def _loss(self, model: Any, seen: Tensor, said: Tensor) -> Tensor:
        with self._precision():
            scores = model(seen)
        return functional.cross_entropy(scores.float().flatten(0, 1), said.flatten(), ignore_index=_IGNORED)

    def step(self) -> float:
        """Take one step and return its loss."""
        self._step += 1
        share = min(self._step / max(self.variant.steps // 10, 1), 1.0)
        left = (self.variant.steps - self._step) / self.variant.steps
        for group in self._optimiser.param_groups:
            group["lr"] = self.variant.lr * share * left
        loss = self._loss(self._forward, *self._batch())
        loss.backward()
        nn.utils.clip_grad_norm_(self.model.parameters(), 1.0)
        self._optimiser.step()
        self._optimiser.zero_grad()
        return loss.item()

    @torch.no_grad()
    def held_out_loss(self) -> float:
        """Return the loss on texts that were not trained on."""
        self.model.eval()
        seen, said = self._held_out
        parts = zip(seen.split(self.variant.batch), said.split(self.variant.batch), strict=True)
        counted = [(self._loss(self.model, *part).item(), int((part[1] >= 0).sum())) for part in parts]
        self.model.train()
        return sum(loss * n for loss, n in counted if n) / max(sum(n for _, n in counted), 1)

    def saved(self) -> bytes:
        """Return all that is needed to go on from here."""
        out = io.BytesIO()
        state = {"model": self.model.state_dict(), "optimiser": self._optimiser.state_dict()}
        torch.save({**state, "step": self._step}, out)
        return out.getvalue()

    def run(self, report: Report, keep: Keep) -> float:
        """Train to the end; return the held-out loss there.

        Args:
            report: is told every `every` steps, and at the end.
            keep: is given where the training stands every eighth report.
        """
        held_out = math.nan
        while self._step < self.variant.steps:
            loss = self.step()
            if self._step % self.variant.every == 0 or self._step == self.variant.steps:
                held_out = self.held_out_loss()
                report(self._step, held_out, loss)
                if self._step % (8 * self.variant.every) == 0:
                    keep(self.saved())
        return held_out
