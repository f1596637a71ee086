"""Sources that want a key: skipped without it, and right to the cent with it; the key lies nowhere."""

from __future__ import annotations

import io
import zipfile
from collections.abc import Callable
from typing import Any

import pytest

from rackrate.market.collect import collectors

ROW = "sku, kind, gpu, gpu_count, vram_gib, round(usd_per_hour, 6), vcpu, ram_gib, disk_gib, region"
KEY = "hush-hush-4711"
KEYED = sorted(name for name, collector in collectors().items() if collector.auth)


@pytest.fixture
def keyed(live: Any) -> Callable[[str], Any]:
    """Collect with a key, and see that it went to the source in a header and is stored nowhere."""

    def get(name: str) -> Any:
        for variable in (*collectors()[name].auth, *collectors()[name].may_use):
            live.set_env(variable, KEY)
        done = live.one(name)
        assert all(KEY in "".join(asked.headers.values()) for asked in live.site.asked)
        assert not any(KEY in f"{asked.path}{asked.query}" for asked in live.site.asked)
        stored = b"".join(path.read_bytes() for path in live.folder.rglob("*") if path.is_file())
        assert KEY.encode() not in stored
        assert KEY not in repr(done)
        return done

    return get


@pytest.mark.parametrize("name", KEYED)
def test_a_source_without_its_key_is_skipped_and_says_which(name: str, live: Any) -> None:
    done = live.one(name)
    assert done.outcome == "skipped"
    for variable in collectors()[name].auth:
        assert variable in done.says
    assert not live.site.asked
    assert not (live.folder / "collected" / name).exists()


def test_a_key_that_is_refused_fails_and_is_not_told(live: Any, reply: Any, keyed: Any) -> None:
    live.site.routes["/api/v1/instance-types"] = reply(status=401)
    done = keyed("lambda")
    assert (done.outcome, done.code) == ("failed", "refused")


def test_a_key_does_not_go_where_a_redirect_leads(live: Any, reply: Any) -> None:
    live.set_env("LAMBDA_API_KEY", KEY)
    live.site.routes["/api/v1/instance-types"] = reply(
        status=302, headers={"Location": "http://localhost:1/x"}
    )
    assert live.one("lambda").code == "host"


def test_lambda_counts_in_cents(live: Any, reply: Any, keyed: Any) -> None:
    specs = {"vcpus": 30, "memory_gib": 200, "storage_gib": 1400, "gpus": 1}
    a10 = {
        "instance_type": {
            "name": "gpu_1x_a10",
            "description": "1x A10 (24 GB PCIe)",
            "gpu_description": "A10 (24 GB PCIe)",
            "price_cents_per_hour": 75,
            "specs": specs,
        },
        "regions_with_capacity_available": [{"name": "us-east-1", "description": "Virginia, USA"}],
    }
    kind = a10["instance_type"]
    h100 = {
        "instance_type": kind | {"name": "gpu_8x_h100_sxm5", "description": "8x H100 (80 GB SXM5)",
                                 "gpu_description": "H100 (80 GB SXM5)", "price_cents_per_hour": 2392,
                                 "specs": specs | {"gpus": 8, "vcpus": 208}},
        "regions_with_capacity_available": [],
    }  # fmt: skip
    cpu = {"instance_type": kind | {"name": "cpu_4x", "specs": specs | {"gpus": 0}}}
    odd = {"instance_type": kind | {"name": "odd", "price_cents_per_hour": None}}
    types = {"gpu_1x_a10": a10, "gpu_8x_h100_sxm5": h100, "cpu_4x": cpu, "odd": odd}
    live.site.routes["/api/v1/instance-types"] = reply({"data": types})
    done = keyed("lambda")
    assert (done.outcome, dict(done.rejects)) == ("ok", {"no_price": 1})
    assert live.rows(ROW + ", available", "lambda") == [
        ("gpu_1x_a10", "on_demand", "a10", 1, 24, 0.75, 30, 200, 1400, "us-east-1", None),
        ("gpu_8x_h100_sxm5", "on_demand", "h100-sxm", 8, 80, 23.92, 208, 200, 1400, None, 0),
    ]


