"""Configs with words of their own, put into the common ones before a reader sees them.

A quirk returns what the config would say in common words, and the traits that follow from it. The
facts are those of the config classes of transformers 5.23, or of the code in the model's repository.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from rackrate.catalog.architecture.config import Config
from rackrate.catalog.architecture.family import Traits
from rackrate.errors import BadQuantity

Said = tuple[dict[str, Any], Traits]
Quirk = Callable[[Config, Traits], Said]

_PATTERN = {"M": "linear_attention", "*": "full_attention", "-": "mlp", "E": "moe"}


def _layers(config: Config) -> range:
    return range(config.count("num_hidden_layers", least=1))


def _named(config: Config, names: list[str]) -> dict[str, Any]:
    """Return a layout for a config that does not state one."""
    return {} if config.get("layer_types") else {"layer_types": names}


def _falcon(config: Config, traits: Traits) -> Said:
    """One key head, or groups and two norms side by side in the new decoder."""
    n_heads = config.count("num_attention_heads", least=1)
    if config.flag("new_decoder_architecture"):
        n_norms = config.count("num_ln_in_parallel_attn", 2)
        return {}, replace(traits, layer_norms=n_norms)
    traits = replace(traits, layer_norms=1 if config.flag("parallel_attn") else 2)
    return {"num_key_value_heads": 1 if config.flag("multi_query") else n_heads}, traits


def _multi_query(config: Config, traits: Traits) -> Said:
    """GPT-BigCode and ChatGLM: a switch for few key heads, one of them by default."""
    n_heads = config.count("num_attention_heads", least=1)
    is_on = config.flag("multi_query") or config.flag("multi_query_attention")
    return {"num_key_value_heads": config.count("num_key_value_heads", 1) if is_on else n_heads}, traits


def _mpt(config: Config, traits: Traits) -> Said:
    """MPT and DBRX: attention and experts in sections of their own."""
    attention, experts = config.section("attn_config"), config.section("ffn_config")
    said: dict[str, Any] = {
        "num_key_value_heads": attention.get("kv_n_heads", config.defaults.get("kv_n_heads"))
    }
    if "expansion_ratio" in config.defaults:
        factor = config.count("expansion_ratio", least=1)
        return said | {"intermediate_size": factor * config.count("hidden_size")}, traits
    return said | {
        "num_experts": experts.get("moe_num_experts", config.defaults.get("num_experts")),
        "num_experts_per_tok": experts.get("moe_top_k", config.defaults.get("num_experts_per_tok")),
        "moe_intermediate_size": experts.get("ffn_hidden_size", config.defaults.get("moe_intermediate_size")),
    }, traits


def _qwen(config: Config, traits: Traits) -> Said:
    """Qwen 1: each of the two matrices that lead inward has half of the stated width."""
    return {"intermediate_size": config.count("intermediate_size") // 2}, traits


def _molmo(config: Config, traits: Traits) -> Said:
    """Molmo states the inner width as Qwen 1 does, and nothing of its eyes."""
    config.note("the config says nothing of its eyes: no vision tower was counted")
    return _qwen(config, traits)


def _stablelm(config: Config, traits: Traits) -> Said:
    """One norm where attention and feed-forward stand side by side."""
    return {}, replace(traits, layer_norms=1 if config.flag("use_parallel_residual") else 2)


def _opt(config: Config, traits: Traits) -> Said:
    """The last norm is missing where norms come after, and where a flag took it out."""
    has_last = config.flag("do_layer_norm_before", otherwise=True)
    return {}, replace(traits, final_norm=has_last and not config.flag("_remove_final_layer_norm"))


def _llama4(config: Config, traits: Traits) -> Said:
    """Dense layers have a width of their own; of four layers the last sees more than its chunk."""
    n_layers = len(_layers(config))
    rope = config.numbers("no_rope_layers") or [int((i + 1) % 4 != 0) for i in range(n_layers)]
    step = config.count("interleave_moe_layer_step", 1, least=1)
    sparse = config.numbers("moe_layers") or list(range(step - 1, n_layers, step))
    said = _named(config, ["sliding_attention" if on else "full_attention" for on in rope]) | {
        "sliding_window": config.count("attention_chunk_size", 0),
        "moe_intermediate_size": config.count("intermediate_size"),
        "intermediate_size": config.count("intermediate_size_mlp"),
        "mlp_layer_types": ["sparse" if i in sparse else "dense" for i in range(n_layers)],
        "n_shared_experts": 1,
    }
    return said, traits


def _smollm3(config: Config, traits: Traits) -> Said:
    """Only layers without rotation slide, if any do."""
    n_layers = len(_layers(config))
    rope = config.numbers("no_rope_layers") or [int((i + 1) % 4 != 0) for i in range(n_layers)]
    slides = config.flag("use_sliding_window") and bool(config.count("sliding_window", 0))
    names = ["sliding_attention" if slides and not on else "full_attention" for on in rope]
    return _named(config, names), traits


def _mamba2(config: Config, traits: Traits) -> Said:
    """The heads of the recurrence have the names that heads of attention have elsewhere."""
    return {"mamba_n_heads": config.count("num_heads"), "mamba_d_head": config.count("head_dim")}, traits


def _mamba(config: Config, traits: Traits) -> Said:
    """Falcon-Mamba states the channels beside the factor that they follow from."""
    return {"mamba_d_inner": config.get("intermediate_size")}, traits


def _nemotron_h(config: Config, traits: Traits) -> Said:
    """A pattern of letters says what each layer is; the count of layers is its length."""
    named, pattern = config.words("layer_types"), config.get("hybrid_override_pattern")
    if not named and isinstance(pattern, str):
        unknown = sorted(set(pattern) - _PATTERN.keys())
        if unknown:
            raise BadQuantity(f"{config.where}: `hybrid_override_pattern` has {unknown[0]!r}")
        named = [_PATTERN[letter] for letter in pattern]
    named = named or ["linear_attention", "moe", "full_attention", "mlp"]
    n_shared = config.count("n_shared_experts", 0)
    shared = config.count("shared_expert_intermediate_size", 0) * n_shared
    return {
        "layer_types": named,
        "num_hidden_layers": len(named),
        "shared_expert_intermediate_size": shared,
    }, traits


def _rwkv(config: Config, traits: Traits) -> Said:
    """The context has a name of its own."""
    return {"max_position_embeddings": config.get("context_length")}, traits


def _recurrent_gemma(config: Config, traits: Traits) -> Said:
    """A short list of blocks is repeated; attention is local; the inner width is that of both halves."""
    blocks = config.words("layer_types") or ["recurrent", "recurrent", "attention"]
    named = {"recurrent": "linear_attention", "attention": "sliding_attention"}
    unknown = sorted(set(blocks) - named.keys())
    if unknown:
        raise BadQuantity(f"{config.where}: `block_types` has {unknown[0]!r}")
    return {
        "layer_types": [named[blocks[i % len(blocks)]] for i in _layers(config)],
        "sliding_window": config.count("attention_window_size"),
        "intermediate_size": config.count("intermediate_size") // 2,
    }, traits


def _minimax(config: Config, traits: Traits) -> Said:
    """Every other layer attends fully; older configs have a list of zeros and ones."""
    listed = config.numbers("attn_type_list")
    full = [bool(on) for on in listed] or [bool((i + 1) % 2) for i in _layers(config)]
    return _named(config, ["full_attention" if on else "linear_attention" for on in full]), traits


def _kimi_linear(config: Config, traits: Traits) -> Said:
    """Layers are counted from 1 in a section of their own, which also has the recurrence's numbers."""
    inner = config.section("linear_attn_config")
    said = {
        name: inner[key]
        for name, key in (
            ("linear_num_heads", "num_heads"),
            ("linear_head_dim", "head_dim"),
            ("linear_conv_kernel_dim", "short_conv_kernel_size"),
        )
        if key in inner
    }
    level = Config(inner, {}, f"{config.where}, linear_attn_config", config.notes)
    listed = level.numbers("full_attn_layers")
    full = (
        [i + 1 in listed for i in _layers(config)]
        if listed
        else [i > 0 and i % 4 == 0 for i in _layers(config)]
    )
    return said | _named(config, ["full_attention" if on else "linear_attention" for on in full]), traits


