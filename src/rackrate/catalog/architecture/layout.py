"""Which layer does what: the words of the configs for layouts, as one list of kinds.

Attention: `full`, `sliding`, `cross`, `linear` (whatever recurrence the family has), `none`.
Feed-forward: `dense`, `sparse` (routed experts), `none`. A layout is stated (`layer_types`, lists of
layer numbers) or follows from a period and an offset.
"""

from __future__ import annotations

from rackrate.catalog.architecture.config import Config
from rackrate.catalog.architecture.family import Traits
from rackrate.errors import BadQuantity

KINDS = {
    "full_attention": "full",
    "attention": "full",
    "global": "full",
    "indexed_attention": "full",
    "deepseek_sparse_attention": "full",
    "sliding_attention": "sliding",
    "chunked_attention": "sliding",
    "local": "sliding",
    "cross_attention": "cross",
    "linear_attention": "linear",
    "mamba": "linear",
    "recurrent": "linear",
    "conv": "linear",
    "hybrid": "full",
    "moe": "none",
    "mlp": "none",
}
"""What the words of `layer_types` mean for attention."""


def attention_kinds(config: Config, traits: Traits, n_layers: int) -> list[str]:
    """Return what each layer looks back with: `full`, `sliding`, `cross`, `linear` or `none`.

    Raises:
        BadQuantity: the config names fewer layers than it has.
    """
    named = config.words("layer_types")
    if named:
        return _named(config, named, n_layers)
    for name in ("attn_layer_indices", "full_attn_idxs"):
        if config.get(name) is not None:
            attends = set(config.numbers(name))
            return ["full" if i in attends else "linear" for i in range(n_layers)]
    period = config.count("full_attention_interval", 0)
    if period:
        return ["full" if (i + 1) % period == 0 else "linear" for i in range(n_layers)]
    period = config.count("attn_layer_period", 0)
    if period:
        offset = config.count("attn_layer_offset", 0)
        return ["full" if i % period == offset else "linear" for i in range(n_layers)]
    if traits.linear and traits.silent == "linear":
        return ["linear"] * n_layers
    return _windowed(config, traits, n_layers) if window(config) else ["full"] * n_layers


def window(config: Config) -> int:
    """Return the tokens that a sliding layer looks back; 0 when no layer slides."""
    return config.count("sliding_window", 0) if config.flag("use_sliding_window", otherwise=True) else 0


def _named(config: Config, named: list[str], n_layers: int) -> list[str]:
    if len(named) < n_layers:
        raise BadQuantity(f"{config.where}: `layer_types` names {len(named)} of {n_layers} layers")
    kinds = []
    for name in named[:n_layers]:
        if name not in KINDS:
            config.note(f"the layer type {name!r} was read as full attention")
        kinds.append(KINDS.get(name, "full"))
    return kinds


def _windowed(config: Config, traits: Traits, n_layers: int) -> list[str]:
    """Lay out sliding layers: from one layer on, or all but each last of a pattern."""
    if traits.window_from:
        first = config.count(traits.window_from, 0)
        return ["sliding" if i >= first else "full" for i in range(n_layers)]
    pattern = config.get("sliding_window_pattern")
    if isinstance(pattern, str) and pattern:
        kinds = ["full" if pattern[i % len(pattern)] == "G" else "sliding" for i in range(n_layers)]
        return [*kinds[:-1], "full"]
    period = config.count("sliding_window_pattern", traits.window_pattern)
    if period == 0:
        return ["full"] * n_layers
    return ["full" if period > 1 and (i + 1) % period == 0 else "sliding" for i in range(n_layers)]


def sparse_layers(config: Config, n_layers: int) -> list[bool]:
    """Return which layers have routed experts, in a model that has some."""
    named = config.words("mlp_layer_types")
    if len(named) >= n_layers:
        return [name == "sparse" for name in named[:n_layers]]
    period = config.count("expert_layer_period", 0)
    if period:
        offset = config.count("expert_layer_offset", 0)
        return [i % period == offset for i in range(n_layers)]
    first, last = config.count("first_k_dense_replace", 0), config.count("moe_layer_end_index", -1, least=-1)
    last = n_layers - 1 if last < 0 else last
    step = config.count("decoder_sparse_step", 1)
    dense = set(config.numbers("mlp_only_layers"))
    is_sparse = [
        first <= i <= last and step > 0 and (i + 1) % step == 0 and i not in dense for i in range(n_layers)
    ]
    if isinstance(config.get("moe_layer_freq"), (list, tuple)):
        chosen = config.per_layer("moe_layer_freq", n_layers)
        return [sparse and bool(on) for sparse, on in zip(is_sparse, chosen, strict=True)]
    period = config.count("moe_layer_freq", 1)
    return [sparse and period > 0 and i % period == 0 for i, sparse in enumerate(is_sparse)]