@pytest.mark.parametrize("amount", [48, 384])
def test_digitalocean_memory_of_all_gpus_or_of_one(live: Any, reply: Any, keyed: Any, amount: int) -> None:
    size = {
        "slug": "gpu-l40sx8-384gb",
        "memory": 524288,
        "vcpus": 64,
        "disk": 500,
        "transfer": 60.0,
        "price_monthly": 9000.0,
        "price_hourly": 12.56,
        "regions": ["tor1", "nyc2"],
        "available": True,
        "disk_info": [
            {"type": "local", "size": {"amount": 500, "unit": "gib"}},
            {"type": "scratch", "size": {"amount": 5120, "unit": "gib"}},
        ],
        "gpu_info": {"count": 8, "model": "nvidia_l40s", "vram": {"amount": amount, "unit": "gib"}},
    }
    small = {"slug": "s-1vcpu-1gb", "memory": 1024, "regions": ["nyc1"], "price_hourly": 0.009}
    pages = [
        {"sizes": [size], "links": {"pages": {"next": "https://api.digitalocean.com/v2/sizes?page=2"}}},
        {"sizes": [small, size | {"slug": "gone", "available": False}], "links": {}},
    ]
    live.site.routes["/v2/sizes"] = lambda asked: reply(pages[int(asked.query["page"][0]) - 1])
    done = keyed("digitalocean")
    assert (done.outcome, dict(done.rejects)) == ("ok", {})
    assert live.rows(ROW, "digitalocean") == [
        ("gpu-l40sx8-384gb", "on_demand", "l40s", 8, 48, 12.56, 64, 512, 500, "nyc2"),
        ("gpu-l40sx8-384gb", "on_demand", "l40s", 8, 48, 12.56, 64, 512, 500, "tor1"),
    ]
    assert live.rows("DISTINCT included_egress_gb_per_month", "digitalocean") == [(60_000,)]


def test_shadeform_counts_in_cents_and_sells_for_others(live: Any, reply: Any, keyed: Any) -> None:
    configuration = {
        "num_gpus": 2,
        "gpu_type": "L40S",
        "vram_per_gpu_in_gb": 48,
        "interconnect": "pcie",
        "nvlink": False,
        "vcpus": 52,
        "memory_in_gb": 144,
        "storage_in_gb": 625,
    }
    one = {
        "cloud": "massedcompute",
        "shade_instance_type": "L40Sx2",
        "cloud_instance_type": "gpu_2x_l40s",
        "configuration": configuration,
        "hourly_price": 191,
        "availability": [
            {"region": "desmoines-usa-1", "available": True},
            {"region": "x", "available": False},
        ],
    }
    silent = one | {
        "cloud": "hyperstack",
        "cloud_instance_type": "n3-A6000x1",
        "configuration": configuration | {"num_gpus": 1, "gpu_type": "A6000", "vram_per_gpu_in_gb": 0},
        "hourly_price": 50,
    }
    live.site.routes["/v1/instances/types"] = reply({"instance_types": [one, silent, {"cloud": "x"}]})
    done = keyed("shadeform")
    assert (done.outcome, dict(done.rejects)) == ("ok", {"malformed": 1})
    where = "desmoines-usa-1"
    assert live.rows(ROW + ", provider, seller", "shadeform") == [
        ("gpu_2x_l40s", "on_demand", "l40s", 2, 48, 1.91, 52, 144, 625, where, "massedcompute", "shadeform"),
        ("n3-A6000x1", "on_demand", "rtx-a6000", 1, 48, 0.5, 52, 144, 625, where, "hyperstack", "shadeform"),
    ]


@pytest.mark.parametrize("by_gpu", [True, False])
def test_prime_intellect_labels_an_l40s_l40(live: Any, reply: Any, keyed: Any, *, by_gpu: bool) -> None:
    item = {
        "cloudId": "g3-l40s-large",
        "gpuType": "L40_48GB",
        "socket": "PCIe",
        "provider": "latitude",
        "dataCenter": "DAL",
        "country": "US",
        "gpuCount": 2,
        "gpuMemory": 96,
        "disk": {"defaultCount": 1800, "pricePerUnit": None},
        "vcpu": {"defaultCount": 32},
        "memory": {"defaultCount": 256},
        "stockStatus": "Available",
        "security": "secure_cloud",
        "prices": {"onDemand": 1.8, "communityPrice": None, "isVariable": None, "currency": "USD"},
        "isSpot": None,
        "prepaidTime": None,
    }
    ahead = item | {"cloudId": "ahead", "prepaidTime": 3600}
    unpriced = item | {"cloudId": "none", "prices": {"onDemand": None, "currency": "USD"}}
    spot = item | {"cloudId": "spotty", "isSpot": True, "gpuType": "H100_80GB", "socket": "SXM5",
                   "gpuCount": 1, "gpuMemory": 80,
                   "disk": {"defaultCount": 1800, "pricePerUnit": 0.0002, "defaultIncludedInPrice": False},
                   "prices": {"onDemand": 1.1, "currency": "USD"}}  # fmt: skip
    items = [item, ahead, unpriced, spot]
    said = {"L40_48GB": items[:3], "H100_80GB": items[3:]} if by_gpu else {"items": items, "totalCount": 4}
    live.site.routes["/api/v1/availability/gpus"] = reply(said)
    done = keyed("primeintellect")
    assert (done.outcome, dict(done.rejects)) == ("ok", {"no_price": 1})
    assert live.rows(ROW + ", provider, seller", "primeintellect") == [
        ("g3-l40s-large", "on_demand", "l40s", 2, 48, 1.8, 32, 256, 1800, "DAL", "latitude",
         "primeintellect"),
        ("spotty", "spot", "h100-sxm", 1, 80, 1.1, 32, 256, 1800, "DAL", "latitude", "primeintellect"),
    ]  # fmt: skip
    beside = "sku, round(storage_usd_per_gb_month, 6), included_disk_gb"
    assert live.rows(beside, "primeintellect") == [("g3-l40s-large", None, None), ("spotty", 0.146, 0)]


