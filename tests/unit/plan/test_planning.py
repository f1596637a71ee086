"""From words and files to a plan and back: what verbs stand for, and what cannot be read."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import yaml

import rackrate
from rackrate.errors import (
    BadQuantity,
    ImportRejected,
    NoAnswer,
    NothingFits,
    RackrateError,
    UnknownName,
    UsageError,
)
from rackrate.market.store import Store
from rackrate.planning import compared, exported, kept

L40S: dict[str, Any] = {"gpu": "l40s", "data": Store.sample()}


@pytest.fixture
def saved(tmp_path: Path) -> Path:
    """Return a kept plan of two copies of an 8B model on L40S at AWS."""
    path = tmp_path / "plan.json"
    made = rackrate.plan("llama-3.1-8b", rps=8, precision="bf16", provider="aws", **L40S)
    path.write_text(json.dumps(made.to_dict()), encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("words", "fields", "workload", "model"),
    [
        ("serve llama-3.1-8b", {"rps": 1}, "llm-serving", "llama-3.1-8b"),
        ("Finetune bert-base-uncased", {"tokens": "1M"}, "finetune-full", "bert-base-uncased"),
        ("lora llama-3.1-8b", {"tokens": "1M"}, "finetune-lora", "llama-3.1-8b"),
        ("qlora llama-3.1-8b", {"tokens": "1M"}, "finetune-qlora", "llama-3.1-8b"),
        ("sweep bert", {}, "bert-sweep", "bert-base-uncased"),
        ("sweep", {}, "bert-sweep", "bert-base-uncased"),
        ("sweep bert-large-uncased", {}, "bert-sweep", "bert-large-uncased"),
        ("", {"workload": "doom-eternal"}, "game-streaming", ""),
    ],
)
def test_words_mean_a_workload_and_a_model(
    words: str, fields: dict[str, Any], workload: str, model: str
) -> None:
    question = rackrate.plan(words, **fields, **L40S).plan.question
    assert (question["workload"], question["model"]) == (workload, model)


@pytest.mark.parametrize(
    ("words", "fields", "error", "hint"),
    [
        ("finetune", {"tokens": "1M"}, UsageError, "rackrate models list"),
        ("serve", {"rps": 1}, UsageError, "rackrate plan"),
        ("sweep nothing-like-it", {}, UnknownName, ""),
        ("llama-3.1-8b", {"rps": 1, "limit": 0}, UsageError, "leave it out"),
        ("flux.1-dev", {"images_per_hour": 5, "precision": "int4"}, UnknownName, "`bf16`"),
        ("flux.1-dev", {"images_per_hour": 5, "precision": "bf16", "gpu": "l4"}, NothingFits, "does not fit"),
        ("llama-3.1-8b", {"tokens": "1M", "finetune": "full", "gpu": "t4:1"}, NothingFits, "t4"),
        ("", {"workload": "rendering", "gpu": "h100-sxm"}, NothingFits, "no graphics api"),
        ("flux.1-dev", {"workload": "asr", "audio_hours_per_day": 1}, UsageError, "diffusers"),
        ("llama-3.1-8b", {"workload": "rendering"}, UsageError, "as_fast_as"),  # it renders nothing
    ],
)
def test_words_that_cannot_be_planned_are_one_error(
    words: str, fields: dict[str, Any], error: type[RackrateError], hint: str
) -> None:
    with pytest.raises(error) as caught:
        rackrate.plan(words, **{**L40S, **fields})
    assert caught.value.exit_code in (2, 3)
    assert hint in caught.value.hint


@pytest.mark.parametrize("text", ["", "[]", "{", '{"schema": "rackrate.plan/0"}', "\x00"])
def test_a_file_that_is_no_plan_is_one_error(tmp_path: Path, text: str) -> None:
    path = tmp_path / "bad.json"
    path.write_text(text, encoding="utf-8")
    for read in (kept, lambda file: compared(file, file), lambda file: exported(file, "dstack")):
        with pytest.raises(ImportRejected) as caught:
            read(path)
        assert caught.value.hint


@pytest.mark.parametrize("model", ["flux.1-dev", "whisper-large-v3", "bert-base-uncased"])
def test_what_is_no_language_model_answers_no_requests(model: str) -> None:
    with pytest.raises(UsageError, match="no language model") as caught:
        rackrate.plan(model, workload="llm-serving", rps=1, **L40S)
    assert caught.value.hint


def test_a_model_that_is_no_word_is_our_error() -> None:
    with pytest.raises(BadQuantity):
        rackrate.plan(3, rps=1, **L40S)  # type: ignore[arg-type]


def test_a_kept_plan_is_exported_row_by_row(saved: Path) -> None:
    rows = json.loads(saved.read_text(encoding="utf-8"))["rows"]
    task = yaml.safe_load(exported(saved, "skypilot", row=len(rows)))
    assert task["resources"]["accelerators"] == f"L40S:{rows[-1]['count']}"
    assert "meta-llama/" in task["run"]  # the weights that the model was published with
    for row in (0, len(rows) + 1, -1):
        with pytest.raises(UsageError, match=f"row {row} is not in the plan") as caught:
            exported(saved, "skypilot", row=row)
        assert caught.value.hint == f"it has 1 to {len(rows)}"


def test_an_export_says_of_which_plan_and_price_it_is(saved: Path) -> None:
    best = json.loads(saved.read_text(encoding="utf-8"))["rows"][0]
    head = exported(saved, "kubernetes").splitlines()[0]
    assert head.startswith("# rackrate plan of llama-3.1-8b: ")
    assert f"{best['usd_per_hour']['value']:.2f} USD/h" in head
    assert best["machines"] == 2
    assert exported(saved, "compose").splitlines()[1] == "# for each of 2 machines"


def test_work_that_no_server_does_is_not_exported(tmp_path: Path) -> None:
    path = tmp_path / "render.json"
    made = rackrate.plan(workload="rendering", **L40S)
    path.write_text(json.dumps(made.to_dict()), encoding="utf-8")
    with pytest.raises(NoAnswer, match="ray tracer of this plan has no export"):
        exported(path, "dstack")


def test_the_difference_of_two_kept_plans_is_what_was_asked_otherwise(saved: Path, tmp_path: Path) -> None:
    other = tmp_path / "other.json"
    made = rackrate.plan("llama-3.1-8b", rps=16, precision="bf16", provider="aws", **L40S)
    other.write_text(json.dumps(made.to_dict()), encoding="utf-8")
    diff = compared(saved, other)
    assert diff.asked()["rate_per_s"] == (8.0, 16.0)
    assert set(diff.asked()) == {"rate_per_s", "load"}
    before, after = diff.figures()["USD/h"]
    assert before <= after  # twice the load costs no less


def test_engines_are_weighed_against_each_other_where_both_were_measured() -> None:
    asked: dict[str, Any] = {"rps": 4, "data": L40S["data"]}
    made = rackrate.plan("llama-3.1-70b", gpu="h100-sxm", **asked).plan
    alone = {
        row.engine: rackrate.plan(
            "llama-3.1-70b", gpu="h100-sxm", engine=row.engine.split()[0], **asked
        ).best.usd_per_hour.value
        for row in made.engines
    }
    assert {engine.split()[0] for engine in alone} == {"vllm", "sglang"}
    assert alone == {row.engine: row.usd_per_hour.value for row in made.engines}
    assert made.best.usd_per_hour.value == min(alone.values())
    assert any(reason.startswith("with sglang") for reason in made.reasons)
    on_ada = rackrate.plan("llama-3.1-70b", gpu="l40s", **asked).plan
    assert {row.engine.split()[0] for row in on_ada.engines} == {"vllm"}


@pytest.mark.parametrize("gpu", ["l40s", "h100-sxm"])
@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_a_plan_and_a_speed_are_the_same_numbers(gpu: str, engine: str) -> None:
    load: dict[str, Any] = {"input": 3000, "output": 300, "engine": engine, "precision": "bf16"}
    row = rackrate.plan("llama-3.1-8b", rps=1, data=L40S["data"], gpu=f"{gpu}:1", **load).best
    found = rackrate.speed("llama-3.1-8b", gpu, rps=1 / row.machines, **load).pace.asked_for.figures
    for planned, told in (("ttft_s", "ttft_ms"), ("tpot_s", "tpot_ms")):
        value, figure = row.speed[planned], found[told]
        assert [1e3 * value.low, 1e3 * value.value, 1e3 * value.high] == pytest.approx(
            [figure.low, figure.value, figure.high], rel=0.03
        )  # the room is counted at full length in one, at mean length in the other
