"""What power costs and emits, as the sources print it."""

from __future__ import annotations

import pytest

from rackrate.errors import UnknownName
from rackrate.plan.electricity import find_place
from rackrate.plan.estimate import table


@pytest.mark.parametrize(
    ("name", "usd", "grams"),
    [
        ("world", 0.161, None),
        ("europe", 0.204, None),
        ("North America", 0.155, None),
        ("DE", 0.204, 381),
        ("france", 0.204, 56),
        ("us", 0.155, 369),
        ("IN", 0.107, 713),
        ("ZA", 0.123, 708),
    ],
)
def test_prices_and_carbon_as_printed(name: str, usd: float, grams: float | None) -> None:
    place = find_place(name)
    assert place.kwh_usd.value == usd
    assert place.g_co2_per_kwh == grams
    assert bool(place.carbon_source) == (grams is not None)
    assert place.kwh_usd.low < usd < place.kwh_usd.high


def test_the_world_reaches_from_its_cheapest_region_to_its_dearest() -> None:
    kwh = find_place().kwh_usd
    assert (kwh.low, kwh.high) == (0.107, 0.266)


def test_an_older_figure_says_its_year() -> None:
    assert find_place("IS").carbon_source.endswith("of 2022")
    assert find_place("SE").carbon_source.endswith("of 2023")


@pytest.mark.parametrize(("name", "near"), [("Germny", "Germany"), ("europ", "europe"), ("XX", "world")])
def test_an_unknown_place_names_the_nearest(name: str, near: str) -> None:
    with pytest.raises(UnknownName) as caught:
        find_place(name)
    assert caught.value.code == "unknown-place"
    assert near in caught.value.nearest


def test_every_country_has_a_region_and_a_possible_figure() -> None:
    data = table("electricity")
    for code, row in data["countries"].items():
        assert len(code) == 2
        assert code.isupper()
        assert row["region"] in data["regions"]
        assert 0 < row["g_co2_per_kwh"] < 1200
