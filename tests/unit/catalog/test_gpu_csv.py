"""Nothing of the research table was lost or changed on its way into the catalog."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest

from rackrate.catalog.aliases import match_gpu
from rackrate.catalog.gpu import Gpu, load_gpu
from rackrate.catalog.load import sources

# Column -> fact, where the name changed.
RENAMED = {
    "memory_gb": "memory_gib",
    "bandwidth_gb_s": "bandwidth_gb_per_s",
    "int8_tops": "int8_tensor_tops",
    "nvlink_gb_s": "nvlink_gb_per_s",
    "mamf_bf16_tflops": "measured_matmul_bf16_tflops",
}
PLAIN = {"name", "vendor", "architecture", "chip"}
NOT_FACTS = {
    *("key", "notes", "flops_confidence", "flops_source", "media_confidence"),
    *("msrp_source", "street_source"),
}


def _stated(gpu: Gpu, column: str) -> Any:
    if column in PLAIN:
        return getattr(gpu, column)
    if column == "memory_seen_mib":
        return round((gpu.memory_visible_gib.value or 0) * 1024)
    fact = getattr(gpu, RENAMED.get(column, column))
    return "; ".join(fact.value or ()) if column == "graphics_apis" else fact.value


@pytest.fixture(scope="module")
def rows(shared: Path) -> list[dict[str, str]]:
    with (shared / "data/gpus.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def test_every_key_is_an_alias_of_one_gpu(rows: list[dict[str, str]]) -> None:
    slugs = [match_gpu(row["key"]).slug for row in rows]
    assert len(set(slugs)) == len(rows) == 85
    assert all(slug and load_gpu(slug).name == row["name"] for slug, row in zip(slugs, rows, strict=True))


def test_every_cell_is_in_the_catalog(rows: list[dict[str, str]]) -> None:
    lost = []
    for row in rows:
        gpu = load_gpu(match_gpu(row["key"]).slug or "")
        for column, cell in row.items():
            if column in NOT_FACTS:
                continue
            stated = _stated(gpu, column)
            same = float(cell) == stated if isinstance(stated, float | int) and cell else cell == stated
            if cell and not same:
                lost.append((row["key"], column, cell, stated))
            if not cell and column not in PLAIN and stated:
                lost.append((row["key"], column, "blank", stated))
    assert lost == []


def test_confidence_is_as_the_table_has_it(rows: list[dict[str, str]]) -> None:
    wrong = []
    for row in rows:
        gpu = load_gpu(match_gpu(row["key"]).slug or "")
        known = {sources()[source].confidence for source in gpu.flops_sources}
        if row["flops_confidence"] not in known:
            wrong.append((row["key"], row["flops_confidence"], known))
    assert wrong == []
