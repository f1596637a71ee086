"""What the answer on renting or owning says: figures that add up, words that fit, nothing hidden."""

from __future__ import annotations

import math
import re
from typing import Any

import pytest

import rackrate
from rackrate.errors import UsageError
from rackrate.report.block import Table, Text, draw, to_csv, to_html, to_text
from rackrate.report.own import OwnAnswer

ASKED: dict[str, dict[str, Any]] = {
    "example": {"hours_per_day": 8, "kwh_usd": 0.15, "price_usd": 9000},
    "default": {},
    "round the clock": {"hours_per_day": 24, "gpus_per_host": 8, "place": "DE"},
    "page": {"rent_usd": 0.28, "kwh_usd": 0.12, "price_usd": 9000, "hours_per_day": 24},
    "range": {"rent_usd": "0.8..1.2", "kwh_usd": "0.1..0.2"},
}


def answer(case: str = "example") -> OwnAnswer:
    return rackrate.own("l40s", **ASKED[case])


def lines(found: OwnAnswer, title: str) -> str:
    block = next(block for block in found.blocks() if block.title.startswith(title))
    assert isinstance(block, Text)
    return "\n".join(block.lines)


@pytest.mark.parametrize("case", ASKED)
def test_the_terms_add_up_to_the_cost_in_every_place_that_shows_it(case: str) -> None:
    found = answer(case)
    rows = {row[0]: row for row in found.terms_table().rows}
    total = rows.pop("total")
    assert sum(row[2] for row in rows.values()) == pytest.approx(total[2])
    assert sum(row[4].value for row in rows.values()) == pytest.approx(1)
    assert all(row[1] <= row[2] <= row[3] for row in (*rows.values(), total))
    assert sum(size for _, size in found.stack().parts) == pytest.approx(total[2])
    data = found.to_dict()
    assert data["cost_usd_per_hour"]["value"] == pytest.approx(total[2])
    assert f"{total[2]:.3f} USD for an hour of use" in to_text(found.blocks())
    assert repr(found) == f"<OwnAnswer: {found.title}, {total[2]:.3f} USD/h owned>"
    assert found._repr_html_() == to_html(found.blocks())


def test_the_rent_is_the_mark_in_the_picture_and_is_called_so() -> None:
    picture = draw(answer("page").stack())
    assert "|" in picture[0]
    assert picture[-1].endswith("| rent 0.28 USD/h")
    assert "as you gave them" in answer("page").against_table().notes[0]


def test_the_first_answer_by_hand() -> None:
    """9,000 + 3,000 USD for 5 years at 8 %, 2,920 h a year, added up on paper to the tenth of a cent.

    Recovery 0.250456; proceeds 0.9 x 0.16807 x 0.680583 = 0.102947 of the price: card 9,000 x 0.897053 x
    0.250456 / 2,920 = 0.69248; host a third of it; support 600 / 2,920; at the wall 379.75 W for 8 h and
    49 W for 16 h: 3.822 kWh a day x 1.54 x 0.15 / 8; colocation 0.49 x 217.3 x 12 / 2,920.
    """
    terms = {row[0]: row[2] for row in answer().terms_table().rows}
    assert terms == pytest.approx(
        {
            "card": 0.69248,
            "host": 0.23083,
            "support": 0.20548,
            "electricity": 0.11036,
            "colocation": 0.43758,
            "total": 1.67673,
        },
        abs=1e-5,
    )


def test_the_simple_view_is_the_rental_page_s_and_is_labelled() -> None:
    simple = lines(answer("page"), "Simple view")
    assert "electricity 1.01 USD a day, 350 W at 0.12 USD/kWh" in simple
    assert "6.72 USD a day, 204.40 a month" in simple  # 730 h a month, where the page has 720
    assert "1,576 days, 51.8 months" in simple
    assert "without server, PUE, idle hours, colocation, repairs, interest and resale" in simple


def test_both_views_stand_against_median_cheapest_and_dearest_of_one_kind() -> None:
    found = answer()
    priced = rackrate.price("l40s").spread
    assert priced
    table = found.against_table()
    assert [row[:2] for row in table.rows] == [
        (view, rent) for view in ("simple", "full") for rent in ("median", "cheapest", "dearest")
    ]
    assert [row[3] for row in table.rows[:3]] == [
        priced.median_usd_per_gpu_hour,
        priced.cheapest[1],
        priced.dearest[1],
    ]
    assert found.kind == "on_demand"
    assert "one kind only" in table.notes[0]
    spot = rackrate.own("l40s", kind="spot")
    assert {rent.usd_per_hour for rent in spot.rents} == {1.07}


