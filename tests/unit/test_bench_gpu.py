"""The committed measurements of GPU memory, and the list of cases that makes them."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench" / "gpu"
RESULTS = sorted((BENCH / "results").glob("*-memory-*.csv"))
CARDS_GIB = {"NVIDIA H100 80GB HBM3": 79.65}  # what NVML reports as total
COLUMNS = (
    "id,workload,model,params_b,precision,quant_format,engine,gpu,gpu_count,batch,context,quantity,value,"
    "per,raw,source,note,config,settings,spread"
)


@pytest.fixture(scope="module", params=RESULTS, ids=lambda path: path.stem)
def rows(request: pytest.FixtureRequest) -> list[dict[str, str]]:
    with request.param.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.fixture
def on_path() -> Iterator[None]:
    sys.path.insert(0, str(BENCH))
    yield
    sys.path.remove(str(BENCH))


def peaks(rows: list[dict[str, str]], quantity: str) -> dict[str, float]:
    return {row["id"].partition(":")[0]: float(row["value"]) for row in rows if row["quantity"] == quantity}


def test_there_are_results() -> None:
    assert RESULTS


def test_rows_are_many_distinct_and_complete(rows: list[dict[str, str]]) -> None:
    ids = [row["id"] for row in rows]
    assert ",".join(rows[0]) == COLUMNS
    assert len(rows) >= 60
    assert len(set(ids)) == len(ids)
    assert len({name.partition(":")[0] for name in ids}) >= 45
    assert {"inference", "full_ft", "lora", "qlora", "context"} <= {row["workload"] for row in rows}
    for row in rows:
        assert json.loads(row["config"])["model_type"]
        assert json.loads(row["settings"])["seed"]
        assert row["id"].endswith(f":{row['quantity']}")


def test_every_value_is_gib_within_the_card(rows: list[dict[str, str]]) -> None:
    for row in rows:
        assert row["quantity"] == "oom" or row["quantity"].endswith("_gib")
        assert 0 < float(row["value"]) <= CARDS_GIB[row["gpu"]], row["id"]
        assert 0 <= float(row["spread"] or 0) < 3, row["id"]


def test_the_peaks_of_one_case_contain_each_other(rows: list[dict[str, str]]) -> None:
    reserved, device = peaks(rows, "peak_reserved_gib"), peaks(rows, "peak_device_gib")
    for name, allocated in peaks(rows, "peak_allocated_gib").items():
        assert allocated <= reserved[name] < device[name]
    for name, between in peaks(rows, "between_steps_gib").items():
        assert between < peaks(rows, "peak_allocated_gib")[name]


def test_raw_bytes_say_the_same_as_the_value(rows: list[dict[str, str]]) -> None:
    exact = [row for row in rows if row["raw"].endswith(" B")]
    assert len(exact) > len(rows) / 2
    for row in exact:
        assert int(row["raw"].removesuffix(" B")) / 2**30 == pytest.approx(float(row["value"]), abs=1e-6)


@pytest.mark.usefixtures("on_path")
def test_cases_have_names_of_their_own_and_known_models() -> None:
    import cases  # noqa: PLC0415 - only here is its folder on the path
    import shapes  # noqa: PLC0415

    every = cases.every()
    assert len({case.slug for case in every}) == len(every) > 200
    assert {case.model for case in every} <= set(shapes.MODELS)
    assert {case.workload for case in cases.quick()} == {case.workload for case in every}
    assert shapes.written({"hidden_size": 8, "layer_types": ["b", "a", "b"], "other": 1}) == {
        "hidden_size": 8,
        "layer_types": ["b", "a", "b"],
    }