def _mimo(config: Config, traits: Traits) -> Said:
    """The first layer and every sixth attend fully; older configs mark them in a list."""
    marked = config.numbers("hybrid_layer_pattern")
    full = [not on for on in marked] or [i == 0 or (i + 1) % 6 == 0 for i in _layers(config)]
    window = config.get("sliding_window_size", config.get("sliding_window"))
    said = _named(config, ["full_attention" if on else "sliding_attention" for on in full])
    return said | {"sliding_window": window}, traits


def _hunyuan_moe(config: Config, traits: Traits) -> Said:
    """Shared and routed experts are as wide as a dense block; a list may give a number a layer."""
    size = config.count("moe_intermediate_size", config.count("intermediate_size"))
    shared = size * config.count("n_shared_experts", 1)
    return {"moe_intermediate_size": size, "shared_expert_intermediate_size": shared}, traits


def _gemma4(config: Config, traits: Traits) -> Said:
    """The last layer attends fully; layers that share keys may be twice as wide; experts stand beside."""
    n_layers = len(_layers(config))
    named = config.words("layer_types") or [
        "sliding_attention" if (i + 1) % 6 else "full_attention" for i in range(n_layers)
    ]
    said: dict[str, Any] = {"layer_types": [*named[:-1], "full_attention"]}
    if not config.flag("attention_k_eq_v"):
        said["num_global_key_value_heads"] = None
    size, n_shared = config.count("intermediate_size"), config.count("num_kv_shared_layers", 0)
    if config.flag("use_double_wide_mlp") and n_shared:
        said["intermediate_size"] = [size if i < n_layers - n_shared else 2 * size for i in range(n_layers)]
    if config.flag("enable_moe_block"):
        said["shared_expert_intermediate_size"] = size
    else:
        said["num_experts"] = 0
    return said, traits


