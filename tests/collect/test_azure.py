"""Azure retail prices: pages, and rows that are not what they seem."""

from __future__ import annotations

import asyncio
from typing import Any

PATH = "/api/retail/prices"
BASE: dict[str, Any] = {
    "currencyCode": "USD",
    "tierMinimumUnits": 0.0,
    "retailPrice": 3.673,
    "unitPrice": 3.673,
    "armRegionName": "eastus",
    "location": "US East",
    "effectiveStartDate": "2024-01-01T00:00:00Z",
    "meterId": "m",
    "meterName": "NC24ads A100 v4",
    "productId": "p",
    "skuId": "s",
    "productName": "NCads A100 v4 Series Linux",
    "skuName": "NC24ads A100 v4",
    "serviceName": "Virtual Machines",
    "serviceFamily": "Compute",
    "unitOfMeasure": "1 Hour",
    "type": "Consumption",
    "isPrimaryMeterRegion": True,
    "armSkuName": "Standard_NC24ads_A100_v4",
}


def page(*changed: dict[str, Any], link: str | None = None) -> dict[str, Any]:
    return {
        "BillingCurrency": "USD",
        "CustomerEntityId": "Default",
        "Items": [BASE | change for change in changed],
        "NextPageLink": link,
        "Count": len(changed),
    }


def test_pages_are_followed_and_rows_that_stand_on_two_count_once(live: Any, reply: Any) -> None:
    link = "https://prices.azure.com:443/api/retail/prices?$filter=x&$skip=1000"
    spot = {"skuName": "NC24ads A100 v4 Spot", "meterName": "NC24ads A100 v4 Spot", "retailPrice": 1.1019}
    second = {"armSkuName": "Standard_ND96isr_H100_v5", "skuName": "ND96isr H100 v5", "retailPrice": 98.32}

    def answer(asked: Any) -> Any:
        return reply(page(spot, second) if "$skip" in asked.query else page({}, spot, link=link))

    live.site.routes[PATH] = answer
    done = live.one("azure")
    assert (done.outcome, dict(done.rejects)) == ("ok", {})
    rows = live.rows("sku, kind, gpu, gpu_count, vram_gib, usd_per_hour, vcpu, ram_gib, region", "azure")
    assert rows == [
        ("Standard_NC24ads_A100_v4", "on_demand", "a100-80gb-pcie", 1, 80, 3.673, 24, 220, "eastus"),
        ("Standard_NC24ads_A100_v4", "spot", "a100-80gb-pcie", 1, 80, 1.1019, 24, 220, "eastus"),
        ("Standard_ND96isr_H100_v5", "on_demand", "h100-sxm", 8, 80, 98.32, 96, 1900, "eastus"),
    ]
    assert len(live.site.asked) == 2


def test_rows_that_are_no_price_of_a_linux_machine_today(live: Any, reply: Any) -> None:
    reserved = {
        "type": "Reservation",
        "reservationTerm": "3 Years",
        "retailPrice": 551221.0,
        "armSkuName": "Standard_ND96isr_H100_v5",
        "skuName": "ND96isr H100 v5",
    }
    slice_ = {
        "armSkuName": "Standard_NV6ads_A10_v5",
        "skuName": "NV6ads A10 v5",
        "retailPrice": 0.454,
    }
    live.site.routes[PATH] = reply(
        page(
            {},
            {"productName": "NCads A100 v4 Series Windows", "retailPrice": 4.777},
            {"type": "DevTestConsumption", "retailPrice": 1.0},
            {"meterName": "NC24ads A100 v4 Low Priority", "retailPrice": 0.9},
            {"effectiveStartDate": "2030-01-01T00:00:00Z", "retailPrice": 9.0},
            {"effectiveStartDate": "2023-01-01T00:00:00Z", "retailPrice": 8.0},
            reserved,
            slice_,
            {"armSkuName": "Standard_NC999zz_v9", "skuName": "NC999zz v9"},
            {"armSkuName": "Standard_ND96isr_H100_v5", "unitOfMeasure": "1/Month"},
            {"armSkuName": "Standard_D4s_v5"},
        )
    )
    done = live.one("azure")
    assert (done.outcome, dict(done.rejects)) == ("ok", {"gpu_count": 1, "malformed": 1})
    rows = live.rows("sku, kind, gpu_count, term_months, price, round(usd_per_hour, 6)", "azure")
    assert rows == [
        ("Standard_NC24ads_A100_v4", "on_demand", 1.0, None, 3.673, 3.673),
        ("Standard_ND96isr_H100_v5", "reserved", 8.0, 36.0, 551221.0, round(551221 / 26280, 6)),
        ("Standard_NV6ads_A10_v5", "on_demand", 1 / 6, None, 0.454, 0.454),
    ]


def test_a_link_to_another_host_is_not_followed(live: Any, reply: Any) -> None:
    live.site.routes[PATH] = reply(page({}, link="https://prices.example/api/retail/prices?$skip=1000"))
    done = live.one("azure")
    assert (done.outcome, done.code) == ("failed", "host")


def test_prices_can_be_collected_where_an_event_loop_runs_as_in_a_notebook(live: Any, reply: Any) -> None:
    live.site.routes[PATH] = reply(page({}))

    async def cell() -> Any:
        return live.one("azure")

    assert asyncio.run(cell()).rows == 1


def test_regions_can_be_asked_one_by_one(live: Any, reply: Any) -> None:
    live.set_env("RACKRATE_COLLECT_AZURE_REGIONS", "eastus, westeurope")

    def answer(asked: Any) -> Any:
        region = "westeurope" if "'westeurope'" in asked.query["$filter"][0] else "eastus"
        return reply(page({"armRegionName": region}))

    live.site.routes[PATH] = answer
    assert live.one("azure").rows == 2
    assert [region for (region,) in live.rows("region", "azure")] == ["eastus", "westeurope"]
