"""Sources without a key: each answers as documented, traps included, and must come right to the cent."""

from __future__ import annotations

import csv
import io
from pathlib import Path
from typing import Any

import pytest

GIB = 2**30
ROW = "sku, kind, gpu, gpu_count, vram_gib, round(usd_per_hour, 6), vcpu, ram_gib, disk_gib, region"


def test_lium_rents_any_number_of_gpus_from_the_smallest_order_on(live: Any, reply: Any) -> None:
    node = {
        "id": "n1",
        "gpu_model": "NVIDIA L40S",
        "gpu_count": 8,
        "available_gpu_count": 4,
        "min_rentable_gpu_count": 1,
        "price_per_gpu_hour": 0.79,
        "gpu_memory_gb": 45,
        "cpu_count": 128,
        "ram_gb": 1024,
        "disk_free_gb": 4000,
        "country_code": "US",
        "region": "TX",
        "tier": "standard",
        "rent_url": "https://lium.io/rent/n1",
    }
    whole = node | {"id": "n2", "gpu_model": "H100 80GB HBM3", "gpu_memory_gb": 80, "tier": "spot"}
    whole |= {"available_gpu_count": 8, "min_rentable_gpu_count": 8, "price_per_gpu_hour": 1.5}
    gone = node | {"id": "n3", "available_gpu_count": 0}
    unsaid = dict.fromkeys(node) | {"id": "n4"}
    live.site.routes["/api/public/v1/nodes"] = reply({"nodes": [node, whole, gone, unsaid], "more": 1})
    done = live.one("lium")
    assert (done.outcome, dict(done.rejects)) == ("ok", {"malformed": 1})
    assert live.rows(ROW, "lium") == [
        ("n1", "on_demand", "l40s", 1, 48, 0.79, 16, 128, 500, "US-TX"),
        ("n1", "on_demand", "l40s", 2, 48, 1.58, 32, 256, 1000, "US-TX"),
        ("n1", "on_demand", "l40s", 4, 48, 3.16, 64, 512, 2000, "US-TX"),
        ("n2", "spot", "h100-sxm", 8, 80, 12.0, 128, 1024, 4000, "US-TX"),
    ]


def test_vultr_states_totals_sells_slices_and_calls_eight_l40s_l40(live: Any, reply: Any) -> None:
    plan = {
        "id": "vcg-l40s-16c-180g-48vram",
        "type": "vcg",
        "vcpu_count": 16,
        "ram": 184320,
        "disk": 1200,
        "gpu_type": "NVIDIA_L40S",
        "gpu_vram_gb": 48,
        "bandwidth": 10240,
        "hourly_cost": 1.671,
        "locations": ["ewr", "", "ewr"],
        "deploy_ondemand": True,
    }
    plans = [
        plan,
        plan | {"id": "vcg-a100-96c-960g-640vram", "gpu_type": "NVIDIA_A100", "gpu_vram_gb": 640,
                "hourly_cost": 19.2},
        plan | {"id": "vcg-a40-1c-5g-2vram", "gpu_type": "NVIDIA_A40", "gpu_vram_gb": 2,
                "hourly_cost": 0.075, "ram": 5120, "vcpu_count": 1, "disk": 90},
        plan | {"id": "vc2-1c-0.5gb-free", "type": "vc2", "gpu_type": None, "hourly_cost": 0},
        plan | {"id": "vcg-l40s-later", "deploy_ondemand": False},
    ]  # fmt: skip
    metal = [
        {"id": "vbm-64c-2048gb-8-l40-gpu", "cpu_threads": 128, "ram": 2097152, "disk": 960, "type": "NVMe",
         "hourly_cost": 11.736, "locations": ["ord"]},
        {"id": "vbm-4c-32gb", "cpu_threads": 8, "ram": 32768, "disk": 240, "hourly_cost": 0.17,
         "locations": ["ord"]},
        {"id": "vbm-9c-8-x900-gpu", "cpu_threads": 8, "ram": 1, "disk": 1, "hourly_cost": 9.0,
         "locations": ["ord"]},
    ]  # fmt: skip
    links = {"total": 5, "links": {"next": "bmV4dA==", "prev": ""}}

    def answer(asked: Any) -> Any:
        assert asked.query["per_page"] == ["500"]
        if "cursor" in asked.query:
            return reply({"plans": plans[2:], "meta": {"total": 5, "links": {"next": "", "prev": "x"}}})
        return reply({"plans": plans[:2], "meta": links})

    live.site.routes["/v2/plans"] = answer
    live.site.routes["/v2/plans-metal"] = reply({"plans_metal": metal, "meta": {"links": {"next": ""}}})
    done = live.one("vultr")
    assert (done.outcome, dict(done.rejects)) == ("ok", {"gpu_count": 1})
    assert live.rows(ROW, "vultr") == [
        ("vbm-64c-2048gb-8-l40-gpu", "on_demand", "l40s", 8, 48, 11.736, 128, 2048, 960, "ord"),
        ("vcg-a100-96c-960g-640vram", "on_demand", "a100-80gb", 8, 80, 19.2, 16, 180, 1200, "ewr"),
        ("vcg-a40-1c-5g-2vram", "on_demand", "a40", 2 / 48, 48, 0.075, 1, 5, 90, "ewr"),
        ("vcg-l40s-16c-180g-48vram", "on_demand", "l40s", 1, 48, 1.671, 16, 180, 1200, "ewr"),
    ]
    sent = dict(live.rows("sku, included_egress_gb_per_month", "vultr"))
    assert (sent["vcg-l40s-16c-180g-48vram"], sent["vbm-64c-2048gb-8-l40-gpu"]) == (10240, None)