@pytest.mark.parametrize(
    ("rent_usd", "verdict"),
    [(0.3, "rent"), (1.335, "too close to call"), (1.677, "too close to call"), (3.0, "own")],
)
def test_the_verdict_needs_a_rent_outside_of_the_range(rent_usd: float, verdict: str) -> None:
    found = rackrate.own("l40s", rent_usd=rent_usd, **ASKED["example"])
    assert found.verdict == verdict
    assert found.title == f"l40s for 8 h a day: {verdict}"


def test_never_reads_never_in_every_form() -> None:
    found = answer()
    cheapest = next(row for row in found.to_dict()["against"] if row["against"] == "cheapest")
    assert cheapest["breakeven_years"] == {"low": "never", "value": "never", "high": "never"}
    assert re.search(r"^full,cheapest,.*,never,never,never,rent$", to_csv(found.blocks()), re.MULTILINE)
    assert "runpod): rent, breakeven never\n" in lines(found, "l40s") + "\n"
    assert "inf" not in to_text(found.blocks())
    assert "never to never" not in to_text(found.blocks())


def test_the_cost_falls_with_the_years_and_meets_the_rent_at_the_breakeven() -> None:
    found = answer()
    costs = [row[3] for row in found.years_table().rows]
    assert costs == sorted(costs, reverse=True)
    years = found.doubt.breakeven(found.rents[0].usd_per_hour).value
    assert costs[math.floor(years) - 1] > found.rents[0].usd_per_hour > costs[math.ceil(years) - 1]
    assert [row[1] for row in found.years_table().rows[:2]] == pytest.approx([7560.0, 5292.0])


def test_what_decides_has_every_unsure_input_once_and_bars_around_the_cost() -> None:
    found = answer()
    table = found.swings_table()
    unsure = {each.says for each in found.doubt.inputs if not each.is_exact}
    assert {row[0] for row in table.rows} == unsure
    assert len(table.rows) == len(unsure)
    for row in table.rows:
        assert row[-1].count("|") == 1
        assert min(row[4:6]) <= found.cost.value <= max(row[4:6])
    widths = [len(row[-1].strip()) for row in table.rows]
    assert widths == sorted(widths, reverse=True)


def test_every_input_is_listed_with_its_source() -> None:
    found = answer()
    rows = found.inputs_table().rows
    assert len(rows) == len(found.doubt.inputs)
    assert all(row[-1] for row in rows)
    assert [row[0] for row in rows if row[-1] == "you"] == [
        "price of one card",
        "electricity",
        "hours of use",
    ]


def test_carbon_needs_a_country() -> None:
    """At 24 h: 350 x 0.775 x 1.25 W x 1.54 = 0.5222 kWh an hour, x 381 g."""
    named = answer("round the clock")
    assert named.to_dict()["power"]["co2_kg_per_hour"] == pytest.approx(0.5222 * 0.381, rel=1e-3)
    assert "0.199 kg CO2e" in lines(named, "l40s")
    assert answer().to_dict()["power"]["co2_kg_per_hour"] is None
    assert "--country DE" in lines(answer(), "l40s")


def test_old_prices_and_missing_rents_are_said() -> None:
    assert "rents of 2026-08-22; street price of the card of 2025-08-24, 362 days" in lines(
        answer("default"), "l40s"
    )
    assert "street price" not in lines(answer(), "l40s")
    alone = rackrate.own("p4", price_usd=100)
    assert alone.verdict == "no rent to compare with"
    assert "no counted on_demand offer of the p4" in lines(alone, "p4")
    titles = [block.title for block in alone.blocks()]
    assert "Against the market" not in titles
    assert any(isinstance(block, Table) for block in alone.blocks())


def test_the_formulae_carry_the_numbers_that_are_shown() -> None:
    found = rackrate.own("l40s", is_explained=True, **ASKED["example"])
    said = lines(found, "How it is reckoned")
    for row in found.terms_table().rows[:-1]:
        assert re.search(rf"^{row[0]} = .* = {row[2]:.4f} USD/h$", said, re.MULTILINE)
    assert "9,000.00 / ((1.535 - 0.35 x 0.15) x 8) days" in said
    assert said.splitlines() == found.to_dict()["formulae"]
    assert not any(block.title == "How it is reckoned" for block in answer().blocks())


def test_a_card_without_a_street_price_is_not_given_another_one_s() -> None:
    with pytest.raises(UsageError) as caught:
        rackrate.own("gb300", rent_usd=3)
    assert caught.value.hint == "say what one costs you: --price-usd USD"


def test_a_short_breakeven_and_a_large_month_are_written_in_full() -> None:
    found = rackrate.own("l40s", rent_usd=100, price_usd=9000)
    assert "18,250.00 a month" in lines(found, "Simple view")
    assert re.search(r"breakeven 0\.0[1-9] years \(0\.0\d to 0\.0[1-9]\)", lines(found, "l40s"))
