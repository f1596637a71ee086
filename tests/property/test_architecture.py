"""Architectures under any config: more layers never weigh less, strangers change nothing, our errors only."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rackrate.catalog.architecture import Architecture, counts_of, read_config
from rackrate.catalog.architecture.config import SYNONYMS
from rackrate.catalog.architecture.family import families, family
from rackrate.errors import RackrateError

SECTIONS = ("text_config", "vision_config", "attn_config", "ffn_config", "linear_attn_config")
KEYS = sorted(
    {key for name in families() for key in family(name).defaults}
    | {key for name, others in SYNONYMS.items() for key in (name, *others)}
    | {"layer_types", "mlp_layer_types", "block_configs", "hybrid_override_pattern", "attention_types"}
    | {"sliding_window", "indexer_types", "ffn_multipliers", "architectures", "id2label", "moe_layers"}
    | {"no_rope_layers", "quantization_config", "dtype", "transformer", "vae", "text_encoder"}
)
LANGUAGE = [
    name
    for name in sorted(families())
    if family(name).reader == "decoder" and "num_hidden_layers" in family(name).defaults
]
LIKE_LLAMA = ["llama", "mistral", "qwen2", "qwen3", "qwen3_moe", "gemma3_text", "gpt_oss", "phi3", "falcon"]

SCALARS = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-3, 300),
    st.integers(),
    st.floats(),
    st.sampled_from(["full_attention", "sliding_attention", "mamba", "moe", "", "M*E-", "auto", "BertModel"]),
)
VALUES = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=5), st.dictionaries(st.sampled_from(KEYS), inner, max_size=4)
    ),
    max_leaves=6,
)
GARBAGE = st.fixed_dictionaries(
    {"model_type": st.sampled_from([*sorted(families()), "unheard-of", ""])},
    optional={section: st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=6) for section in SECTIONS},
).flatmap(
    lambda base: st.dictionaries(st.sampled_from(KEYS), VALUES, max_size=8).map(lambda more: more | base)
)


@settings(max_examples=400, suppress_health_check=[HealthCheck.too_slow])
@given(GARBAGE)
def test_any_config_gives_an_architecture_or_an_error_of_ours(config: dict[str, Any]) -> None:
    try:
        made = read_config(config)
    except RackrateError:
        return
    assert isinstance(made, Architecture)
    assert sum(made.params_by_part().values()) == made.n_params
    assert counts_of(made).checkpoint >= made.n_params


@settings(max_examples=150)
@given(st.sampled_from(LANGUAGE), st.integers(1, 60))
def test_more_layers_never_have_fewer_parameters(name: str, n_layers: int) -> None:
    config = {"model_type": name, "num_experts_per_tok": 2, "num_key_value_heads": 2, "head_dim": 64}
    fewer, more = (read_config(config | {"num_hidden_layers": n}) for n in (n_layers, n_layers + 1))
    assert more.n_params >= fewer.n_params
    assert sum(c.n_layers for c in more.caches) >= sum(c.n_layers for c in fewer.caches)


@settings(max_examples=60)
@given(st.sampled_from(LIKE_LLAMA), st.dictionaries(st.text(max_size=8).map("zz_{}".format), VALUES))
def test_keys_that_no_one_knows_change_nothing(name: str, strangers: dict[str, Any]) -> None:
    strange, plain = (
        read_config(strangers | {"model_type": name}, "m"),
        read_config({"model_type": name}, "m"),
    )
    assert asdict(strange) == asdict(plain)


@settings(max_examples=100)
@given(st.sampled_from(LIKE_LLAMA), st.integers(1, 64), st.sampled_from([32, 64, 128]), st.booleans())
def test_tied_embeddings_save_one_table(name: str, heads: int, head_dim: int, bias: bool) -> None:  # noqa: FBT001
    config = {
        "model_type": name,
        "hidden_size": heads * head_dim,
        "num_attention_heads": heads,
        "num_key_value_heads": heads,
        "head_dim": head_dim,
        "attention_bias": bias,
    }
    tied = read_config(config | {"tie_word_embeddings": True})
    untied = read_config(config | {"tie_word_embeddings": False})
    assert untied.n_params - tied.n_params == tied.vocab_size * heads * head_dim