def test_verda_writes_prices_as_text_and_memory_of_all_gpus(live: Any, reply: Any) -> None:
    one = {
        "id": "x",
        "instance_type": "2L40S.40V",
        "price_per_hour": "2.7400",
        "spot_price": "0.6850",
        "currency": "usd",
        "cpu": {"description": "40 CPU", "number_of_cores": 40},
        "gpu": {"description": "2x L40S 48GB", "number_of_gpus": 2},
        "gpu_memory": {"description": "96GB GPU RAM", "size_in_gigabytes": 96},
        "memory": {"description": "120GB RAM", "size_in_gigabytes": 120},
    }
    eight = one | {"instance_type": "8B300.240V", "price_per_hour": "39.6", "spot_price": None,
                   "gpu": {"description": "8x B300 SXM6 262GB", "number_of_gpus": 8},
                   "gpu_memory": {"size_in_gigabytes": 2096}}  # fmt: skip
    none = one | {"instance_type": "1L40S.20V", "price_per_hour": "", "spot_price": ""}
    cpu = one | {"instance_type": "CPU.4V", "gpu": {"description": "", "number_of_gpus": 0}}
    words = one | {"instance_type": "odd", "price_per_hour": "call us", "spot_price": None}
    live.site.routes["/v1/instance-types"] = reply([one, eight, none, cpu, words, eight | {"gpu": None}])
    done = live.one("verda")
    assert (done.outcome, dict(done.rejects)) == ("ok", {"no_price": 1, "price": 1})
    assert live.rows(ROW, "verda") == [
        ("2L40S.40V", "on_demand", "l40s", 2, 48, 2.74, 40, 120, None, None),
        ("2L40S.40V", "spot", "l40s", 2, 48, 0.685, 40, 120, None, None),
        ("8B300.240V", "on_demand", "b300-sxm", 8, 288, 39.6, 40, 120, None, None),
    ]


