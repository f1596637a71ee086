"""The fit of the media factors: what it reads, that it finds a factor again, what it says of its errors."""

from __future__ import annotations

import csv
import math
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from rackrate.perf.cases import COLUMNS, PerfCase
from rackrate.perf.factors import Factors, load_factors
from rackrate.perf.predict_media import predict_media

BENCH = Path(__file__).resolve().parents[2] / "bench"
MEDIA = load_factors("media")


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    """Import bench/fit_media.py as its users run it, where SciPy is installed."""
    pytest.importorskip("scipy")
    sys.path.insert(0, str(BENCH))
    try:
        import fit_media  # noqa: PLC0415 - only here is its folder on the path

        yield fit_media
    finally:
        sys.path.remove(str(BENCH))


def case(gpu: str = "h100-sxm", **changes: object) -> PerfCase:
    plain = PerfCase(
        id="1", workload="diffusion", model="sdxl-1.0-base", precision="fp8/int8", engine="TensorRT (MLPerf)",
        gpu=gpu, gpu_count=8, nodes=1, parallel="", load="offline", input_tokens=None, output_tokens=None,
        metric="samples_per_s", value=1.0, unit="images/s", extra="1024x1024;20 steps;CFG", quality="ok",
        source="s", licence="", group=gpu,
    )  # fmt: skip
    return replace(plain, **changes)  # type: ignore[arg-type]


def measured(gpu: str, factors: Factors) -> PerfCase:
    return case(gpu, value=predict_media(case(gpu), factors).value)


def write(path: Path, *rows: dict[str, str]) -> Path:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return path


def test_only_trusted_rows_of_our_workloads_are_read(bench: ModuleType, tmp_path: Path) -> None:
    row = dict.fromkeys(COLUMNS, "") | {
        "metric": "samples_per_s",
        "value": "2",
        "gpu": "l40s",
        "quality": "ok",
    }
    path = write(
        tmp_path / "cases.csv",
        row | {"workload": "diffusion"},
        row | {"workload": "diffusion", "quality": "suspect: typo"},
        row | {"workload": "llm_decode"},
        row | {"workload": "gemm", "metric": "kernel_time_us"},
    )
    assert [found.case.workload for found in bench.read_cases(path)] == ["diffusion"]


def test_our_measurements_become_cases_without_what_the_host_slowed(
    bench: ModuleType, tmp_path: Path
) -> None:
    row = {"id": "9", "workload": "embedding", "model": "bert-base", "precision": "fp16", "batch": "32"}
    row |= {"input_tokens": "128", "gpus": "1", "quantity": "forward_ms", "value": "5", "notes": "eager"}
    row |= {"gpu": "NVIDIA H200", "case": "c9", "host_bound": "no"}
    training = {"workload": "training", "quantity": "train_samples_per_s", "host_bound": "yes"}
    path = write(
        tmp_path / "own.csv",
        row,
        row | {"host_bound": "yes"},
        row | training,
        row | training | {"notes": "torch DDP, peer access off"},
        row | {"quantity": "peak_alloc_gib"},
    )
    found = [one.case for one in bench.read_measurements(path)]
    assert [one.workload for one in found] == ["encoder", "bert_ft"]
    assert found[0].gpu == "h200-sxm"
    assert found[0].unit == "ms"


def test_a_fit_moves_towards_what_made_the_cases(bench: ModuleType) -> None:
    """Cases made with half the usual share of the peak: most of the way there after one fit."""
    start = Factors(bench.table_of([], []))
    slow = {name: dict(row) for name, row in start.values.items()}
    slow["reach"]["diffusion in 8 bit"] /= 2
    rows = [bench.Row(measured(gpu, Factors(slow)), "x") for gpu in ("h100-sxm", "l40s", "l4", "h200-sxm")]
    before = [abs(bench.error_of(row, start)) for row in rows]
    after = [abs(bench.error_of(row, Factors(bench.fit(rows)))) for row in rows]
    assert min(before) > 0.2
    assert max(after) < 0.4 * min(before)


def test_a_wild_case_is_damped_and_a_single_one_moves_little(bench: ModuleType) -> None:
    start = Factors(bench.table_of([], []))
    rows = [bench.Row(measured(gpu, start), "x") for gpu in ("h100-sxm", "l40s", "l4", "h200-sxm")]
    wild = replace(rows[0].case, value=rows[0].case.value * 10, group="wild")
    table = Factors(bench.fit([*rows, bench.Row(wild, "x")]))
    assert all(abs(bench.error_of(row, table)) < 0.4 for row in rows)


def test_rows_of_one_run_share_part_of_their_weight(bench: ModuleType) -> None:
    rows = [bench.Row(case("l4"), "x")] * 16 + [bench.Row(case("l40s"), "x")]
    assert list(bench.weights_of(rows)) == [0.5] * 16 + [1.0]


def test_nothing_is_judged_by_what_saw_it(bench: ModuleType) -> None:
    rows = [bench.Row(measured(gpu, MEDIA), "x") for gpu in ("h100-sxm", "l40s", "l4")]
    rows.append(bench.Row(case("h100-sxm-80", group="other", value=5.0), "x"))
    assert bench.key_of(rows[3], "gpu") == bench.key_of(rows[0], "gpu")
    misses = bench.held_out(rows, "gpu")
    assert len(misses) == 4
    assert len({miss.lot for miss in misses}) == 3


def test_ranges_hold_four_in_five_and_are_judged_on_other_lots(bench: ModuleType) -> None:
    row = bench.Row(case(), "x")
    misses = [bench.Miss(row, lot, 0.01 * lot) for lot in range(1, 20)]
    width = bench.widths_of(misses)["diffusion"]
    assert 0.15 < math.log(width) < 0.17
    assert bench.coverage(misses)["diffusion"] == pytest.approx(0.8, abs=0.06)
    assert "| diffusion | 19 |" in bench.report(misses, "group", "x")
    assert "diffusion" not in bench.report(misses, "group", "another file")


def test_what_is_written_is_read_again_and_marks_what_was_assumed(bench: ModuleType) -> None:
    table = {"reach": {"all": 0.98765, "eager": 0.5, "tuned": 1.001, "two words": 2.0}}
    text = bench.written(table, {("reach", "all"), ("reach", "eager")}, "2026-01-02")
    assert tomllib.loads(text)["factors"]["reach"] == {"all": 0.9877, "eager": 0.5, "two words": 2.0}
    assert [line for line in text.splitlines() if "assumed" in line] == [
        '"two words" = 2  # assumed: no case speaks of it'
    ]


def test_the_bundled_table_has_every_factor_that_the_fit_knows(bench: ModuleType) -> None:
    assert set(MEDIA.values) == set(bench.PRIORS)
    assert MEDIA.date
    assert all(value > 0 for row in MEDIA.values.values() for value in row.values())