def _mllama(config: Config, traits: Traits) -> Said:
    """Some layers attend to the image instead of the text, at places that a list gives."""
    crosses = set(config.numbers("cross_attention_layers"))
    named = ["cross_attention" if i in crosses else "full_attention" for i in _layers(config)]
    return {"layer_types": named}, traits


def _glm_dsa(config: Config, traits: Traits) -> Said:
    """Some layers take over which tokens the indexer of an earlier one picked."""
    if config.get("indexer_types"):
        return {}, traits
    pattern = config.get("index_topk_pattern")
    if isinstance(pattern, str):
        return {"indexer_types": ["full" if letter == "F" else "shared" for letter in pattern]}, traits
    period, offset = config.count("index_topk_freq", 1, least=1), config.count("index_skip_topk_offset", 2)
    named = ["shared" if max(i - offset + 1, 0) % period else "full" for i in _layers(config)]
    return {"indexer_types": named}, traits


def _gpt_neo(config: Config, traits: Traits) -> Said:
    """A nested list says which layers look at a window."""
    n_layers = len(_layers(config))
    groups = config.get("attention_types") or [[["global", "local"], -(-n_layers // 2)]]
    try:
        named = [name for names, n in groups for _ in range(min(n, n_layers)) for name in names]
    except (TypeError, ValueError):
        raise BadQuantity(f"{config.where}: `attention_types` is no list of names and counts") from None
    return {"layer_types": named, "sliding_window": config.count("window_size", 256)}, traits


def _granite_hybrid(config: Config, traits: Traits) -> Said:
    """Without routed experts the shared block is the only one."""
    if config.count("num_experts", 0):
        return {}, traits
    return {"intermediate_size": config.count("shared_expert_intermediate_size")}, traits


def _lfm2(config: Config, traits: Traits) -> Said:
    """The inner width may be two thirds of the stated one, scaled and rounded up."""
    size = config.count("block_ff_dim", config.count("intermediate_size"))
    if config.flag("block_auto_adjust_ff_dim"):
        factor, multiple = config.get("block_ffn_dim_multiplier"), config.count("block_multiple_of", least=1)
        size = int(2 * size / 3)
        if isinstance(factor, (int, float)):
            size = int(factor * size)
        size = -(-size // multiple) * multiple
    tied = config.get("tie_embedding", config.get("tie_word_embeddings"))
    return {"intermediate_size": size, "tie_word_embeddings": tied}, traits


def _albert(config: Config, traits: Traits) -> Said:
    """Layers of a group share their weights, so there are as many as groups."""
    n_groups = config.count("num_hidden_groups", 1) * config.count("inner_group_num", 1)
    return {"num_hidden_layers": n_groups}, traits


def _bert(config: Config, traits: Traits) -> Said:
    """Jina's BERT has gates and no places, and says so under BERT's own name."""
    if config.text("position_embedding_type") in ("alibi", "rope", "rotary"):
        traits = replace(traits, places=False)
    return {}, replace(traits, gated=True) if config.text("feed_forward_type").endswith("glu") else traits


def _modernbert(config: Config, traits: Traits) -> Said:
    """A switch gives its norms biases."""
    return {}, replace(traits, norm="layer" if config.flag("norm_bias") else "layer-no-bias")


def _hyperclovax(config: Config, traits: Traits) -> Said:
    """A switch puts norms behind attention and block too."""
    return {}, replace(traits, layer_norms=4 if config.flag("use_post_norm") else 2)


def _arctic(config: Config, traits: Traits) -> Said:
    """The dense block beside the experts is a shared expert as wide as the stream."""
    return {"shared_expert_intermediate_size": config.count("hidden_size", least=1)}, traits


def _openelm(config: Config, traits: Traits) -> Said:
    """Each layer has its own heads and its own multiple of the width."""
    width, divisor = config.count("model_dim", least=1), config.count("ffn_dim_divisor", 256, least=1)
    factors = config.get("ffn_multipliers")
    if not isinstance(factors, (list, tuple)) or not all(isinstance(f, (int, float)) for f in factors):
        raise BadQuantity(f"{config.where}: `ffn_multipliers` is no list of numbers")
    sizes = [_nearest_multiple(f * width, divisor) for f in factors]
    return {
        "num_hidden_layers": config.count("num_transformer_layers"),
        "intermediate_size": sizes,
        "num_attention_heads": config.numbers("num_query_heads"),
        "num_key_value_heads": config.numbers("num_kv_heads"),
        "tie_word_embeddings": config.get("share_input_output_layers", otherwise=True),
        "max_position_embeddings": config.get("max_context_length"),
    }, traits


def _nearest_multiple(size: float, divisor: int) -> int:
    """Return the multiple of `divisor` nearest to `size`, but none that loses a tenth of it."""
    rounded = max(divisor, int(size + divisor / 2) // divisor * divisor)
    return rounded if rounded >= 0.9 * size else rounded + divisor


def _nas(config: Config, traits: Traits) -> Said:
    """DeciLM and Nemotron-NAS: each layer has its own numbers, or lacks attention or the block."""
    blocks = config.get("block_configs")
    if not isinstance(blocks, (list, tuple)) or not all(isinstance(block, Mapping) for block in blocks):
        return {}, traits
    n_heads, width = config.count("num_attention_heads", least=1), config.count("hidden_size", least=1)
    kv_heads, sizes = [], []
    for i, block in enumerate(blocks):
        where = f"{config.where}, block_configs[{i}]"
        level = Config(block, {}, where, config.notes)
        attention = Config(level.section("attention"), {}, where, config.notes)
        ffn = Config(level.section("ffn"), {}, where, config.notes)
        group = 0 if _is_off(attention) else attention.count("n_heads_in_group", 1)
        kv_heads.append(n_heads // group if group else 0)
        factor = 0 if _is_off(ffn) else ffn.get("ffn_mult", 0)
        if not isinstance(factor, (int, float)) or not 0 <= factor <= n_heads * width:
            raise BadQuantity(f"{where}: `ffn_mult` is {factor!r}, which is no factor")
        sizes.append(-(-int(2 * factor * width / 3) // 256) * 256)
    return {"num_key_value_heads": kv_heads, "intermediate_size": sizes}, traits


def _is_off(part: Config) -> bool:
    """Tell whether a layer lacks a part; one matrix in its place is left out, and said so."""
    if part.flag("replace_with_linear"):
        part.note("a layer has one matrix in the place of a part, which was left out")
    return part.flag("no_op") or part.flag("replace_with_linear")


QUIRKS: Mapping[str, Quirk] = {
    "albert": _albert,
    "arctic": _arctic,
    "bert": _bert,
    "falcon": _falcon,
    "gemma4": _gemma4,
    "glm_dsa": _glm_dsa,
    "gpt_neo": _gpt_neo,
    "granite_hybrid": _granite_hybrid,
    "hunyuan_moe": _hunyuan_moe,
    "hyperclovax": _hyperclovax,
    "kimi_linear": _kimi_linear,
    "lfm2": _lfm2,
    "llama4": _llama4,
    "mamba": _mamba,
    "mamba2": _mamba2,
    "mimo": _mimo,
    "minimax": _minimax,
    "mllama": _mllama,
    "modernbert": _modernbert,
    "molmo": _molmo,
    "mpt": _mpt,
    "multi_query": _multi_query,
    "nas": _nas,
    "nemotron_h": _nemotron_h,
    "openelm": _openelm,
    "opt": _opt,
    "qwen": _qwen,
    "recurrent_gemma": _recurrent_gemma,
    "rwkv": _rwkv,
    "smollm3": _smollm3,
    "stablelm": _stablelm,
}
"""What puts a config into common words, by the word in the family's file."""


def in_common_words(config: Config, quirk: str, traits: Traits) -> tuple[Config, Traits]:
    """Return a config and traits as the readers know them."""
    if not quirk:
        return config, traits
    said, traits = QUIRKS[quirk](config, traits)
    return Config({**config.values, **said}, config.defaults, config.where, config.notes), traits
