"""The checks: the catalog passes, and each rule fires on an entry doctored to break it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rackrate.catalog.check_models import check_models, check_providers, check_workloads
from rackrate.catalog.fact import Claim, Fact
from rackrate.catalog.model import load_model
from rackrate.catalog.problem import Problem
from rackrate.catalog.provider import find_provider
from rackrate.catalog.workload import Need, find_workload


def _fact(value: Any, source: str = "recalled") -> Fact[Any]:
    return Fact(value, source)


def _rules(problems: list[Problem]) -> set[str]:
    return {problem.rule for problem in problems}


def test_the_catalog_is_consistent() -> None:
    assert check_models() + check_providers() + check_workloads() == []


@pytest.mark.parametrize(
    ("changes", "rule", "says"),
    [
        ({"slug": "qwen-3"}, "slug", "qwen-3"),
        ({"slug": "Qwen3 32B"}, "slug", "lower case"),
        ({"task": "poetry"}, "task", "poetry"),
        ({"vocab_size": _fact(151936, "hearsay")}, "source", "hearsay"),
        ({"params_total": _fact(30_000_000_000)}, "count", "32,762,123,264"),
        ({"params_embedding": _fact(777_912_320)}, "count", "embedding"),
        ({"params_active": _fact(3_000_000_000)}, "count", "active"),
        ({"num_hidden_layers": _fact(62)}, "count", "total"),
        ({"head_dim": Fact(None, unknown="lost")}, "count", "head_dim: lost"),
        ({"params_published": _fact(30_500_000_000)}, "published", "no reason"),
        ({"published_differs": "an excuse for nothing"}, "published", "excuse"),
        ({"kv_bytes_per_token_bf16": _fact(131072)}, "kv", "262144"),
        ({"num_key_value_heads": Fact(None, unknown="lost")}, "kv", "without heads"),
    ],
)
def test_a_doctored_model_is_found(changes: dict[str, Any], rule: str, says: str) -> None:
    doctored = replace(load_model("qwen3-32b"), **changes)
    problems = check_models({"qwen3-32b": doctored})
    assert any(problem.rule == rule and says in problem.says for problem in problems)
    assert {problem.where for problem in problems} == {"models/qwen3-32b"}


def test_a_claim_and_a_part_must_have_sources_too() -> None:
    model = load_model("gemma-3-27b")
    claim = Claim(131072, "hearsay", "just so")
    doctored = replace(model, max_position_embeddings=Fact(131072, "litgpt", also=(claim,)))
    assert _rules(check_models({model.slug: doctored})) == {"source"}
    tower = {**model.parts["vision_config"], "patch_size": _fact(14, "hearsay")}
    assert _rules(check_models({model.slug: replace(model, parts={"vision_config": tower})})) == {"source"}


def test_a_page_must_be_a_source() -> None:
    model = load_model("qwen3-32b")
    doctored = replace(model, listed=replace(model.listed, pages=("another-page",)))
    assert _rules(check_models({model.slug: doctored})) == {"source"}


def test_two_models_cannot_share_a_name() -> None:
    one, other = load_model("qwen3-32b"), load_model("qwen2.5-32b")
    doctored = replace(other, aliases=("QWEN 3 32B",))
    problems = check_models({one.slug: one, other.slug: doctored})
    assert _rules(problems) == {"alias"}
    assert "models/qwen3-32b" in problems[0].says


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"slug": "Run Pod"}, "slug"),
        ({"tier": _fact("corner shop")}, "tier"),
        ({"tier": _fact("gpu_cloud", "hearsay")}, "source"),
        ({"home_country": _fact("USA")}, "country"),
        ({"billing_currency": _fact("euro")}, "currency"),
    ],
)
def test_a_doctored_provider_is_found(changes: dict[str, Any], rule: str) -> None:
    assert _rules(check_providers([replace(find_provider("runpod"), **changes)])) == {rule}


def test_two_providers_cannot_share_a_name() -> None:
    doctored = replace(find_provider("vast"), aliases=("run.pod",))
    assert _rules(check_providers([find_provider("runpod"), doctored])) == {"alias"}


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"slug": "ASR!"}, "slug"),
        ({"source": "hearsay"}, "source"),
        ({"needs": (Need("telepathy", "to guess", "recalled"),)}, "capability"),
        ({"prefers": (Need("cuda", "habit", "hearsay"),)}, "source"),
    ],
)
def test_a_doctored_workload_is_found(changes: dict[str, Any], rule: str) -> None:
    assert _rules(check_workloads([replace(find_workload("asr"), **changes)])) == {rule}


def test_two_workloads_cannot_share_a_name() -> None:
    doctored = replace(find_workload("rendering"), name="ASR")
    assert _rules(check_workloads([find_workload("asr"), doctored])) == {"alias"}
