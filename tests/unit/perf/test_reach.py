from __future__ import annotations

from dataclasses import replace

import pytest

from rackrate.catalog.gpu import load_gpu
from rackrate.errors import UnknownName, UsageError
from rackrate.perf.chip import USUAL_REACHED_FRAC, Chip, chip_of
from rackrate.perf.factors import Factors
from rackrate.perf.flop import Work
from rackrate.perf.reach import (
    Asked,
    Spent,
    at_least_one,
    chosen,
    copied_bytes_per_s,
    multiplied_in,
    product_flops,
    ranged,
    spent,
)

PLAIN = Factors(
    {
        "matmul": {"all": 0.5, "ada": 1.2},
        "copy": {"all": 0.5},
        "reach": {"all": 1.0, "tuned": 0.5, "job in 8 bit": 0.25},
        "traffic": {"all": 10.0},
        "host_s": {"all": 0.001},
        "width": {"all": 1.0, "diffusion": 1.25, "unlike": 2.0},
    }
)


def chip(**changes: object) -> Chip:
    numbers = {"fp32": 10e12, "fp16": 100e12, "fp8": 200e12}
    plain = Chip("l40s", "ada", numbers, 1e12, "pcie", 30e9, 30e9, 300.0, 0.8)
    return replace(plain, **changes)  # type: ignore[arg-type]


def test_products_and_copies_take_turns_and_launches_run_ahead() -> None:
    work = Work(flop=80e12, numbers=1e10)
    found = spent(work, chip(), PLAIN, "fp16", ("job",), n_layers=100)
    assert found.compute_s == pytest.approx(80e12 / (100e12 * 0.8))
    assert found.memory_s == pytest.approx(1e10 * 10 / 0.5e12)
    assert found.host_s == pytest.approx(0.1)
    assert found.total_s == pytest.approx(1.2)
    assert found.limit == "compute"


@pytest.mark.parametrize(
    ("parts", "limit", "total"),
    [
        (Spent(1, 2, 0.5), "memory", 3.0),
        (Spent(1, 1, 5), "host", 5.0),
        (Spent(1, 1, 0, 3), "link", 5.0),
        (Spent(1, 1, 4, 3), "host", 7.0),
    ],
)
def test_the_limit_is_what_takes_longest(parts: Spent, limit: str, total: float) -> None:
    assert parts.limit == limit
    assert parts.total_s == total


def test_times_add_and_repeat_by_their_parts() -> None:
    assert Spent(1, 2, 3, 4) + Spent(1, 1, 1, 1) == Spent(2, 3, 4, 5)
    assert Spent(1, 2, 3, 4).times(2) == Spent(2, 4, 6, 8)


def test_an_engine_and_8_bit_have_their_own_share() -> None:
    work = Work(flop=80e12)
    fast, slow = (spent(work, chip(), PLAIN, "fp16", keys).compute_s for keys in (("job",), ("job", "tuned")))
    assert slow == pytest.approx(2 * fast)
    assert spent(work, chip(), PLAIN, "fp8", ("job",)).compute_s == pytest.approx(2 * fast)  # x 2 peak, x 1/4


def test_wide_numbers_are_moved_twice_and_narrow_ones_half() -> None:
    work = Work(numbers=1e10)
    wide, usual, narrow = (
        spent(work, chip(), PLAIN, number, ("job",)).memory_s for number in ("fp32", "fp16", "fp8")
    )
    assert (wide, narrow) == (2 * usual, usual / 2)


def test_a_cards_own_product_goes_before_that_of_its_class() -> None:
    assert product_flops(chip(), PLAIN, "fp16") == 80e12
    unknown = chip(reached_frac=USUAL_REACHED_FRAC)
    assert product_flops(unknown, PLAIN, "fp16") == pytest.approx(100e12 * 0.5 * 1.2)
    assert copied_bytes_per_s(unknown, PLAIN) == 0.5e12


def test_the_faster_8_bit_type_is_taken() -> None:
    assert multiplied_in(chip_of(load_gpu("l40s")), "fp16") == "fp16"
    assert multiplied_in(chip_of(load_gpu("a100-80gb-sxm")), "8-bit") == "int8"
    assert multiplied_in(chip_of(load_gpu("b300-sxm")), "8-bit") == "fp8"  # its INT8 is slow
    assert multiplied_in(chip_of(load_gpu("l40s")), "8-bit") == "fp8"


def test_a_range_is_wider_where_nothing_like_it_was_measured() -> None:
    known = ranged(10, "images/s", "compute", Asked("diffusion", "flux.1-dev", "l40s"), PLAIN, ("a",))
    assert (known.low, known.high) == (8, 12.5)
    assert known.assumptions == ("a",)
    assert all("flux.1-dev" in row for row in known.nearest[:2])
    unknown = ranged(10, "images/s", "compute", Asked("diffusion", "qwen-image", "l40s"), PLAIN, ("a",))
    assert (unknown.low, unknown.high) == (4, 25)
    assert len(unknown.assumptions) == 2


def test_bad_names_and_counts_say_what_is_valid() -> None:
    with pytest.raises(UnknownName) as caught:
        chosen("engine", "compild", ("eager", "compiled"))
    assert caught.value.nearest[0] == "compiled"
    assert caught.value.exit_code == 2
    with pytest.raises(UsageError, match="GPUs 0 is below 1"):
        at_least_one(GPUs=0)
    with pytest.raises(UsageError, match="batch nan"):
        at_least_one(batch=float("nan"))
