"""What must hold of any plan, whatever the factors of the speed model are."""

from __future__ import annotations

from dataclasses import replace
from functools import cache
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.catalog.gpu import all_gpus, load_gpu
from rackrate.errors import NothingFits
from rackrate.fit.precision import PRECISIONS
from rackrate.perf.factors import load_factors
from rackrate.plan.answer import Plan
from rackrate.plan.cards import Cards
from rackrate.plan.fitting import LeftOut
from rackrate.plan.question import Promise, Question
from rackrate.plan.search import Market, goods_for, make_plan
from rackrate.plan.serving import serving
from rackrate.plan.stock import Stock
from rackrate.plan.terms import Terms, counted
from rackrate.sizing import find_weights

GPUS = ("l40s", "a10g", "a100-80gb-sxm", "h100-sxm", "l4", "h200-sxm", "rtx-4090", "mi300x", "h100")
OFFER = st.fixed_dictionaries(
    {
        "gpu": st.sampled_from(GPUS),
        "count": st.sampled_from((1, 2, 4, 8)),
        "usd_per_hour": st.floats(0.1, 50),
        "provider": st.sampled_from(("aws", "gcp", "runpod", "vast")),
        "region": st.sampled_from(("x", "y")),
    }
)
BESIDE = {
    "storage_usd_per_gb_month": st.floats(0, 3),
    "included_disk_gb": st.floats(0, 500),
    "egress_usd_per_gb": st.floats(0, 1),
    "included_egress_gb_per_month": st.floats(0, 10_000),
    "ingress_usd_per_gb": st.floats(0, 1),
    "least_s": st.floats(0, 1e6),
    "step_s": st.sampled_from((1.0, 3600.0)),
}
"""What an offer may say of its costs beside the hour; what it leaves out is not known."""
BESIDES = st.fixed_dictionaries({}, optional=BESIDE)
OFFERS = st.lists(OFFER, min_size=1, max_size=8)
QUESTION = st.builds(
    Question,
    workload=st.just("llm-serving"),
    model=st.just("llama-3.1-8b"),
    rate_per_s=st.floats(0.01, 200),
    input_tokens=st.integers(1, 4000),
    output_tokens=st.integers(16, 2000),
    promise=st.sampled_from((Promise(), Promise(2.0, 0.1), Promise(0.5, 0.03, 0.99))),
    cached_frac=st.sampled_from((0.0, 0.5)),
)
USUAL: dict[str, Any] = {
    "seller": None, "country": "US", "kind": "on_demand", "sku": "", "seen": "", "source": "test",
    "doubt": "",
}  # fmt: skip


@cache
def cards() -> Cards:
    return Cards(all_gpus(), load_factors("llm"))


def terms_of(besides: list[dict[str, float]]) -> Terms:
    names = Terms.__dataclass_fields__
    return Terms(**{name: np.array([each.get(name, np.nan) for each in besides]) for name in names})


def plan_of(
    question: Question, offers: list[dict[str, Any]], besides: list[dict[str, float]] | None = None
) -> Plan | None:
    rows = [USUAL | offer for offer in offers]
    columns = {name: [row[name] for row in rows] for name in rows[0]}
    stock = Stock.of(columns, terms_of(besides) if besides else None)
    goods = goods_for(question, stock, cards())
    left_out = LeftOut()
    arch = find_weights("llama-3.1-8b").arch
    found = serving(question, arch, PRECISIONS["bf16"], cards(), goods.shapes.sold(), left_out)
    if not len(found.copies):
        return None
    return make_plan(question, cards(), goods, found, left_out, Market(), 100)


def cost(plan: Plan | None) -> float:
    return plan.best.usd_per_hour.value if plan else float("inf")


@settings(max_examples=12)
@given(question=QUESTION, offers=OFFERS, more=OFFER)
def test_another_offer_never_makes_the_best_plan_dearer(
    question: Question, offers: list[dict[str, Any]], more: dict[str, Any]
) -> None:
    assert cost(plan_of(question, [*offers, more])) <= cost(plan_of(question, offers)) * (1 + 1e-12)


@settings(max_examples=12)
@given(question=QUESTION, offers=OFFERS)
def test_twice_the_load_never_costs_less(question: Question, offers: list[dict[str, Any]]) -> None:
    double = replace(question, rate_per_s=2 * question.rate_per_s)
    assert cost(plan_of(double, offers)) >= cost(plan_of(question, offers)) * (1 - 1e-12)


@settings(max_examples=12)
@given(question=QUESTION, offers=OFFERS, discount=st.floats(0.1, 0.99))
def test_a_cheaper_identical_offer_never_ranks_lower(
    question: Question, offers: list[dict[str, Any]], discount: float
) -> None:
    first = offers[0] | {"provider": "one", "region": "same"}
    cheaper = first | {"usd_per_hour": first["usd_per_hour"] * discount, "provider": "two"}
    made = plan_of(question, [first, cheaper, *offers[1:]])
    if made:
        places = [row.provider for row in made.rows if row.region == "same"]
        assert places in ([], ["two", "one"])