def test_verda_with_a_key_asks_for_a_token_that_lies_nowhere(live: Any, reply: Any) -> None:
    live.set_env("VERDA_CLIENT_ID", "me")
    live.set_env("VERDA_CLIENT_SECRET", "hush-hush")
    live.site.routes["/v1/oauth2/token"] = reply({"access_token": "token-of-today", "expires_in": 3600})
    live.site.routes["/v1/instance-types"] = reply(
        [
            {
                "instance_type": "a",
                "price_per_hour": "1",
                "gpu": {"description": "1x L40S 48GB", "number_of_gpus": 1},
            }
        ]
    )
    assert live.one("verda").rows == 1
    assert live.site.asked[-1].headers["Authorization"] == "Bearer token-of-today"
    stored = b"".join(path.read_bytes() for path in live.folder.rglob("*") if path.is_file())
    assert b"token-of-today" not in stored
    assert b"hush-hush" not in stored
    assert len(list(live.folder.rglob("raw/*.gz"))) == 1


def test_cloudrift_counts_in_cents_and_bytes(live: Any, reply: Any) -> None:
    variant = {
        "name": "rtx59-7c.1",
        "cost_per_hour": 65.0,
        "cpu_count": 7,
        "dram": 48 * GIB,
        "disk": 250 * GIB,
        "vram": 32 * GIB,
        "gpu_count": 1,
        "nodes_per_dc": {"us-east-nc-nr-1": 3},
    }
    kind = {"name": "rtx59", "brand_short": "RTX 5090", "variants": [variant, variant | {"gpu_count": 0}]}
    answer = {"version": "2025-03-21", "data": {"instance_types": [kind, {"brand_short": "x"}]}}
    live.site.routes["/api/v1/instance-types/list"] = reply(answer)
    done = live.one("cloudrift")
    assert (done.outcome, dict(done.rejects)) == ("ok", {"malformed": 1})
    where = "us-east-nc-nr-1"
    assert live.rows(ROW, "cloudrift") == [
        ("rtx59-7c.1", "on_demand", "rtx-5090", 1, 32, 0.65, 7, 48, 250, where)
    ]
    assert live.site.asked[0].json["data"]["selector"]


def test_linode_has_regions_of_another_price_and_prices_that_it_withholds(live: Any, reply: Any) -> None:
    one = {
        "id": "g2-gpu-rtx4000a1-s",
        "label": "RTX4000 Ada x1 Small",
        "gpus": 1,
        "vcpus": 4,
        "memory": 16384,
        "disk": 524288,
        "transfer": 4000,
        "price": {"hourly": 0.52, "monthly": 350.0},
        "region_prices": [{"id": "id-cgk", "hourly": 0.624, "monthly": 420.0}],
    }
    old = one | {"id": "g1-gpu-rtx6000-2", "gpus": 2, "price": {"hourly": 3.0}, "region_prices": []}
    zero = one | {"id": "g3-gpu-rtxpro6000-blackwell-1", "price": {"hourly": 0.0}, "region_prices": []}
    cpu = one | {"id": "g6-standard-1", "gpus": 0}
    pages = [{"data": [one, cpu], "page": 1, "pages": 2}, {"data": [old, zero], "page": 2, "pages": 2}]
    live.site.routes["/v4/linode/types"] = lambda asked: reply(pages[int(asked.query["page"][0]) - 1])
    done = live.one("linode")
    assert (done.outcome, dict(done.rejects)) == ("ok", {"no_price": 1})
    assert live.rows(ROW, "linode") == [
        ("g1-gpu-rtx6000-2", "on_demand", "quadro-rtx-6000", 2, 24, 3.0, 4, 16, 512, None),
        ("g2-gpu-rtx4000a1-s", "on_demand", "rtx-4000-ada", 1, 20, 0.52, 4, 16, 512, None),
        ("g2-gpu-rtx4000a1-s", "on_demand", "rtx-4000-ada", 1, 20, 0.624, 4, 16, 512, "id-cgk"),
    ]
    assert live.rows("DISTINCT included_egress_gb_per_month", "linode") == [(4000,)]


RATES = {"amount": 1.0, "base": "USD", "date": "2026-08-21", "rates": {"EUR": 0.8, "INR": 100.0}}


