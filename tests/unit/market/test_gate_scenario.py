"""Sixty days of a list with every fault that we know of, against an index that we know to be true.

Twelve providers sell three GPUs by ones, twos, fours and eights. Prices follow a path that the test
makes; the list then gets its faults, and what the gate leaves must give the true index within 1 % on
every day. What is true is worked out here: where all prices follow one path, it is that path; where
providers also move by themselves, it is the index by its definition over the rows without a fault.
"""

from __future__ import annotations

import csv
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from statistics import median
from typing import Any

import duckdb
import pytest

from rackrate.market import stats
from rackrate.market.ingest import import_list
from rackrate.market.offer import Kind
from rackrate.market.store import Store

START = date(2026, 5, 1)
N_DAYS = 60
USUAL = {"L40S": 1.5, "H100 SXM": 2.6, "L4": 0.7}
SLUGS = {"L40S": "l40s", "H100 SXM": "h100-sxm", "L4": "l4"}
VRAM = {"L40S": 48, "H100 SXM": 80, "L4": 24}
SWITCHES, CENTS, SHRINKS, GLITCHES, MOCKS, MIB = 20, 28, 35, 45, 50, 10
EURO = ("p2", "p7")
COLUMNS = ("day", "provider", "gpu", "count", "vram", "price", "currency", "notes", "n")

Key = tuple[int, str, str, int]


def usd_for_euro(n: int) -> float:
    return 1.10 + 0.10 * n / N_DAYS


def is_there(provider: str, n: int) -> bool:
    """Providers enter (p10) and leave (p11), and one is away for a while (p9)."""
    away = {"p9": range(22, 27), "p10": range(15), "p11": range(40, N_DAYS)}
    return n not in away.get(provider, ())


def sizes(provider: str) -> tuple[int, ...]:
    return {"p4": (2, 4, 8), "p6": (8,), "p8": (1, 2)}.get(provider, (1, 2, 4, 8))


def path(n: int) -> float:
    """Return what all prices follow: they fall slowly, and by 6 % at once in the middle."""
    return (1 - 0.002 * n) * (0.94 if n >= 30 else 1)


def true_prices(seed: int) -> dict[Key, float]:
    """Return the price per GPU-hour, in the provider's currency, by day, provider, GPU and count.

    With seed 0 all follow one path; with another, some move by themselves and those in EUR stay.
    """
    rng = random.Random(seed)  # noqa: S311 - the same on every run
    premium = {f"p{i}": 0.75 + 0.06 * i for i in range(12)}
    prices = {}
    for n in range(N_DAYS):
        for provider in premium:
            if seed and rng.random() < 0.02:
                premium[provider] *= rng.choice((0.93, 0.97, 1.04))
        for provider, factor in premium.items():
            if is_there(provider, n):
                moves = 1.0 if seed and provider in EURO else path(n)
                for gpu, usual in USUAL.items():
                    for count in sizes(provider):
                        bundle = 1 - 0.01 * count
                        prices[n, provider, gpu, count] = round(usual * factor * moves * bundle, 4)
    return prices


def is_glitch(key: Key) -> bool:
    return (key[0], key[1], key[3]) == (GLITCHES, "p5", 2) and key[2] != "L4"


def is_sound(key: Key) -> bool:
    """Tell whether the list states this price as it is: what a gate can leave at best."""
    n, provider, _, count = key
    of_faulty_day = n == SHRINKS or (n, provider) == (CENTS, "p3")
    return not of_faulty_day and (n >= SWITCHES or count == 1) and not is_glitch(key)


def true_index(prices: dict[Key, float], gpu: str) -> dict[int, float]:
    """Return the matched-panel index by its definition, 100 on the first day, over the sound rows."""
    sound = {key: usd for key, usd in prices.items() if is_sound(key) and key[2] == gpu}
    days = [n for n in range(N_DAYS) if n != SHRINKS]
    index = {0: 100.0}
    for before, n in pairwise(days):
        olds, news = [], []
        for provider in sorted({p for day, p, _, _ in sound if day == n}):
            both = [
                c for c in sizes(provider) if {(n, provider, gpu, c), (before, provider, gpu, c)} <= {*sound}
            ]
            in_usd = usd_for_euro(n) if provider in EURO else 1.0
            if both:
                olds.append(in_usd * min(sound[before, provider, gpu, c] for c in both))
                news.append(in_usd * min(sound[n, provider, gpu, c] for c in both))
        index[n] = index[before] * median(news) / median(olds)
    return index


