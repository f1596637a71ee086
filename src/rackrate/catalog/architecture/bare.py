"""An architecture from parameter counts alone: of the usual shape, and it says so."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rackrate.catalog.architecture.anatomy import Architecture, Stack, Tensor
from rackrate.catalog.architecture.of_model import architecture_of
from rackrate.catalog.architecture.reading import read_config
from rackrate.catalog.model import Model
from rackrate.errors import NoAnswer, UsageError

# (parameters, layers, hidden, inner, query heads, key heads) of models that others are built like:
# Qwen2.5 0.5B, Llama 3.2 1B and 3B, Llama 3.1 8B, Qwen2.5 14B and 32B, Llama 3.1 70B and 405B.
_SHAPES = (
    (0.494e9, 24, 896, 4864, 14, 2),
    (1.236e9, 16, 2048, 8192, 32, 8),
    (3.213e9, 28, 3072, 8192, 24, 8),
    (8.030e9, 32, 4096, 14336, 32, 8),
    (14.77e9, 48, 5120, 13824, 40, 8),
    (32.76e9, 64, 5120, 27648, 40, 8),
    (70.55e9, 80, 8192, 28672, 64, 8),
    (405.9e9, 126, 16384, 53248, 128, 8),
)
_TIED_BELOW = 4e9  # small models share embedding and output matrix
_SMALLEST, _LARGEST = 5e7, 1e13


_WIDTH_STEP = 256  # widths of real models are multiples of it, and K-quants need that


def architecture_of_count(
    n_params: float, name: str = "", *, n_layers: int = 0, n_kv_heads: int = 0
) -> Architecture:
    """Return a dense decoder of about `n_params` parameters.

    The nearest known shape, with the inner width set so that the count is met.

    Args:
        n_params: how many parameters.
        name: of the model, for people.
        n_layers: layers, where they are known; 0 for the usual number.
        n_kv_heads: key heads, likewise.

    Raises:
        UsageError: a count that no model has.
    """
    if not _SMALLEST <= n_params <= _LARGEST:
        raise UsageError(f"{n_params:.3g} parameters are no model's", hint="write it like 8B or 70B")
    count, layers, hidden, _, heads, kv_heads = min(_SHAPES, key=lambda s: abs(s[0] - n_params) / s[0])
    layers = n_layers or max(2, round(layers * (n_params / count) ** (1 / 3)))
    kv_heads = n_kv_heads or kv_heads
    vocab = 128_256 if n_params > 1e9 else 50_257  # noqa: PLR2004 - parameters
    is_tied = n_params < _TIED_BELOW
    outer = vocab * hidden * (1 if is_tied else 2)
    if outer > n_params / 2:
        vocab = max(1000, int(n_params / 4 / hidden))
        outer = vocab * hidden * (1 if is_tied else 2)
    head_dim = hidden // heads
    attention = hidden * head_dim * (2 * heads + 2 * kv_heads)
    inner = ((n_params - outer) / layers - attention) / (3 * hidden)
    inner = max(_WIDTH_STEP, round(inner / _WIDTH_STEP) * _WIDTH_STEP)
    config = {
        "model_type": "llama",
        "num_hidden_layers": layers,
        "hidden_size": hidden,
        "intermediate_size": inner,
        "num_attention_heads": heads,
        "num_key_value_heads": kv_heads,
        "head_dim": head_dim,
        "vocab_size": vocab,
        "tie_word_embeddings": is_tied,
        "max_position_embeddings": 131_072,
    }
    read = read_config(config, name or f"{n_params / 1e9:g}B")
    said = f"only a count was given: a dense model like Llama is assumed, {layers} layers of {hidden}"
    return replace(read, assumptions=(*read.assumptions, said))


_ROW = 3072  # numbers in a row: any width that all formats divide


def architecture_of_parts(name: str, counts: Mapping[str, int], task: str = "image") -> Architecture:
    """Return a pipeline whose components are known by their parameter counts alone.

    Args:
        name: of the model.
        counts: parameters of each component, by its folder's name; the first is the one that works most.
        task: what it does.
    """
    tensors = tuple(
        tensor
        for part, n_params in counts.items()
        for tensor in (
            Tensor("matrices", "mlp", n_params // _ROW, _ROW, part=part),
            Tensor("rest", "norm", 1, n_params % _ROW, part=part),
        )
    )
    first = next(iter(counts))
    width = max(64, round((counts[first] / _PARAMS_A_SQUARE) ** (1 / 3) / 64) * 64)
    layers = max(1, round(counts[first] / 12 / width**2))
    stack = Stack(first, layers, width, 4 * width, is_gated=False, n_heads=max(1, width // 64), head_dim=64)
    said = f"only the components' sizes are known; {layers} layers of {width} are assumed for {first}"
    return Architecture(name, "pipeline", task, tensors, (), (stack,), assumptions=(said,))


_PARAMS_A_SQUARE = 0.165  # layers x 12 / hidden of large diffusion transformers: 42 x 12 / 3,072


def best_architecture(model: Model) -> Architecture:
    """Return the architecture of a model of the catalog, or what its published counts allow.

    Raises:
        NoAnswer: neither a config nor a count of it is known.
    """
    try:
        return architecture_of(model)
    except NoAnswer:
        counts = {
            part: int(facts["params"].value or 0) for part, facts in model.parts.items() if "params" in facts
        }
        if counts:
            return architecture_of_parts(model.slug, counts, model.task)
        published = model.params_published.value or model.params_total.value
        if not published or model.task not in ("text", "vision-language"):
            raise
        return architecture_of_count(float(published), model.slug)
