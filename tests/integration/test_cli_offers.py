"""Each filter of `offers` keeps every row that satisfies it, and no other; each order is that order."""

from __future__ import annotations

import operator
from collections.abc import Callable, Iterator
from datetime import datetime, timedelta
from functools import cache
from importlib.resources import files
from itertools import pairwise
from typing import Any

import duckdb
import pytest

import rackrate
from rackrate.catalog.gpu import all_gpus
from rackrate.catalog.gpu_table import gpu_table

Row = dict[str, Any]
SAMPLE = str(files("rackrate.market") / "data" / "sample" / "offers-*.parquet")


def with_families(slugs: set[str]) -> set[str]:
    """Add the families all of whose members are there: an offer of one says no more."""
    return slugs | {family for family, members in gpu_table().families.items() if set(members) <= slugs}


NVLINK = with_families(
    {gpu.slug for gpu in all_gpus() if gpu.vendor == "NVIDIA" and (gpu.nvlink_gb_per_s.value or 0) > 0}
)
RENDERS = with_families({gpu.slug for gpu in all_gpus() if gpu.graphics_apis.value})
EU = {
    "AT", "BE", "BG", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GR", "HR", "HU", "IE", "IT",
    "LT", "LU", "LV", "MT", "NL", "PL", "PT", "RO", "SE", "SI", "SK",
}  # fmt: skip


@cache
def everything() -> tuple[Row, ...]:
    return tuple(offer.to_dict() for offer in rackrate.offers(kind="any", max_age="any"))


def keys(rows: Iterator[Row] | list[Row]) -> set[tuple[Any, ...]]:
    names = ("source", "origin", "line", "region", "sku", "kind", "term_months", "series", "usd_per_hour")
    return {tuple(row[name] for name in names) for row in rows}


def between(name: str, low: float = 0, high: float = 1e9) -> Callable[[Row], bool]:
    return lambda row: row[name] is not None and low <= row[name] <= high


FILTERS: dict[str, tuple[list[str], Callable[[Row], bool]]] = {
    "count": (["--count", "8"], between("gpu_count", 8, 8)),
    "count from": (["--count", "2.."], between("gpu_count", 2)),
    "count up to": (["--count", "..4"], between("gpu_count", 0, 4)),
    "count range": (["--count", "2..4"], between("gpu_count", 2, 4)),
    "vram": (["--vram", "40..80GB"], between("vram_gib", 40, 80)),
    "vram total": (
        ["--vram-total", "320.."],
        lambda row: row["vram_gib"] is not None and row["vram_gib"] * row["gpu_count"] >= 320,
    ),
    "kind": (["--kind", "spot"], lambda row: row["kind"] == "spot"),
    "kind in other letters": (["--kind", "On-Demand"], lambda row: row["kind"] == "on_demand"),
    "provider": (["--provider", "runpod"], lambda row: "runpod" in (row["provider"], row["seller"])),
    "provider by an alias": (
        ["--provider", "DataCrunch"],
        lambda row: "verda" in (row["provider"], row["seller"]),
    ),
    "providers": (
        ["--provider", "aws", "--provider", "nebius"],
        lambda row: bool({"aws", "nebius"} & {row["provider"], row["seller"]}),
    ),
    "country": (["--country", "fi"], lambda row: row["country"] == "FI"),
    "the EU": (["--country", "EU"], lambda row: row["country"] in EU),
    "EU and US": (["--country", "EU", "--country", "US"], lambda row: row["country"] in EU | {"US"}),
    "region": (["--region", "WEST"], lambda row: "west" in (row["region"] or "").lower()),
    "max price": (["--max-price", "0.95"], between("usd_per_gpu_hour", 0, 0.95)),
    "max price in dollars": (["--max-price", "$1"], between("usd_per_gpu_hour", 0, 1)),
    "max total": (["--max-total", "3"], between("usd_per_hour", 0, 3)),
    "vcpu": (["--vcpu", "16..64"], between("vcpu", 16, 64)),
    "ram": (["--ram", "64GiB.."], between("ram_gib", 64)),
    "disk": (["--disk", "500.."], between("disk_gib", 500)),
    "nvlink": (["--nvlink"], lambda row: row["gpu"] in NVLINK),
    "graphics": (["--graphics"], lambda row: row["gpu"] in RENDERS),
    "a GPU": (["--gpu", "NVIDIA L40S 48GB"], lambda row: row["gpu"] == "l40s"),
    "a GPU and a count": (["--gpu", "l40s:2"], lambda row: row["gpu"] == "l40s" and row["gpu_count"] == 2),
    "a family and a range": (
        ["--gpu", "h100:4..8"],
        lambda row: (row["gpu"] or "").startswith("h100") and 4 <= row["gpu_count"] <= 8,
    ),
    "a family": (["--gpu", "a100"], lambda row: (row["gpu"] or "").startswith("a100")),
    "two GPUs": (
        ["--gpu", "l40s:..2", "--gpu", "l4"],
        lambda row: (row["gpu"] == "l40s" and row["gpu_count"] <= 2) or row["gpu"] == "l4",
    ),
    "several conditions": (
        ["--vram", "80..", "--count", "8", "--max-price", "3", "--kind", "on_demand"],
        lambda row: (
            (row["vram_gib"] or 0) >= 80
            and row["gpu_count"] == 8
            and row["usd_per_gpu_hour"] <= 3
            and row["kind"] == "on_demand"
        ),
    ),
}


