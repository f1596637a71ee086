"""The numbers that are printed, made again by hand from other numbers that are printed."""

from __future__ import annotations

from collections import defaultdict
from datetime import datetime, timedelta
from importlib.resources import files
from statistics import median
from typing import Any

import duckdb
import pytest

EVERYTHING = ("offers", "--kind", "any", "--max-age", "any", "--limit", "0", "--json")
SAMPLE = str(files("rackrate.market") / "data" / "sample" / "offers-*.parquet")
CURRENT = f"""(SELECT * FROM read_parquet('{SAMPLE}') WHERE is_last
    QUALIFY snapshot_at = max(snapshot_at) OVER (PARTITION BY source))"""  # noqa: S608 - a path of ours


def counted(cli: Any, gpu: str, kind: str) -> dict[str, float]:
    """Return each provider's cheapest price that statistics may use, from the list of offers."""
    found = cli(*EVERYTHING, "--gpu", gpu).json
    edge = datetime.fromisoformat(found["meta"]["as_of"]) - timedelta(hours=72)
    prices: dict[str, list[float]] = defaultdict(list)
    for row in found["data"]:
        is_fresh = row["observed_at"] and datetime.fromisoformat(row["observed_at"]) >= edge
        if row["is_counted"] and is_fresh and row["kind"] == kind:
            prices[row["provider"]].append(row["usd_per_gpu_hour"])
    return {provider: min(of) for provider, of in prices.items()}


@pytest.mark.parametrize(
    ("gpu", "kind"), [("l40s", "on_demand"), ("h100-sxm", "spot"), ("rtx-4090", "on_demand")]
)
def test_the_spread_is_that_of_the_offers(gpu: str, kind: str, cli: Any) -> None:
    prices = counted(cli, gpu, kind)
    spread = cli("price", gpu, "--kind", kind, "--json").json["spread"]
    low, high = min(prices.values()), max(prices.values())
    assert spread["by_provider_usd_per_gpu_hour"] == prices
    assert spread["n"] == len(prices)
    assert spread["median_usd_per_gpu_hour"] == pytest.approx(median(prices.values()))
    assert spread["cheapest"]["usd_per_gpu_hour"] == low
    assert spread["dearest"]["usd_per_gpu_hour"] == high
    assert spread["cheaper_frac"] == pytest.approx(1 - low / high)
    assert list(spread["by_provider_usd_per_gpu_hour"].values()) == sorted(prices.values())


@pytest.mark.parametrize(("more", "hours"), [((), 730), (("--hours-per-month", "720"), 720)])
def test_rents_are_a_day_of_24_a_week_of_168_and_the_month_that_is_printed(
    more: tuple[str, ...], hours: int, cli: Any
) -> None:
    found = cli("price", "l40s", *more, "--json").json
    usd = found["spread"]["cheapest"]["usd_per_gpu_hour"]
    assert found["meta"]["hours_per_month"] == hours
    assert found["spread"]["cheapest_usd"] == pytest.approx(
        {"hour": usd, "day": usd * 24, "week": usd * 168, "month": usd * hours}
    )
    text = cli("price", "l40s", *more).out
    assert f"a month {hours} h" in text
    assert f"{usd * 24:,.2f}" in text
    assert f"{usd * hours:,.0f}" in text