def test_scaleway_is_in_euros_and_converted_at_the_rate_of_the_day(live: Any, reply: Any) -> None:
    l40s = {
        "alt_names": [],
        "arch": "x86_64",
        "ncpus": 16,
        "ram": 192 * GIB,
        "gpu": 2,
        "hourly_price": 2.8,
        "monthly_price": 2044.0,
        "end_of_service": False,
    }
    servers = {
        "L40S-2-48G": l40s,
        "RENDER-S": l40s | {"gpu": 1, "ram": 42 * GIB, "ncpus": 10, "hourly_price": 1.24},
        "H100-SXM-8-80G": l40s | {"gpu": 8, "hourly_price": 23.028},
        "GPU-3070-S": l40s | {"end_of_service": True},
        "DEV1-S": l40s | {"gpu": 0},
        "PLAY2-NANO": {key: value for key, value in l40s.items() if key != "gpu"},
        "L4-1-24G": l40s | {"gpu": 1, "hourly_price": None},
    }
    live.site.routes["/v1/latest"] = reply(RATES)
    live.site.routes["/instance/v1/zones/fr-par-2/products/servers"] = reply({"servers": servers})
    live.site.routes["/instance/v1/zones/pl-waw-2/products/servers"] = reply(
        {"servers": {"L40S-2-48G": l40s}}
    )
    done = live.get("ecb", "scaleway")
    assert (done["ecb"].outcome, done["ecb"].rows) == ("ok", 2)
    assert (done["scaleway"].outcome, dict(done["scaleway"].rejects)) == ("ok", {"no_price": 1})
    assert live.rows(ROW + ", price, currency, country, usd_per_unit", "scaleway") == [
        ("H100-SXM-8-80G", "on_demand", "h100-sxm", 8, 80, 28.785, 16, 192, None, "fr-par-2",
         23.028, "EUR", "FR", 1.25),
        ("L40S-2-48G", "on_demand", "l40s", 2, 48, 3.5, 16, 192, None, "fr-par-2", 2.8, "EUR", "FR", 1.25),
        ("L40S-2-48G", "on_demand", "l40s", 2, 48, 3.5, 16, 192, None, "pl-waw-2", 2.8, "EUR", "PL", 1.25),
        ("RENDER-S", "on_demand", "p100", 1, 16, 1.55, 10, 42, None, "fr-par-2", 1.24, "EUR", "FR", 1.25),
    ]  # fmt: skip


def test_a_source_that_has_lost_all_its_parts_is_empty(live: Any) -> None:
    done = live.one("scaleway")
    assert (done.outcome, done.code) == ("failed", "empty")


def test_ovh_counts_in_hundred_millionths(live: Any, reply: Any) -> None:
    technical = {
        "name": "l40s-90",
        "cpu": {"cores": 15, "frequency": 3},
        "memory": {"size": 90},
        "gpu": {"model": "L40S", "number": 1, "memory": {"size": 48}},
        "storage": {"disks": [{"capacity": 400, "number": 1}]},
        "os": {"family": "linux"},
    }
    price = {"capacities": ["consumption"], "price": 140000000, "tax": 28000000, "intervalUnit": "none"}
    hourly = {
        "planCode": "l40s-90.consumption",
        "product": "publiccloud-instance",
        "pricings": [price, price | {"capacities": ["renew"], "price": 1}],
        "blobs": {"technical": technical},
    }
    addons = [
        hourly,
        hourly | {"planCode": "l40s-90.consumption.3AZ", "pricings": [price | {"price": 150000000}]},
        hourly | {"planCode": "l40s-90.monthly.postpaid"},
        hourly | {"planCode": "win-l40s-90.consumption"},
        hourly | {"planCode": "b3-8.consumption", "blobs": {"technical": technical | {"gpu": None}}},
        hourly | {"planCode": "volume.classic.consumption", "blobs": None},
        hourly | {"planCode": "l4-90.consumption", "pricings": [price | {"price": 0.75}]},
    ]
    locale = {"currencyCode": "EUR", "subsidiary": "FR", "taxRate": 20}
    catalogue = {"catalogId": 1, "locale": locale, "plans": [], "addons": addons}
    live.site.routes["/1.0/order/catalog/public/cloud"] = reply(catalogue)
    live.site.routes["/v1/latest"] = reply(RATES)
    done = live.get("ecb", "ovh")["ovh"]
    assert (done.outcome, dict(done.rejects)) == ("ok", {"price": 1})
    assert live.rows(ROW + ", price, currency", "ovh") == [
        ("l40s-90", "on_demand", "l40s", 1, 48, 1.75, 15, 90, 400, None, 1.4, "EUR"),
        ("l40s-90", "on_demand", "l40s", 1, 48, 1.875, 15, 90, 400, "3AZ", 1.5, "EUR"),
    ]
    assert live.site.asked[-1].query == {"ovhSubsidiary": ["FR"]}


