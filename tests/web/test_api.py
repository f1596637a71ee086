"""The API: as its description says, the same numbers as the pages, cut into parts that join."""

from __future__ import annotations

import contextlib
import csv
import io
import re
from typing import Any

import pytest
import schemathesis
from hypothesis import HealthCheck, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_headers_conformance,
    response_schema_conformance,
    status_code_conformance,
)

CHECKS = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
    response_headers_conformance,
]
"""All but that whatever matches the schema is accepted: a schema cannot say which models there are."""

SAME = (
    ("/gpus/l40s.json", "/gpus/l40s"),
    ("/gpus/h100-sxm.json", "/gpus/h100-sxm"),
    ("/gpus/l40s/instances.json", "/gpus/l40s/instances"),
    ("/gpus/l40s/models.json", "/gpus/l40s/models"),
    ("/models/llama-3.1-8b.json", "/models/llama-3.1-8b/gpus"),
    ("/compare.json?gpu=l40s&gpu=a10", "/compare?gpu=l40s&gpu=a10"),
    ("/providers/runpod.json", "/providers/runpod"),
    ("/plan.json?model=llama-3.1-8b&rps=1", "/plan?model=llama-3.1-8b&rps=1"),
    ("/rent-or-own.json?gpu=l40s&kwh_usd=0.2", "/rent-or-own?gpu=l40s&kwh_usd=0.2"),
    ("/changes.json", "/changes"),
)


@pytest.mark.parametrize(("page", "resource"), SAME)
def test_pages_and_api_have_the_same_numbers(site: Any, page: str, resource: str) -> None:
    assert site.get(page).json == site.get(f"/api/v1{resource}").json["data"]


def test_the_overview_prints_the_numbers_of_the_api(site: Any) -> None:
    page = site.get("/gpus/l40s").text
    data = site.get("/api/v1/gpus/l40s").json["data"]
    spread = data["price"]["spread"]
    for usd in (spread["cheapest_usd"], spread["median_usd"]):
        for unit, digits in (("hour", 2), ("day", 2), ("week", 2), ("month", 0)):
            assert f"${usd[unit]:,.{digits}f}" in page
    assert f"{spread['cheaper_frac'] * 100:.0f}% less" in page
    own = site.get("/api/v1/rent-or-own?gpu=l40s").json["data"]
    for against in own["against"]:
        days = against["simple_breakeven_days"]
        assert (f"{days:,.0f} days" if days != "never" else "never") in page
    model = site.get("/api/v1/gpus/l40s/models").json["data"]["data"][0]
    assert f"{model['longest_context_tokens']:,} tokens" in page


def test_a_table_on_screen_is_its_csv(site: Any) -> None:
    page = site.get("/models?task=asr").text
    rows = list(csv.DictReader(io.StringIO(site.get("/models.csv?task=asr").text)))
    shown = re.findall(r"<tr><td><a href=\"/models/([^\"]+)\"", page)
    assert shown == [row["model"] for row in rows]
    assert len(rows) > 5


def test_every_gpu_of_the_market_has_the_spread_of_its_own_page(site: Any) -> None:
    gpus = site.get("/api/v1/gpus?limit=200").json["data"]
    priced = [gpu for gpu in gpus if gpu["n_providers"]]
    assert len(priced) > 30
    for gpu in priced[::6]:
        spread = site.get(f"/api/v1/gpus/{gpu['gpu']}/spread").json["data"]["spread"]
        assert spread["median_usd_per_gpu_hour"] == gpu["median_usd_per_gpu_hour"]
        assert spread["n"] == gpu["n_providers"]


def test_a_week_in_which_nothing_moved_is_zero(site: Any) -> None:
    weeks = {row["gpu"]: row["week_frac"] for row in site.get("/api/v1/gpus?kind=on_demand").json["data"]}
    assert weeks["rtx-5090"] == 0, "its index is a chain of ratios, which ends 2e-16 away from itself"
    assert "e-1" not in site.get("/index.csv").text


def test_the_parts_of_a_list_join_without_gap(site: Any) -> None:
    whole = site.get("/api/v1/gpus/l40s/offers?limit=200").json
    parts, cursor = [], ""
    while True:
        found = site.get(f"/api/v1/gpus/l40s/offers?limit=50{cursor}").json
        parts += found["data"]
        if not found["next"]:
            break
        cursor = f"&cursor={found['next']}"
    assert parts == whole["data"]
    assert found["meta"]["dataset"] == whole["meta"]["dataset"]


