"""The seven formats on the real sets: counts and prices worked out again from the raw files."""

from __future__ import annotations

import csv
import gzip
import json
from collections import Counter
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rackrate.market.filter import OfferFilter, order_by
from rackrate.market.ingest import import_list
from rackrate.market.offer import Offer
from rackrate.market.store import Store
from rackrate.market.store.write import Receipt

CLOUDS = ("hyperstack", "nebius", "primeintellect", "seeweb", "shadeform", "vast", "verda")


@pytest.fixture(scope="module")
def data(shared: Path) -> Path:
    return shared / "data" / "market"


@pytest.fixture(scope="module")
def catalogue(data: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Receipt]]:
    """SkyPilot's seven clouds in a store."""
    store = tmp_path_factory.mktemp("skypilot") / "store"
    receipts = import_list(store, data / "skypilot_catalog", form="skypilot")
    return store, {receipt.source.removeprefix("skypilot-"): receipt for receipt in receipts}


def check(receipts: list[Receipt], n_read: int) -> None:
    assert sum(receipt.n_read for receipt in receipts) == n_read
    for receipt in receipts:
        assert receipt.n_read == receipt.n_published + receipt.n_rejected + receipt.n_known
        assert receipt.n_held <= receipt.n_published


def stored(store: Path, source: str, columns: str, where: str = "true") -> list[tuple[Any, ...]]:
    path = str(store / f"offers-{source}-*.parquet")
    sql = f"SELECT {columns} FROM read_parquet(?) WHERE {where} ORDER BY line"  # noqa: S608
    with duckdb.connect() as con:
        return con.execute(sql, [path]).fetchall()


