"""The words in which a model is described: tensors, stacks of layers, and what layers remember.

Memory follows from these alone. A count of parameters does not say how long a row is (a K-quant
needs multiples of 256), which matrices stay in 16 bit, which of them several GPUs share out, nor how
much of a token a layer keeps; a tensor and a cache do.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from functools import cached_property

ROLES = (
    "embedding",  # looked up by token, place or segment; never multiplied
    "head",  # to the vocabulary; not there where it is tied to the embedding
    "attention",  # query, key, value, output and their low-rank kin
    "mlp",  # dense feed-forward and shared experts
    "experts",  # routed experts
    "router",  # which expert
    "recurrent",  # projections of linear attention and state-space layers
    "conv",  # convolutions
    "norm",  # norms, biases, scales: vectors
)
"""What a tensor does; decides what a quantised checkpoint does to it."""

SPLITS = ("column", "row", "kv", "vocab", "expert", "whole")
"""How tensor parallelism shares a tensor out: by output, by input, by key head, by vocabulary, by
expert, or not at all."""

CACHES = ("full", "sliding", "latent", "state", "cross")
"""What a layer remembers of a sequence: every token, a window, a compressed token (MLA), a fixed
recurrent state, or the encoder's output."""


@dataclass(frozen=True, slots=True)
class Tensor:
    """A weight that occurs `count` times with one shape.

    Attributes:
        name: short name of its place in a layer, in the words of GGUF: `attn_q`, `attn_k`, `attn_v`,
            `attn_qkv`, `attn_output`, `ffn_gate`, `ffn_up`, `ffn_down`, `ffn_gate_up`, `token_embd`,
            `output`, `attn_norm`, ...
        role: one of `ROLES`.
        rows: outputs (tokens of an embedding); 1 for a vector.
        cols: inputs: the length of a row, along which quantisation groups run.
        count: how many there are: layers, or layers x experts.
        split: one of `SPLITS`.
        part: of the model: `language`, `vision`, `audio`, `encoder`, or the component of a pipeline
            (`transformer`, `text_encoder`, `text_encoder_2`, `vae`).
        is_extra: whether the checkpoint holds it beside what engines load (multi-token prediction).
    """

    name: str
    role: str
    rows: int
    cols: int
    count: int = 1
    split: str = "whole"
    part: str = "language"
    is_extra: bool = False

    @property
    def n_params(self) -> int:
        """Parameters of all of them."""
        return self.rows * self.cols * self.count

    @property
    def is_matrix(self) -> bool:
        """Whether it multiplies: what weight quantisation is about."""
        return self.rows > 1 and self.role not in ("norm", "conv")


@dataclass(frozen=True, slots=True)
class Cache:
    """What `n_layers` layers of one kind keep of each sequence.

    Attributes:
        kind: one of `CACHES`.
        n_layers: layers of this kind.
        n_kv_heads: key heads; 1 for `latent`.
        k_dim: numbers of a key a head and token; for `latent` the compressed token with its rotary part.
        v_dim: numbers of a value a head and token; 0 for `latent`, and where the value is the key.
        window: tokens that a `sliding` layer looks back; tokens of the encoder for `cross`.
        state_numbers: numbers of recurrent state a layer and sequence, for `state`.
        conv_numbers: numbers of the convolution's tail a layer and sequence, for `state`.
    """

    kind: str
    n_layers: int
    n_kv_heads: int = 0
    k_dim: int = 0
    v_dim: int = 0
    window: int = 0
    state_numbers: int = 0
    conv_numbers: int = 0


@dataclass(frozen=True, slots=True)
class Stack:
    """Layers that a token passes through one after the other.

    Attributes:
        name: `decoder`, `encoder`, `vision`, `audio`, or the component of a pipeline.
        n_layers: how many.
        hidden_size: width of the residual stream.
        ffn_size: inner width of the feed-forward block as one token meets it: of the dense block, or
            experts chosen x their width + shared experts. The widest layer's.
        is_gated: whether the feed-forward block has a gate beside its up projection.
        n_heads: query heads.
        n_kv_heads: key heads.
        head_dim: numbers of a head (of the key, where key and value differ).
        has_head_norms: whether query and key heads are normalised.
        n_cross_layers: layers that also attend to the encoder.
        n_experts: routed experts a layer; 0 when dense.
        n_experts_per_token: experts that a token meets.
    """

    name: str
    n_layers: int
    hidden_size: int
    ffn_size: int
    is_gated: bool = True
    n_heads: int = 1
    n_kv_heads: int = 1
    head_dim: int = 0
    has_head_norms: bool = False
    n_cross_layers: int = 0
    n_experts: int = 0
    n_experts_per_token: int = 0

    @property
    def q_size(self) -> int:
        """Width of all query heads."""
        return self.n_heads * self.head_dim

    @property
    def kv_size(self) -> int:
        """Width of all key heads."""
        return self.n_kv_heads * self.head_dim


@dataclass(frozen=True, eq=False)
class Architecture:
    """A model as memory sees it. Two are the same only if they are one object, so that sums can be kept.

    Attributes:
        name: of the model, for people.
        model_type: family, in the words of Hugging Face configs: `llama`, `qwen3_moe`, `flux`, ...
        task: `text`, `vision-language`, `image`, `asr` or `encoder`.
        tensors: every weight.
        caches: what its layers remember; empty for encoders and diffusion.
        stacks: the main one first (decoder, or encoder where there is none).
        vocab_size: tokens; 0 where there is none.
        max_context: tokens that the model was made for; 0 where unknown or meaningless.
        dtype: of the published weights: `bf16`, `fp16` or `fp32`; empty when not said.
        quantization: the config's `quantization_config` as read; empty when there is none.
        vision_tokens: most patches of one image that the vision tower sees at once; 0 without eyes.
        assumptions: what was not said and had to be assumed, for people; empty when nothing was.
    """

    name: str
    model_type: str
    task: str
    tensors: tuple[Tensor, ...]
    caches: tuple[Cache, ...]
    stacks: tuple[Stack, ...]
    vocab_size: int = 0
    max_context: int = 0
    dtype: str = ""
    quantization: Mapping[str, object] = field(default_factory=dict)
    vision_tokens: int = 0
    assumptions: tuple[str, ...] = ()

    @property
    def main(self) -> Stack:
        """The stack that does most of the work."""
        return self.stacks[0]

    @cached_property
    def n_params(self) -> int:
        """Parameters that an engine loads, tied embeddings once."""
        return count(self.tensors)

    def kv_bytes_per_token(self, bytes_a_number: float = 2) -> int:
        """Return by how much a further token grows the cache of a sequence, without windows and states."""
        growing = (cache for cache in self.caches if cache.kind in ("full", "latent"))
        numbers = sum(each.n_layers * each.n_kv_heads * (each.k_dim + each.v_dim) for each in growing)
        return round(numbers * bytes_a_number)

    def params_of(self, *roles: str) -> int:
        """Return the parameters of the tensors with one of these roles."""
        return count(t for t in self.tensors if t.role in roles)

    def params_by_part(self) -> dict[str, int]:
        """Return the parameters of each part; they add up to `n_params`."""
        parts: dict[str, int] = {}
        for tensor in self.tensors:
            if not tensor.is_extra:
                parts[tensor.part] = parts.get(tensor.part, 0) + tensor.n_params
        return parts


def count(tensors: Iterable[Tensor]) -> int:
    """Return the parameters of tensors, without those that engines do not load."""
    return sum(tensor.n_params for tensor in tensors if not tensor.is_extra)