def test_akash_gives_the_lowest_bid_of_a_gpu(live: Any, reply: Any) -> None:
    price = {"currency": "USD", "min": 0.72, "max": 1.4, "avg": 1.0, "weightedAverage": 1.1, "med": 1.05}
    model = {
        "vendor": "nvidia",
        "model": "h100",
        "ram": "80Gi",
        "interface": "SXM5",
        "availability": {"total": 64, "available": 12},
        "price": price,
    }
    models = [model, model | {"model": "l40s", "ram": "48Gi", "interface": "PCIe"},
              model | {"model": "t4", "ram": "16Gi", "interface": "PCIe", "price": None},
              model | {"model": "a100", "price": price | {"currency": "uakt"}}]  # fmt: skip
    live.site.routes["/v1/gpu-prices"] = reply({"availability": {"total": 1}, "models": models})
    done = live.one("akash")
    assert (done.outcome, dict(done.rejects)) == ("ok", {"malformed": 1})
    assert live.rows("gpu, gpu_count, vram_gib, usd_per_gpu_hour, available, price_per", "akash") == [
        ("h100-sxm", 1, 80, 0.72, 12, "gpu"),
        ("l40s", 1, 48, 0.72, 12, "gpu"),
    ]


def shape(name: str, n: int, memory: int, part: str, **more: Any) -> dict[str, Any]:
    said = {
        "name": name,
        "hidden": False,
        "status": "ACTIVE",
        "allowPreemptible": False,
        "bundleMemoryQty": 1024,
        "gpuQty": n,
        "gpuMemoryQty": memory,
        "processorType": {"value": "intel"},
        "shapeType": {"value": "bm"},
        "subType": {"value": "gpu"},
        "products": [{"type": {"value": "ocpu"}, "partNumber": part, "qty": 112}],
    }
    return said | more


def product(part: str, value: float, code: str = "USD", **more: Any) -> dict[str, Any]:
    price = {"model": "PAY_AS_YOU_GO", "value": value}
    return {
        "partNumber": part,
        "displayName": "GPU",
        "metricName": "GPU Per Hour",
        "currencyCodeLocalizations": [{"currencyCode": code, "prices": [price]}],
    } | more


def test_oci_sells_a_gpu_as_an_ocpu_and_gb200_is_no_b200(live: Any, reply: Any) -> None:
    shapes = [
        shape("BM.GPU.L40S.4", 4, 192, "B1"),
        shape("VM.GPU.A10.1", 1, 24, "B2", allowPreemptible=True, bundleMemoryQty=240,
              products=[{"type": {"value": "ocpu"}, "partNumber": "B2", "qty": 15}]),
        shape("BM.GPU.GB200.4 (NVL72)", 4, 768 * 4, "B3",
              products=[{"type": {"value": "ocpu"}, "partNumber": "B3", "qty": 144}]),
        shape("BM.GPU.A100-v2.8", 8, 640, "B4"),
        shape("BM.GPU.H200.8", 8, 1128, "B5"),
        shape("VM.Standard.E5.Flex", 0, 0, "B9"),
        shape("BM.GPU.OLD.8", 8, 128, "B1", hidden=True),
        shape("BM.GPU.B200.8", 8, 1536, "NONE"),
    ]  # fmt: skip
    products = [product("B1", 3.5), product("B2", 2.0), product("B3", 16.0), product("B4", 4.0),
                product("B5", 10.0, code="EUR"), product("B91961", 0.0255, pricetype="MONTH"),
                product("B91962", 0.0017, pricetype="MONTH")]  # fmt: skip
    live.site.routes["/a/ocom/docs/cloudestimator2/data/shapes.json"] = reply({"items": shapes})
    live.site.routes["/pls/apex/cetools/api/v1/products/"] = reply({"items": products})
    done = live.one("oci")
    assert (done.outcome, dict(done.rejects)) == ("ok", {"no_price": 2})
    assert live.rows(ROW, "oci") == [
        ("BM.GPU.A100-v2.8", "on_demand", "a100-80gb-sxm", 8, 80, 32.0, 224, 1024, None, None),
        ("BM.GPU.GB200.4", "on_demand", "gb200", 4, 186.0, 64.0, 144, 1024, None, None),
        ("BM.GPU.L40S.4", "on_demand", "l40s", 4, 48, 14.0, 224, 1024, None, None),
        ("VM.GPU.A10.1", "on_demand", "a10", 1, 24, 2.0, 30, 240, None, None),
        ("VM.GPU.A10.1", "spot", "a10", 1, 24, 1.0, 30, 240, None, None),
    ]
    assert live.rows("DISTINCT round(storage_usd_per_gb_month, 6)", "oci") == [(0.0425,)]


