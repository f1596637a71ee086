"""Rough work against scalings worked out by hand from data sheets, and what rules a card out."""

from __future__ import annotations

from typing import Any

import pytest

from rackrate.plan.fitting import LeftOut
from rackrate.plan.options import Option
from rackrate.plan.question import Question
from rackrate.plan.rough import rough

Made = Any


@pytest.fixture
def made(cards: Any) -> Made:
    """Return a function that gives the options of a workload by card and number of GPUs, and what is left."""

    def make(workload: str, **sold: tuple[int, ...]) -> tuple[dict[tuple[str, int], Option], LeftOut]:
        left_out = LeftOut()
        counts = {cards.at(slug.replace("_", "-")): n for slug, n in sold.items()}
        found = rough(Question(workload, rate_per_s=1.0), cards, counts, left_out)
        return {(cards.gpus[o.card].slug, o.n_gpus): o for o in found.options}, left_out

    return make


def test_rendering_goes_by_ray_tracing_cores_and_clock(made: Made) -> None:
    # an L40S has 142 at 2.52 GHz, an L4 60 at 2.04: 122.4 / 357.84
    found, _ = made("rendering", l40s=(1, 8), l4=(1,))
    assert found.keys() == {("l40s", 1), ("l4", 1)}  # one card a copy, however many a machine has
    assert found["l40s", 1].speed.value == pytest.approx(1.0)
    assert found["l4", 1].speed.value == pytest.approx(0.34205, abs=1e-5)
    assert found["l4", 1].seconds == pytest.approx(2.9236, abs=1e-4)


def test_a_streamed_game_goes_by_the_scarcer_of_drawing_and_encoding(made: Made) -> None:
    encoded, _ = made("video-transcode", l4=(1,), a10=(1,))
    assert encoded["l4", 1].speed.value == pytest.approx(2 / 3)  # encoders, of an L40S's three
    assert encoded["a10", 1].speed.value == pytest.approx(1 / 3)
    played, _ = made("game-streaming", l4=(1,), a10=(1,))
    assert played["l4", 1].speed.value == pytest.approx(0.34205, abs=1e-5)  # its rays are scarcer
    assert played["a10", 1].speed.value == pytest.approx(1 / 3)  # 72 x 1.695 / 357.84 = 0.341 is not


def test_alignment_scales_the_published_run_by_bandwidth(made: Made) -> None:
    # 11 h / 14 on 8 V100 of 900 GB/s; an L40S has 864: 0.7857 x 7,200 / 864 = 6.548 h
    found, _ = made("genome-alignment", l40s=(1, 4), v100_16gb_sxm=(8,))
    assert found["l40s", 1].seconds / 3600 == pytest.approx(6.548, abs=1e-3)
    assert found["l40s", 4].seconds / 3600 == pytest.approx(6.548 / 4, abs=1e-3)
    assert found["v100-16gb-sxm", 8].seconds == pytest.approx(11 * 3600 / 14)
    one = found["l40s", 1].speed
    assert one.value == pytest.approx(1 / found["l40s", 1].seconds)
    assert (one.low, one.high) == (pytest.approx(one.value / 1.6), pytest.approx(one.value * 1.6))
    assert found["l40s", 4].layout == "4 GPUs"


def test_what_a_card_lacks_leaves_it_out_by_name(made: Made) -> None:
    found, left_out = made("rendering", a100_80gb_sxm=(8,), h100_sxm=(8,), v100_16gb_sxm=(1,))
    assert not found
    by_card = {slug: rule for rule, slugs in left_out.rules.items() for slug in slugs}
    assert "no graphics api" in by_card["a100-80gb-sxm"]
    assert "no graphics api" in by_card["h100-sxm"]
    assert by_card["v100-16gb-sxm"] == "has no ray-tracing cores"  # it draws, but not by rays
    _, left_out = made("genome-alignment", mi300x=(8,))
    assert [slugs for rule, slugs in left_out.rules.items() if "no cuda" in rule] == [["mi300x"]]