def test_a_history_is_cut_by_its_days(site: Any) -> None:
    found = site.get("/api/v1/gpus/l40s/history?from=2026-08-01&to=2026-08-10").json["data"]
    assert [found[0]["day"], found[-1]["day"], len(found)] == ["2026-08-01", "2026-08-10", 10]


def test_a_plan_may_be_posted(site: Any) -> None:
    body = b'{"model": "llama-3.1-8b", "rps": 1, "gpu": ["l40s", "a10"]}'
    posted = site.get("/api/v1/plan", method="POST", data=body, Content_Type="application/json").json["data"]
    got = site.get("/api/v1/plan?model=llama-3.1-8b&rps=1&gpu=l40s&gpu=a10").json["data"]
    assert posted == got
    for bad in (b"[]", b"{", b'{"model": {}}', b'{"modle": "x"}', b"\xff", b"[" * 5000):
        assert site.get("/api/v1/plan", method="POST", data=bad).status == 400


@pytest.mark.parametrize(
    ("path", "status", "code"),
    [
        ("/gpus/l40z", 404, "unknown-gpu"),
        ("/gpus/l40s/history?from=yesterday", 400, "bad-quantity"),
        ("/gpus?limit=0", 400, "bad-quantity"),
        ("/gpus?cursor=abc", 400, "bad-cursor"),
        ("/offers?gpu=l40s&max_usd_per_gpu_hour=0.01", 404, "no-offers"),
        ("/perf?model=/etc/passwd", 400, "unknown-model"),
        ("/plan?model=hf:meta-llama/Llama-3.1-8B&rps=1", 400, "unknown-model"),
        ("/plan?sweep=/etc/passwd", 400, "unknown-model"),
        ("/nothing", 404, "unknown-page"),
    ],
)
def test_errors_are_problems_with_a_code(site: Any, path: str, status: int, code: str) -> None:
    found = site.get(f"/api/v1{path}")
    assert (found.status, found.json["code"], found.json["status"]) == (status, code, status)
    assert found.headers["content-type"] == "application/problem+json"
    assert site.get(found.json["type"]).status == 200


@pytest.mark.parametrize(
    ("path", "says"),
    [
        ("offers?gpu=l40s&max_usd_per_gpu_hour=0.0001", "without max_usd_per_gpu_hour there"),
        ("offers?gpu=l40s&max_usd_per_hour=0.0001", "without max_usd_per_hour there"),
        ("offers?gpu=l40s&ram_gib=99999..", "without ram_gib there"),
        ("offers?vram_total_gib=99999..", "without vram_total_gib there"),
        ("rent-or-own?gpu=mi300x", "say what one costs you: price_usd"),
        ("plan?model=llama-3.1-8b", "rps or tokens_per_day or users"),
    ],
)
def test_what_to_do_next_is_said_in_fields(site: Any, path: str, says: str) -> None:
    problem = site.get(f"/api/v1/{path}").json
    assert says in problem["hint"]
    assert "--" not in problem["hint"]


def test_any_site_may_read_it(site: Any) -> None:
    assert site.get("/api/v1/gpus").headers["access-control-allow-origin"] == "*"


def test_it_describes_what_it_has(site: Any) -> None:
    described = site.get("/api/v1/openapi.json").json
    listed = site.get("/api.json").json["data"]
    assert {row["path"] for row in listed} == {f"/api/v1{path}" for path in described["paths"]}
    assert len(listed) > 18


@pytest.mark.timeout(400)
@pytest.mark.parametrize("mode", list(schemathesis.GenerationMode))
def test_it_keeps_to_its_description(site: Any, mode: schemathesis.GenerationMode) -> None:
    """Schemathesis asks every operation what its schema allows, and what it does not."""
    schema = schemathesis.openapi.from_dict(site.get("/api/v1/openapi.json").json)
    n_asked = 0
    for found in schema.get_all_operations():
        operation = found.ok()

        @settings(max_examples=6, suppress_health_check=list(HealthCheck), database=None)
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            nonlocal n_asked
            n_asked += 1
            case.call_and_validate(base_url=f"{site.address}/api/v1", checks=CHECKS, timeout=60)

        with contextlib.suppress(Unsatisfiable):  # an operation without fields cannot be asked wrongly
            ask()
    assert n_asked > 60
