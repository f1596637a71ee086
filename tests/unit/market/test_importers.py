"""Each format on a small set of its own, so that every clone tests it; and sets that are broken."""

from __future__ import annotations

import gzip
import json
import shutil
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rackrate.errors import ImportRejected, RackrateError, UnknownName
from rackrate.market.filter import OfferFilter, order_by
from rackrate.market.importers import FORMATS
from rackrate.market.ingest import import_list
from rackrate.market.offer import Offer
from rackrate.market.store import Store

AT = datetime(2026, 8, 22, tzinfo=UTC)
OFFER = {
    "provider": "crusoe",
    "gpu": "l40s",
    "vram_gb": 48,
    "usd_hr": 1.5,
    "kind": "on-demand",
    "source_url": "https://crusoe.example",
    "fetched_at": "2026-08-22T08:21:00+02:00",
    "min_gpus": 1,
}
SKYPILOT = (
    "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice\n"
    "massedcompute_L40Sx2,L40S,2.0,52,256,1.76,kansascity-usa-1,\"{'MemoryInfo': {'SizeInMiB': 48}}\",\n"
    "cpu,,,4,16,0.1,eu,,\n"
    "hyperstack_L40S,L40S,1,8,32,,norway-1,,\n"
)
PRIME = {
    "timestamp": "2025-10-19T21:01:58.7+00:00",
    "gpu_type": "H200_141GB",
    "socket_type": None,
    "by_provider": {"nebius": {"min": 2.67}, "runpod": {"min": 3.59}},
    "by_config": {"1x": {"min_per_gpu": 2.67, "best_deal": {"provider": "nebius", "spot": True}}},
}
TARDELLIRS = {
    "id": "x", "provider_id": "runpod", "gpu_model": "L40S", "vram_gb": 48, "interconnect": "PCIe",
    "tier": "community", "is_spot": False, "price_usd_hour": 0.79, "vcpu": 16, "ram_gb": None,
    "notes": "as seen", "source_url": "https://runpod.example", "collected_at": "2026-05-24",
    "caveats": ["a"],
}  # fmt: skip
AWS = {
    "name": "g6e.xlarge", "gpu": "NVIDIA L40S", "gpuCount": 1, "gpuMemory": "48 GB GDDR6", "vcpu": 4,
    "memory": "32 GB", "storage": "1,900 GB (2 x 950 GB SSD)",
    "pricing": {"us-east-1": {"onDemand": 1.861, "reserved": 1.2}, "eu-north-1": {"onDemand": 2.0}},
}  # fmt: skip
FSDL = (
    "Cloud,GPU Type,GPU Arch,GPUs,GPU RAM,vCPUs,RAM,On-demand,Per-GPU,Spot,Name\n"
    "AWS,A100 (80 GB),Ampere,8,640,96,1152,40.97,5.12,12.0,p4de.24xlarge\n"
    "AWS,T4 (16 GB),Turing,1,16,4,16,,,,g4dn\n"
)


def put(folder: Path, name: str, content: Any) -> Path:
    path = folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return path


def offers(store: Path) -> list[Offer]:
    found = Store.open(store, store).find(OfferFilter(), order_by("usd"))
    return [Offer.from_row(row) for row in found.rows]


def test_gpurentalprices(tmp_path: Path) -> None:
    listed = {"generated_at": "2026-08-22T06:21:55Z", "offers": [OFFER, OFFER | {"usd_hr": None}, "x"]}
    (receipt,) = import_list(tmp_path / "s", put(tmp_path, "a.json", listed), form="gpurentalprices")
    assert (receipt.n_read, receipt.n_published, receipt.n_rejected) == (3, 1, 2)
    (offer,) = offers(tmp_path / "s")
    assert (offer.provider, offer.gpu, offer.usd_per_gpu_hour, offer.vram_gib) == ("crusoe", "l40s", 1.5, 48)
    assert offer.observed_at == datetime(2026, 8, 22, 6, 21, tzinfo=UTC)
    assert offer.price_per == "gpu"


def test_skypilot(tmp_path: Path) -> None:
    path = put(tmp_path, "shadeform.csv", SKYPILOT)
    (receipt,) = import_list(tmp_path / "s", path, form="skypilot", at=AT)
    assert receipt.rules | {"vram_unit": 1, "reseller": 1, "no_gpu": 1, "no_price": 1} == receipt.rules
    (offer,) = offers(tmp_path / "s")
    assert (offer.provider, offer.seller, offer.country) == ("massedcompute", "shadeform", "US")
    assert (offer.usd_per_hour, offer.usd_per_gpu_hour, offer.gpu_count) == (1.76, 0.88, 2)
    assert (offer.vram_gib, offer.vcpu, offer.ram_gib, offer.observed_at) == (48, 52, 256, AT)


