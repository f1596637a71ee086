"""Google Cloud: a machine is the sum of its parts, and a part that lacks is no price of 0."""

from __future__ import annotations

from typing import Any

import pytest

PATH = "/v1/services/6F81-5844-456A/skus"
ROW = "sku, kind, gpu, gpu_count, vram_gib, round(usd_per_hour, 6), vcpu, ram_gib, disk_gib, region"
KEY = "hush-hush-4711"


def sku(description: str, nanos: int, units: str = "0", **changed: Any) -> dict[str, Any]:
    """Return a SKU as the catalog API documents it."""
    unit = "GiBy.h" if " Ram " in description else "GiBy.mo" if "Storage" in description else "h"
    price = {"currencyCode": changed.get("currency", "USD"), "units": units, "nanos": nanos}
    usage = "Preemptible" if "Preemptible" in description else "OnDemand"
    rates = [{"startUsageAmount": 0, "unitPrice": price}]
    expression = {"usageUnit": changed.get("unit", unit), "displayQuantity": 1, "tieredRates": rates}
    return {
        "name": "services/6F81-5844-456A/skus/0000-0000-0000",
        "skuId": "0000-0000-0000",
        "description": description,
        "category": {
            "serviceDisplayName": "Compute Engine",
            "resourceFamily": "Compute",
            "resourceGroup": "GPU",
            "usageType": changed.get("usage", usage),
        },
        "serviceRegions": changed.get("regions", ["us-central1", "us-east1"]),
        "pricingInfo": [{"effectiveTime": "2026-08-01T00:00:00Z", "pricingExpression": expression}],
        "serviceProviderName": "Google",
    }


G2 = [
    sku("G2 Instance Core running in Americas", 24_988_000),
    sku("G2 Instance Ram running in Americas", 2_927_000),
    sku("Nvidia L4 GPU running in Americas", 560_040_000, regions=["us-central1"]),
]


@pytest.fixture
def gcp(live: Any, reply: Any) -> Any:
    """Collect these SKUs, a page each list."""
    live.set_env("GCP_API_KEY", KEY)

    def get(*pages: list[dict[str, Any]]) -> Any:
        def answer(asked: Any) -> Any:
            at = int(asked.query.get("pageToken", ["0"])[0])
            token = {"nextPageToken": str(at + 1)} if at + 1 < len(pages) else {"nextPageToken": ""}
            return reply({"skus": pages[at], **token})

        live.site.routes[PATH] = answer
        return live.one("gcp")

    return get


def test_a_machine_is_the_sum_of_cores_memory_and_gpus_over_all_pages(live: Any, gcp: Any) -> None:
    assert gcp(G2[:2], G2[2:]).outcome == "ok"
    assert [asked.query.get("pageToken") for asked in live.site.asked] == [None, ["1"]]
    assert {asked.headers["X-Goog-Api-Key"] for asked in live.site.asked} == {KEY}
    rows = live.rows(ROW, "gcp")
    assert len(rows) == 8  # g2-standard-4 to -96, in the one region that has GPUs
    assert ("g2-standard-4", "on_demand", "l4", 1, 24, 0.706824, 4, 16, None, "us-central1") in rows
    # 96 x 0.024988 + 384 x 0.002927 + 8 x 0.56004
    assert ("g2-standard-96", "on_demand", "l4", 8, 24, 8.003136, 96, 384, None, "us-central1") in rows


def test_disks_that_always_come_with_a_machine_are_priced_by_the_month(live: Any, gcp: Any) -> None:
    disk = sku("SSD backed Local Storage", 80_000_000)
    parts = [
        sku("A2 Instance Core running in Americas", 31_611_000),
        sku("A2 Instance Ram running in Americas", 4_237_000),
        sku("Nvidia Tesla A100 80GB GPU running in Americas", 927_816_000, units="3"),
    ]
    gcp([*parts, disk])
    rows = dict(live.rows("sku, round(usd_per_hour, 4)", "gcp"))
    # 12 x 0.031611 + 170 x 0.004237 + 3.927816 + 375 x 0.08 / 730
    assert rows["a2-ultragpu-1g"] == 5.0685
    assert set(rows) == {f"a2-ultragpu-{n}g" for n in (1, 2, 4, 8)}
    assert gcp(parts).code == "empty"  # without the price of its disk the machine has none


def test_spot_is_put_together_from_spot_parts_alone(live: Any, gcp: Any) -> None:
    spot = [
        sku("Spot Preemptible A3 Instance Core running in Americas", 10_000_000),
        sku("Spot Preemptible A3 Instance Ram running in Americas", 1_000_000),
        sku("Nvidia H100 80GB GPU attached to Spot Preemptible VMs running in Americas", 0, units="2"),
        sku("SSD backed Local Storage attached to Spot Preemptible VMs", 73_000_000),
    ]
    on_demand = [sku("Nvidia H100 80GB GPU running in Americas", 0, units="9")]
    gcp([*spot, *on_demand])
    rows = live.rows("sku, kind, gpu, round(usd_per_hour, 6)", "gcp")
    # 26 x 0.01 + 234 x 0.001 + 2 + 750 x 0.0001
    assert rows[0] == ("a3-highgpu-1g", "spot", "h100-sxm", 2.569)
    assert {kind for _, kind, _, _ in rows} == {"spot"}


def test_parts_of_other_machines_terms_and_tenancies_are_no_parts(gcp: Any) -> None:
    others = [
        sku("Commitment v1: Nvidia L4 GPU running in Americas for 1 Year", 1, usage="Commit1Yr"),
        sku("Nvidia L4 GPU running in Americas", 1, usage="Commit1Yr"),
        sku("G2 Sole Tenancy Instance Core running in Americas", 1),
        sku("Reserved Nvidia L4 GPU in Iowa", 1),
        sku("N2 Instance Core running in Americas", 1),
        sku("Nvidia Tesla T4 GPU running in Americas", 350_000_000),
        sku("Network Internet Egress from Americas to Americas", 85_000_000),
    ]
    done = gcp([*others, *G2])
    assert (done.rows, dict(done.rejects)) == (8, {})


def test_units_currencies_and_gpus_that_we_do_not_know_are_told(gcp: Any) -> None:
    strange = [
        sku("Nvidia H900 400GB GPU running in Americas", 0, units="20"),
        sku("A2 Instance Ram running in Americas", 1, unit="GiBy.mo"),
        sku("A2 Instance Core running in Americas", 1, currency="EUR"),
        sku("Nvidia Tesla A100 GPU running in Americas", 0),
        {"description": "Nvidia Tesla A100 GPU running in EMEA", "category": {"usageType": "OnDemand"}},
        "SKU",
    ]
    done = gcp([*strange, *G2])
    assert (done.outcome, done.rows) == ("ok", 8)
    assert dict(done.rejects) == {"gpu_count": 1, "malformed": 4, "no_price": 1}


def test_an_empty_list_is_what_a_wrong_service_answers(gcp: Any) -> None:
    assert gcp([]).outcome == "failed"
