"""What came nearest where nothing does the work: floors and lacks, held against the speed model itself."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest

import rackrate
from rackrate.errors import BadQuantity, NothingFits
from rackrate.fit.precision import PRECISIONS
from rackrate.plan.fitting import LeftOut, fitting
from rackrate.plan.misses import check_promise, lone_request, miss
from rackrate.plan.question import Promise, Question
from rackrate.sizing import find_weights

ASKED = Question("llm-serving", "llama-3.1-8b", rate_per_s=1.0, input_tokens=1000.0, output_tokens=300.0)
ARCH = find_weights("llama-3.1-8b").arch
BF16 = PRECISIONS["bf16"]


def test_a_lone_request_is_what_the_speed_model_says(cards: Any) -> None:
    fits = fitting(replace(ASKED, precision="bf16"), ARCH, BF16, cards, {cards.at("l40s"): 1}, LeftOut())
    first, each = lone_request(ASKED, ARCH, cards, fits)
    found = rackrate.speed("llama-3.1-8b", "l40s", precision="bf16", input=1000, output=300)
    alone = found.pace.situations[0]
    assert 1e3 * float(first[0]) == pytest.approx(alone.figures["ttft_ms"].value)
    assert 1e3 * float(each[0]) == pytest.approx(alone.figures["tpot_ms"].value)


def test_a_promise_that_no_card_keeps_is_refused_with_the_shortest_time(cards: Any) -> None:
    with pytest.raises(BadQuantity, match=r"TTFT of 1 ms") as refused:
        check_promise(replace(ASKED, promise=Promise(ttft_s=1e-3)), ARCH, BF16, cards)
    shortest_ms = float(re.search(r"shortest is ([\d.]+) ms", refused.value.hint)[1])  # type: ignore[index]
    check_promise(replace(ASKED, promise=Promise(ttft_s=shortest_ms / 1e3)), ARCH, BF16, cards)
    with pytest.raises(BadQuantity, match="TPOT"):
        check_promise(replace(ASKED, promise=Promise(tpot_s=1e-6)), ARCH, BF16, cards)


def test_a_miss_names_what_lacks_the_least(cards: Any) -> None:
    big = find_weights("llama-3.1-405b").arch
    sold = {cards.at("l40s"): 1, cards.at("h100-sxm"): 1}
    fits = fitting(ASKED, big, BF16, cards, sold, LeftOut())
    error = miss(ASKED, big, BF16, cards, sold, fits)
    assert isinstance(error, NothingFits)
    lacks = re.search(r"1 x h100-sxm in int4 lacks ([\d.]+) GiB", error.hint)
    assert lacks, error.hint
    # 405.9e9 weights of 4 bits and their scales are about 190 GiB; the card offers 0.9 x 79.2
    assert 110 < float(lacks[1]) < 150


def test_a_miss_by_speed_names_the_fastest(cards: Any) -> None:
    sold = {cards.at("t4"): 1, cards.at("l4"): 1}
    asked = replace(ASKED, promise=Promise(tpot_s=0.005))
    fits = fitting(asked, ARCH, BF16, cards, sold, LeftOut())
    hint = miss(asked, ARCH, BF16, cards, sold, fits).hint
    _, each = lone_request(asked, ARCH, cards, fits)
    best = int((each / 0.005).argmin())
    assert f"1 x {cards.gpus[fits.card[best]].slug} in {fits.ways[fits.way[best]].precision.name}" in hint