def test_seeweb_bills_in_euros_whatever_its_answer_says(live: Any, reply: Any, keyed: Any) -> None:
    plan = {
        "name": "ECS1GPU9",
        "cpu": "16",
        "ram": "131072",
        "disk": "500",
        "gpu": "1",
        "gpu_label": "L40s 48GB",
        "hourly_price": "0.8900",
        "available": True,
        "available_regions": [{"id": 1, "location": "it-fr2"}, {"location": ""}, {"location": "it-fr2"}],
    }
    plans = [plan, plan | {"name": "ECS2", "gpu": "0"}, plan | {"name": "old", "available": False},
             plan | {"name": "words", "hourly_price": "on request"}]  # fmt: skip
    live.site.routes["/ecs/v2/plans"] = reply({"plans": plans})
    done = keyed("seeweb")
    assert (done.outcome, dict(done.rejects)) == ("ok", {"price": 1})
    ((*row, price, currency, usd, rate, country),) = live.rows(
        "sku, gpu, vram_gib, ram_gib, price, currency, usd_per_hour, usd_per_unit, country", "seeweb"
    )
    assert row == ["ECS1GPU9", "l40s", 48, 128]
    assert (price, currency, country) == (0.89, "EUR", "IT")
    assert usd == pytest.approx(0.89 * rate)
    assert rate > 1.1


def test_hyperstack_joins_flavours_and_price_book(live: Any, reply: Any, keyed: Any) -> None:
    book = [
        {"id": 1, "name": "L40", "value": "1.00", "original_value": "1.00", "discount_applied": False},
        {"id": 2, "name": "H100-80G-SXM5", "value": "2.40"},
        {"id": 3, "name": "H100-80G-SXM5-spot", "value": "1.92"},
        {"id": 4, "name": "vCPU (cpu-only-flavors)", "value": "0.01"},
    ]
    flavour = {"name": "n3-L40x2", "region_name": "NORWAY-1", "cpu": 58, "ram": 120.0, "disk": 100,
               "ephemeral": 1300, "gpu": "L40", "gpu_count": 2, "stock_available": True}  # fmt: skip
    eight = flavour | {"name": "n3-H100-SXM5x8", "gpu": "H100-80G-SXM5", "gpu_count": 8}
    spot = eight | {"name": "n3-H100-SXM5x8-spot", "gpu": "H100-80G-SXM5-spot"}
    cpu = flavour | {"name": "n1-cpu-small", "gpu": "", "gpu_count": 0}
    lost = flavour | {"name": "n3-X", "gpu": "X900"}
    groups = [{"gpu": "L40", "region_name": "NORWAY-1", "flavors": [flavour, eight, spot, cpu, lost]}]
    live.site.routes["/v1/pricebook"] = reply(book)
    live.site.routes["/v1/core/flavors"] = reply({"status": True, "data": groups})
    done = keyed("hyperstack")
    assert (done.outcome, dict(done.rejects)) == ("ok", {"no_price": 1})
    assert live.rows(ROW, "hyperstack") == [
        ("n3-H100-SXM5x8", "on_demand", "h100-sxm", 8, 80, 19.2, 58, 120, 1400, "NORWAY-1"),
        ("n3-H100-SXM5x8-spot", "spot", "h100-sxm", 8, 80, 15.36, 58, 120, 1400, "NORWAY-1"),
        ("n3-L40x2", "on_demand", "l40", 2, 48, 2.0, 58, 120, 1400, "NORWAY-1"),
    ]


