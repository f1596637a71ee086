"""What the answer of a plan shows: the columns its work has, titles, reasons, and what it leaves out."""

from __future__ import annotations

import csv
import io
import json
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import rackrate
from rackrate.market.store import Store
from rackrate.planning import kept
from rackrate.report.block import Table, Text, to_csv, to_text
from rackrate.report.plan import PlanAnswer

ASKED: dict[str, dict[str, Any]] = {
    "serving": {"what": "llama-3.1-8b", "rps": 2, "gpu": ["l40s", "a10"]},
    "images": {"what": "flux.1-schnell", "images_per_hour": 500},
    "speech": {"what": "whisper-large-v3", "audio_hours_per_day": 500},
    "training": {"what": "finetune bert-base-uncased", "tokens": "10M"},
    "alignment": {"workload": "segalign"},
    "rough": {"workload": "doom-eternal", "gpu": "l40s"},
    "sweep": {"what": "sweep bert", "gpu": "l40s"},
}


@pytest.fixture(scope="module")
def answers() -> dict[str, PlanAnswer]:
    """Return a plan of every kind over the bundled sample."""
    return {name: rackrate.plan(data=Store.sample(), limit=5, **asked) for name, asked in ASKED.items()}


def titles(answer: PlanAnswer) -> list[str]:
    return [block.title for block in answer.blocks()]


def keys(table: Table) -> set[str]:
    return {column.key for column in table.columns}


@pytest.mark.parametrize(
    ("case", "has", "lacks"),
    [
        ("serving", {"ttft_s", "tpot_ms", "usd_per_mtok", "precision", "headroom_gib", "limit"}, {"hours"}),
        ("images", {"usd_per_1000_images", "precision", "capacity_per_s"}, {"hours", "ttft_s"}),
        ("speech", {"usd_per_audio_hour", "utilisation_frac"}, {"hours", "tpot_ms"}),
        ("training", {"hours", "usd_per_run", "layout"}, {"capacity_per_s", "utilisation_frac"}),
        ("sweep", {"hours", "usd_per_run", "usd_per_variant"}, {"ttft_s", "limit"}),
        ("alignment", {"hours", "usd_per_alignment"}, {"precision", "layout", "headroom_gib"}),
        ("rough", {"usd_per_hour_of_one", "utilisation_frac"}, {"precision", "layout", "hours"}),
    ],
)
def test_a_ranking_has_the_columns_of_its_work(
    answers: dict[str, PlanAnswer], case: str, has: set[str], lacks: set[str]
) -> None:
    table = answers[case].ranking()
    assert has <= keys(table)
    assert not lacks & keys(table)
    assert 1 <= len(table.rows) == len(answers[case].rows) <= 5
    found = list(csv.DictReader(io.StringIO(to_csv(answers[case].blocks()))))
    assert len(found) == len(table.rows)  # the ranking is what CSV holds
    assert float(found[0]["usd_per_hour"]) == pytest.approx(answers[case].best.usd_per_hour.value)


@pytest.mark.parametrize("case", ASKED)
def test_rows_go_from_cheap_to_dear_and_ranges_hold_their_value(
    answers: dict[str, PlanAnswer], case: str
) -> None:
    for row in answers[case].rows:
        for price in row.price.values():
            assert price.low <= price.value <= price.high
    first = [next(iter(row.price.values())).value for row in answers[case].rows]
    assert first == sorted(first)


@pytest.mark.parametrize("case", [case for case in ASKED if case != "rough"])
def test_the_frontier_trades_money_for_time(answers: dict[str, PlanAnswer], case: str) -> None:
    table = answers[case].frontier()
    seconds = [row[-1].value for row in table.rows]
    assert seconds == sorted(seconds, reverse=True)
    bars = [row[-1].text.count("█") for row in table.rows]
    assert bars[0] == 24  # the slowest fills the column
    assert min(bars) >= 1
    is_run = "hours" in answers[case].best.speed
    assert ("(run of the question)" in table.title) is is_run


def test_rough_work_shows_no_time_that_nobody_knows(answers: dict[str, PlanAnswer]) -> None:
    assert not any(title.startswith("Faster") for title in titles(answers["rough"]))
    assert any("roughly" in reason for reason in answers["rough"].plan.reasons)


def test_the_title_names_work_machines_place_and_price(answers: dict[str, PlanAnswer]) -> None:
    found = answers["rough"]
    row, usd = found.best, f"{found.best.usd_per_hour.value:.2f} USD/h"
    assert found.title == f"game-streaming: 1 x l40s at {row.where}, {usd}"  # no weights, no precision
    best = answers["serving"].best
    assert f", {best.precision}, {best.engine}, " in answers["serving"].title
    assert repr(found) == f"<PlanAnswer: {found.title}>"