def test_primeintellect(tmp_path: Path) -> None:
    path = tmp_path / "H200.jsonl.gz"
    path.write_bytes(gzip.compress(f"{json.dumps(PRIME)}\n\nno json\n".encode()))
    (receipt,) = import_list(tmp_path / "s", path, form="primeintellect")
    assert (receipt.n_read, receipt.n_published, receipt.n_rejected) == (3, 2, 1)
    found = {offer.provider: offer for offer in offers(tmp_path / "s")}
    assert (found["nebius"].kind, found["runpod"].kind) == ("spot", "on_demand")
    assert "kind_assumed" in found["runpod"].flags
    assert found["nebius"].seller == "primeintellect"


def test_tardellirs(tmp_path: Path) -> None:
    put(tmp_path, "offerings.json", [TARDELLIRS, TARDELLIRS | {"collected_at": "?"}, 7])
    (receipt,) = import_list(tmp_path / "s", tmp_path, form="tardellirs")
    assert (receipt.n_published, receipt.n_rejected) == (1, 2)
    (offer,) = offers(tmp_path / "s")
    assert (offer.provider, offer.tier, offer.kind) == ("runpod", "marketplace_community", "on_demand")
    assert (offer.usd_per_hour, offer.vcpu, offer.ram_gib) == (0.79, 16, None)


def test_aws(tmp_path: Path) -> None:
    path = put(tmp_path, "a.json", [AWS, AWS | {"pricing": 3}, AWS | {"pricing": {"us-east-1": None}}, None])
    (receipt,) = import_list(tmp_path / "s", path, form="aws", at=AT)
    assert (receipt.n_read, receipt.n_published, receipt.n_rejected) == (6, 3, 3)
    found = {(offer.region, offer.kind.value): offer for offer in offers(tmp_path / "s")}
    offer = found["us-east-1", "on_demand"]
    assert (offer.usd_per_hour, offer.country, offer.ram_gib, offer.disk_gib) == (1.861, "US", 32, 1900)
    assert found["us-east-1", "reserved"].term_months == 12
    assert found["eu-north-1", "on_demand"].country == "SE"


def test_fsdl(tmp_path: Path) -> None:
    put(tmp_path, "cloud-gpus_2026-08-22_abc.csv", FSDL)
    put(
        tmp_path,
        "serverless-gpus.csv",
        "Vendor,GPU Type,GPUs,vCPUs,RAM,Per-Hour\nModal,T4 (16 GB),1,4,16,0.6\n",
    )
    clouds, serverless = import_list(tmp_path / "s", tmp_path, form="fsdl")
    assert (clouds.n_published, clouds.n_rejected) == (2, 1)
    assert serverless.n_published == 1
    found = {(offer.provider, offer.kind.value): offer for offer in offers(tmp_path / "s")}
    assert found["aws", "on_demand"].usd_per_gpu_hour == pytest.approx(40.97 / 8)
    assert found["aws", "spot"].usd_per_hour == 12
    assert found["aws", "spot"].observed_at == AT
    assert found["modal", "serverless"].observed_at is None


def test_purchase(tmp_path: Path) -> None:
    card = {"gpu_name": "NVIDIA L40S", "prices": {"2024-11-06T00:28:00": 9749.95, "2024-11-07": 0}}
    put(tmp_path, "NVIDIA_L40S.json", card)
    put(tmp_path, "NVIDIA_L4.json", {"prices": {"2024-01-01": "2,500"}})
    (receipt,) = import_list(tmp_path / "s", tmp_path, form="purchase")
    assert (receipt.n_read, receipt.n_published, receipt.n_rejected) == (3, 2, 1)
    store = Store.open(tmp_path / "s", tmp_path / "s")
    assert [usd for _, usd, _ in store.purchases("l40s")] == [9749.95]
    assert [usd for _, usd, _ in store.purchases("l4")] == [2500]


def test_an_unknown_format_names_the_nearest(tmp_path: Path) -> None:
    with pytest.raises(UnknownName) as caught:
        import_list(tmp_path, tmp_path, form="skypilott")
    assert caught.value.nearest == ("skypilot",)
    assert caught.value.code == "unknown-format"


BROKEN: dict[str, bytes] = {
    "empty": b"",
    "blank": b" \n\n",
    "cut": b'{"offers": [',
    "nul": b'{"offers"\x00: []}',
    "utf16": '{"offers": []}'.encode("utf-16"),
    "latin": b'{"offers": "\xe9"}',
    "other": b'{"prices": 3, "offers": 4}',
    "scalar": b"7",
    "deep": b"[" * 100_000,
    "long": b"9" * 5000,
    "csv": b'a,b\n"1,2\n',
    "twice": b"a,a\n1,2\n",
    "header": b"a,b\n",
    "foreign": b"a,b\n1,2\n",
}


@pytest.mark.parametrize("form", FORMATS)
@pytest.mark.parametrize("how", BROKEN)
def test_a_broken_list_is_rejected_whole_or_row_by_row(tmp_path: Path, form: str, how: str) -> None:
    suffix = {"skypilot": ".csv", "fsdl": ".csv", "primeintellect": ".jsonl"}.get(form, ".json")
    path = tmp_path / f"list{suffix}"
    path.write_bytes(BROKEN[how])
    try:
        receipts = import_list(tmp_path / "s", path, form=form)
    except RackrateError as error:
        assert error.code == "import-rejected"  # noqa: PT017 - rejecting line by line is right as well
        assert not (tmp_path / "s").exists()
    else:
        assert [receipt.n_published for receipt in receipts] == [0]
        assert receipts[0].n_rejected == receipts[0].n_read >= 1


