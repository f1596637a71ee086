"""Copies that serve: what they carry, held against a simulation of the same figures by hand."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from rackrate.fit.precision import PRECISIONS
from rackrate.plan.fitting import LeftOut
from rackrate.plan.question import Promise, Question
from rackrate.plan.serving import Serving, serving
from rackrate.sizing import find_weights

ARCH = find_weights("llama-3.1-8b").arch
ASKED = Question(
    "llm-serving", "llama-3.1-8b", rate_per_s=1.0, precision="bf16", promise=Promise(ttft_s=1.0, tpot_s=0.06)
)


@pytest.fixture
def served(cards: Any) -> Any:
    """Return a function that says how copies on some cards serve."""

    def make(question: Question = ASKED, **sold: int) -> tuple[Serving, LeftOut]:
        left_out = LeftOut()
        at = {cards.at(slug.replace("_", "-")): n for slug, n in sold.items()}
        return serving(question, ARCH, PRECISIONS["bf16"], cards, at, left_out), left_out

    return make


def test_a_copy_at_its_capacity_keeps_its_promise_and_no_more(served: Any) -> None:
    found, _ = served(l40s=1, h100_sxm=1)
    copies = np.arange(len(found.copies))
    at_most = found.at(copies, found.copies.capacity * 0.999)
    beyond = found.at(copies, found.copies.capacity * 1.05)
    assert (at_most["tpot_s"] <= 0.06 * 1.01).all()
    is_room = found.limits == "KV room"
    assert ((beyond["tpot_s"] > at_most["tpot_s"]) | is_room).all()
    assert (beyond["ttft_s"] >= at_most["ttft_s"]).all()


def test_a_laxer_promise_never_carries_less(served: Any) -> None:
    strict, _ = served(l40s=1)
    lax, _ = served(replace(ASKED, promise=Promise()), l40s=1)
    assert lax.copies.capacity.max() >= strict.copies.capacity.max() > 0


def test_what_is_too_slow_is_left_out_by_name(served: Any) -> None:
    found, left_out = served(replace(ASKED, promise=Promise(tpot_s=0.03)), l40s=1, l4=1)
    assert {found.cards.gpus[card].slug for card in found.copies.card} == {"l40s"}
    assert left_out.rules["it fits, and is too slow for the promise"] == ["l4"]


def test_memory_at_the_load_adds_up_to_the_engines_share(served: Any) -> None:
    found, _ = served(l40s=1)
    for copy in range(len(found.copies)):
        choice = found.choice(copy, batch=4.0)
        held = found.fits.held[int(found.fits.way[found.kept[copy]])]
        card_gib = found.cards.gib[int(found.copies.card[copy])]
        used = held.fixed_gib + 4 * held.kv_gib
        assert choice["headroom_gib"] + used == pytest.approx(choice["memory_fraction"] * card_gib)


def test_words_hold_the_numbers(served: Any) -> None:
    found, _ = served(l40s=1)
    said = "\n".join(found.explained(0, 0.5))
    assert f"= {found.copies.capacity[0]:.4g}" in said
    assert "TTFT <= 1 s for 90%" in said
