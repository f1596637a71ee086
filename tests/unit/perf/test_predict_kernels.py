"""Kernels: by hand at factors of one, measured ones within the range, and cases that say too little."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from rackrate.errors import NoAnswer
from rackrate.perf.cases import PerfCase
from rackrate.perf.predict import predict
from rackrate.perf.predict_kernels import kernel_keys, kernel_s

PLAIN = PerfCase(
    id="k", workload="gemm", model="", precision="bf16", engine="", gpu="l40s", gpu_count=1, nodes=1,
    parallel="", load="", input_tokens=None, output_tokens=None, metric="kernel_time_us", value=1.0,
    unit="us", extra="m=4096; n=4096; k=4096", quality="ok", source="", licence="", group="",
)  # fmt: skip
ONES = dict.fromkeys(kernel_keys(PLAIN), 1.0)


def case(**changes: Any) -> PerfCase:
    return replace(PLAIN, **changes)


def all_reduce(n: int) -> PerfCase:
    return case(
        workload="comm", metric="collective_time_us", gpu_count=n, extra="message_elements=8388608"
    )  # 16.8 MB in 16 bit


def test_a_large_product_takes_its_flop_and_a_thin_one_its_bytes() -> None:
    """2 x 4,096^3 FLOP at the 252 TFLOP/s that were measured; one row reads 33.6 MB at 864 GB/s."""
    assert kernel_s(case(), ONES) == pytest.approx(2 * 4096**3 / 252e12 + 1e-6, rel=0.02)
    thin = case(extra="m=1; n=4096; k=4096")
    assert kernel_s(thin, ONES) == pytest.approx(2 * 4096**2 / 864e9 + 1e-6, rel=0.01)
    half = kernel_s(replace(thin, precision="fp8"), ONES) - 1e-6
    assert half == pytest.approx(4096**2 / 864e9, rel=0.01)


@pytest.mark.parametrize(("n", "trips"), [(2, 1.0), (4, 1.5), (8, 1.75)])
def test_an_all_reduce_passes_the_message_2_times_n_minus_1_over_n(n: int, trips: float) -> None:
    assert kernel_s(all_reduce(n), ONES) == pytest.approx(trips * 2 * 8388608 / 31.5e9 + 1e-6, rel=0.001)


def test_a_measured_all_reduce_between_two_cards_lies_within_twice_the_range() -> None:
    """NCCL 2.27.3 on two L40S: 0.85 ms (notes on speed, section 2)."""
    found = predict(all_reduce(2))
    assert found.unit == "us"
    assert found.limit == "link"
    width = found.high / found.value
    assert found.value / width**2 < 850 < found.value * width**2


@pytest.mark.parametrize(
    "changes",
    [{"extra": "m=4096; n=4096"}, {"workload": "comm", "metric": "collective_time_us", "extra": "m=1"}],
)
def test_a_kernel_without_a_size_has_no_time(changes: dict[str, Any]) -> None:
    with pytest.raises(NoAnswer, match="how large"):
        kernel_s(case(**changes), ONES)