@pytest.mark.parametrize("form", FORMATS)
def test_a_missing_path_and_an_empty_folder_are_rejected(tmp_path: Path, form: str) -> None:
    (tmp_path / "none").mkdir()
    for path in (tmp_path / "missing", tmp_path / "none"):
        with pytest.raises(ImportRejected):
            import_list(tmp_path / "s", path, form=form)
    assert not (tmp_path / "s").exists()


@pytest.mark.parametrize(
    "content",
    [b"", b"no gzip", gzip.compress(b"{}" * 999, mtime=0)[:-9], b"\x1f\x8b\x08\x00junk"],
    ids=["empty", "text", "cut", "junk"],
)
def test_a_broken_gzip_is_rejected(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "a.jsonl.gz"
    path.write_bytes(content)
    with pytest.raises(ImportRejected):
        import_list(tmp_path / "s", path, form="primeintellect")


ANY_JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.sampled_from([10**400, -1, 2**31, 2**63, 1e308, float("nan"), float("inf"), "1e999", "\ud800", "\0"])
    | st.floats()
    | st.text(st.characters()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
FUZZ = settings(max_examples=10, suppress_health_check=[HealthCheck.function_scoped_fixture])


def check_fuzz(tmp_path: Path, name: str, content: str, form: str, n: int | None) -> None:
    path = tmp_path / name
    path.write_text(content, encoding="utf-8")
    shutil.rmtree(tmp_path / "fuzz", ignore_errors=True)
    try:
        receipts = import_list(tmp_path / "fuzz", path, form=form)
    except RackrateError:
        return
    for receipt in receipts:
        assert receipt.n_read == receipt.n_published + receipt.n_rejected
        assert n is None or receipt.n_read == n


@FUZZ
@given(st.lists(st.tuples(st.sampled_from(sorted(OFFER)), ANY_JSON), min_size=1, max_size=30))
def test_any_value_in_any_field_of_gpurentalprices(tmp_path: Path, changes: list[tuple[str, Any]]) -> None:
    listed = [OFFER | {name: value} for name, value in changes]
    document = {"generated_at": "2026-08-22T06:21:55Z", "offers": listed}
    check_fuzz(tmp_path, "a.json", json.dumps(document), "gpurentalprices", len(changes))


@FUZZ
@given(st.lists(st.tuples(st.sampled_from(sorted(TARDELLIRS)), ANY_JSON), min_size=1, max_size=30))
def test_any_value_in_any_field_of_tardellirs(tmp_path: Path, changes: list[tuple[str, Any]]) -> None:
    listed = [TARDELLIRS | {name: value} for name, value in changes]
    check_fuzz(tmp_path, "offerings.json", json.dumps(listed), "tardellirs", len(changes))


@FUZZ
@given(st.lists(st.tuples(st.sampled_from(sorted(AWS)), ANY_JSON), min_size=1, max_size=30), ANY_JSON)
def test_any_value_in_any_field_of_aws(tmp_path: Path, changes: list[tuple[str, Any]], price: Any) -> None:
    listed = [AWS | {name: value} for name, value in changes] + [AWS | {"pricing": {"x": price, "y": AWS}}]
    check_fuzz(tmp_path, "a.json", json.dumps(listed), "aws", None)


@FUZZ
@given(st.lists(st.tuples(st.sampled_from(sorted(PRIME)), ANY_JSON), min_size=1, max_size=30))
def test_any_value_in_any_field_of_primeintellect(tmp_path: Path, changes: list[tuple[str, Any]]) -> None:
    lines = [json.dumps(PRIME | {name: value}) for name, value in changes]
    check_fuzz(tmp_path, "a.jsonl", "\n".join(lines), "primeintellect", None)


@FUZZ
@given(st.dictionaries(st.text(max_size=12) | st.just("2024-01-01"), ANY_JSON, min_size=1), ANY_JSON)
def test_any_price_of_a_card(tmp_path: Path, prices: dict[str, Any], name: Any) -> None:
    check_fuzz(tmp_path, "a.json", json.dumps({"gpu_name": name, "prices": prices}), "purchase", len(prices))


@FUZZ
@given(
    st.lists(st.lists(st.text(st.characters(exclude_categories=["Cs"])), min_size=9, max_size=9), min_size=1)
)
def test_any_text_in_a_catalogue(tmp_path: Path, rows: list[list[str]]) -> None:
    quoted = [",".join('"' + cell.replace('"', '""') + '"' for cell in row) for row in rows]
    head = SKYPILOT.splitlines()[0]
    check_fuzz(tmp_path, "vast.csv", "\r\n".join([head, *quoted]), "skypilot", None)
