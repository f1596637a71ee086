"""Offers as columns: what is allowed, and how many each rule removes."""

from __future__ import annotations

from typing import Any

import numpy as np

from rackrate.plan.frontier import shapes_of
from rackrate.plan.question import Allowed, Owned
from rackrate.plan.stock import OWN, choose, nearest_to

ALL = Allowed(kinds=())


def test_each_offer_is_counted_under_the_first_rule_that_removes_it(offered: Any) -> None:
    stock = offered(
        {},
        {"gpu": None},
        {"count": 0.5, "kind": "spot"},
        {"kind": "spot"},
        {"doubt": "undated"},
        {"doubt": "held back by a quality rule"},
        {"usd_per_hour": 9.0},
    )
    chosen, left_out = choose(stock, Allowed(max_usd_per_hour=5))
    assert len(chosen) == 1
    assert sum(left_out.values()) == 6
    assert left_out["a slice of a GPU"] == 1  # and not under its kind too
    assert left_out["not sold as on_demand"] == 1


def test_any_age_lets_undated_prices_in_and_no_doubtful_ones(offered: Any) -> None:
    stock = offered({"doubt": "undated"}, {"doubt": "too old"}, {"doubt": "held back by a quality rule"})
    chosen, _ = choose(stock, Allowed(max_age="any"))
    assert chosen.doubt.at(0) == "undated"
    assert len(chosen) == 1


def test_conditions_mean_what_those_of_offers_mean(offered: Any) -> None:
    stock = offered(
        {"provider": "vast", "seller": "aws", "country": "DE", "region": "Frankfurt, DE"},
        {"provider": "aws", "country": "US"},
        {"gpu": "l40s", "count": 4, "country": None},
    )
    assert len(choose(stock, Allowed(providers=("aws",)))[0]) == 3  # who runs or who sells
    assert len(choose(stock, Allowed(countries=("DE", "FR")))[0]) == 1
    assert len(choose(stock, Allowed(region="frankFURT"))[0]) == 1
    assert len(choose(stock, Allowed(gpus=("l40s:2..",)))[0]) == 1
    assert len(choose(stock, Allowed(gpus=("h100",)))[0]) == 0


def test_own_machines_stand_beside_the_market(offered: Any) -> None:
    stock = offered({}).with_own([Owned("h100-sxm", 8, 12.5)])
    assert stock.provider.at(1) == stock.kind.at(1) == OWN
    assert (stock.gpu.at(1), stock.count[1], stock.usd_per_hour[1]) == ("h100-sxm", 8, 12.5)
    assert len(choose(offered({}), ALL)[0].with_own([])) == 1


def test_shapes_are_gpus_and_counts_and_a_family_is_its_slowest(offered: Any, cards: Any) -> None:
    stock = offered({}, {"provider": "gcp"}, {"count": 4}, {"gpu": "h100"}, {"gpu": "inferentia"})
    shapes = shapes_of(stock, cards)
    assert list(zip(shapes.name, shapes.count.tolist(), strict=True)) == [
        ("h100", 1),
        ("l40s", 1),
        ("l40s", 4),
    ]
    assert shapes.of_offer.tolist() == [1, 1, 2, 0, -1]
    assert cards.gpus[shapes.card[0]].slug == "h100-pcie"  # 2.0 TB/s against 3.35 and 3.9
    assert shapes.sold() == {cards.at("h100-pcie"): 1, cards.at("l40s"): 4}


def test_words_that_are_absent_are_empty(offered: Any) -> None:
    stock = offered({"seller": None}, {"seller": "x"})
    assert stock.seller.at(0) == ""
    assert np.flatnonzero(stock.seller.are(["x"])).tolist() == [1]


def test_what_stands_in_the_way_comes_with_what_would_not(offered: Any) -> None:
    """A budget and a count are loosened alone; where that is not enough, nothing is promised."""
    stock = offered({"usd_per_hour": 2.5}, {"usd_per_hour": 1.5}, {"count": 4, "usd_per_hour": 9.0})
    gpu = stock.gpu.at(0)
    assert "costs 1.5 USD/h" in nearest_to(stock, Allowed(max_usd_per_hour=1))
    assert "sold by 1, 4" in nearest_to(stock, Allowed(gpus=(f"{gpu}:16",)))
    assert nearest_to(stock, Allowed(gpus=(f"{gpu}:16",), max_usd_per_hour=1)) == ""
    assert nearest_to(stock, Allowed(region="nowhere", max_usd_per_hour=1)) == ""
