"""Machines: which factors apply to them, and the rates that follow from data sheet and factors by hand."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rackrate.catalog.gpu import load_gpu
from rackrate.fit.precision import find_precision
from rackrate.perf.chip import chip_of
from rackrate.perf.factors import Factors, load_factors
from rackrate.perf.machine import (
    Machine,
    assemble,
    factor_keys,
    habits_of,
    numbers_of,
    packing_of,
    rates_of,
)
from rackrate.perf.serving import USUAL_CHUNK

L40S = Machine(chip_of(load_gpu("l40s")), "vllm", "wide")
H100 = chip_of(load_gpu("h100-sxm"))
ONES = dict.fromkeys(factor_keys(L40S), 1.0)


@pytest.mark.parametrize(
    ("precision", "packing"),
    [
        ("bf16", "wide"),
        ("fp32", "wide"),
        ("fp8", "fp8"),
        ("fp8-block", "fp8"),
        ("int8", "int8"),
        ("int4", "int4"),
        ("nf4-dq", "nf4"),
        ("mxfp4", "mxfp4"),
        ("nvfp4", "nvfp4"),
        ("gguf:q4_k_m", "gguf"),
        ("gguf:f16", "wide"),
    ],
)
def test_how_weights_are_stored(precision: str, packing: str) -> None:
    assert packing_of(find_precision(precision)) == packing


def test_factors_of_one_make_the_data_sheet() -> None:
    rates = assemble(numbers_of(L40S), ONES)
    assert rates.bandwidth == rates.kv_bandwidth == 864e9
    assert rates.flops == pytest.approx(252e12, rel=0.01)  # its best measured product
    assert (rates.step_s, rates.layer_s, rates.link_s) == (1e-6, 1e-6, 1e-6)


@pytest.mark.parametrize(("n", "trips"), [(2, 1.0), (4, 1.5), (8, 1.75)])
def test_a_ring_passes_each_byte_2_times_n_minus_1_over_n(n: int, trips: float) -> None:
    rates = assemble(numbers_of(replace(L40S, tensor=n)), ONES)
    assert rates.link_bandwidth == pytest.approx(31.5e9 / trips, rel=0.001)


@pytest.mark.parametrize(
    ("packing", "times"),
    [("wide", 1.0), ("int4", 1.0), ("nf4", 1.0), ("fp8", 2.0), ("int8", 2.0), ("nvfp4", 2.0), ("gguf", 2.0)],
)
def test_in_what_weights_are_multiplied_on_a_hopper(packing: str, times: float) -> None:
    wide, other = (numbers_of(Machine(H100, "vllm", p)) for p in ("wide", packing))
    assert other["flops"] / wide["flops"] == pytest.approx(times, rel=0.001)
    assert other["attention_flops"] == wide["attention_flops"]  # always in 16 bit


def test_each_factor_goes_where_it_belongs() -> None:
    table = Factors(
        {name: {"all": 1.0} for name in ONES}
        | {
            "memory": {"all": 0.8, "ada": 1.1, "vllm:wide": 0.9, "hopper": 7.0},
            "cache": {"all": 0.5},
            "step_us": {"all": 100.0, "vllm": 3.0},
            "request_us": {"all": 4000.0},
            "pipeline": {"all": 5.0},
        }
    )
    rates, habits = rates_of(L40S, table), habits_of(L40S, table)
    assert rates.bandwidth == pytest.approx(864e9 * 0.8 * 1.1 * 0.9)
    assert rates.kv_bandwidth == pytest.approx(rates.bandwidth / 2)
    assert rates.step_s == pytest.approx(300e-6)
    assert habits.request_s == pytest.approx(4e-3)
    assert habits.stage_gain == 1  # no more than a full pipeline gives


def test_chunks_are_the_engines_own_unless_they_are_set() -> None:
    table = load_factors("llm")
    assert habits_of(L40S, table).chunk_tokens == USUAL_CHUNK
    assert habits_of(replace(L40S, engine="llama.cpp"), table).chunk_tokens == 512
    assert habits_of(replace(L40S, chunk_tokens=2048), table).chunk_tokens == 2048


def test_only_clients_that_ask_again_come_in_waves() -> None:
    table = load_factors("llm")
    assert habits_of(L40S, table).wave == 0
    assert habits_of(L40S, table, "closed").wave > 0


def test_arrays_assemble_like_numbers() -> None:
    machines = [L40S, replace(L40S, tensor=4), Machine(H100, "vllm", "fp8", tensor=8)]
    columns = [numbers_of(machine) for machine in machines]
    together = assemble({name: np.array([row[name] for row in columns]) for name in columns[0]}, ONES)
    for i, row in enumerate(columns):
        alone = assemble(row, ONES)
        assert together.flops[i] == alone.flops
        assert together.link_bandwidth[i] == pytest.approx(alone.link_bandwidth)
