"""Every raw GPU name that the collected market data hold, with what it means.

`raw_names.csv` says what each means; it was first written by the code, then read line by line and
corrected. `vram` is GiB as the source states it, so mostly per GPU, sometimes a total or a slice;
`expected` is empty where the name says nothing that we know. Names that only Spare Cores has stand
in a file of their own: its data are CC BY-SA 4.0.
"""

from __future__ import annotations

import ast
import csv
import gzip
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from rackrate.catalog.aliases import match_gpu
from rackrate.catalog.gpu_table import gpu_table

# Secret chips of Alibaba Cloud, its own NPUs, FPGAs, a video card, vGPU slices, debris of parsers,
# and rows whose source names no GPU. None of them may be guessed.
UNKNOWN = {
    *("", "(32GB)", "(96GB)", "5090", "GPU-Type", "GA107", "Lovelace", "vGPU8"),
    *("G39", "G49", "G49E", "G59", "GPU A", "GPU H", "GPU H-e", "L20N", "VG1000"),
    *("A910E", "A910X", "A910Z", "ALINPU 800", "PPU 810"),
    *("AGF 027", "INTEL ARRIA 10 GX 1150", "Xilinx VU9p", "NETINT T408", "intel SG1"),
}


class Raw(NamedTuple):
    """A GPU as a source writes it."""

    raw: str
    sku: str
    provider: str
    vram: str
    form: str


def _slug(row: Raw) -> str:
    gib = float(row.vram) if row.vram else None
    match = match_gpu(row.raw, sku=row.sku, provider=row.provider, vram_gib=gib, form=row.form)
    return match.slug or ""


def _judged() -> list[tuple[Raw, str]]:
    judged = []
    for name in ("raw_names.csv", "raw_names_sparecores.csv"):
        with (Path(__file__).parent / name).open(newline="") as file:
            judged += [(Raw(*row[:5]), row[5]) for row in csv.reader(file) if row[0] != "raw"]
    return judged


def test_each_judged_name() -> None:
    wrong = {row: (got, slug) for row, slug in _judged() if (got := _slug(row)) != slug}
    assert wrong == {}


def test_exactly_these_names_stay_unknown() -> None:
    assert {row.raw for row, slug in _judged() if not slug} == UNKNOWN


def test_every_name_in_the_market_data_was_judged(shared: Path) -> None:
    judged: dict[tuple[str, str, str], set[str]] = {}
    for row, slug in _judged():
        judged.setdefault((row.raw, row.vram, row.form), set()).add(slug)
    seen = set(_market(shared / "data/market"))
    strange = {row for row in seen if _slug(row) not in judged.get((row.raw, row.vram, row.form), ())}
    assert strange == set()
    assert {(row.raw, row.vram, row.form) for row in seen} == judged.keys()
    assert len({row.raw for row in seen}) == 376


def test_every_rule_of_skus_has_a_judged_name() -> None:
    skus = {row.sku.replace(" ", "_") for row, _ in _judged()}
    idle = [pattern for pattern, _ in gpu_table().skus if not any(map(pattern.match, skus))]
    assert idle == []


@pytest.mark.parametrize(
    ("gpu", "vram", "slug"),
    [
        ("h100", 80, "h100"),
        ("h100-sxm", 80, "h100-sxm"),
        ("a100-pcie-80", 80, "a100-80gb-pcie"),
        ("h200-nvl", 143, "h200-nvl"),
        ("rtx-pro-6000-wk", 96, "rtx-pro-6000-ws"),
        ("v100-sxm2", 16, "v100-16gb-sxm"),
        ("quadro-rtx-5000", 16, "quadro-rtx-5000"),
        ("gh200", 96, "gh200-96gb"),
    ],
)
def test_ids_of_gpurentalprices(gpu: str, vram: float, slug: str) -> None:
    assert match_gpu(gpu, vram_gib=vram).slug == slug


