"""The words of a comparison follow from its numbers."""

from __future__ import annotations

from datetime import UTC, date, datetime

import pytest

from rackrate.catalog.gpu import find_gpu
from rackrate.market.offer import Kind
from rackrate.market.stats import Spread
from rackrate.report.compare import PARITY_FRAC, Comparison

DAY = date(2026, 8, 22)


def spread(usd: float) -> Spread:
    return Spread(Kind.ON_DEMAND, DAY, {"someone": usd}, usd, 0.0)


def said(base: str, other: str, mine: float | None = 1.0, theirs: float | None = 1.0) -> str:
    prices = {base: mine and spread(mine), other: theirs and spread(theirs)}
    gpus = (find_gpu(base), find_gpu(other))
    (sentence,) = Comparison(gpus, prices, datetime(2026, 8, 22, tzinfo=UTC), "0" * 12).sentences()
    return sentence


@pytest.mark.parametrize(
    ("mine", "theirs", "words"),
    [
        (1.0, 1.0, "at the A10 PCIe's price"),
        (1.1, 1.0, "at the A10 PCIe's price"),
        (0.9, 1.0, "at the A10 PCIe's price"),
        (1.11, 1.0, "1.1 times its price"),
        (0.89, 1.0, "11% cheaper"),
        (3.0, 1.0, "3.0 times its price"),
        (0.25, 1.0, "75% cheaper"),
    ],
)
def test_within_10_percent_is_the_same_price(mine: float, theirs: float, words: str) -> None:
    assert PARITY_FRAC == 0.10
    sentence = said("l40s", "a10", mine, theirs)
    assert f"{words} (median {mine:.2f} against {theirs:.2f} USD/GPU-h)" in sentence


@pytest.mark.parametrize(("mine", "theirs", "named"), [(None, 1.0, "L40S"), (1.0, None, "A10 PCIe")])
def test_without_a_price_it_is_said_whose_is_missing(
    mine: float | None, theirs: float | None, named: str
) -> None:
    sentence = said("l40s", "a10", mine, theirs)
    assert f"no on-demand price of the {named} in these data" in sentence
    assert "cheaper" not in sentence


@pytest.mark.parametrize(
    ("base", "other", "words"),
    [
        ("l40s", "a10", "FP8, which the other lacks"),
        ("a10", "l40s", "no FP8, which the other has"),
        ("l40s", "h100-sxm", "not for tightly coupled training"),
        ("h100-sxm", "l40s", "NVLink, which the other lacks"),
        ("l40s", "a100-80gb-sxm", "graphics kept, where the other is compute only"),
        ("a100-80gb-sxm", "l40s", "compute only, where the other renders"),
        ("l40s", "l40", "the same memory (48 GiB)"),
        ("l40s", "a10", "2.0x the memory (48 against 24 GiB)"),
        ("a2", "l40s", "0.05x the dense FP16 rate (18 against 362 TFLOPS)"),
        ("l40s", "a10", "350 W against 150 W"),
    ],
)
def test_what_decides_is_said(base: str, other: str, words: str) -> None:
    assert words in said(base, other)


def test_what_both_share_is_not_said() -> None:
    sentence = said("l40s", "l40")
    assert not any(word in sentence for word in ("FP8", "NVLink", "graphics", "renders"))


def test_ratios_of_an_absent_price_are_absent_not_zero() -> None:
    gpus = (find_gpu("l40s"), find_gpu("a10"))
    found = Comparison(gpus, {"l40s": spread(2.0), "a10": None}, None, "")
    assert found.numbers(gpus[0])["memory_gib_per_usd_hour"] == 24
    lacking = found.numbers(gpus[1])
    assert (lacking["median_usd_per_gpu_hour"], lacking["n_providers"]) == (None, 0)
    assert {value for key, value in lacking.items() if key.endswith("per_usd_hour")} == {None}
    assert found.to_dict()["meta"]["as_of"] is None
    assert "no prices" in found.blocks()[0].title
    assert repr(found) == "<Comparison: l40s / a10>"