AWS_COLUMNS = (
    "SKU", "OfferTermCode", "TermType", "PriceDescription", "Unit", "PricePerUnit", "Currency",
    "LeaseContractLength", "PurchaseOption", "OfferingClass", "Product Family", "Location", "Instance Type",
    "vCPU", "Memory", "Storage", "Tenancy", "Operating System", "GPU", "CapacityStatus", "Pre Installed S/W",
    "MarketOption", "Region Code",
)  # fmt: skip
AWS_ROW = {
    "SKU": "X", "TermType": "OnDemand", "Unit": "Hrs", "PricePerUnit": "10.4926400000", "Currency": "USD",
    "PriceDescription": "$10.49264 per On Demand Linux g6e.12xlarge, Instance Hour",
    "Product Family": "Compute Instance", "Location": "US East (N. Virginia)",
    "Instance Type": "g6e.12xlarge", "vCPU": "48", "Memory": "384 GiB", "Storage": "2 x 1900 NVMe SSD",
    "Tenancy": "Shared", "Operating System": "Linux", "GPU": "4", "CapacityStatus": "Used",
    "Pre Installed S/W": "NA", "MarketOption": "OnDemand", "Region Code": "us-east-1",
}  # fmt: skip


def aws_csv(*changed: dict[str, str], columns: tuple[str, ...] = AWS_COLUMNS) -> bytes:
    out = io.StringIO(newline="")
    write = csv.writer(out, quoting=csv.QUOTE_ALL)
    for name in ("FormatVersion", "Disclaimer", "Publication Date", "Version", "OfferCode"):
        write.writerow([name, "v1.0"])
    write.writerow(columns)
    for change in changed:
        row = AWS_ROW | change
        write.writerow([row.get(column, "") for column in columns])
    return out.getvalue().encode()