def _raw(raw: Any, sku: str, provider: str, gib: float | None, form: str | None = "") -> Raw:
    vram = "" if gib is None else f"{gib:.4f}".rstrip("0").rstrip(".")
    return Raw(raw if isinstance(raw, str) else "", sku, provider, vram, form or "")


def _market(folder: Path) -> Iterator[Raw]:
    for source in (_rental, _sky, _tardellirs, _prime, _fsdl, _aws, _purchase, _spare, _eu):
        yield from source(folder)


def _rental(folder: Path) -> Iterator[Raw]:
    for path in folder.glob("gpurentalprices/snapshots/*.json"):
        day = json.loads(path.read_text())
        for row in day["offers"]:
            yield _raw(row["gpu"], "", row["provider"], row["vram_gb"])
        for row in day.get("meta", {}).get("unknown_skus", ()):
            yield _raw(row["name"], "", row["provider"], None)


def _sky(folder: Path) -> Iterator[Raw]:
    for path in folder.glob("skypilot_catalog/*.csv"):
        for row in csv.DictReader(path.read_text().splitlines()):
            if not row["AcceleratorName"]:
                continue
            gib = None
            if row["GpuInfo"]:
                info = ast.literal_eval(row["GpuInfo"].replace("null", "None"))
                gib = info["Gpus"][0]["MemoryInfo"]["SizeInMiB"] / 1024
            if gib and path.stem == "vast":  # this source states the total of the node
                gib /= float(row["AcceleratorCount"])
            sku = row.get("UpstreamCloudId") or row["InstanceType"]
            yield _raw(row["AcceleratorName"], sku, path.stem, gib)


def _tardellirs(folder: Path) -> Iterator[Raw]:
    for row in json.loads((folder / "tardellirs/offerings.json").read_text()):
        yield _raw(row["gpu_model"], "", row["provider_id"], row["vram_gb"], row["interconnect"])


def _prime(folder: Path) -> Iterator[Raw]:
    for path in folder.glob("primeintellect_history/*.gz"):
        with gzip.open(path, "rt") as lines:
            for row in map(json.loads, lines):
                yield _raw(row["gpu_type"], "", "primeintellect", None, row["socket_type"])


def _fsdl(folder: Path) -> Iterator[Raw]:
    for path in folder.glob("fsdl/*.csv"):
        for row in csv.DictReader(path.read_text().splitlines()):
            numbers = row["GPU RAM"], row["GPUs"]
            known = all(number and re.fullmatch(r"[\d.]+", number) for number in numbers)
            gib = float(numbers[0]) / float(numbers[1]) if known else None
            provider = row.get("Cloud") or row.get("Vendor") or ""
            yield _raw(row["GPU Type"], row.get("Name") or "", provider, gib)


def _aws(folder: Path) -> Iterator[Raw]:
    for row in json.loads((folder / "aws_gpu/all_gpu_instances.json").read_text()):
        size = re.match(r"\d+", row["gpuMemory"])
        yield _raw(row["gpu"], row["name"], "aws", float(size[0]) if size else None)


def _purchase(folder: Path) -> Iterator[Raw]:
    for path in folder.glob("purchase/*.json"):
        yield _raw(json.loads(path.read_text())["gpu_name"], "", "", None)


def _spare(folder: Path) -> Iterator[Raw]:
    with gzip.open(folder / "sparecores/gpu_servers.jsonl.gz", "rt") as lines:
        for row in map(json.loads, lines):
            mib = row["gpu_memory_min"]
            yield _raw(row["gpu_model"], row["name"], row["vendor_id"], mib and mib / 1024)


def _eu(folder: Path) -> Iterator[Raw]:
    with gzip.open(folder / "eu_cloud_prices/normalized.json.gz", "rt") as text:
        providers = json.load(text)["providers"]
    for slug, provider in providers.items():
        for row in provider["instances"]:
            if any(row.get(key) for key in ("gpu", "gpu_count", "gpu_model", "gpu_type")):
                name = row.get("gpu_model") or row.get("gpu_type") or row.get("gpu")
                yield _raw(name, row["id"], slug, row.get("gpu_memory_gb"))