def test_usual_loads_are_one_of_each(answers: dict[str, PlanAnswer]) -> None:
    assert answers["alignment"].plan.question["amount"] == 1
    assert answers["sweep"].plan.question["amount"] == 64
    assert answers["rough"].plan.question["rate_per_s"] == 1
    best = answers["rough"].best
    assert (best.machines, best.count, best.utilisation_frac) == (1, 1, pytest.approx(1))


def test_words_are_those_that_a_person_would_write() -> None:
    """No percentages of thousands, no share of nothing, no infinite promise, no small price of 0.000."""
    idle = rackrate.plan("qwen2.5-0.5b", users=1, gpu=["rtx-3090", "h100"], data=Store.sample())
    assert any("under 1% of what it could do is used" in reason for reason in idle.plan.reasons)
    assert any("times as much" in reason for reason in idle.plan.reasons)
    assert not any(re.search(r"\d{4}% more", reason) for reason in idle.plan.reasons)
    batch = rackrate.plan("llama-3.1-8b", tokens_per_day="1B", gpu="l40s", data=Store.sample())
    assert not any("inf" in line for line in batch.plan.explained)
    assert any("most requests/s in its room = " in line for line in batch.plan.explained)
    rough = rackrate.plan(workload="rendering", gpu="l40s", data=Store.sample())
    assert rough.plan.asked[0] == "as much as one L40S does"


def test_small_prices_keep_their_digits() -> None:
    found = rackrate.plan("whisper-tiny", audio_hours_per_day="1M", data=Store.sample(), limit=1)
    table, row = found.ranking(), found.best.price["usd_per_audio_hour"]
    written = {
        column.key: column.write(value) for column, value in zip(table.columns, table.rows[0], strict=True)
    }
    assert row.low < 0.001
    assert float(written["usd_per_audio_hour_low"]) == pytest.approx(row.low, rel=0.005)
    assert float(written["usd_per_audio_hour"]) == pytest.approx(row.value, rel=0.005)


def test_formulae_are_written_on_demand(answers: dict[str, PlanAnswer]) -> None:
    plain = answers["speech"]
    assert "How it is reckoned" not in titles(plain)
    explained = replace(plain, is_explained=True)
    (text,) = (block for block in explained.blocks() if block.title == "How it is reckoned")
    assert isinstance(text, Text)
    assert any("start = boot" in line for line in text.lines)
    assert plain.to_dict() == explained.to_dict()  # data hold them in either case


def test_what_is_left_out_is_counted_and_named() -> None:
    asked: dict[str, Any] = {"workload": "tightly-coupled-training", "tokens": "20M", "data": Store.sample()}
    found = rackrate.plan("llama-3.1-8b", gpu=["l40s", "h100-sxm"], **asked)
    (table,) = (block for block in found.blocks() if block.title == "Left out")
    assert isinstance(table, Table)
    (why,) = (rule for n, of, rule, names in table.rows if (n, of, names) == (1, "GPUs", "l40s"))
    for figure in ("256 MiB", "302 GB/s", "28 GB/s"):  # measured, with NVLink and without
        assert figure in why
    assert {row.taken_as for row in found.rows} == {"h100-sxm"}
    of_offers = sum(n for n, of, *_ in table.rows if of == "offers")
    assert 0 < of_offers < found.plan.n_offers
    none = PlanAnswer(replace(found.plan, excluded=()))
    assert "Left out" not in titles(none)


@pytest.mark.parametrize("case", ASKED)
def test_a_kept_plan_is_shown_as_it_was(answers: dict[str, PlanAnswer], case: str, tmp_path: Path) -> None:
    path, found = tmp_path / "plan.json", replace(answers[case], is_explained=True)
    path.write_text(json.dumps(found.to_dict(), allow_nan=False), encoding="utf-8")
    again = kept(path, is_explained=True)
    assert again.plan == found.plan
    assert to_text(again.blocks()) == to_text(found.blocks())


@pytest.mark.parametrize(
    ("n_rows", "says"),
    [(0, "does not do this work in these data"), (1, "nothing is faster"), (2, "for the same price or less")],
)
def test_what_stands_instead_of_a_gpu_is_said_also_where_it_is_nothing(
    answers: dict[str, PlanAnswer], n_rows: int, says: str
) -> None:
    plan = answers["serving"].plan
    asked = replace(plan, question={**plan.question, "instead_of": "a10"}, instead=plan.rows[:n_rows])
    (table,) = (b for b in PlanAnswer(asked).blocks() if b.title.startswith("Instead of a10"))
    assert isinstance(table, Table)
    assert says in table.title
    assert len(table.rows) == n_rows
    assert says in to_text(PlanAnswer(asked).blocks())