@settings(max_examples=12)
@given(question=QUESTION, priced=st.lists(st.tuples(OFFER, BESIDES), min_size=1, max_size=8), data=st.data())
def test_dearer_disk_and_traffic_never_make_a_plan_cheaper(
    question: Question, priced: list[tuple[dict[str, Any], dict[str, float]]], data: Any
) -> None:
    offers, besides = [offer for offer, _ in priced], [beside for _, beside in priced]
    what = data.draw(st.sampled_from(sorted(BESIDE)))
    factor = data.draw(st.floats(0, 1) if what.startswith("included") else st.floats(1, 10))
    dearer = [each | {what: each[what] * factor} if what in each else each for each in besides]
    before, after = plan_of(question, offers, besides), plan_of(question, offers, dearer)
    assert cost(after) >= cost(before) * (1 - 1e-12)
    assert (before is None) == (after is None)
    for made in filter(None, (before, after)):
        costs = [row.usd_per_hour.value for row in made.rows]
        assert costs == sorted(costs)
        first = made.frontier[0]  # more machines than the fewest may have more traffic included
        least = first.usd_per_hour.value
        assert least == pytest.approx(cost(made)) or first.machines > made.best.machines
        assert least <= cost(made) * (1 + 1e-12)
        for row in (*made.rows, *made.frontier, *made.precisions):
            disk_usd = row.beside.disk_usd_per_hour or 0.0
            usd = row.machines * (row.usd_per_machine_hour + disk_usd) + row.beside.traffic_usd
            assert row.usd_per_hour.value == pytest.approx(usd)


@given(
    beside=BESIDES,
    what=st.sampled_from(sorted(BESIDE)),
    hours=st.floats(0.01, 1000),
    gb=st.floats(0, 1e4),
    factor=st.floats(1, 100),
)
def test_dearer_terms_never_cost_less(
    beside: dict[str, float], what: str, hours: float, gb: float, factor: float
) -> None:
    if what == "step_s":  # a longer step that is no multiple of the old one may fit better
        factor = round(factor)
    by = 1 / factor if what.startswith("included") else factor
    one, dearer = terms_of([beside]), terms_of([beside | {what: beside.get(what, 0.0) * by}])
    for before, after in (
        (one.disk_usd_per_hour(gb), dearer.disk_usd_per_hour(gb)),
        (one.egress_usd(gb, hours), dearer.egress_usd(gb, hours)),
        (one.ingress_usd(gb), dearer.ingress_usd(gb)),
        (one.billed_hours(hours), dearer.billed_hours(hours)),
    ):
        assert counted(after) >= counted(before) * (1 - 1e-9)
    assert one.billed_hours(hours) >= hours * (1 - 1e-9)


@settings(max_examples=12)
@given(question=QUESTION, offers=OFFERS)
def test_rows_are_consistent_in_themselves(question: Question, offers: list[dict[str, Any]]) -> None:
    made = plan_of(question, offers)
    if made is None:
        return
    costs = [row.usd_per_hour.value for row in made.rows]
    assert costs == sorted(costs)
    frontier = [(row.usd_per_hour.value, row.speed["seconds"].value) for row in made.frontier]
    assert frontier == sorted(frontier)
    assert [seconds for _, seconds in frontier] == sorted((s for _, s in frontier), reverse=True)
    assert made.frontier[0].usd_per_hour.value == pytest.approx(costs[0])
    for row in (*made.rows, *made.frontier, *made.precisions):
        assert row.tensor * row.pipeline * row.copies <= row.count
        assert row.usd_per_hour.low <= row.usd_per_hour.value <= row.usd_per_hour.high
        assert row.usd_per_hour.value == pytest.approx(row.machines * row.usd_per_machine_hour)
        assert row.utilisation_frac <= 1 + 1e-6
        assert row.headroom_gib > 0
        tokens = question.rate_per_s * 3600 * (question.input_tokens + question.output_tokens) / 1e6
        assert row.price["usd_per_mtok"].value == pytest.approx(row.usd_per_hour.value / tokens)
        if question.promise.tpot_s < 1:
            # The speed model is not monotonic between one request and two: a tenth is its seam, no more.
            assert row.speed["tpot_s"].value <= question.promise.tpot_s * 1.15
            assert row.speed["ttft_s"].value <= question.promise.ttft_s * 1.15


def faster(factor: float) -> Cards:
    """Return the L40S alone, with so many times its bandwidth."""
    gpu = load_gpu("l40s")
    fact = gpu.bandwidth_gb_per_s
    wide = replace(fact, value=(fact.value or 0.0) * factor)
    return Cards([replace(gpu, bandwidth_gb_per_s=wide)], load_factors("llm"))


@settings(max_examples=8)
@given(question=QUESTION, factor=st.floats(1.0, 4.0))
def test_more_bandwidth_is_never_slower(question: Question, factor: float) -> None:
    arch, sold = find_weights("llama-3.1-8b").arch, {0: 4}
    base, wide = (
        serving(question, arch, PRECISIONS["bf16"], cards, sold, LeftOut())
        for cards in (faster(1), faster(factor))
    )
    if not len(base.copies):
        return
    assert len(wide.copies) >= len(base.copies)
    places = np.searchsorted(wide.kept, base.kept)
    assert (wide.kept[places] == base.kept).all()  # what keeps the promise goes on to keep it
    assert (wide.copies.capacity[places] >= base.copies.capacity * (1 - 1e-3)).all()
    half = base.copies.capacity / 2
    mine = base.at(np.arange(len(base.copies)), half)
    theirs = wide.at(places, half)
    assert (theirs["tpot_s"] <= mine["tpot_s"] * (1 + 1e-3)).all()


def test_nothing_within_the_budget_is_an_error_and_no_plan() -> None:
    question = Question("llm-serving", "llama-3.1-8b", rate_per_s=50.0)
    tight = replace(question, allowed=replace(question.allowed, max_usd_per_hour=1.0))
    offer = {"gpu": "l40s", "count": 1, "usd_per_hour": 0.9, "provider": "aws", "region": ""}
    with pytest.raises(NothingFits):
        plan_of(tight, [offer])