def test_novita_counts_in_hundred_thousandths(live: Any, reply: Any, keyed: Any) -> None:
    product = {
        "id": "l40s.16c62g",
        "name": "L40S 48GB",
        "cpuPerGpu": 16,
        "memoryPerGpu": 62,
        "diskPerGpu": 60,
        "availableDeploy": True,
        "regions": ["US-CA-06"],
        "price": "55000",
        "spotPrice": "28000",
        "billingMethods": ["onDemand", "spot"],
    }
    gone = product | {"id": "gone", "availableDeploy": False}
    only = product | {"id": "only", "name": "RTX 4090 24GB", "price": 67000, "spotPrice": "0"}
    live.site.routes["/gpu-instance/openapi/v1/products"] = reply({"data": [product, gone, only]})
    done = keyed("novita")
    assert (done.outcome, dict(done.rejects)) == ("ok", {})
    assert live.rows(ROW, "novita") == [
        ("l40s.16c62g", "on_demand", "l40s", 1, 48, 0.55, 16, 62, 60, "US-CA-06"),
        ("l40s.16c62g", "spot", "l40s", 1, 48, 0.28, 16, 62, 60, "US-CA-06"),
        ("only", "on_demand", "rtx-4090", 1, 24, 0.67, 16, 62, 60, "US-CA-06"),
    ]


def test_runpod_is_off_with_the_reason_and_can_be_switched_on(live: Any, reply: Any, keyed: Any) -> None:
    from rackrate.market.collect.settings import load  # noqa: PLC0415 - for this alone

    outcome, says = load().why_not(collectors()["runpod"])
    assert outcome == "off"
    assert "terms" in says
    gpu = {
        "id": "NVIDIA L40S",
        "displayName": "L40S",
        "memoryInGb": 48,
        "secureCloud": True,
        "communityCloud": True,
        "securePrice": 0.86,
        "communityPrice": 0.79,
        "secureSpotPrice": None,
        "communitySpotPrice": 0.28,
        "lowestPrice": {"minimumBidPrice": 0.28, "minVcpu": 12, "minMemory": 62, "stockStatus": "High"},
    }
    b300 = gpu | {"id": "NVIDIA B300", "displayName": "B300", "memoryInGb": 288, "communityCloud": False,
                  "securePrice": 6.19, "lowestPrice": {"stockStatus": None}}  # fmt: skip
    live.site.routes["/graphql"] = reply({"data": {"gpuTypes": [gpu, b300]}})
    done = keyed("runpod")
    assert (done.outcome, dict(done.rejects)) == ("ok", {})
    columns = "sku, kind, tier, gpu, vram_gib, usd_per_gpu_hour, ram_gib, available"
    assert live.rows(columns, "runpod") == [
        ("NVIDIA B300", "on_demand", "marketplace_secure", "b300-sxm", 288, 6.19, None, 0),
        ("NVIDIA L40S", "on_demand", "marketplace_community", "l40s", 48, 0.79, 62, None),
        ("NVIDIA L40S", "on_demand", "marketplace_secure", "l40s", 48, 0.86, 62, None),
        ("NVIDIA L40S", "spot", "marketplace_community", "l40s", 48, 0.28, 62, None),
    ]


def test_runpod_that_answers_with_errors_has_failed(live: Any, reply: Any, keyed: Any) -> None:
    live.site.routes["/graphql"] = reply({"errors": [{"message": "Something went wrong"}], "data": None})
    assert keyed("runpod").code == "layout"


def test_gpuhunt_is_a_bridge_by_zipped_csv(live: Any, reply: Any) -> None:
    lines = (
        "instance_name,location,price,cpu,memory,gpu_count,gpu_name,gpu_memory,spot,disk_size,gpu_vendor",
        "gpu_1x_l40s,us-east-1,0.99,26,1074.0,1,L40S,48.0,False,,nvidia",
        "cpu_4x,us-east-1,0.2,4,16.0,0,,,False,,",
        "gpu_8x_h100,us-east-1,free,26,2000.0,8,H100,80.0,True,,nvidia",
    )
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as catalogue:
        catalogue.writestr("lambdalabs.csv", "\n".join(lines))
    text = {"Content-Type": "binary/octet-stream"}
    live.site.routes["/v3/lambdalabs/version"] = reply(b"20260822-1\n", headers=text)
    live.site.routes["/v3/lambdalabs/20260822-1/catalog.zip"] = reply(packed.getvalue(), headers=text)
    done = live.one("gpuhunt")
    assert (done.outcome, dict(done.rejects)) == ("ok", {"price": 1})
    assert live.rows(ROW + ", provider", "gpuhunt") == [
        ("gpu_1x_l40s", "on_demand", "l40s", 1, 48, 0.99, 26, 1000, None, "us-east-1", "lambda")
    ]
    live.site.routes["/v3/lambdalabs/20260822-1/catalog.zip"] = reply(packed.getvalue()[:-30], headers=text)
    assert live.one("gpuhunt").code == "layout"
