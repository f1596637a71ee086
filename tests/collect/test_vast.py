"""Vast.ai: the documented shape and its traps."""

from __future__ import annotations

from typing import Any

import pytest

PATH = "/api/v0/bundles/"

BASE: dict[str, Any] = {
    "id": 1,
    "machine_id": 88888,
    "gpu_name": "L40S",
    "num_gpus": 2,
    "gpu_ram": 46068,
    "gpu_total_ram": 92136,
    "cpu_cores": 64,
    "cpu_cores_effective": 16.0,
    "cpu_ram": 262144,
    "disk_space": 500.0,
    "storage_cost": 0.15,
    "inet_up_cost": 0.02,
    "inet_down_cost": 0.0,
    "dph_base": 1.18,
    "dph_total": 1.2049,
    "min_bid": 0.61,
    "is_bid": False,
    "rentable": True,
    "rented": False,
    "hosting_type": 1,
    "geolocation": "Michigan, US",
    "discounted_dph_total": 0.9,
    "a_field_of_tomorrow": {"x": 1},
}


def offers(*changed: dict[str, Any]) -> dict[str, Any]:
    return {"offers": [BASE | {"id": n} | change for n, change in enumerate(changed, 1)]}


def test_an_offer_comes_right_to_the_cent_and_the_gib(live: Any, reply: Any) -> None:
    live.site.routes[PATH] = reply(offers({}))
    done = live.one("vast")
    assert (done.outcome, done.rows, dict(done.rejects)) == ("ok", 2, {})
    columns = (
        "kind, gpu, gpu_count, vram_gib, price, price_per, usd_per_hour, usd_per_gpu_hour, vcpu, ram_gib, "
        "disk_gib, country, region, tier, sku, available, currency"
    )
    where = ("US", "Michigan, US", "marketplace_secure", "1", 2, "USD")
    shape = (16.0, 64.0, 500.0)
    assert live.rows(columns, "vast") == [
        ("on_demand", "l40s", 2.0, 48.0, 1.2049, "instance", 1.2049, 0.60245, *shape, *where),
        ("spot", "l40s", 2.0, 48.0, 0.61, "instance", 0.61, 0.305, *shape, *where),
    ]
    beside = "kind, storage_usd_per_gb_month, included_disk_gb, egress_usd_per_gb, ingress_usd_per_gb"
    assert live.rows(beside, "vast") == [
        ("on_demand", 0.15, 8, 0.02, 0),
        ("spot", 0.15, 0, 0.02, 0),  # a bid pays for the GPU alone
    ]
    (asked,) = live.site.asked
    assert asked.json["limit"] == 3000
    assert asked.headers["User-Agent"].startswith("rackrate/")


def test_its_traps(live: Any, reply: Any) -> None:
    live.site.routes[PATH] = reply(
        offers(
            {},
            {"min_bid": 0},
            {"min_bid": None, "cpu_cores": None},
            {"rentable": False},
            {"rented": True},
            {"dph_total": None, "min_bid": None},
            {"gpu_name": "RTX 4070S Ti", "gpu_ram": 16376, "min_bid": None},
            {"gpu_name": "RTX 4090", "gpu_ram": 49140, "num_gpus": 1, "min_bid": None},
            {"gpu_name": "H100 NVL", "gpu_ram": 95830, "num_gpus": 1, "min_bid": None, "dph_total": 2.5},
            {"num_gpus": 0},
            {"id": 1, "dph_total": 77.0},
            {"inet_up_cost": 10.0, "min_bid": None},
            {"storage_cost": -0.1, "min_bid": None},
        )
    )
    done = live.one("vast")
    assert done.outcome == "ok"
    assert dict(done.rejects) == {"zero_spot": 1, "traffic_price": 1, "storage_price": 1}
    quarantined = live.rows("rule, reason", "vast", "quarantine")
    assert ("traffic_price", "traffic costs what nobody asks: 10 USD for a GB") in quarantined
    found = {(sku, kind): (gpu, price, ram) for sku, kind, gpu, price, ram in live.rows("sku, kind, gpu, price, ram_gib", "vast")}  # fmt: skip  # noqa: E501
    assert found["3", "on_demand"] == ("l40s", 1.2049, None)
    assert found["6", "on_demand"][1] == 1.18
    assert found["1", "on_demand"][1] == 1.2049
    assert {sku for sku, _ in found} == {"1", "2", "3", "6", "7", "8", "9"}
    assert found["7", "on_demand"][0] == "rtx-4070-ti-super"
    assert found["8", "on_demand"][0] not in ("rtx-4090", None)
    assert found["9", "on_demand"][0] == "h100-nvl"


def test_a_full_page_is_followed_by_dearer_offers(
    live: Any, reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rackrate.market.collect.providers.vast._LIMIT", 2)
    pages = [
        {"offers": [BASE | {"id": n, "dph_total": 1 + n / 10, "min_bid": None} for n in ids]}
        for ids in ((1, 2), (2, 3), (3,))
    ]
    live.site.routes[PATH] = [reply(page) for page in pages]
    assert live.one("vast").rows == 3
    assert [asked.json.get("dph_total") for asked in live.site.asked] == [None, {"gte": 1.2}, {"gte": 1.3}]


@pytest.mark.parametrize("answer", [{"offers": []}, {"offers": {}}, {"error": "no"}, [], "x", None, 3])
def test_an_answer_without_offers_is_a_failure_not_an_empty_market(
    live: Any, reply: Any, answer: Any
) -> None:
    live.site.routes[PATH] = reply(offers(*[{}] * 3))
    assert live.one("vast").outcome == "ok"
    live.at("2026-08-22T13:00:00Z")
    live.site.routes[PATH] = reply(answer)
    done = live.one("vast")
    assert done.outcome == "failed"
    assert done.code in ("empty", "layout")
    assert live.state("vast").good_at == "2026-08-22T12:00:00+00:00"
    assert len(live.rows("price", "vast")) == 6
