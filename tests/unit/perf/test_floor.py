"""The floor: by hand from data sheets, and that no forecast of a measured kind goes below it unseen."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rackrate.catalog.gpu import load_gpu
from rackrate.fit.precision import find_precision
from rackrate.perf.chip import chip_of
from rackrate.perf.floor import floor_tpot_s, floor_ttft_s
from rackrate.perf.machine import Machine
from rackrate.perf.serving import Request
from rackrate.perf.work import work_of
from rackrate.sizing import find_weights

LLAMA = find_weights("llama-3.1-8b").arch
WORK = work_of(LLAMA, find_precision("bf16"))
L40S = Machine(chip_of(load_gpu("l40s")), "vllm", "wide")


def test_a_token_of_llama_8b_takes_an_l40s_17_ms() -> None:
    """15.0 GB of weights and 151 MB of cache at 864 GB/s."""
    asked = Request(1000.0, 300.0)
    by_hand = (15.01e9 + 1150 * 131_072) / 864e9
    assert floor_tpot_s(WORK, L40S, asked) == pytest.approx(by_hand, rel=0.001)
    assert floor_tpot_s(WORK, L40S, asked) < 19.09e-3  # measured
    assert floor_tpot_s(WORK, replace(L40S, tensor=2), asked) == pytest.approx(by_hand / 2, rel=0.001)
    assert floor_tpot_s(WORK, replace(L40S, pipeline=2), asked) == pytest.approx(by_hand, rel=0.001)
    twice = replace(asked, tokens_a_step=2.0)
    assert floor_tpot_s(WORK, L40S, twice) == pytest.approx(by_hand / 2, rel=0.001)


def test_a_prompt_of_1000_tokens_takes_an_l40s_40_ms() -> None:
    """2 x 6.98e9 FLOP a token, and 524,288 for each of the half million pairs, at 362 TFLOP/s."""
    by_hand = (2 * 6.98e9 * 1000 + 524_288 * 1000 * 500) / 362e12
    assert floor_ttft_s(WORK, L40S, Request(1000.0, 300.0)) == pytest.approx(by_hand, rel=0.005)
    cached = floor_ttft_s(WORK, L40S, Request(1000.0, 300.0, cached_frac=0.5))
    assert cached == pytest.approx((2 * 6.98e9 * 500 + 524_288 * 500 * 750) / 362e12, rel=0.005)


def test_a_short_prompt_still_reads_all_weights() -> None:
    assert floor_ttft_s(WORK, L40S, Request(1.0, 1.0)) == pytest.approx(15.01e9 / 864e9, rel=0.001)