def table(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8-sig") as lines:
        return list(csv.DictReader(lines))


def test_gpurentalprices_rows_are_all_accounted_for(data: Path, tmp_path: Path) -> None:
    snapshots = data / "gpurentalprices" / "snapshots"
    raw = [json.loads(path.read_text()) for path in sorted(snapshots.iterdir())]
    receipts = import_list(tmp_path, snapshots, form="gpurentalprices")
    check(receipts, sum(len(day["offers"]) for day in raw))
    (receipt,) = receipts
    assert len(receipt.snapshots) == len(raw) == 49
    n_l40s = Counter(
        (day["date"], offer["provider"], offer["kind"] == "spot")
        for day in raw
        for offer in day["offers"]
        if offer["gpu"] == "l40s" and offer["usd_hr"]
    )
    found = Counter(
        (str(day), "datacrunch" if provider == "verda" else provider, kind == "spot")
        for day, provider, kind in stored(
            tmp_path, "gpurentalprices", "snapshot_at::DATE, provider, kind", "gpu = 'l40s'"
        )
    )
    assert found.keys() == n_l40s.keys()
    assert receipt.rules.get("duplicate", 0) >= (n_l40s - found).total() >= 0


def test_the_l40s_of_2026_08_22_are_those_of_the_notes(data: Path, tmp_path: Path) -> None:
    path = data / "gpurentalprices" / "snapshots" / "2026-08-22.json"
    import_list(tmp_path, path, form="gpurentalprices")
    found = Store.open(tmp_path, tmp_path).find(OfferFilter(), order_by("usd"))
    offers = [offer for offer in map(Offer.from_row, found.rows) if offer.gpu == "l40s"]
    asked = Counter(
        (o.provider, round(o.usd_per_gpu_hour, 4), o.gpu_count) for o in offers if o.kind == "on_demand"
    )
    assert asked == Counter(
        {
            ("runpod", 0.79, 1): 1, ("massedcompute", 0.88, 1): 1, ("spheron", 0.96, 1): 1,
            ("runpod", 0.99, 1): 1, ("nebius", 1.35, 1): 1, ("verda", 1.37, 1): 1, ("crusoe", 1.5, 1): 1,
            ("digitalocean", 1.57, 1): 1, ("vultr", 1.671, 1): 1, ("scaleway", 1.7197, 1): 1,
            ("ovh", 1.8, 1): 1, ("aws", 1.861, 1): 1, ("aws", 3.7664, 8): 1, ("coreweave", 2.25, 8): 1,
        }
    )  # fmt: skip
    others = {(o.provider, o.kind.value, round(o.usd_per_gpu_hour, 4)) for o in offers} - {
        (provider, "on_demand", usd) for provider, usd, _ in asked
    }
    assert others == {
        ("spheron", "spot", 1.07), ("koyeb", "serverless", 1.2), ("modal", "serverless", 1.9512),
        ("cerebrium", "serverless", 1.9512), ("replicate", "serverless", 3.51),
    }  # fmt: skip


def test_skypilot_makes_an_offer_of_each_price_and_a_reject_of_each_row_without(
    data: Path, catalogue: tuple[Path, dict[str, Receipt]]
) -> None:
    for cloud in CLOUDS:
        rows = table(data / "skypilot_catalog" / f"{cloud}.csv")
        gpus = [row for row in rows if row["AcceleratorName"]]
        n_prices = sum(bool(row["Price"]) + bool(row["SpotPrice"]) for row in gpus)
        n_neither = sum(not row["Price"] and not row["SpotPrice"] for row in gpus)
        receipt = catalogue[1][cloud]
        check([receipt], n_prices + n_neither + len(rows) - len(gpus))
        assert receipt.rules.get("no_gpu", 0) == len(rows) - len(gpus)
        assert receipt.rules.get("no_price", 0) == n_neither


def test_skypilot_prices_are_of_the_instance(data: Path, catalogue: tuple[Path, Any]) -> None:
    rows = table(data / "skypilot_catalog" / "hyperstack.csv")
    for line, usd, each, count in stored(
        catalogue[0], "skypilot-hyperstack", "line, usd_per_hour, usd_per_gpu_hour, gpu_count"
    ):
        row = rows[line - 1]
        assert usd == pytest.approx(float(row["Price"]))
        assert count == float(row["AcceleratorCount"])
        assert each * count == pytest.approx(usd)


def test_shadeform_memory_in_the_wrong_unit_is_told(catalogue: tuple[Path, Any]) -> None:
    columns = "vram_raw_gib, vram_gib, flags, gpu"
    found = stored(catalogue[0], "skypilot-shadeform", columns, "gpu = 'l40s' AND vram_raw_gib > 0")
    assert found
    for raw, vram, flags, _ in found:
        assert raw == pytest.approx(48 / 1024, rel=0.1)
        assert vram == 48
        assert "vram_unit" in flags


def test_primeintellect_memory_n_times_n_is_told(catalogue: tuple[Path, Any]) -> None:
    columns = "gpu_count, vram_raw_gib, vram_gib, flags, sku"
    found = stored(catalogue[0], "skypilot-primeintellect", columns, "gpu = 'l40s' AND gpu_count > 1")
    assert {count for count, *_ in found} >= {2, 4, 8}
    for count, raw, vram, flags, _ in found:
        assert raw == 48 * count
        assert vram == 48
        assert "vram_unit" in flags


def test_the_l40_that_is_an_l40s_by_its_sku(catalogue: tuple[Path, Any]) -> None:
    where = "sku LIKE '%g3-l40s-large%'"
    found = stored(catalogue[0], "skypilot-primeintellect", "gpu_raw, gpu, provider, seller", where)
    assert found
    assert {row[:2] for row in found} == {("L40", "l40s")}


def test_vast_zero_spot_is_rejected_and_its_one_shape_unknown(
    data: Path, catalogue: tuple[Path, dict[str, Receipt]]
) -> None:
    rows = table(data / "skypilot_catalog" / "vast.csv")
    assert catalogue[1]["vast"].rules["zero_spot"] == sum(float(row["SpotPrice"]) == 0 for row in rows) == 67
    found = stored(catalogue[0], "skypilot-vast", "vcpu, ram_gib, flags, kind")
    assert found
    assert {row[:2] for row in found} == {(None, None)}
    assert all("one_shape" in flags for _, _, flags, _ in found)
    assert {kind for *_, kind in found} == {"on_demand"}


def test_a_missing_verda_price_makes_no_offer(data: Path, catalogue: tuple[Path, Any]) -> None:
    rows = table(data / "skypilot_catalog" / "verda.csv")
    expected = {
        kind: {n for n, row in enumerate(rows, 1) if row["AcceleratorName"] and row[column]}
        for kind, column in (("on_demand", "Price"), ("spot", "SpotPrice"))
    }
    found = stored(catalogue[0], "skypilot-verda", "line, kind, price")
    for kind, lines in expected.items():
        assert {line for line, of, _ in found if of == kind} == lines
    assert expected["on_demand"] != expected["spot"]
    assert all(price > 0 for *_, price in found)


def test_aws_types_by_region_and_its_slices_of_l4(data: Path, tmp_path: Path) -> None:
    path = data / "aws_gpu" / "all_gpu_instances.json"
    raw = json.loads(path.read_text())
    n_prices = sum(
        name in prices
        for record in raw
        for prices in record["pricing"].values()
        for name in ("onDemand", "reserved")
    )
    receipts = import_list(tmp_path, path, form="aws")
    check(receipts, n_prices)
    slices = stored(tmp_path, "aws-gpu", "DISTINCT gpu_raw, gpu, line", "sku LIKE 'g6f.%'")
    assert {row[:2] for row in slices} == {("NVIDIA L40", "l4")}
    where = "sku = 'g6e.xlarge' AND kind = 'on_demand'"
    usd = dict(row[:2] for row in stored(tmp_path, "aws-gpu", "region, usd_per_hour, line", where))
    (xlarge,) = [record for record in raw if record["name"] == "g6e.xlarge"]
    assert usd == {region: prices["onDemand"] for region, prices in xlarge["pricing"].items()}


def test_tardellirs_offers(data: Path, tmp_path: Path) -> None:
    raw = json.loads((data / "tardellirs" / "offerings.json").read_text())
    receipts = import_list(tmp_path, data / "tardellirs", form="tardellirs")
    check(receipts, len(raw))
    found = stored(tmp_path, "tardellirs", "line, price, kind, gpu_raw")
    for line, price, kind, gpu in found:
        record = raw[line - 1]
        assert price == record["price_usd_hour"]
        assert gpu == record["gpu_model"]
        assert (kind == "spot") == bool(record["is_spot"])


def test_primeintellect_history_has_a_row_a_provider_and_snapshot(data: Path, tmp_path: Path) -> None:
    path = data / "primeintellect_history" / "GH200_96GB.jsonl.gz"
    with gzip.open(path, "rt") as lines:
        raw = [json.loads(line) for line in lines]
    receipts = import_list(tmp_path, path, form="primeintellect")
    check(receipts, sum(len(snapshot["by_provider"]) for snapshot in raw))
    for line, price, provider in stored(tmp_path, "primeintellect-history", "line, price, provider_raw"):
        assert raw[line - 1]["by_provider"][provider]["min"] == price


def test_fsdl_tables(data: Path, tmp_path: Path) -> None:
    folder = data / "fsdl"
    n_read = 0
    for path in folder.glob("*.csv"):
        for row in table(path):
            asked = [row.get("On-demand") or row.get("Per-Hour"), row.get("Spot")]
            n_read += max(1, sum(bool(price) for price in asked))
    receipts = import_list(tmp_path, folder, form="fsdl")
    check(receipts, n_read)
    assert {receipt.source for receipt in receipts} == {"fsdl", "fsdl-serverless"}
    days = {
        str(at)
        for at, _ in stored(tmp_path, "fsdl", "DISTINCT observed_at::DATE, 0 AS line", "source = 'fsdl'")
    }
    assert days <= {path.name.split("_")[1] for path in folder.glob("cloud*.csv")}
    assert len(days) == 9


def test_purchase_prices(data: Path, tmp_path: Path) -> None:
    folder = data / "purchase"
    raw = {path: json.loads(path.read_text())["prices"] for path in folder.glob("*.json")}
    receipts = import_list(tmp_path, folder, form="purchase")
    check(receipts, sum(map(len, raw.values())))
    found = Store.open(tmp_path, tmp_path).purchases("l40s")
    assert [usd for _, usd, _ in found] == list(raw[folder / "NVIDIA_L40S.json"].values())
    assert len(found) == 9
