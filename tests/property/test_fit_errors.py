"""Bad questions about memory: one of our errors, never another exception."""

from __future__ import annotations

import json
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rackrate.catalog.architecture import read_config
from rackrate.errors import RackrateError, UsageError
from rackrate.fit.declared import from_config
from rackrate.sizing import Weights, find_card, find_weights, fits

few = settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
LLAMA = find_weights("llama-3.1-8b")
MIXTRAL = find_weights("mixtral-8x7b").arch

words = st.one_of(
    st.text(max_size=30),
    st.sampled_from(
        ["l40s:", "l40s:x", ":2", "8kk", "7BB", "q9_k", "fp", "vllm 1.2.3.4", "24GiB:2", "hf:", "٣"]
    ),
    st.from_regex(r"[a-z0-9.:-]{1,20}", fullmatch=True),
)
numbers = st.one_of(st.integers(), st.floats(), st.booleans(), st.none(), st.just(float("nan")))
anything = st.one_of(words, numbers, st.lists(st.integers(), max_size=2))


def answered(**question: Any) -> None:
    """Ask; an answer is well, and so is one of our usage errors."""
    model = question.pop("model", LLAMA)
    with suppress(UsageError):
        fit = fits(model, question.pop("gpu", "l40s"), **question)
        assert fit.total.gib > 0
        assert fit.verdict in ("fits", "tight", "does not fit")


@settings(max_examples=15)  # names are compared with a whole catalog
@given(words)
def test_models(text: str) -> None:
    if "/" in text or "\\" in text or text.strip().startswith((".", "~", "hf:", "http")) or not text.strip():
        return  # files, addresses and the hub have errors of their own
    answered(model=text)


@few
@given(words)
def test_cards(text: str) -> None:
    answered(gpu=text)


@few
@given(st.sampled_from(["precision", "kv", "engine", "task", "offload"]), anything)
def test_names(field: str, value: object) -> None:
    answered(**{field: value})


@few
@given(st.sampled_from(["context", "concurrency", "pixels", "beams"]), anything)
def test_loads(field: str, value: object) -> None:
    answered(**{field: value})


@few
@given(
    st.sampled_from(["tensor", "pipeline", "max_num_seqs", "max_num_batched_tokens", "memory_fraction"]),
    anything,
    st.integers(1, 8),
)
def test_engine_settings(field: str, value: object, n: int) -> None:
    answered(gpu=f"l40s:{n}", **{field: value})


@few
@given(
    st.text(max_size=12).filter(
        lambda name: name not in ("context", "concurrency", "wish", "pixels", "beams")
    )
)
def test_options_that_are_not_there(name: str) -> None:
    answered(**{name: 1} if name.isidentifier() and name not in ("model", "gpu", "self") else {})


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(-10, 1000), st.floats(), st.text(max_size=12)),
    lambda inner: st.one_of(
        st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
methods = st.sampled_from(
    [
        "gptq",
        "awq",
        "fp8",
        "bitsandbytes",
        "compressed-tensors",
        "modelopt",
        "mxfp4",
        "mlx",
        "hqq",
        "auto-round",
        "torchao",
        "quanto",
        "quark",
        "exl2",
        "aqlm",
        "x",
    ]
)
fields = st.sampled_from(
    ["bits", "w_bit", "group_size", "q_group_size", "weight_block_size", "load_in_4bit", "config_groups",
     "ignore",
     "modules_to_not_convert", "quant_algo", "quantization", "quant_config", "quant_type", "weights",
     "num_codebooks", "global_quant_config", "quantized_layers", "lm_head", "mode", "llm_int8_skip_modules"]
)  # fmt: skip


@settings(max_examples=100)
@given(methods, st.dictionaries(fields, json_values, max_size=5))
def test_quantisation_configs(method: str, values: dict[str, Any]) -> None:
    with suppress(RackrateError):
        assert 1 <= from_config({"quant_method": method, **values}, MIXTRAL).bits <= 16.1


DATA = Path(__file__).parents[1] / "data" / "architectures.json"
CONFIGS: dict[str, Any] = json.loads(DATA.read_text(encoding="utf-8"))["models"]


@pytest.mark.parametrize("task", ["inference", "full", "lora", "qlora"])
def test_every_known_family_has_an_answer(task: str) -> None:
    for name, built in CONFIGS.items():
        fit = fits(Weights(read_config(built["config"], name)), "l40s:2", task=task, context=1024)
        assert fit.total.gib > 0
        json.dumps([term.to_dict() for term in fit.estimate.terms], allow_nan=False)


@few
@given(
    st.sampled_from(sorted(CONFIGS)),
    st.dictionaries(
        st.sampled_from(["hidden_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads",
                         "intermediate_size", "vocab_size", "head_dim", "sliding_window", "num_experts"]),
        st.one_of(st.integers(-1, 5000), st.sampled_from(["", None, 1.5, "x"])),
        min_size=1, max_size=3,
    ),
)  # fmt: skip
def test_a_config_with_odd_numbers_is_answered_or_refused(name: str, odd: dict[str, Any]) -> None:
    with suppress(RackrateError):
        fit = fits(Weights(read_config({**CONFIGS[name]["config"], **odd}, name)), "l40s", context=512)
        assert fit.total.gib > 0


def test_a_card_is_never_free() -> None:
    for text in ("0.5GiB", "1GiB", "4096GiB"):
        assert find_card(text)[0].gib > 0
