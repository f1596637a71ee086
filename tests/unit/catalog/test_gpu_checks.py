"""The checks of the GPU catalog: all is well, and each rule fires on a fault."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rackrate.catalog import check_gpus as module
from rackrate.catalog.check_gpus import check_gpu, check_gpus, check_names
from rackrate.catalog.fact import Claim, Fact
from rackrate.catalog.gpu import all_gpus, load_gpu
from rackrate.catalog.gpu_table import Product, gpu_table


def _known(value: Any) -> Fact[Any]:
    return Fact(value, "rackrate-gpu-table")


def test_the_catalog_breaks_no_rule() -> None:
    assert check_gpus() == []


@pytest.mark.parametrize(
    ("rule", "slug", "changed"),
    [
        ("source", "l40s", {"tdp_w": Fact(350, "nowhere")}),
        ("source", "l40s", {"flops_sources": ("nowhere",)}),
        (
            "source",
            "l40s",
            {"tdp_w": Fact(350, "rackrate-gpu-table", also=(Claim(300, "nowhere", "why"),))},
        ),
        ("bandwidth", "l40s", {"bandwidth_gb_per_s": _known(900)}),
        ("bandwidth", "mi300x", {"memory_rate_gbps_per_pin": _known(10.1)}),
        ("dense-below-sparse", "l40s", {"fp8_tensor_tflops": _known(1466)}),
        ("fewer-bits-not-slower", "h100-sxm", {"fp8_tensor_tflops": _known(494)}),
        ("same-16-bit-rate", "a10g", {"bf16_tensor_tflops": _known(125)}),
        ("matmul-near-peak", "a10g", {"measured_matmul_bf16_tflops": _known(125)}),
        ("matmul-near-peak", "h200-sxm", {"measured_matmul_bf16_tflops": _known(400)}),
        ("visible-within-nominal", "l40s", {"memory_visible_gib": _known(48.5)}),
        ("limit-within-tdp", "l40s", {"tdp_w": _known(300)}),
    ],
)
def test_each_rule_of_facts_fires(rule: str, slug: str, changed: dict[str, Any]) -> None:
    problems = check_gpu(replace(load_gpu(slug), **changed))
    assert [problem.rule for problem in problems] == [rule]
    assert problems[0].where.startswith(f"{slug}.")


def test_a_file_under_another_name_is_seen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "all_gpus", lambda: (replace(load_gpu("l40s"), slug="l40z"),))
    monkeypatch.setattr(module, "slugs", lambda _: ("l40s",))
    assert "slug" in {problem.rule for problem in check_gpus() if problem.where == "l40s"}


def test_a_name_with_two_meanings_is_seen() -> None:
    table = gpu_table()
    doctored = replace(table, spellings=(*table.spellings, ("l4", "L-40 S")))
    problems = check_names(doctored, all_gpus())
    assert [(p.where, p.rule) for p in problems] == [("l40s", "one-meaning")]


def test_a_slug_that_means_another_is_seen() -> None:
    table = gpu_table()
    products = {**table.products, "nvidia-l4": Product("nvidia-l4", "NVIDIA L4")}
    problems = check_names(replace(table, products=products), all_gpus())
    assert [(p.where, p.rule) for p in problems] == [("nvidia-l4", "one-meaning")]


@pytest.mark.parametrize(
    "changed",
    [
        {"families": {**gpu_table().families, "h100": ("h100-sxm", "gone")}},
        {"provider_names": {("someone", "x"): "gone"}},
        {"provider_defaults": {"someone": (("h100", "gone"),)}},
        {"skus": ((gpu_table().skus[0][0], "gone"),)},
        {"variants": {"gone": ("h100-sxm",)}},
    ],
)
def test_a_rule_that_leads_nowhere_is_seen(changed: dict[str, Any]) -> None:
    problems = check_names(replace(gpu_table(), **changed), all_gpus())
    assert [(p.where, p.rule) for p in problems] == [("gone", "known-target")]


def test_names_without_facts_and_facts_without_names_are_seen() -> None:
    fewer = [gpu for gpu in all_gpus() if gpu.slug != "l4"]
    assert [(p.where, p.rule) for p in check_names(gpu_table(), fewer)] == [("l4", "same-products")]
    table = gpu_table()
    without = {slug: product for slug, product in table.products.items() if slug != "l4"}
    problems = check_names(replace(table, products=without), all_gpus())
    assert ("l4", "same-products") in {(p.where, p.rule) for p in problems}


def test_memory_that_differs_between_names_and_facts_is_seen() -> None:
    changed = replace(load_gpu("l4"), memory_gib=_known(22))
    gpus = [changed if gpu.slug == "l4" else gpu for gpu in all_gpus()]
    problems = check_names(gpu_table(), gpus)
    assert [(p.where, p.rule) for p in problems] == [("l4.memory_gib", "same-products")]
    assert str(problems[0]).startswith("l4.memory_gib: 22 GiB")
