"""From a provider's answer to a bill: what is collected beside the hour is listed, planned and explained."""

from __future__ import annotations

import csv
import io
import json
from typing import Any

import pytest

from rackrate.cli import status

PATH = "/api/v0/bundles/"
OFFER: dict[str, Any] = {
    "id": 7, "gpu_name": "L40S", "num_gpus": 1, "gpu_ram": 46068, "cpu_cores": 64, "cpu_cores_effective": 8.0,
    "cpu_ram": 262144, "disk_space": 500.0, "dph_total": 0.9, "min_bid": None, "geolocation": "Texas, US",
    "storage_cost": 0.73, "inet_up_cost": 0.25, "inet_down_cost": 0.05,
}  # fmt: skip
_BESIDE = ("storage_cost", "inet_up_cost", "inet_down_cost")
SILENT = OFFER | {"id": 8, "dph_total": 0.95} | dict.fromkeys(_BESIDE)
PLAN = ("plan", "llama-3.1-8b", "--rps", "1", "--precision", "bf16", "--json")


@pytest.fixture
def run(live: Any, reply: Any, capsys: pytest.CaptureFixture[str]) -> Any:
    """Return a function that runs a command over a market that the command line itself collected."""
    live.set_env("RACKRATE_DATA", str(live.folder))
    live.set_env("RACKRATE_COLLECT_URL_VAST", live.site.url)

    def say(*args: str) -> str:
        capsys.readouterr()
        assert status(list(args)) == 0
        return capsys.readouterr().out

    def make(*offers: dict[str, Any]) -> Any:
        live.site.routes[PATH] = reply({"offers": list(offers)})
        say("market", "collect", "vast")
        return say

    return make


def test_what_a_source_says_beside_the_hour_stands_in_every_form_of_the_list(run: Any) -> None:
    say = run(OFFER, SILENT)
    keys = ("storage_usd_per_gb_month", "included_disk_gb", "egress_usd_per_gb", "ingress_usd_per_gb")
    said = json.loads(say("offers", "--gpu", "l40s", "--json"))["data"]
    assert [tuple(row[key] for key in keys) for row in said] == [(0.73, 8, 0.25, 0.05), (None, 8, None, None)]
    rows = list(csv.DictReader(io.StringIO(say("offers", "--gpu", "l40s", "--csv"))))
    assert [(row[keys[0]], row[keys[2]]) for row in rows] == [("0.73", "0.25"), ("", "")]
    table = say("offers", "--gpu", "l40s", "--md")
    assert "disk USD/GB-month" in table
    assert "0.73" in table
    assert "not said" in next(line for line in table.splitlines() if "0.950" in line)


def test_a_list_without_a_word_of_it_shows_no_empty_columns(run: Any) -> None:
    table = run(SILENT)("offers", "--gpu", "l40s", "--md")
    assert "disk USD/GB-month" not in table
    assert "disk GB included" in table


def test_it_enters_the_bill_of_a_plan_and_is_explained(run: Any) -> None:
    say = run(OFFER)
    best = json.loads(say(*PLAN))["rows"][0]
    beside = best["beside"]
    disk_gb = beside["disk_gb"]
    assert disk_gb > 100
    disk_usd = (disk_gb - 8) * 0.73 / 730
    # an hour of 3,600 requests: 300 tokens each in events of 200 bytes, 1,000 received as text
    traffic_usd = 3600 * (300 * 200 * 0.25 + 1000 * 4 * 0.05) / 1e9
    assert beside["disk_usd_per_hour"] == pytest.approx(disk_usd)
    assert beside["egress_usd"] + beside["ingress_usd"] == pytest.approx(traffic_usd)
    usd = best["usd_per_hour"]["value"]
    assert usd == pytest.approx(best["machines"] * (0.9 + disk_usd) + traffic_usd)
    assert best["price"]["usd_per_mtok"]["value"] == pytest.approx(usd / (3600 * 1300 / 1e6))
    told = say(*PLAN[:-1], "--explain")
    assert f"disk = ({disk_gb:.0f} GB - 8 included) x 0.73 USD / 730 h = {disk_usd:.4f} USD/h" in told
    assert f"= {traffic_usd:.4f} USD" in told
    assert "not counted" not in told


def test_what_it_does_not_say_is_told_once(run: Any) -> None:
    told = run(SILENT)(*PLAN[:-1])
    assert told.count("not counted") == 1
    assert "disk at vast; traffic at vast" in told


def test_a_run_pays_for_the_weights_that_it_fetches(run: Any) -> None:
    say = run(OFFER)
    asked = ("plan", "finetune bert-base", "--tokens", "1M", "--json")
    best = json.loads(say(*asked))["rows"][0]
    weights_gb = best["weights_gib"] * 2**30 / 1e9
    traffic_usd = weights_gb * (0.25 + 0.05)  # fetched once, and sent home trained
    assert best["beside"]["egress_usd"] == pytest.approx(weights_gb * 0.25)
    billed = best["beside"]["billed_hours"]
    assert billed >= best["speed"]["hours"]["value"]  # whole seconds, as the catalog knows of Vast
    assert best["price"]["usd_per_run"]["value"] == pytest.approx(
        best["usd_per_hour"]["value"] * billed + traffic_usd
    )
