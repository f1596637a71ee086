"""How many requests fit, on arrays of cards: what `fit` says one by one."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from rackrate.fit.estimate import estimate
from rackrate.fit.parallel import Layout
from rackrate.fit.precision import PRECISIONS
from rackrate.fit.setup import Load, Setup
from rackrate.fit.solve import solve
from rackrate.plan.fitting import LeftOut, fitting, nearest_miss
from rackrate.plan.question import Question
from rackrate.plan.room import held
from rackrate.sizing import find_weights, fits

GPUS = ("l40s", "h100-sxm", "a100-80gb-sxm", "rtx-4090", "mi300x", "b200-sxm")


@pytest.mark.parametrize("model", ["llama-3.1-8b", "gemma-3-27b", "qwen3-next-80b-a3b", "deepseek-v3"])
@pytest.mark.parametrize(("precision", "layout"), [("bf16", Layout()), ("int4", Layout(tensor=4))])
def test_room_is_what_fit_finds_by_halving(cards: Any, model: str, precision: str, layout: Layout) -> None:
    arch = find_weights(model).arch
    setup = Setup(precision=PRECISIONS[precision], layout=layout)
    for slug in GPUS:
        at = cards.at(slug)
        card = cards.memory[at]
        one = held(arch, card, setup, Load(1300, 1))
        room = float(one.requests(0.9 * card.gib, 0.9 * card.sigma_gib))
        assert min(room, 4096) == solve(arch, card, setup, Load(1300, 1)).most_concurrent, slug


def test_a_card_of_the_other_class_holds_more_buffers(cards: Any) -> None:
    arch, setup = find_weights("llama-3.1-70b").arch, Setup(precision=PRECISIONS["int4"])
    small, big = (
        held(arch, cards.memory[cards.at(slug)], setup, Load(1300, 1)) for slug in ("l40s", "h100-sxm")
    )
    assert big.fixed_gib > small.fixed_gib + 1  # 1,024 sequences in a step instead of 256
    alone = estimate(arch, cards.memory[cards.at("l40s")], setup, Load(1300, 1)).total
    assert small.fixed_gib + small.kv_gib == pytest.approx(float(alone.gib))


def asked(**other: Any) -> Question:
    return Question("llm-serving", "x", rate_per_s=1.0, **other)


def test_every_copy_that_is_kept_fits_by_the_public_verdict(cards: Any) -> None:
    arch = find_weights("llama-3.1-70b").arch
    sold = {cards.at("l40s"): 4, cards.at("h100-sxm"): 2}
    found = fitting(asked(), arch, PRECISIONS["bf16"], cards, sold, LeftOut())
    assert {found.ways[way].n_gpus for way in found.way} <= {1, 2, 4}
    for card, way, room in zip(found.card, found.way, found.room, strict=True):
        how = found.ways[way]
        if how.max_num_seqs:
            continue
        answer = fits(
            "llama-3.1-70b", f"{cards.gpus[card].slug}:{how.n_gpus}", context=1300, concurrency=int(room),
            engine=how.engine.name, precision=how.precision.name, tensor=how.tensor, pipeline=how.pipeline,
        )  # fmt: skip
        assert answer.verdict == "fits", how


def test_few_sequences_are_tried_where_the_default_does_not_fit(cards: Any) -> None:
    arch, sold = find_weights("llama-3.1-70b").arch, {cards.at("l40s"): 1}
    found = fitting(asked(), arch, PRECISIONS["bf16"], cards, sold, LeftOut())
    assert [found.ways[way].precision.name for way in found.way] == ["int4"]
    limits = {found.ways[way].max_num_seqs for way in found.way}
    by_hand = fits("llama-3.1-70b", "l40s", context=1300, precision="int4", max_num_seqs=32)
    assert by_hand.verdict == "fits"
    assert limits == {32} or fits("llama-3.1-70b", "l40s", context=1300, precision="int4").verdict == "fits"


def test_who_is_left_out_is_said(cards: Any) -> None:
    arch, left_out = find_weights("llama-3.1-70b").arch, LeftOut()
    sold = {cards.at(slug): 8 for slug in ("p40", "gaudi2", "rtx-3070", "l40s")}
    sold[cards.at("rtx-3070")] = 1
    found = fitting(asked(), arch, PRECISIONS["bf16"], cards, sold, left_out)
    assert {cards.gpus[card].slug for card in found.card} == {"l40s"}
    by_card = {slug: rule for rule, slugs in left_out.rules.items() for slug in slugs}
    assert "tensor cores" in by_card["p40"]
    assert "kernels" in by_card["gaudi2"]
    assert "does not fit" in by_card["rtx-3070"]


def test_the_nearest_miss_says_by_how_much(cards: Any) -> None:
    arch = find_weights("llama-3.1-70b").arch
    nearest = nearest_miss(asked(), arch, PRECISIONS["bf16"], cards, {cards.at("rtx-4090"): 1})
    assert nearest is not None
    # 37.07 GiB of int4 weights and what stands beside them, on 0.9 x 23.5 GiB
    assert 16 < nearest.lacks_gib < 20
    assert nearest.way.precision.name == "int4"


def test_stages_are_for_cards_without_a_fabric(cards: Any) -> None:
    arch = find_weights("llama-3.1-70b").arch
    found = fitting(
        asked(), arch, PRECISIONS["bf16"], cards, {cards.at(g): 8 for g in ("l40s", "h100-sxm")}, LeftOut()
    )
    stages = {slug: set() for slug in ("l40s", "h100-sxm")}
    for card, way in zip(found.card, found.way, strict=True):
        stages[cards.gpus[card].slug].add(found.ways[way].pipeline)
    assert stages["h100-sxm"] == {1}
    assert max(stages["l40s"]) == 8
    assert np.all(np.diff(found.card) >= 0)
