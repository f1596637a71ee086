"""What offers cost once distance, reclaims and the number of machines are counted: worked out by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rackrate.errors import NothingFits
from rackrate.perf.estimate import Estimate
from rackrate.plan.answer import Plan
from rackrate.plan.fitting import LeftOut
from rackrate.plan.options import Option, Options
from rackrate.plan.question import Allowed, Owned, Question
from rackrate.plan.search import Market, goods_for, make_plan

GB = 1e9 / 2**30  # GiB
RUN = Question("finetune-lora", "m", amount=3.6e6)
SWEEP = Question("bert-sweep", "b", amount=10.0, variant_tokens=1.0)
ANY = Allowed(kinds=())


def option(cards: Any, gpu: str, per_s: float, weights_gib: float = 100 * GB) -> Option:
    speed = Estimate(per_s, per_s / 2, per_s * 2, "a second", "compute", ("as said",), ())
    return Option(cards.at(gpu), 1, "made up 1.0", "bf16", 16.0, "1 GPU", speed, 1 / per_s, weights_gib)


@pytest.fixture
def planned(cards: Any, offered: Any) -> Any:
    """Return a function that plans a question over offers, with GPUs of so many results a second."""

    def make(question: Question, *offers: dict[str, Any], **per_s: float) -> Plan:
        options = [option(cards, slug, speed) for slug, speed in (per_s or {"l40s": 1000.0}).items()]
        found = Options(tuple(sorted(options, key=lambda each: each.card)))
        goods = goods_for(question, offered(*offers), cards)
        return make_plan(question, cards, goods, found, LeftOut(), Market("2026-08-22"))

    return make


def test_a_run_on_spot_takes_longer_and_may_still_be_cheaper(planned: Any) -> None:
    # 100 GB: 80 s over the network, so 460 s to start; a checkpoint 50 s. Reclaimed once in 3,333 h:
    # sqrt(2 x 50 x 1.2e7) = 34,641 s between checkpoints; lost (460 + 17,320.5) / 1.2e7 + 50 / 34,641
    lost = 0.0014817 + 0.0014434
    made = planned(replace(RUN, allowed=ANY), {"usd_per_hour": 2.0}, {"kind": "spot"})
    spot, sure = made.rows
    assert (spot.kind, sure.kind) == ("spot", "on_demand")
    assert spot.lost_frac == pytest.approx(lost, rel=1e-4)
    assert sure.lost_frac == 0
    assert spot.speed["hours"].value == pytest.approx(1 + lost + 460 / 3600, rel=1e-6)
    assert sure.price["usd_per_run"].value == pytest.approx(2 * (1 + 460 / 3600))


def test_each_machine_of_a_sweep_brings_its_own_traffic(planned: Any) -> None:
    # 10 variants at once on 10 machines, each with 100 GB over the border at 0.09 USD and 0.25 GB/s
    far = planned(replace(SWEEP, store="DE", nodes=10), {}, l40s=1e-3)
    assert (far.best.machines, far.best.start["egress_usd"]) == (10, pytest.approx(90.0))
    hours = (1000 + 30 + 350 + 400) / 3600
    assert far.best.price["usd_per_run"].value == pytest.approx(10 * hours + 90)
    assert far.best.price["usd_per_variant"].value == pytest.approx(hours + 9)
    assert any(remark.startswith("90.00 USD of traffic") for remark in far.remarks)
    near = planned(replace(SWEEP, store="US", nodes=10), {}, l40s=1e-3)
    assert near.best.start["egress_usd"] == 0
    assert not any("traffic" in remark for remark in near.remarks)


def test_where_the_weights_lie_decides_between_countries(planned: Any) -> None:
    offers = {"country": "DE", "region": "d", "usd_per_hour": 1.1}, {"country": "US", "region": "u"}
    assert planned(RUN, *offers).best.country == "US"
    assert planned(replace(RUN, store="DE"), *offers).best.country == "DE"  # 9 USD of traffic are saved


def test_the_way_to_users_is_told_of_each_row(planned: Any) -> None:
    made = planned(replace(RUN, users="DE"), {}, {"provider": "gcp", "country": "DE"})
    ways = {row.country: row.users_s for row in made.rows}
    assert ways["DE"] == pytest.approx(0.02)
    assert ways["US"] == pytest.approx(0.18)


@pytest.mark.parametrize(("load", "n"), [(0.1, 1), (2.0, 1), (2.01, 2), (6.0, 3), (6.5, 4)])
def test_as_many_machines_as_the_load_needs(planned: Any, load: float, n: int) -> None:
    stream = Question("image-generation", "painter", rate_per_s=load)
    best = planned(stream, {"count": 4, "usd_per_hour": 7.2}, l40s=0.5).best  # 2 images/s a machine
    assert (best.machines, best.copies) == (n, 4)
    assert best.usd_per_hour.value == pytest.approx(7.2 * n)
    per_1000 = 7.2 * n / (load * 3.6)  # USD an hour over thousands of images an hour
    assert best.price["usd_per_1000_images"].value == pytest.approx(per_1000)
    assert best.utilisation_frac == pytest.approx(load / (2 * n))


def test_speech_is_priced_by_the_hour_of_audio(planned: Any) -> None:
    # 50 s of speech a second, two cards of 30 at 1.00 each: 50 hours of audio an hour
    best = planned(Question("asr", "ears", rate_per_s=50.0), {}, l40s=30.0).best
    assert best.price["usd_per_audio_hour"].value == pytest.approx(2 / 50)


def test_the_fastest_is_said_with_how_much_more_it_costs(planned: Any) -> None:
    offers = {}, {"gpu": "h100-sxm", "usd_per_hour": 3.0}
    stream = Question("image-generation", "painter", rate_per_s=1.0)
    made = planned(stream, *offers, l40s=1.0, **{"h100-sxm": 2.5})
    assert [(row.gpu, row.speed["seconds"].value) for row in made.frontier] == [
        ("l40s", pytest.approx(1.0)),
        ("h100-sxm", pytest.approx(0.4)),
    ]
    assert "the next GPU, 1 x h100-sxm at aws us-east-1, costs 200% more" in made.reasons
    assert "2.5 times as fast: 1 x h100-sxm at aws us-east-1, 200% more" in made.reasons


DISK = {"storage_usd_per_gb_month": 0.73, "included_disk_gb": 100.0}  # 100 GB of weights: 0.10 USD/h
STREAM = Question("asr", "m", rate_per_s=1.5, allowed=ANY)


def test_disk_and_traffic_of_a_stream_are_in_its_price_and_explained(planned: Any) -> None:
    # 2 machines; 1.5 s of audio a second are 0.0864 GB an hour
    made = planned(STREAM, DISK | {"ingress_usd_per_gb": 0.5, "egress_usd_per_gb": 0.1}, l40s=1.0)
    best = made.best
    assert best.beside.disk_gb == 200
    assert best.beside.disk_usd_per_hour == pytest.approx(0.1)
    assert best.beside.traffic_usd == pytest.approx(0.0432)
    assert best.usd_per_machine_hour == 1.0
    assert best.usd_per_hour.value == pytest.approx(2 * 1.1 + 0.0432)
    assert best.usd_per_hour.low == pytest.approx(1 * 1.1 + 0.0432)  # a copy may do twice or half as much
    assert best.usd_per_hour.high == pytest.approx(3 * 1.1 + 0.0432)
    assert best.price["usd_per_audio_hour"].value == pytest.approx(2.2432 / 1.5)
    assert "disk = (200 GB - 100 included) x 0.73 USD / 730 h = 0.1000 USD/h a machine" in made.explained
    assert "USD/h = 2 x (1.0000 + disk 0.1000) + traffic 0.0432 = 2.2432" in made.explained
    assert any("1 to 3 over the range" in line for line in made.explained)
    assert not any("not counted" in line for line in (*made.remarks, *made.explained))


def test_what_nobody_says_is_not_counted_and_told_once(planned: Any) -> None:
    offers = ({"provider": "a", "sku": "a"}, {"provider": "b", "sku": "b", "usd_per_hour": 2.0})
    made = planned(RUN, *offers)
    assert [row.beside.disk_usd_per_hour for row in made.rows] == [None, None]
    assert made.best.price["usd_per_run"].value == pytest.approx(1 + 487 / 3600)
    told = [line for line in made.remarks if "not counted" in line]
    assert told == [
        "not counted, because no source says what it costs: disk at a, b; the least time billed at a, b"
    ]
    free = planned(RUN, offers[0] | dict.fromkeys((*DISK, "egress_usd_per_gb", "least_s"), 0.0))
    assert not [line for line in free.remarks if "not counted" in line]
    assert free.best.price == made.best.price


def test_an_hour_is_paid_for_a_run_of_minutes(planned: Any) -> None:
    short = replace(RUN, amount=6e4)  # a minute, and 460 s to start
    by_second, by_hour = {"usd_per_hour": 1.5, "least_s": 60}, {"usd_per_hour": 1.0, "step_s": 3600}
    made = planned(short, by_second | {"provider": "aws"}, by_hour | {"provider": "aws", "sku": "two"})
    best = made.best
    assert (best.usd_per_machine_hour, best.beside.billed_hours) == (1.5, pytest.approx(520 / 3600))
    hourly = planned(short, by_hour)
    assert hourly.best.speed["hours"].value == pytest.approx(520 / 3600)
    assert hourly.best.price["usd_per_run"].value == pytest.approx(1.0)
    assert "billed = whole steps of 60 min = 1 h" in hourly.explained
    long = planned(replace(RUN, amount=3.6e7), by_second, by_hour | {"sku": "two"})
    assert long.best.usd_per_machine_hour == 1.0  # over ten hours the step no longer matters


def test_a_disk_can_turn_the_ranking_round_and_stays_in_the_budget(planned: Any) -> None:
    dear = DISK | {"storage_usd_per_gb_month": 2.19, "sku": "dear"}  # 0.30 USD/h
    roomy = {"usd_per_hour": 1.2, "included_disk_gb": 500.0, "sku": "roomy"}
    made = planned(replace(STREAM, rate_per_s=0.5), dear, roomy, l40s=1.0)
    assert [row.instance for row in made.frontier] == ["roomy"]
    assert made.best.instance == "roomy"
    assert "disk of 200 GB is in the price of the hour" in made.explained
    limited = replace(STREAM, rate_per_s=0.5, allowed=Allowed(max_usd_per_hour=1.25))
    kept = planned(limited, dear, roomy | {"usd_per_hour": 1.25}, l40s=1.0)
    assert [row.instance for row in kept.rows] == ["roomy"]
    with pytest.raises(NothingFits, match=r"for 1\.25 USD/h"):
        planned(limited, dear, l40s=1.0)


def test_machines_of_ones_own_bring_their_disk(planned: Any) -> None:
    mine = replace(RUN, allowed=Allowed(own=(Owned("l40s", 1, 0.5),)))
    made = planned(mine, DISK)
    assert made.best.provider == "own"
    assert (made.best.beside.disk_usd_per_hour, made.best.beside.unknown) == (0, ())


def test_a_plan_of_a_version_that_did_not_know_of_disks_is_read(planned: Any) -> None:
    data = planned(RUN, DISK).to_dict()
    assert Plan.from_dict(data).to_dict() == data
    for row in data["rows"]:
        del row["beside"]
    assert Plan.from_dict(data).best.beside.unknown == ("disk", "traffic")
