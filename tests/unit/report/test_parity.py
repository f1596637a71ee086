"""Other GPUs for the price of one: none dearer, none without a gain, the better ones first."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from rackrate import api
from rackrate.catalog.gpu import find_gpu
from rackrate.errors import UnknownName
from rackrate.market.store import Store
from rackrate.plan.parity import Alternative, alternatives
from rackrate.report.block import Table
from rackrate.report.parity import SHOWN, Parity

NOW = datetime(2026, 8, 22, tzinfo=UTC)


def table(parity: Parity) -> Table:
    (found,) = parity.blocks()
    assert isinstance(found, Table)
    return found


def beside(base: str, **usd: float) -> dict[str, Alternative]:
    """Return the alternatives to a GPU of 1.00 USD/h, by name."""
    prices = {slug.replace("_", "-"): price for slug, price in usd.items()}
    found = alternatives(find_gpu(base), map(find_gpu, prices), {base: 1.0, **prices})
    return {each.gpu: each for each in found}


def test_what_costs_over_a_tenth_more_is_none() -> None:
    assert beside("a10", l40s=1.1).keys() == {"l40s"}
    assert not beside("a10", l40s=1.11)
    assert not beside("l40s", a10=0.2)  # cheaper, with less of everything


def test_ratios_are_those_of_the_data_sheets() -> None:
    # L40S: 48 GiB, 864 GB/s; A10: 24 GiB, 600.2 GB/s
    found = beside("a10", l40s=0.8)["l40s"]
    assert found.is_better
    assert found.price_ratio == pytest.approx(0.8)
    assert found.ratios["memory_gib"] == 2
    assert found.ratios["bandwidth_gb_per_s"] == pytest.approx(1.4395, abs=1e-4)
    assert "20% less (0.80 USD/h)" in str(found)
    assert "the same price" in str(beside("a10", l40s=1.0)["l40s"])


def test_a_trade_is_no_better_card_and_stands_behind() -> None:
    # An A100 of 40 GB has 1.8 times the bandwidth of an L40S and less memory; an H100 has more of everything
    found = beside("l40s", a100_40gb_sxm=0.5, h100_sxm=1.0)
    assert list(found) == ["h100-sxm", "a100-40gb-sxm"]
    assert [each.is_better for each in found.values()] == [True, False]


def test_a_gpu_without_a_price_has_nothing_beside_it() -> None:
    l40s, a10 = find_gpu("l40s"), find_gpu("a10")
    assert alternatives(a10, [l40s], {"l40s": 0.1}) == []
    assert alternatives(a10, [l40s], {"a10": 1.0}) == []
    assert alternatives(a10, [a10], {"a10": 1.0}) == []


@pytest.mark.parametrize("gpu", ["a10", "l40s", "t4", "a100-80gb-sxm", "v100-16gb-sxm", "rtx-a6000"])
def test_of_the_sample_no_row_is_dearer_and_better_ones_have_less_of_nothing(gpu: str) -> None:
    found = api.parity(gpu, data=Store.sample())
    assert found.usd_per_gpu_hour
    facts = find_gpu(gpu)
    for each in found.alternatives:
        assert each.usd_per_gpu_hour <= found.usd_per_gpu_hour * 1.1 + 1e-9
        other = find_gpu(each.gpu)
        more = [
            other.memory_gib.value / facts.memory_gib.value,
            other.bandwidth_gb_per_s.value / facts.bandwidth_gb_per_s.value,
        ]
        if each.is_better:
            assert min(more) >= 0.95
    order = [each.is_better for each in found.alternatives]
    assert order == sorted(order, reverse=True)
    assert len(table(found).rows) == min(len(order), SHOWN)


@pytest.mark.parametrize(
    ("usd", "names", "says"),
    [
        (None, [], "Nobody offers the a10"),
        (0.5, [], "nothing has more of anything"),
        (0.5, ["l40s"], "a10 at 0.500 USD/GPU-h, or 10% more at most, you could have"),
    ],
)
def test_the_title_says_also_that_there_is_nothing(usd: float | None, names: list[str], says: str) -> None:
    parity = Parity("a10", usd, [beside("a10", l40s=1.0)[name] for name in names], NOW, "v")
    assert says in table(parity).title
    assert parity.to_dict()["usd_per_gpu_hour"] == usd
    assert [row["gpu"] for row in parity.to_dict()["data"]] == names
    assert repr(parity) == f"<Parity: instead of a10, {names[0] if names else 'nothing else'}>"


def test_an_unknown_gpu_is_one_error() -> None:
    with pytest.raises(UnknownName) as caught:
        api.parity("a11", data=Store.sample())
    assert "a10" in caught.value.nearest