@pytest.mark.parametrize("name", sorted(FILTERS))
def test_a_filter_keeps_what_satisfies_it_and_nothing_else(name: str, cli: Any) -> None:
    asked, is_wanted = FILTERS[name]
    ran = cli("offers", "--kind", "any", "--max-age", "any", "--limit", "0", *asked, "--json")
    expected = keys(filter(is_wanted, everything()))
    assert ran.code == 0, ran.err
    assert keys(ran.json["data"]) == expected
    assert len(ran.json["data"]) == len(expected) == ran.json["meta"]["n_matching"]
    assert 0 < len(expected) < len(everything())


def test_without_a_capability_are_those_that_have_it_not() -> None:
    known = with_families({gpu.slug for gpu in all_gpus()})
    for name, having in (("nvlink", NVLINK), ("graphics", RENDERS)):
        lacking = {offer.gpu for offer in rackrate.offers(kind="any", max_age="any", **{name: False})}
        assert lacking
        assert lacking <= known - having


ORDERS: dict[str, tuple[Callable[[Row], Any], bool]] = {
    "usd": (lambda row: row["usd_per_gpu_hour"], False),
    "usd_per_hour": (lambda row: row["usd_per_hour"], False),
    "-usd": (lambda row: row["usd_per_gpu_hour"], True),
    "ram_gib": (lambda row: row["ram_gib"], True),
    "-ram_gib": (lambda row: row["ram_gib"], False),
    "vcpu": (lambda row: row["vcpu"], True),
    "gpu_count": (lambda row: row["gpu_count"], True),
    "provider": (lambda row: row["provider"], False),
    "vram_total_gib": (lambda row: row["vram_gib"] and row["vram_gib"] * row["gpu_count"], True),
    "vram_gib/usd": (
        lambda row: row["vram_gib"] and row["vram_gib"] * row["gpu_count"] / row["usd_per_hour"],
        True,
    ),
    "-vram_gib/usd": (
        lambda row: row["vram_gib"] and row["vram_gib"] * row["gpu_count"] / row["usd_per_hour"],
        False,
    ),
    "usd/vram_gib": (
        lambda row: row["vram_gib"] and row["usd_per_hour"] / row["vram_gib"] / row["gpu_count"],
        False,
    ),
    "ram_gib/vcpu": (lambda row: row["ram_gib"] and row["vcpu"] and row["ram_gib"] / row["vcpu"], True),
}