def faulty(prices: dict[Key, float]) -> Iterator[dict[str, Any]]:
    for (n, provider, gpu, count), usd in prices.items():
        if n == SHRINKS and provider not in ("p0", "p1", "p3"):
            continue
        row = {
            "day": (START + timedelta(days=n)).isoformat(),
            "provider": provider,
            "gpu": gpu,
            "count": count,
            "vram": VRAM[gpu] * (1024 if n >= MIB else 1),
            "price": usd,
            "currency": "EUR" if provider in EURO else "USD",
            "notes": "",
            "n": n,
        }
        if n < SWITCHES:
            row["price"] = usd * count
        if n == CENTS and provider == "p3":
            row["price"] = usd * 100
        if is_glitch((n, provider, gpu, count)):
            row["price"] = 0.5
        yield row
        if n == MOCKS and provider == "p1" and count == 1:
            yield row | {"provider": "p12", "price": usd / 4, "notes": "mock"}


@pytest.fixture(scope="module", params=[0, 1], ids=["one-path", "each-its-own"])
def scenario(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> tuple[int, dict[Key, float], Path, Any]:
    tmp = tmp_path_factory.mktemp("scenario")
    prices = true_prices(request.param)
    with (tmp / "list.csv").open("w", newline="") as out:
        writer = csv.DictWriter(out, COLUMNS)
        writer.writeheader()
        writer.writerows(faulty(prices))
    days = (START + timedelta(days=n) for n in range(N_DAYS))
    fx = ", ".join(f'["{day}", {usd_for_euro(n)}]' for n, day in enumerate(days))
    (tmp / "mapping.toml").write_text(
        'source = "acme"\n[columns]\nprovider = "provider"\ngpu = "gpu"\ngpu_count = "count"\n'
        'vram = { from = "vram", unit = "GiB" }\nnotes = "notes"\nat = "day"\n'
        '[[price]]\nfrom = "price"\nper = "gpu"\ncurrency = { from = "currency" }\n'
        f"[fx]\nEUR = [{fx}]\n"
    )
    (receipt,) = import_list(tmp / "store", tmp / "list.csv", mapping=tmp / "mapping.toml")
    return request.param, prices, tmp / "store", receipt


def rows(folder: Path, where: str) -> list[tuple[Any, ...]]:
    columns = "provider, gpu, gpu_count, is_counted, flags"
    path = str(folder / "offers-*.parquet")
    sql = f"SELECT {columns} FROM read_parquet(?) WHERE {where}"  # noqa: S608
    with duckdb.connect() as con:
        return con.execute(sql, [path]).fetchall()


def on_day(n: int) -> str:
    return f"snapshot_at = DATE '{START + timedelta(days=n)}'"


def history(folder: Path, gpu: str) -> dict[int, stats.HistoryDay]:
    store = Store.open(folder, folder)
    found = store.prices_by_day(gpu, Kind.ON_DEMAND, START, START + timedelta(days=N_DAYS))
    return {(d.day - START).days: d for d in stats.history(stats.group_days(Kind.ON_DEMAND, found))}


@pytest.mark.parametrize("gpu", USUAL)
def test_the_index_stays_within_one_percent_of_the_true_one_on_every_day(scenario: Any, gpu: str) -> None:
    seed, prices, folder, _ = scenario
    true = true_index(prices, gpu) if seed else {n: 100 * path(n) for n in range(N_DAYS)}
    found = history(folder, SLUGS[gpu])
    assert sorted(found) == [n for n in range(N_DAYS) if n != SHRINKS]
    off = {n: round(day.index / true[n] - 1, 4) for n, day in found.items()}
    assert {n: share for n, share in off.items() if abs(share) > 0.01} == {}


def test_no_row_is_lost(scenario: Any) -> None:
    _, prices, _, receipt = scenario
    assert receipt.n_read == len(list(faulty(prices)))
    assert receipt.n_read == receipt.n_published + receipt.n_rejected


def test_totals_before_the_switch_are_held_and_prices_per_gpu_after_it_are_counted(scenario: Any) -> None:
    _, _, folder, _ = scenario
    switched_at = f"TIMESTAMP '{START + timedelta(days=SWITCHES)}'"
    before = rows(folder, f"snapshot_at < {switched_at} AND gpu_count > 1")
    assert {row[3] for row in before} == {False}
    assert {row[3] for row in rows(folder, f"snapshot_at < {switched_at} AND gpu_count = 1")} == {True}
    after = rows(folder, f"snapshot_at >= {switched_at} AND list_contains(flags, 'total_as_per_gpu')")
    assert after == []


def test_the_day_in_cents_is_rejected_and_the_next_day_counts_again(scenario: Any) -> None:
    _, prices, folder, receipt = scenario
    n_cents = len([key for key in prices if key[:2] == (CENTS, "p3")])
    assert receipt.rules["unit"] == n_cents
    assert rows(folder, f"{on_day(CENTS)} AND provider = 'p3'") == []
    assert {row[3] for row in rows(folder, f"{on_day(CENTS + 1)} AND provider = 'p3'")} == {True}


def test_memory_in_mib_is_told_and_the_nominal_used(scenario: Any) -> None:
    _, prices, _, receipt = scenario
    lost = len([key for key in prices if key[0] == SHRINKS])  # most of that day is not in the list
    in_mib = [key for key in prices if key[0] >= MIB and key[0] != SHRINKS and key[:2] != (CENTS, "p3")]
    assert len(in_mib) <= receipt.rules["vram_unit"] <= len(in_mib) + lost


def test_the_day_of_three_providers_is_in_no_statistic(scenario: Any) -> None:
    _, _, folder, _ = scenario
    assert {row[3] for row in rows(folder, on_day(SHRINKS))} == {False}
    assert SHRINKS not in history(folder, "l40s")


def test_entering_and_leaving_is_told(scenario: Any) -> None:
    _, _, folder, _ = scenario
    days = history(folder, "h100-sxm")
    assert days[15].entered == ("p10",)
    assert days[22].left == ("p9",)
    assert days[27].entered == ("p9",)
    assert days[40].left == ("p11",)


def test_the_glitch_is_in_no_statistic_and_the_next_day_counts(scenario: Any) -> None:
    _, _, folder, _ = scenario
    of_p5 = "provider = 'p5' AND gpu_count = 2 AND gpu <> 'l4'"
    day = rows(folder, f"{on_day(GLITCHES)} AND {of_p5}")
    assert [(row[3], "jump" in row[4]) for row in day] == [(False, True)] * 2
    assert {row[3] for row in rows(folder, f"{on_day(GLITCHES + 1)} AND {of_p5}")} == {True}


def test_the_made_up_rows_are_rejected(scenario: Any) -> None:
    _, _, folder, receipt = scenario
    assert receipt.rules["synthetic"] == len(USUAL)
    assert rows(folder, "provider = 'p12'") == []


def test_importing_day_by_day_gives_the_same_index_after_the_switch(tmp_path: Path) -> None:
    """A list that is fetched daily is judged by two days of context, not by all sixty."""
    prices = true_prices(1)
    (tmp_path / "mapping.toml").write_text(
        'source = "acme"\n[columns]\nprovider = "provider"\ngpu = "gpu"\ngpu_count = "count"\nat = "day"\n'
        '[[price]]\nfrom = "price"\n'
    )
    listed = [row for row in faulty(prices) if row["currency"] == "USD" and row["n"] in range(43, 47)]
    whole, daily = tmp_path / "whole", tmp_path / "daily"
    for n in [None, *range(43, 47)]:
        path = tmp_path / f"list-{n}.csv"
        with path.open("w", newline="") as out:
            writer = csv.DictWriter(out, COLUMNS)
            writer.writeheader()
            writer.writerows(row for row in listed if n in (None, row["n"]))
        import_list(whole if n is None else daily, path, mapping=tmp_path / "mapping.toml")
    bulk, stepwise = history(whole, "l40s"), history(daily, "l40s")
    assert bulk == stepwise
    assert len(bulk) == 4
    assert Store.open(daily, daily).newest == datetime(2026, 6, 16, tzinfo=UTC)
