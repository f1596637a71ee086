"""From words to inputs: what was said, else what is usual, each with its source."""

from __future__ import annotations

from typing import Any

import pytest

from rackrate.catalog.gpu import find_gpu
from rackrate.errors import BadQuantity, RackrateError, UnknownName, UsageError
from rackrate.plan.electricity import find_place
from rackrate.plan.estimate import Estimate, constant, given, table
from rackrate.plan.ownership import KEYS, inputs_for

ROW = {"says": "PUE", "unit": "", "least": 1, "most": 3}


def inputs(gpu: str = "l40s", place: str = "world", **said: Any) -> dict[str, Estimate]:
    return {each.key: each for each in inputs_for(find_gpu(gpu), find_place(place), said)}


def test_every_input_has_a_value_in_its_range_and_a_source() -> None:
    found = inputs()
    assert tuple(found) == KEYS
    for each in found.values():
        assert each.low <= each.value <= each.high
        assert each.source
        assert each.says


@pytest.mark.parametrize("size", ["any", "few", "many"])
def test_every_constant_is_possible_sourced_and_reasoned(size: str) -> None:
    data = table("ownership")
    for key, row in data[size].items():
        found = constant(key, row, data["sources"])
        assert found.low < found.value < found.high
        assert row["least"] <= found.low or key == "price_usd"  # a factor of the street price
        assert found.high <= row["most"]
        assert len(row["why"]) > 10
        assert data["sources"][row["source"]].date >= "2023"


def test_the_street_price_has_its_date_and_doubt() -> None:
    price = inputs()["price_usd"]
    assert price.value == 9749.95
    assert (price.low, price.high) == pytest.approx((8287.46, 11212.44), abs=0.01)
    assert "2025-08-24" in price.source
    assert "assumed" in price.source


def test_what_is_said_takes_the_place_of_what_is_usual() -> None:
    found = inputs(price_usd=9000, kwh_usd="0.12..0.20", pue="1.1")
    assert (found["price_usd"].value, found["price_usd"].source) == (9000, "you")
    assert found["price_usd"].is_exact
    assert found["pue"].is_exact
    kwh = found["kwh_usd"]
    assert (kwh.low, kwh.value, kwh.high) == (0.12, pytest.approx(0.16), 0.20)
    assert not kwh.is_exact


def test_small_and_large_hosts_differ() -> None:
    one, eight = inputs(), inputs(gpus_per_host=8)
    assert (one["host_usd"].value, one["host_factor"].value) == (3000, 1.4)
    assert (eight["host_usd"].value, eight["host_factor"].value) == (24000, 1.25)
    assert inputs(gpus_per_host=3)["host_usd"].value == 3000
    assert inputs(gpus_per_host=4)["host_usd"].value == 24000


@pytest.mark.parametrize(("gpu", "n"), [("l40s", 1), ("h100-pcie", 1), ("h100-sxm", 8), ("rtx-4090", 1)])
def test_modules_come_on_boards_of_eight(gpu: str, n: int) -> None:
    assert inputs(gpu)["gpus_per_host"].value == n


@pytest.mark.parametrize(
    ("said", "low", "value", "high"),
    [
        ("notebook", 2.4, 2.4, 2.4),
        ("training", 16.8, 16.8, 16.8),
        (0.5, 12, 12, 12),
        ("0.25..0.75", 6, 12, 18),
    ],
)
def test_utilisation_is_hours_of_a_day(said: Any, low: float, value: float, high: float) -> None:
    hours = inputs(utilisation=said)["hours_per_day"]
    assert (hours.low, hours.value, hours.high) == pytest.approx((low, value, high))
    assert (hours.unit, hours.key) == ("h/day", "hours_per_day")


@pytest.mark.parametrize(
    ("said", "error", "hint"),
    [
        ({"price_usd": 0}, BadQuantity, "the nearest that can be: 1"),
        ({"price_usd": "1e12"}, BadQuantity, "1000000"),
        ({"price_usd": "cheap"}, BadQuantity, "0.12..0.20"),
        ({"hours_per_day": 24.5}, BadQuantity, "24"),
        ({"hours_per_day": 0}, BadQuantity, "0.1"),
        ({"pue": 0.9}, BadQuantity, "1"),
        ({"kwh_usd": -0.1}, BadQuantity, "0"),
        ({"kwh_usd": "0.1..9"}, BadQuantity, "5"),
        ({"pue": "1.6..1.2"}, BadQuantity, "1.2..1.6"),
        ({"years": "nan"}, BadQuantity, "write it"),
        ({"resale_frac": 70}, BadQuantity, "1"),
        ({"gpus_per_host": 2.5}, BadQuantity, "give 2"),
        ({"gpus_per_host": "1..8"}, BadQuantity, "give"),
        ({"utilisation": "trainin"}, UnknownName, "training"),
        ({"utilisation": 1.5}, BadQuantity, "1"),
        ({"utilisation": 0.5, "hours_per_day": 12}, UsageError, "over 24"),
        ({"puee": 1.2}, UnknownName, "pue"),
    ],
)
def test_what_cannot_be_is_refused_with_the_nearest_that_can(
    said: dict[str, Any], error: type[RackrateError], hint: str
) -> None:
    with pytest.raises(error) as caught:
        inputs(**said)
    assert hint in caught.value.hint
    assert str(next(iter(said.values()))) in caught.value.message or "puee" in said or len(said) == 2


def test_without_a_street_price_the_error_asks_for_one_and_tells_what_is_known() -> None:
    with pytest.raises(UsageError) as caught:
        inputs("a10")
    assert caught.value.code == "no-price"
    assert "--price-usd 3200" in caught.value.hint
    assert "3,200" in caught.value.hint
    assert inputs("a10", price_usd=2800)["price_usd"].value == 2800


def test_without_a_board_power_the_error_asks_for_one() -> None:
    with pytest.raises(UsageError, match="power limit"):
        inputs("tpu-v5e", price_usd=5000)
    assert inputs("tpu-v5e", price_usd=5000, power_w=200)["power_w"].value == 200


@pytest.mark.parametrize(("text", "ends"), [("1.5", (1.5, 1.5)), (2, (2, 2)), ("$1.1 .. $1.3", (1.1, 1.3))])
def test_numbers_and_ranges_are_read(text: Any, ends: tuple[float, float]) -> None:
    found = given("pue", ROW, text)
    assert (found.low, found.high) == ends
