"""`rackrate own` from the words to the screen, the data and the picture.

A whole screen stands in docs/concepts/economics.md, where tests/integration/test_docs.py compares it.
"""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rackrate
from rackrate.cli.own import _INPUTS, _NAMES
from rackrate.plan.estimate import table
from rackrate.plan.ownership import KEYS

ASKED = ["own", "l40s", "--hours-per-day", "8", "--kwh-usd", "0.15", "--price-usd", "9000"]


def test_all_forms_say_the_same(cli: Any) -> None:
    found = rackrate.own("l40s", hours_per_day=8, kwh_usd=0.15, price_usd=9000)
    data = cli(*ASKED, "--json").json
    assert data == json.loads(json.dumps(found.to_dict()))
    rows = list(csv.DictReader(io.StringIO(cli(*ASKED, "--csv").out)))
    for row, rent in zip(rows[3:], data["against"], strict=True):
        assert (row["view"], row["against"], row["provider"]) == ("full", rent["against"], rent["provider"])
        assert float(row["own_usd_per_hour"]) == pytest.approx(data["cost_usd_per_hour"]["value"], rel=1e-9)
        shown = row["breakeven_years"]
        value = rent["breakeven_years"]["value"]
        assert shown == "never" if value == "never" else float(shown) == pytest.approx(value, rel=1e-9)
    for form in ((), ("--md",), ("--html",)):
        text = cli(*ASKED, *form).out
        assert found.title in text
        assert f"{data['cost_usd_per_hour']['value']:.3f}" in text
        assert "Simple view, as rental pages have it" in text


@settings(max_examples=15, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    gpu=st.sampled_from(["l40s", "h100-sxm", "rtx-4090", "l4", "t4"]),
    hours=st.integers(1, 24),
    cents=st.integers(0, 100),
)
def test_the_cost_of_the_data_is_the_printed_one(cli: Any, gpu: str, hours: int, cents: int) -> None:
    words = ["own", gpu, "--hours-per-day", str(hours), "--kwh-usd", str(cents / 100)]
    cost = cli(*words, "--json").json["cost_usd_per_hour"]
    text = cli(*words).out
    shown = f"{cost['value']:.3f} USD for an hour of use ({cost['low']:.3f} to {cost['high']:.3f})"
    assert shown in text
    assert re.search(
        rf"^  total +{cost['low']:.3f} +{cost['value']:.3f} +{cost['high']:.3f} ", text, re.MULTILINE
    )


def test_every_input_has_an_option_that_reaches_it(cli: Any) -> None:
    named = {_NAMES.get(name.replace("-", "_"), name.replace("-", "_")) for name, _, _ in _INPUTS}
    assert named == {*KEYS, "utilisation"}
    said = {
        "hours-per-day": 10, "price-usd": 8000, "kwh-usd": 0.2, "years": 4, "resale": 0.6, "selling": 0.2,
        "rate": 0.05, "support": 0.03, "host-usd": 20000, "gpus-per-host": 4, "host-factor": 1.3,
        "power-w": 300, "load": 0.9, "idle": 0.0, "pue": 1.2, "colo": 150,
    }  # fmt: skip
    words = [word for name, value in said.items() for word in (f"--{name}", str(value))]
    inputs = {row["key"]: row for row in cli("own", "l40s", *words, "--json").json["inputs"]}
    for name, value in said.items():
        key = _NAMES.get(name, name.replace("-", "_"))
        assert (inputs[key]["value"], inputs[key]["source"]) == (value, "you"), name
    hours = cli("own", "l40s", "--utilisation", "shared", "--json").json["inputs"]
    assert next(row["value"] for row in hours if row["key"] == "hours_per_day") == pytest.approx(10.8)


def test_the_help_states_the_defaults_that_are_used() -> None:
    data = table("ownership")
    says = {_NAMES.get(name.replace("-", "_"), name.replace("-", "_")): text for name, _, text in _INPUTS}
    for size in ("any", "few", "many"):
        for key, row in data[size].items():
            if key != "price_usd":  # the street price of the card
                assert re.search(rf"\b{row['value']:g}0?\b", says[key]), key


def test_the_place_decides_tariff_and_carbon(cli: Any) -> None:
    for option in ("--country", "--region"):
        data = cli("own", "l40s", option, "FR", "--json").json
        assert data["place"] == "France"
        kwh = next(row for row in data["inputs"] if row["key"] == "kwh_usd")
        assert kwh["value"] == 0.204
        assert data["power"]["co2_kg_per_hour"] == pytest.approx(data["power"]["kwh_per_hour"] * 0.056)


def test_a_rent_of_one_s_own_needs_no_market(cli: Any, tmp_path: Path) -> None:
    ran = cli("own", "l40s", "--rent-usd", "0.28", "--data", str(tmp_path), "--json")
    assert ran.code == 0
    assert [row["against"] for row in ran.json["against"]] == ["given"]
    assert ran.json["meta"]["as_of"] is None
    ends = cli("own", "l40s", "--rent-usd", "0.5..1.5", "--json").json["against"]
    assert [(row["against"], row["usd_per_hour"]) for row in ends] == [
        ("given", 1),
        ("low", 0.5),
        ("high", 1.5),
    ]


def test_kinds_are_not_mixed_and_the_day_may_be_chosen(cli: Any) -> None:
    spot = cli("own", "l40s", "--kind", "spot", "--json").json
    assert spot["kind"] == "spot"
    then = cli("own", "l40s", "--as-of", "2026-07-18", "--json").json
    assert then["against"][0]["usd_per_hour"] == pytest.approx(1.435)  # the median of that day, as in README
    assert then["meta"]["as_of"].startswith("2026-07-18")


def test_old_rents_are_said_on_stderr_and_refused_on_demand(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RACKRATE_NOW", "2026-11-22T00:00+00:00")
    assert "prices are 92 days old" in cli(*ASKED).err
    ran = cli(*ASKED, "--max-data-age", "7d", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (4, "stale-data")


def test_the_picture_has_the_costs_and_the_rents(tmp_path: Path, cli: Any) -> None:
    file = tmp_path / "own.svg"
    ran = cli(*ASKED, "--svg", str(file))
    assert (ran.code, ran.err) == (0, f"wrote {file}\n")
    root = ET.fromstring(file.read_text(encoding="utf-8"))  # noqa: S314 - we wrote it
    said = "".join(root.itertext())
    assert "l40s for 8 h a day: too close to call" in said
    assert "USD per hour of use" in said
    for rent in ("median rent 1.535", "cheapest rent 0.790", "dearest rent 2.250"):
        assert rent in said


def test_explain_adds_the_formulae(cli: Any) -> None:
    assert "How it is reckoned" not in cli(*ASKED).out
    assert "\nHow it is reckoned\n  hours of use a year = 8 h x 365 = 2,920\n" in cli(*ASKED, "--explain").out
