"""Each rule of the gate fires on what it is for, and not on the near miss beside it."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rackrate.market.ingest import import_list
from rackrate.market.quality import BY_CODE, RULES, Action

Row = dict[str, Any]


def day(n: int, **more: Any) -> Row:
    return {"at": f"2026-08-{n:02d}T06:00:00Z", **more}


def many(n: int, make: Callable[[int], Row]) -> list[Row]:
    return [make(i) for i in range(n)]


def days(prices: list[float], **more: Any) -> list[Row]:
    return [day(n, usd=usd, **more) for n, usd in enumerate(prices, 1)]


def pairs(prices: list[float]) -> list[Row]:
    """Days of a pair, and after them those of one GPU at a price that stays."""
    return [*days(prices, gpu_count=2), *days([1.2] * len(prices))]


def five(last: float) -> list[Row]:
    usual = many(5, lambda i: {"provider": f"p{i}", "usd": 1.2 + i / 100})
    return [*usual, {"provider": "odd", "usd": last}]


def spots(last: float) -> list[Row]:
    gpus = ("L40S", "L4", "A10", "T4")
    asked = [1.2, 0.6, 0.5, 0.3]
    pairs = zip(gpus, asked, strict=True)
    rows = [{"gpu": gpu, "usd": usd, "kind": kind} for gpu, usd in pairs for kind in ("on_demand", "spot")]
    return [*rows[:-1], rows[-1] | {"usd": last}]


def places(prices: list[float], available: int | None = None) -> list[Row]:
    return [
        {"sku": "l40s", "region": f"r{i}", "usd": usd, "available": available} for i, usd in enumerate(prices)
    ]


def shapes(last_vcpu: int) -> list[Row]:
    rows = many(10, lambda i: {"sku": f"s{i}", "gpu_count": 2 ** (i % 3), "vcpu": 32, "ram": 64})
    return [*rows[:-1], rows[-1] | {"vcpu": last_vcpu}]


def listing(n_then: int, n_now: int) -> list[Row]:
    then = many(n_then, lambda i: day(1, provider=f"p{i}", usd=1.2 + i / 100))
    return [*then, *many(n_now, lambda i: day(2, provider=f"p{i}", usd=1.2 + i / 100))]


def of_totals(then: list[float]) -> list[Row]:
    rows = [day(1, gpu_count=n, usd=usd, sku=f"s{n}") for n, usd in zip((2, 3, 4), then, strict=True)]
    return [*rows, *(day(2, gpu_count=n, usd=1.2, sku=f"s{n}") for n in (2, 3, 4))]


@dataclass(frozen=True)
class Case:
    """Rows whose last (or `at`-th) meets a rule, and rows whose last all but does."""

    code: str
    fires: list[Row]
    near: list[Row]
    at: int = -1
    price: str = ""


NO_MODEL = "GPU 9000 of tomorrow"
INSTANCE = 'from = "usd"\nper = "instance"'
CASES = [
    Case("no_provider", [{"provider": " "}], [{"provider": "a"}]),
    Case("no_price", [{"usd": None}], [{"usd": 0.9}]),
    Case("no_price", [{"usd": -0.01}], [{"usd": 0.9}]),
    Case("price", [{"usd": "much"}], [{"usd": "$1.20"}]),
    Case("price", [{"usd": "1e999"}], [{"usd": "1.2e0"}]),
    Case("free", [{"usd": 0}], [{"usd": 0.3}]),
    Case("zero_spot", [{"usd": 0, "kind": "spot"}], [{"usd": 0.3, "kind": "spot"}]),
    Case(
        "total_as_per_gpu",
        [{"usd": 1.2}, {"usd": 2.4, "gpu_count": 2}],
        [{"usd": 1.2}, {"usd": 1.7, "gpu_count": 2}],
    ),
    Case("total_as_per_gpu", of_totals([2.4, 3.6, 4.8]), of_totals([1.4, 1.3, 1.2]), at=0),
    Case("total_as_per_gpu", [{"usd": 9.6, "gpu_count": 8}], [{"usd": 3.0, "gpu_count": 8}]),
    Case(
        "per_gpu_as_total",
        [{"usd": 1.2}, {"usd": 1.25, "gpu_count": 4}],
        [{"usd": 1.2}, {"usd": 4.8, "gpu_count": 4}],
        price=INSTANCE,
    ),
    Case("unit", [{"usd": 120.0}], [{"usd": 20.0}]),
    Case("unit", [{"usd": 0.012}], [{"usd": 0.12}]),
    Case("corridor", five(4.0), five(3.0)),
    Case("corridor", five(0.3), five(0.5)),
    Case("jump", days([1.2, 0.3]), days([1.2, 0.5])),
    Case("jump", days([1.2, 1.2, 4.0]), days([1.2, 4.0, 1.2])),
    Case("jump", days([1.2, 0.3]), days([1.2, 0.3, 0.3])),
    Case("jump", pairs([1.2, 0.5]), pairs([1.2, 0.7]), at=1),
    Case("jump", pairs([1.2, 2.9]), pairs([1.2, 2.3]), at=1),
    Case("spot_dear", [{}, {"kind": "spot", "usd": 1.3}], [{}, {"kind": "spot", "usd": 1.2}]),
    Case("spot_unknown", spots(0.3), spots(0.2)),
    Case("kind_assumed", [{"notes": "kind assumed"}], [{"notes": "kind stated"}]),
    Case("vram_unit", [{"vram": 96, "gpu_count": 2}], [{"vram": 45, "gpu_count": 2}]),
    Case("vram_unit", [{"vram": 46068}], [{"vram": 46068 / 1024}]),
    Case("vram_unit", [{"vram": 48 / 1024}], [{"vram": 48}]),
    Case("vram_off", [{"vram": 40}], [{"vram": 44.7}]),
    Case("vram_missing", [{"vram": 0}], [{"vram": None}]),
    Case("gpu_count", [{"gpu_count": 0}], [{"gpu_count": 0.25}]),
    Case("count_odd", [{"gpu_count": 1.5}], [{"gpu_count": 0.1667, "usd": 2}]),
    Case("count_disagrees", [{"sku": "8x_l40s", "gpu_count": 4}], [{"sku": "4x_l40s", "gpu_count": 4}]),
    Case("zero_shape", [{"vcpu": 0}], [{"vcpu": None}]),
    Case("one_shape", shapes(32), shapes(33)),
    Case("shape_unread", [{"vcpu": "lots"}], [{"vcpu": "n/a"}]),
    Case("ram_unit", [{"ram": 65536}], [{"ram": 24576}]),
    Case("list_only", places([1.2] * 5), places([1.2] * 4 + [1.3])),
    Case("list_only", places([1.2] * 5), places([1.2] * 5, available=8)),
    Case(
        "country_odd", [{"region": "me-west-1", "country": "IS"}], [{"region": "me-west-1", "country": "IL"}]
    ),
    Case("synthetic", [{"notes": "seed"}], [{"notes": "Seeweb's own"}]),
    Case("synthetic", [{"sku": "mock_l40s"}], [{"sku": "mocking-bird"}]),
    Case("synthetic", [{"provider": "Dummy"}], [{"provider": "Sample Cloud"}]),
    Case("duplicate", [{"usd": 1.3}, {"usd": 1.4}], [{"usd": 1.3}, {"usd": 1.4, "region": "eu"}]),
    Case("had_duplicates", [{"usd": 1.4}, {"usd": 1.3}], [{"usd": 1.4}, {"usd": 1.3, "sku": "b"}]),
    Case("no_fx_rate", [{"currency": "XXX"}], [{"currency": "EUR"}]),
    Case("fx_far", [{"currency": "GBP"}], [{"currency": "EUR"}]),
    Case("currency_assumed", [{"provider": "scaleway", "currency": None}], [{"provider": "scaleway"}]),
    Case("reseller", [{"seller": "shadeform"}], [{"seller": None}]),
    Case("shrunk", listing(12, 5), listing(12, 6)),
    Case("shrunk", listing(7, 3), listing(7, 4)),
    Case("no_term", [{"kind": "reserved"}], [{"kind": "reserved", "term_months": 12}]),
    Case("kind_serverless", [{"provider": "modal"}], [{"provider": "modal", "kind": "serverless"}]),
    Case("no_url", [{"url": None}], [{"url": "https://acme.example"}]),
    Case("gpu_unknown", [{"gpu": NO_MODEL}], [{"gpu": "NVIDIA L40S 48GB"}]),
    Case("malformed", [{"kind": "barter"}], [{"kind": "Pay as you go"}]),
    Case("malformed", [{"at": "soon"}], [{"at": 1787378400}]),
    Case("shape_unread", [{"egress_per_gb": "some"}], [{"egress_per_gb": "$0.01"}]),
    Case("storage_price", [{"storage_per_gb_month": -0.01}], [{"storage_per_gb_month": 0}]),
    Case("storage_price", [{"storage_per_gb_month": 10}], [{"storage_per_gb_month": 0.2}]),
    Case("traffic_price", [{"egress_per_gb": 10}], [{"egress_per_gb": 0.25}]),
    Case("traffic_price", [{"ingress_per_gb": -1, "egress_per_gb": 0.1}], [{"ingress_per_gb": 0}]),
    Case("long_rental", [{"min_rental_s": 6 * 365 * 86400}], [{"min_rental_s": 3 * 365 * 86400}]),
]
ELSEWHERE = {"stale", "no_date", "no_gpu"}  # need another format than the one above: tests below


def met(market: Any, rows: list[Row], at: int, price: str) -> set[str]:
    """Return the rules that one of the rows meets, after an import of all."""
    market.take(rows, price=price)
    line = range(1, len(rows) + 1)[at]
    rule = market.rejected().get(line)
    return market.flags().get(line, set()) | ({rule} if rule else set())


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case.code}" for i, case in enumerate(CASES)])
def test_rule_fires(market: Any, case: Case) -> None:
    assert case.code in met(market, case.fires, case.at, case.price)
    line = range(1, len(case.fires) + 1)[case.at]
    action = BY_CODE[case.code].action
    counted = dict(market.query("line, is_counted")).get(line)
    expected = {Action.REJECT: None, Action.HOLD: False}
    if action in expected:
        assert counted is expected[action]
    if counted is None:
        assert market.rejected()[line] == case.code
    assert market.receipt.rules[case.code] >= 1


@pytest.mark.parametrize("case", CASES, ids=[f"{i}-{case.code}" for i, case in enumerate(CASES)])
def test_rule_lets_the_near_miss_through(market: Any, case: Case) -> None:
    assert case.code not in met(market, case.near, case.at, case.price)
    assert len(market.flags()) + len(market.rejected()) == len(case.near)


BESIDE = (
    "storage_usd_per_gb_month, included_disk_gb, egress_usd_per_gb, included_egress_gb_per_month, "
    "ingress_usd_per_gb, min_rental_s"
)


def test_prices_beside_the_hour_are_in_usd_and_absent_where_nobody_says_them(market: Any) -> None:
    said = {"storage_per_gb_month": 0.1, "included_disk_gb": 40, "egress_per_gb": 0.01,
            "included_egress_gb": 1000, "ingress_per_gb": 0, "min_rental_s": 3600}  # fmt: skip
    market.take([said | {"currency": "EUR"}, said | {"sku": "b"}, {"sku": "c"}])
    ((rate,),) = market.query("usd_per_unit")[:1]
    assert rate > 1
    assert market.query(BESIDE) == [
        (pytest.approx(0.1 * rate), 40, pytest.approx(0.01 * rate), 1000, 0, 3600),
        (0.1, 40, 0.01, 1000, 0, 3600),
        (None,) * 6,
    ]


def test_a_listing_that_differs_only_beside_the_hour_takes_the_place_of_the_old(market: Any) -> None:
    market.take([{"egress_per_gb": 0.02}])
    assert market.take([{"egress_per_gb": 0.02, "notes": "again"}]).n_published == 0
    assert market.take([{"egress_per_gb": 0.03}]).n_published == 1
    assert market.take([{"ingress_per_gb": 0.03}]).n_published == 1


def test_every_rule_has_a_case() -> None:
    assert {case.code for case in CASES} | ELSEWHERE == {rule.code for rule in RULES}
    assert not {case.code for case in CASES} & ELSEWHERE


def test_a_price_seen_more_than_72_hours_before_its_listing_is_held(market: Any) -> None:
    snapshot = market.tmp / "2026-08-22.json"
    seen = ("2026-08-19T06:20:00Z", "2026-08-19T06:22:00Z")
    offer = {"provider": "acme", "gpu": "l40s", "kind": "on-demand", "source_url": "https://acme.example"}
    offers = [offer | {"usd_hr": 1.2 + i / 10, "fetched_at": at} for i, at in enumerate(seen)]
    snapshot.write_text(json.dumps({"generated_at": "2026-08-22T06:21:00Z", "offers": offers}))
    import_list(market.folder, snapshot, form="gpurentalprices")
    assert market.query("line, flags, is_counted") == [(1, ["stale"], False), (2, [], True)]


def test_an_undated_price_is_held_and_a_dated_one_is_not(market: Any, write_mapping: Any) -> None:
    path = market.tmp / "list.csv"
    path.write_text("usd,on\n1.2,2026-08-22\n")
    provider = 'provider = { value = "acme" }\ngpu = { value = "L40S" }\n'
    import_list(market.tmp / "dated", path, mapping=write_mapping(provider + 'at = "on"'))
    import_list(market.folder, path, mapping=write_mapping(provider))
    ((_, flags, is_counted),) = market.query("line, flags, is_counted")
    assert "no_date" in flags
    assert not is_counted
    market.folder = market.tmp / "dated"
    ((_, flags, is_counted),) = market.query("line, flags, is_counted")
    assert "no_date" not in flags
    assert is_counted


def test_a_shape_without_a_gpu_is_rejected_and_its_neighbour_is_not(market: Any) -> None:
    path: Path = market.tmp / "nebius.csv"
    head = "InstanceType,AcceleratorName,AcceleratorCount,vCPUs,MemoryGiB,Price,Region,GpuInfo,SpotPrice"
    path.write_text(f"{head}\ncpu-d3,,0,4,16,0.1,eu-north1,,\nl40s-1,L40S,1,8,32,1.5,eu-north1,,\n")
    import_list(market.folder, path, form="skypilot")
    assert market.rejected() == {1: "no_gpu"}
    assert list(market.flags()) == [2]


def test_a_listing_that_shrank_is_kept_but_does_not_become_the_market(market: Any) -> None:
    from rackrate.market.filter import OfferFilter, order_by  # noqa: PLC0415
    from rackrate.market.store import Store  # noqa: PLC0415

    market.take(listing(12, 3))
    store = Store.open(market.folder, market.folder)
    assert store.find(OfferFilter(), order_by("usd")).n_matching == 12
    assert len(market.flags()) == 15