def test_the_month_can_be_set_for_good(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RACKRATE_HOURS_PER_MONTH", "720")
    row = cli("offers", "--gpu", "l40s", "--limit", "1", "--json").json["data"][0]
    assert row["usd_per_month"] == pytest.approx(row["usd_per_hour"] * 720)
    flagged = cli("offers", "--gpu", "l40s", "--limit", "1", "--hours-per-month", "744", "--json").json
    assert flagged["meta"]["hours_per_month"] == 744


def test_the_words_say_the_percentage_that_the_prices_have(cli: Any) -> None:
    spread = cli("price", "l40s", "--json").json["spread"]
    cheaper = 1 - spread["cheapest"]["usd_per_gpu_hour"] / spread["dearest"]["usd_per_gpu_hour"]
    says = f"{spread['cheapest']['provider']} asks {cheaper:.0%} less than {spread['dearest']['provider']}"
    assert says in cli("price", "l40s").out


def test_ratios_of_a_comparison_are_its_figures_divided(cli: Any) -> None:
    for row in cli("gpus", "compare", "l40s", "a10", "h100-sxm", "rtx-4090", "--json").json["data"]:
        usd = row["median_usd_per_gpu_hour"]
        assert usd == pytest.approx(median(counted(cli, row["gpu"], "on_demand").values()))
        assert row["fp16_tflops_per_usd_hour"] == pytest.approx(row["fp16_dense_tflops"] / usd)
        assert row["memory_gib_per_usd_hour"] == pytest.approx(row["memory_gib"] / usd)
        assert row["bandwidth_gb_per_s_per_usd_hour"] == pytest.approx(row["bandwidth_gb_per_s"] / usd)
        assert row["fp16_tflops_per_w"] == pytest.approx(row["fp16_dense_tflops"] / row["tdp_w"])


@pytest.mark.parametrize("gpu", ["l40s", "h100-sxm", "rtx-4090"])
def test_the_history_is_that_of_the_files_and_its_index_chains_like_with_like(gpu: str, cli: Any) -> None:
    rows = duckdb.execute(
        f"""SELECT snapshot_at::DATE::VARCHAR, provider, series, min(usd_per_gpu_hour)
        FROM read_parquet('{SAMPLE}') WHERE source = 'gpurentalprices' AND gpu = ? AND kind = 'on_demand'
        AND is_counted GROUP BY ALL ORDER BY ALL""",  # noqa: S608 - a path of ours
        [gpu],
    ).fetchall()
    days: dict[str, dict[str, dict[str, float]]] = defaultdict(lambda: defaultdict(dict))
    for day, provider, series, usd in rows:
        days[day][provider][series] = usd
    found = cli("price", gpu, "--history", "1y", "--json").json["history"]
    assert [row["day"] for row in found] == sorted(days)
    index, before = 100.0, None
    for row in found:
        today = days[row["day"]]
        prices = [min(of.values()) for of in today.values()]
        assert row["median_usd_per_gpu_hour"] == pytest.approx(median(prices))
        assert (row["low_usd_per_gpu_hour"], row["high_usd_per_gpu_hour"]) == (min(prices), max(prices))
        if before is not None:
            both = {who: before[who].keys() & today[who].keys() for who in before.keys() & today.keys()}
            both = {who: common for who, common in both.items() if common}
            old = [min(before[who][s] for s in common) for who, common in both.items()]
            new = [min(today[who][s] for s in common) for who, common in both.items()]
            index *= median(new) / median(old) if both else 1
            assert row["n_matched"] == len(both)
            assert row["entered"] == sorted(today.keys() - before.keys())
            assert row["left"] == sorted(before.keys() - today.keys())
        assert row["index"] == pytest.approx(index)
        before = today


def test_shown_and_hidden_together_are_all_rows_of_the_files(cli: Any) -> None:
    of_kind = dict(
        duckdb.execute(f"SELECT kind, count(*) FROM {CURRENT} WHERE gpu = 'l40s' GROUP BY kind").fetchall()  # noqa: S608
    )
    meta = cli("offers", "--gpu", "l40s", "--json").json["meta"]
    assert meta["n_matching"] + sum(meta["hidden"].values()) == sum(of_kind.values())
    assert meta["n_matching"] == of_kind.pop("on_demand")
    assert meta["hidden"] == of_kind
    text = cli("offers", "--gpu", "l40s").out
    assert all(f"{n} {kind}" in text for kind, n in of_kind.items())
    assert f"{meta['n_matching'] - 20} more match" in text


def test_too_old_offers_are_hidden_and_counted(cli: Any) -> None:
    meta = cli("offers", "--kind", "any", "--max-age", "24h", "--json").json["meta"]
    old, n = duckdb.execute(
        f"""WITH edge AS (SELECT max(snapshot_at) - INTERVAL 24 HOUR AS at_ FROM {CURRENT}
        WHERE source = 'gpurentalprices')
        SELECT count(*) FILTER (coalesce(observed_at < (SELECT at_ FROM edge), true)), count(*)
        FROM {CURRENT}"""  # noqa: S608
    ).fetchall()[0]
    assert meta["hidden"] == {"older than 24 h or undated": old}
    assert meta["n_matching"] + old == n


def test_providers_and_gpus_for_rent_are_those_of_the_offers(cli: Any) -> None:
    listed = {row["gpu"]: row for row in cli("gpus", "list", "--json").json["data"]}
    for gpu in ("l40s", "a10", "mi300x"):
        prices = counted(cli, gpu, "on_demand")
        assert listed[gpu]["n_providers"] == len(prices)
        assert listed[gpu]["low_usd_per_gpu_hour"] == min(prices.values())
    assert listed["a10g"]["n_providers"] == 0
    assert listed["a10g"]["low_usd_per_gpu_hour"] is None


def test_as_of_an_earlier_day_nothing_later_is_told(cli: Any) -> None:
    then = cli("price", "l40s", "--as-of", "2026-07-20", "--history", "10d", "--json").json
    now = cli("price", "l40s", "--history", "1y", "--json").json
    of_day = {row["day"]: row for row in now["history"]}
    assert then["history"][-1]["day"] == then["spread"]["day"] == "2026-07-20"
    assert then["spread"]["median_usd_per_gpu_hour"] == of_day["2026-07-20"]["median_usd_per_gpu_hour"]
    assert len(then["history"]) == 11
