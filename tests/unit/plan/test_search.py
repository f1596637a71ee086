"""From copies and offers to a plan: bills and rankings worked out by hand."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rackrate.errors import ImportRejected, NoAnswer, NothingFits
from rackrate.perf.estimate import Estimate
from rackrate.plan.answer import Plan
from rackrate.plan.coldstart import start
from rackrate.plan.fitting import LeftOut
from rackrate.plan.frontier import enough, frontier
from rackrate.plan.options import Option, Options
from rackrate.plan.question import Allowed, Owned, Question
from rackrate.plan.search import Market, goods_for, make_plan

IMAGES = Question("image-generation", "painter", rate_per_s=1.0)


def speed(value: float) -> Estimate:
    return Estimate(value, value / 2, value * 2, "images/s", "compute", ("as said",), ("a case",))


def option(
    cards: Any, gpu: str, per_s: float, *, n: int = 1, name: str = "bf16", bits: float = 16.0
) -> Option:
    return Option(
        cards.at(gpu), n, "painter 1.0", name, bits, f"{n} GPUs", speed(per_s), 1 / per_s, 10.0, 5.0
    )


@pytest.fixture
def plan_of(cards: Any) -> Any:
    """Return a function that plans over options and a stock."""

    def make(options: list[Option], stock: Any, question: Question = IMAGES, limit: int = 20) -> Plan:
        found = Options(tuple(sorted(options, key=lambda each: each.card)))
        goods = goods_for(question, stock, cards)
        return make_plan(
            question, cards, goods, found, LeftOut({"too old": ["t4"]}), Market("2026-08-22"), limit
        )

    return make


def test_the_bill_of_a_stream(cards: Any, offered: Any, plan_of: Any) -> None:
    # 0.3 images/s a GPU, 2 GPUs a machine: 1 image/s needs 2 machines of 0.6; at half the speed 4, at twice 1
    made = plan_of([option(cards, "l40s", 0.3)], offered({"count": 2, "usd_per_hour": 3.0}))
    best = made.best
    assert (best.machines, best.copies, best.count) == (2, 2, 2)
    assert (best.usd_per_hour.low, best.usd_per_hour.value, best.usd_per_hour.high) == (3.0, 6.0, 12.0)
    assert best.capacity_per_s.value == pytest.approx(1.2)
    assert best.utilisation_frac == pytest.approx(1 / 1.2)
    assert best.price["usd_per_1000_images"].value == pytest.approx(6.0 / 3.6)  # 3,600 images an hour
    assert "ceil(1 / (2 copies x 0.3/s)) = 2; 1 to 4 over the range" in "\n".join(made.explained)


def test_the_bill_of_a_run(cards: Any, offered: Any, plan_of: Any) -> None:
    run = Question("finetune-lora", "m", amount=3600.0 * 1000)
    made = plan_of([option(cards, "l40s", 1000.0)], offered({"usd_per_hour": 2.0}), run)
    up_s = 30 + 350 + 10 * 2**30 / 1.25e9  # AWS boots in 30 s, the image takes 350, 10 GiB at 1.25 GB/s
    assert made.best.start_s == pytest.approx(up_s)
    assert made.best.speed["hours"].value == pytest.approx(1 + up_s / 3600)
    assert made.best.speed["hours"].high == pytest.approx(2 + up_s / 3600)
    assert made.best.price["usd_per_run"].value == pytest.approx(2 * (1 + up_s / 3600))
    far = plan_of([option(cards, "l40s", 1000.0)], offered({"usd_per_hour": 2.0}), replace(run, store="DE"))
    egress = 10 * 2**30 / 1e9 * 0.09
    hours = 1 + start("aws", "US", 10.0, 31.5e9, "DE").total_s / 3600
    assert far.best.price["usd_per_run"].value == pytest.approx(2 * hours + egress, rel=1e-6)


def test_a_sweep_takes_as_many_machines_as_its_time_asks_for(cards: Any, offered: Any, plan_of: Any) -> None:
    # A variant takes 1,000 s. In 1 h less the start a GPU does 3: 64 variants need ceil(64 / (4 x 3)) = 6
    sweep = Question("bert-sweep", "b", amount=64.0, variant_tokens=1.0, within_s=3600.0)
    made = plan_of([option(cards, "l40s", 1e-3)], offered({"count": 4}), sweep)
    assert made.best.machines == 6
    assert made.best.speed["seconds"].value == pytest.approx(3000)  # ceil(64 / 24) rounds
    told = plan_of(
        [option(cards, "l40s", 1e-3)], offered({"count": 4}), replace(sweep, within_s=1e9, nodes=16)
    )
    assert (told.best.machines, told.best.speed["seconds"].value) == (16, pytest.approx(1000))
    with pytest.raises(NothingFits, match="nothing does it within 20 min") as caught:
        plan_of([option(cards, "l40s", 1e-3)], offered({"count": 4}), replace(sweep, within_s=1200.0))
    assert "the fastest" in caught.value.hint


def test_ties_go_by_provider_region_and_instance(cards: Any, offered: Any, plan_of: Any) -> None:
    offers = [
        {"provider": "b"},
        {"provider": "a", "region": "y"},
        {"provider": "a", "region": "x", "sku": "2"},
        {"provider": "a", "region": "x", "sku": "1"},
    ]
    for turned in (offers, offers[::-1]):
        made = plan_of([option(cards, "l40s", 2.0)], offered(*turned))
        best = made.best
        assert (best.provider, best.region, best.instance) == ("a", "x", "1")
        assert [row.provider for row in made.rows] == ["a", "b"]  # the best of each provider


def test_of_ways_that_cost_alike_the_wider_is_taken(cards: Any, offered: Any, plan_of: Any) -> None:
    narrow = option(cards, "l40s", 4.0, name="int4", bits=4.0)
    made = plan_of([narrow, option(cards, "l40s", 1.5)], offered({}))
    assert made.best.precision == "bf16"
    busy = replace(IMAGES, rate_per_s=3.0)  # two machines of the wide, one of the narrow
    made = plan_of([narrow, option(cards, "l40s", 1.5)], offered({}), busy)
    assert made.best.precision == "int4"
    assert [row.precision for row in made.precisions] == ["bf16", "int4"]
    assert any("in bf16 the cheapest" in reason and "100% more" in reason for reason in made.reasons)


def test_objectives_choose_otherwise(cards: Any, offered: Any, plan_of: Any) -> None:
    options = [option(cards, "l40s", 1.0), option(cards, "h100-sxm", 10.0), option(cards, "b200-sxm", 11.0)]
    stock = offered({}, {"gpu": "h100-sxm", "usd_per_hour": 2.0}, {"gpu": "b200-sxm", "usd_per_hour": 9.0})
    best = {
        objective: plan_of(options, stock, replace(IMAGES, objective=objective)).best.gpu
        for objective in ("cost", "latency", "balance")
    }
    assert best == {"cost": "l40s", "latency": "b200-sxm", "balance": "h100-sxm"}


def test_own_machines_and_budget(cards: Any, offered: Any, plan_of: Any) -> None:
    stock = offered({"usd_per_hour": 2.0})
    own = replace(IMAGES, allowed=Allowed(own=(Owned("l40s", 1, 0.7),)))
    made = plan_of([option(cards, "l40s", 1.0)], stock, own)
    assert (made.best.provider, made.best.usd_per_hour.value) == ("own", 0.7)
    tight = replace(IMAGES, rate_per_s=3.0, allowed=Allowed(max_usd_per_hour=5))
    with pytest.raises(NothingFits, match="5 USD/h") as caught:
        plan_of([option(cards, "l40s", 1.0)], stock, tight)
    assert "3 x (1 x l40s)" in caught.value.hint
    assert "6.00 USD/h" in caught.value.hint


def test_spot_costs_what_reclaims_lose(cards: Any, offered: Any, plan_of: Any) -> None:
    either = replace(IMAGES, allowed=Allowed(kinds=("spot", "on_demand")))
    made = plan_of([option(cards, "l40s", 1.0)], offered({"kind": "spot"}, {}), either)
    assert [row.kind for row in made.rows] == ["on_demand", "spot"]
    spot = made.rows[1]
    assert spot.lost_frac == pytest.approx(3e-4 / 3600 * spot.start_s)
    assert spot.usd_per_hour.value == pytest.approx(1 + spot.lost_frac)


def test_what_is_left_out_adds_up(cards: Any, offered: Any, plan_of: Any) -> None:
    stock = offered({}, {"kind": "spot"}, {"gpu": "inferentia"}, {"gpu": "t4"}, {"count": 0.5})
    made = plan_of([option(cards, "l40s", 1.0)], stock)
    of_offers = sum(each.n for each in made.excluded if each.what == "offers")
    assert made.n_offers == 5
    assert of_offers == 4
    assert any(each.what == "GPUs" and each.examples == ("t4",) for each in made.excluded)


def test_an_empty_market_says_which_rule_emptied_it(cards: Any, offered: Any) -> None:
    with pytest.raises(NoAnswer) as caught:
        goods_for(IMAGES, offered({"kind": "spot"}, {"kind": "spot"}), cards)
    assert "2 of 2 are left out: not sold as on_demand" in caught.value.hint
    assert caught.value.code == "no-offers"


def test_the_rule_that_left_out_the_last_offers_is_named(cards: Any, offered: Any) -> None:
    """And not the one that left out most."""
    asked = replace(IMAGES, allowed=Allowed(region="nowhere"))
    with pytest.raises(NoAnswer) as caught:
        goods_for(asked, offered({"kind": "spot"}, {"kind": "spot"}, {}), cards)
    assert caught.value.hint == "the last 1 of 3 are left out: region without 'nowhere'"


def test_a_plan_is_data_and_comes_back(cards: Any, offered: Any, plan_of: Any) -> None:
    made = plan_of(
        [option(cards, "l40s", 1.0), option(cards, "h100-sxm", 4.0)], offered({}, {"gpu": "h100-sxm"})
    )
    text = json.dumps(made.to_dict())
    assert json.loads(text)["schema"] == "rackrate.plan/1"
    again = Plan.from_dict(json.loads(text))
    assert again.to_dict() == made.to_dict() == json.loads(text)
    for broken in ({}, [], {"schema": "rackrate.plan/2"}, {"schema": "rackrate.plan/1"}):
        with pytest.raises(ImportRejected):
            Plan.from_dict(broken)
    with pytest.raises(ImportRejected):
        Plan.from_dict({**json.loads(text), "more": 1})


def test_instead_of_a_gpu_comes_what_costs_no_more_and_is_faster(
    cards: Any, offered: Any, plan_of: Any
) -> None:
    options = [option(cards, g, s) for g, s in (("a10", 1.0), ("l40s", 3.0), ("h100-sxm", 9.0), ("t4", 0.9))]
    stock = offered({"gpu": "a10"}, {"gpu": "l40s"}, {"gpu": "h100-sxm", "usd_per_hour": 3.0}, {"gpu": "t4"})
    made = plan_of(options, stock, replace(IMAGES, instead_of="a10"))
    assert [row.gpu for row in made.instead] == ["a10", "l40s"]
    assert plan_of(options, stock, replace(IMAGES, instead_of="a100-80gb-sxm")).instead == ()


def test_a_machine_that_is_just_enough_is_one() -> None:
    assert enough(3 * 0.1, 0.3) == 1
    assert enough(0.3001, 0.3) == 2
    assert enough(1e-9, 5.0) == 1


def test_the_frontier_is_what_nothing_beats() -> None:
    rng = np.random.default_rng(7)
    cost, seconds = rng.integers(1, 30, 200).astype(float), rng.integers(1, 30, 200).astype(float)
    kept = frontier(cost, seconds)
    for place in kept:
        assert not ((cost <= cost[place]) & (seconds < seconds[place])).any()
        assert not ((cost < cost[place]) & (seconds <= seconds[place])).any()
    assert len({(cost[place], seconds[place]) for place in kept}) == len(kept)
    for place in range(200):  # what is not kept is beaten, or is one of two alike
        assert place in kept or ((cost <= cost[place]) & (seconds <= seconds[place]))[kept].any()