def test_aws_gives_linux_on_demand_and_reserved_without_upfront(live: Any, reply: Any) -> None:
    live.set_env("RACKRATE_COLLECT_AWS_REGIONS", "us-east-1,mars-1")
    year = {"TermType": "Reserved", "LeaseContractLength": "1yr", "PurchaseOption": "No Upfront",
            "OfferingClass": "standard", "PricePerUnit": "6.82"}  # fmt: skip
    live.site.routes["/offers/v1.0/aws/AmazonEC2/current/us-east-1/index.csv"] = reply(
        aws_csv(
            {},
            year,
            year | {"PurchaseOption": "All Upfront", "PricePerUnit": "0"},
            {"Operating System": "Windows"},
            {"Tenancy": "Dedicated"},
            {"CapacityStatus": "UnusedCapacityReservation"},
            {"Pre Installed S/W": "SQL Std"},
            {"MarketOption": "CapacityBlock", "PricePerUnit": "5"},
            {"Instance Type": "m7i.large", "GPU": "", "Memory": "8 GiB", "vCPU": "2"},
            {"Instance Type": "g6f.xlarge", "GPU": "0.125", "Memory": "16 GiB", "vCPU": "4",
             "PricePerUnit": "0.2", "Storage": "1 x 100 NVMe SSD"},
            {"Instance Type": "p6-b200.48xlarge", "GPU": "8", "Memory": "2,048 GiB", "vCPU": "192",
             "PricePerUnit": "113.93", "Storage": "8 x 3840 GB NVMe SSD"},
            {"Instance Type": "p9x.48xlarge", "GPU": "8"},
        ),
        headers={"Content-Type": "application/octet-stream"},
    )  # fmt: skip
    done = live.one("aws")
    assert (done.outcome, dict(done.rejects)) == ("ok", {"gpu_count": 1})
    assert live.rows(ROW + ", term_months", "aws") == [
        ("g6e.12xlarge", "on_demand", "l40s", 4, 48, 10.49264, 48, 384, 3800, "us-east-1", None),
        ("g6e.12xlarge", "reserved", "l40s", 4, 48, 6.82, 48, 384, 3800, "us-east-1", 12),
        ("g6f.xlarge", "on_demand", "l4", 0.125, 24, 0.2, 4, 16, 100, "us-east-1", None),
        ("p6-b200.48xlarge", "on_demand", "b200-sxm", 8, 180, 113.93, 192, 2048, 30720, "us-east-1", None),
    ]  # fmt: skip


def test_aws_without_a_column_has_another_layout(live: Any, reply: Any) -> None:
    live.set_env("RACKRATE_COLLECT_AWS_REGIONS", "us-east-1")
    columns = tuple(column for column in AWS_COLUMNS if column != "CapacityStatus")
    live.site.routes["/offers/v1.0/aws/AmazonEC2/current/us-east-1/index.csv"] = reply(
        aws_csv({}, columns=columns)
    )
    done = live.one("aws")
    assert (done.outcome, done.code) == ("failed", "layout")
    assert "CapacityStatus" in done.says


def test_a_real_snapshot_of_gpurentalprices_goes_into_its_old_list(
    live: Any, reply: Any, shared: Path
) -> None:
    body = (shared / "data/market/gpurentalprices/snapshots/2026-08-22.json").read_bytes()
    path = "/adriannutiu/gpu-rental-prices/HEAD/data/latest.json"
    live.site.routes[path] = reply(body, headers={"Content-Type": "text/plain; charset=utf-8"})
    done = live.one("gpurentalprices")
    assert done.outcome == "ok"
    assert done.rows > 250
    l40s = live.rows("provider, usd_per_gpu_hour", "gpurentalprices")
    assert len({provider for provider, _ in l40s}) > 30
    live.at("2026-08-22T15:00:00Z")
    again = live.one("gpurentalprices")  # the same snapshot: nothing new, and no older than it is
    assert (again.outcome, again.rows) == ("ok", done.rows)
    assert len([1 for (source, _) in live.store.live() if source == "gpurentalprices"]) == 1


@pytest.mark.parametrize("dated", [True, False])
def test_real_catalogues_of_skypilot_are_undated_unless_the_server_says(
    live: Any, reply: Any, shared: Path, *, dated: bool
) -> None:
    headers = {"Content-Type": "text/plain"}
    if dated:
        headers["Last-Modified"] = "Fri, 21 Aug 2026 10:00:00 GMT"
    folder = shared / "data/market/skypilot_catalog"
    for path in folder.glob("*.csv"):
        where = f"/skypilot-org/skypilot-catalog/HEAD/catalogs/v8/{path.stem}/vms.csv"
        live.site.routes[where] = reply(path.read_bytes(), headers=headers)
    done = live.one("skypilot")
    assert done.outcome == "ok"
    assert done.rejects["zero_spot"] == 67
    counted = live.rows("count(*) FILTER (is_counted), count(DISTINCT provider)", "skypilot")[0]
    assert (counted[0] > 0) == dated
    assert counted[1] > 10
