"""The benchmark's building blocks, on a market small enough for every test run."""

from __future__ import annotations

import sys
from pathlib import Path
from types import ModuleType

import pytest

BENCH = Path(__file__).resolve().parents[2] / "bench"
pytest.importorskip("gpuhunt")
pytestmark = [  # gpuhunt leaves the CSV files that it reads to the garbage collector
    pytest.mark.filterwarnings("ignore:unclosed file:ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]


@pytest.fixture(scope="module")
def bench() -> ModuleType:
    """Import bench/market.py as `make bench` does: its folder is on the path."""
    sys.path.insert(0, str(BENCH))
    try:
        import market  # noqa: PLC0415 - only here is its folder on the path
    finally:
        sys.path.remove(str(BENCH))
    return market


def test_both_tools_name_the_same_cheapest_prices(bench: ModuleType, tmp_path: Path) -> None:
    market = bench.build(tmp_path, bench.catalogue.rows(500))
    bench.check_same(market)
    assert [offer.usd_per_hour for offer in bench.ours(market, "usd_per_hour")] == pytest.approx(
        [item.price for item in bench.theirs(market)][: bench.LIMIT]
    )
    assert {item.gpu_name for item in bench.theirs(market)} == {"L40S"}


def test_other_prices_make_the_comparison_void(bench: ModuleType, tmp_path: Path) -> None:
    rows = bench.catalogue.rows(500)
    market = bench.build(tmp_path, rows)
    dearer = [row._replace(usd_per_hour=row.usd_per_hour * 1.01) for row in rows]
    (tmp_path / "other").mkdir()
    other = bench.build(tmp_path / "other", dearer)
    with pytest.raises(SystemExit, match="void"):
        bench.check_same(bench.Market(market.store, other.csv, other.loaded))


def test_a_smaller_market_is_the_beginning_of_a_larger_one(bench: ModuleType) -> None:
    assert bench.catalogue.rows(900)[:500] == bench.catalogue.rows(500)


def test_every_part_is_timed(bench: ModuleType, tmp_path: Path) -> None:
    rows = bench.catalogue.rows(500)
    steps = bench.stages(tmp_path, rows)
    assert list(steps) == ["read", "normalise", "gate", "write"]
    assert all(seconds >= 0 for seconds in steps.values())
    timings = bench.queries(bench.build(tmp_path, rows), 2)
    text = bench.report_queries(500, 40, timings)
    assert all(f"| {name} |" in text for name in timings)


def test_a_section_is_replaced_and_its_neighbours_kept(bench: ModuleType, tmp_path: Path) -> None:
    doc = tmp_path / "benchmarks.md"
    for name, text in (("market", "old"), ("fit", "its own"), ("market", "new \\1")):
        bench.write_section(name, text, doc)
    written = doc.read_text("utf-8")
    assert "old" not in written
    assert written.index("new \\1") < written.index("its own")
    assert written.startswith("# Benchmarks")
