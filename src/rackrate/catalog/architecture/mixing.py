"""Which mixer stands in each layer, with its numbers: from a config and the traits of its family."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from rackrate.catalog.architecture.config import Config
from rackrate.catalog.architecture.family import Traits
from rackrate.catalog.architecture.layers import Attention, Both, Latent, Mixer
from rackrate.catalog.architecture.layout import attention_kinds, window
from rackrate.catalog.architecture.recurrent import (
    DeltaNet,
    KimiDelta,
    Lightning,
    Mamba,
    Mamba2,
    RecurrentUnit,
    Rwkv,
    ShortConv,
)
from rackrate.errors import BadQuantity, NoAnswer


def read_mixers(config: Config, traits: Traits, n_layers: int) -> list[Mixer | None]:
    """Return what mixes tokens in each layer; None where a layer has no such part.

    Raises:
        NoAnswer: the config lacks a number, or means a recurrence that its family does not say.
    """
    kinds = attention_kinds(config, traits, n_layers)
    if kinds.count("linear") == n_layers:
        return [_recurrent(config, traits)] * n_layers
    heads = config.per_layer("num_attention_heads", n_layers)
    has_own = config.get("num_key_value_heads") is not None
    kv_heads = config.per_layer("num_key_value_heads", n_layers) if has_own else heads
    first_shared = n_layers - config.count("num_kv_shared_layers", 0)
    indexers = config.words("indexer_types")
    indexers += ["full"] * (n_layers - len(indexers))
    made: dict[tuple[str, int, int, bool, bool], Mixer | None] = {}
    mixers = []
    for i, (kind, n, n_kv) in enumerate(zip(kinds, heads, kv_heads, strict=True)):
        key = (kind, n, n_kv, i < first_shared, indexers[i] != "shared")
        if key not in made:
            made[key] = _mixer(config, traits, kind, n, n_kv, makes_keys=key[3], has_indexer=key[4])
        mixers.append(made[key])
    return mixers


def _mixer(
    config: Config,
    traits: Traits,
    kind: str,
    n_heads: int,
    n_kv_heads: int,
    *,
    makes_keys: bool,
    has_indexer: bool,
) -> Mixer | None:
    if kind == "none" or not n_kv_heads:
        return None
    if kind == "linear":
        return _recurrent(config, traits)
    if config.get("kv_lora_rank"):
        return _latent(config, traits, n_heads, has_indexer=has_indexer)
    attention = _attention(config, traits, kind, n_heads, n_kv_heads, makes_keys=makes_keys)
    return Both(attention, _recurrent(config, traits)) if traits.has_both else attention


def _attention(
    config: Config, traits: Traits, kind: str, n_heads: int, n_kv_heads: int, *, makes_keys: bool
) -> Attention:
    special = traits.full if kind == "full" else traits.sliding

    def number(name: str, otherwise: int) -> int:
        return config.count(special[name], otherwise) if name in special else otherwise

    n_heads, n_kv_heads = number("num_attention_heads", n_heads), number("num_key_value_heads", n_kv_heads)
    if not n_heads:
        raise BadQuantity(f"{config.where}: a layer has no attention heads")
    common = config.count("head_dim", 0) or config.count("hidden_size") // n_heads
    head_dim = number("head_dim", common)
    v_dim = number("v_head_dim", config.count("v_head_dim", head_dim))
    has_norms = bool(traits.head_norms) and (not traits.head_norms_if or config.flag(traits.head_norms_if))
    gates = {"": 0, "heads": n_heads, "features": n_heads * v_dim}
    is_key_value = kind == "full" and config.flag("attention_k_eq_v")
    return Attention(
        kind=kind,
        n_heads=n_heads,
        n_kv_heads=n_kv_heads,
        head_dim=head_dim,
        v_dim=v_dim,
        window=_looks_at(config, kind),
        qkv_bias=config.flag(traits.qkv_bias),
        output_bias=config.flag(traits.output_bias),
        head_norms="head" if kind == "cross" else traits.head_norms if has_norms else "",
        head_norm=traits.head_norm,
        gate_size=gates[traits.output_gate],
        sinks=traits.sinks in ("all", kind),
        has_value=not is_key_value,
        makes_keys=makes_keys,
    )


def _looks_at(config: Config, kind: str) -> int:
    """Return the tokens that an attention looks back, or of the image that it looks at."""
    if kind == "cross":
        return config.count("cross_attention_tokens", 0)
    return window(config) if kind == "sliding" else 0


def _latent(config: Config, traits: Traits, n_heads: int, *, has_indexer: bool) -> Latent:
    head_dim = config.count("head_dim", 0)
    nope_dim = config.count("qk_nope_head_dim", head_dim)
    return Latent(
        n_heads=n_heads,
        q_rank=config.count("q_lora_rank", 0),
        kv_rank=config.count("kv_lora_rank"),
        nope_dim=nope_dim,
        rope_dim=config.count("qk_rope_head_dim"),
        v_dim=config.count("v_head_dim", nope_dim),
        bias=config.flag(traits.qkv_bias),
        index_heads=config.count("index_n_heads", 0) if has_indexer else 0,
        index_dim=config.count("index_head_dim", 0),
    )


def _recurrent(config: Config, traits: Traits) -> Mixer:
    kind = traits.linear or ("delta" if config.states("linear_num_value_heads") else "")
    if kind not in _RECURRENT:
        raise NoAnswer(f"{config.where} cannot be read: nothing says what its recurrent layers are")
    return _RECURRENT[kind](config, traits)


def _delta(config: Config, _: Traits) -> Mixer:
    return DeltaNet(
        n_k_heads=config.count("linear_num_key_heads", least=1),
        n_v_heads=config.count("linear_num_value_heads", least=1),
        k_dim=config.count("linear_key_head_dim", least=1),
        v_dim=config.count("linear_value_head_dim", least=1),
        taps=config.count("linear_conv_kernel_dim", least=1),
    )


def _kimi(config: Config, _: Traits) -> Mixer:
    return KimiDelta(
        n_heads=config.count("linear_num_heads", least=1),
        head_dim=config.count("linear_head_dim", least=1),
        taps=config.count("linear_conv_kernel_dim", least=1),
    )


def _lightning(config: Config, _: Traits) -> Mixer:
    n_heads = config.count("num_attention_heads", least=1)
    return Lightning(n_heads, config.count("head_dim", 0) or config.count("hidden_size") // n_heads)


def _mamba(config: Config, traits: Traits) -> Mixer:
    width = config.count("hidden_size", least=1)
    dt_rank = config.get("mamba_dt_rank")
    is_derived = not isinstance(dt_rank, int)  # "auto", or not said
    return Mamba(
        inner=config.count("mamba_d_inner", config.count("mamba_expand", 2) * width),
        state=config.count("mamba_d_state"),
        taps=config.count("mamba_d_conv", least=1),
        dt_rank=-(-width // 16) if is_derived else config.count("mamba_dt_rank"),
        conv_bias=config.flag("mamba_conv_bias", otherwise=True),
        bias=config.flag(traits.linear_bias),
        has_norms=traits.linear_norm,
    )


def _mamba2(config: Config, traits: Traits) -> Mixer:
    n_heads = config.count("mamba_n_heads", least=1)
    inner = config.count("mamba_d_ssm", config.count("mamba_expand", 2) * config.count("hidden_size"))
    is_derived = not isinstance(config.get("mamba_d_head"), int)  # "auto", or not said
    return Mamba2(
        n_heads=n_heads,
        head_dim=inner // n_heads if is_derived else config.count("mamba_d_head"),
        n_groups=config.count("mamba_n_groups"),
        state=config.count("mamba_d_state"),
        taps=config.count("mamba_d_conv", least=1),
        conv_bias=config.flag("mamba_conv_bias", otherwise=True),
        bias=config.flag(traits.linear_bias),
        has_norm=config.flag("mamba_rms_norm", otherwise=traits.linear_norm),
    )


def _short_conv(config: Config, _: Traits) -> Mixer:
    return ShortConv(
        config.count("hidden_size"), config.count("conv_L_cache", least=1), config.flag("conv_bias")
    )


def _rwkv(config: Config, _: Traits) -> Mixer:
    return Rwkv(config.count("attention_hidden_size", config.count("hidden_size")))


def _recurrent_unit(config: Config, _: Traits) -> Mixer:
    inner = config.count("lru_width", config.count("hidden_size"), least=1)
    return RecurrentUnit(
        inner, config.count("num_attention_heads", least=1), config.count("conv1d_width", least=1)
    )


_RECURRENT: Mapping[str, Callable[[Config, Traits], Mixer]] = {
    "delta": _delta,
    "kimi": _kimi,
    "lightning": _lightning,
    "mamba": _mamba,
    "mamba2": _mamba2,
    "conv": _short_conv,
    "rwkv": _rwkv,
    "unit": _recurrent_unit,
}