@pytest.mark.parametrize("sort", sorted(ORDERS))
def test_an_order_is_that_order_with_what_is_not_known_last(sort: str, cli: Any) -> None:
    value, is_down = ORDERS[sort]
    rows = cli("offers", "--kind", "any", "--max-age", "any", "--limit", "0", "--sort", sort, "--json").json[
        "data"
    ]
    found = [value(row) for row in rows]
    known = [value for value in found if value is not None]
    assert found[: len(known)] == known
    pairs = pairwise(known)
    inside = operator.ge if is_down else operator.le
    assert all(inside(a, b) or a == pytest.approx(b, rel=1e-12) for a, b in pairs)
    assert len(set(map(str, known))) > 5


def test_a_limit_cuts_after_sorting_and_says_how_much(cli: Any) -> None:
    every = cli("offers", "--gpu", "l40s", "--limit", "0", "--sort", "vram_gib/usd", "--json").json
    few = cli("offers", "--gpu", "l40s", "--limit", "5", "--sort", "vram_gib/usd", "--json").json
    assert few["data"] == every["data"][:5]
    assert (few["meta"]["n_shown"], few["meta"]["n_matching"]) == (5, len(every["data"]))
    assert len(cli("offers", "--json").json["data"]) == 20


@pytest.mark.parametrize("hours", [6, 24, 48])
def test_max_age_leaves_out_what_is_older_and_nothing_else(hours: int, cli: Any) -> None:
    found = cli("offers", "--kind", "any", "--max-age", f"{hours}h", "--limit", "0", "--json").json
    edge = datetime.fromisoformat(found["meta"]["as_of"]) - timedelta(hours=hours)
    young = [r for r in everything() if r["observed_at"] and datetime.fromisoformat(r["observed_at"]) >= edge]
    assert keys(found["data"]) == keys(young)


def test_lists_made_once_are_shown_by_default_and_not_when_an_age_is_asked_for(cli: Any) -> None:
    sources = {row["source"] for row in cli("offers", "--limit", "0", "--json").json["data"]}
    young = {
        row["source"] for row in cli("offers", "--limit", "0", "--max-age", "30d", "--json").json["data"]
    }
    assert "aws-gpu" in sources
    assert "aws-gpu" not in young
    assert "gpurentalprices" in young


@pytest.mark.parametrize("day", ["2026-07-10", "2026-08-01", "2026-08-22"])
def test_as_of_shows_the_newest_list_of_that_day(day: str, cli: Any) -> None:
    rows = cli("offers", "--kind", "any", "--as-of", day, "--max-age", "any", "--limit", "0", "--json").json[
        "data"
    ]
    then = duckdb.execute(
        f"""FROM (FROM read_parquet('{SAMPLE}')
        WHERE source = 'gpurentalprices' AND snapshot_at::DATE <= ?::DATE
        QUALIFY snapshot_at = max(snapshot_at) OVER ()) SELECT origin, line, kind, usd_per_gpu_hour
        WHERE observed_at::DATE <= ?::DATE
        QUALIFY observed_at = max(observed_at) OVER (PARTITION BY series)""",
        [day, day],
    ).fetchall()
    listed = {
        (row["origin"], row["line"], row["kind"], row["usd_per_gpu_hour"])
        for row in rows
        if row["source"] == "gpurentalprices"
    }
    assert listed == set(then)
    assert all((row["observed_at"] or "0")[:10] <= day for row in rows)


def test_an_instant_within_the_day_hides_what_came_later(cli: Any) -> None:
    asked = ("offers", "--kind", "any", "--limit", "0", "--max-age", "any", "--json", "--as-of")
    for text in ("2026-08-21T12:00Z", "2026-08-21T14:00+02:00", "2026-08-21T12:00"):
        found = cli(*asked, text).json
        assert found["meta"]["as_of"].startswith("2026-08-21T12:00:00")
        assert all((row["observed_at"] or "0") <= "2026-08-21T12:00:00+00:00" for row in found["data"])
