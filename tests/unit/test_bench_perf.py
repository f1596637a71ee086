"""The fit of the speed model and its scorer: factors found again, held-out rows unseen, exact scores."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import pytest

from rackrate.errors import NoAnswer
from rackrate.perf.cases import COLUMNS, PerfCase
from rackrate.perf.estimate import Estimate

BENCH = Path(__file__).resolve().parents[2] / "bench"
GPUS = ("l40s", "h100-sxm", "a10")


@pytest.fixture(scope="module")
def path() -> Iterator[None]:
    """Put bench/ on the path, as its users have it."""
    sys.path.insert(0, str(BENCH))
    yield
    sys.path.remove(str(BENCH))


@pytest.fixture(scope="module")
def fitter(path: None) -> ModuleType:
    del path
    pytest.importorskip("scipy")
    import perf_fit  # noqa: PLC0415 - only here is its folder on the path

    return perf_fit


@pytest.fixture(scope="module")
def scorer(path: None) -> ModuleType:
    del path
    import score_perf  # noqa: PLC0415 - only here is its folder on the path

    return score_perf


def case(**changes: Any) -> PerfCase:
    plain = PerfCase(
        id="t", workload="llm_decode", model="llama-3.1-8b", precision="bf16", engine="vLLM 0.22.1",
        gpu="l40s", gpu_count=1, nodes=1, parallel="tp1", load="1", input_tokens=1024, output_tokens=256,
        metric="tpot_mean_ms", value=20.0, unit="ms", extra="", quality="ok", source="", licence="",
        group="g",
    )  # fmt: skip
    return replace(plain, **changes)


# --- the fit -----------------------------------------------------------------------------------


def problem(fitter: ModuleType, n: int, truth: dict[str, float], *, keyed: bool = True) -> Any:
    """Return rows of time = size / (base x multiplier of the GPU), with known factors."""
    sizes = np.array([1.0 + i % 7 for i in range(n)])
    names = [GPUS[i % len(GPUS)] for i in range(n)]
    times = sizes / np.array([0.8 * truth.get(name, 1.0) for name in names])
    return fitter.Problem(
        keys=[{"memory": (name,) if keyed else ()} for name in names],
        truth=np.log(times),
        predict=lambda values: np.log(sizes / values["memory"]),
        guesses={"memory": 1.0},
        weights=np.ones(n),
    )


def test_known_factors_are_found_again(fitter: ModuleType) -> None:
    truth = {"l40s": 1.2, "h100-sxm": 0.9}
    made = problem(fitter, 300, truth)
    table = fitter.fit(made, np.ones(300, bool)).table()["memory"]
    for name in GPUS:
        assert table["all"] * table[name] == pytest.approx(0.8 * truth.get(name, 1.0), rel=0.01)


def test_few_rows_are_pulled_towards_the_others_and_too_few_say_nothing(fitter: ModuleType) -> None:
    def multiplier(n_own: int) -> float:
        made = problem(fitter, 300, {})
        rows = np.array([i % 3 != 2 or i // 3 < n_own for i in range(300)])
        made.truth = made.truth - np.where([i % 3 == 2 for i in range(300)], math.log(1.5), 0.0)
        return float(fitter.fit(made, rows).table()["memory"].get("a10", 1.0))

    assert multiplier(5) == 1.0
    assert 1.0 < multiplier(8) < multiplier(100) <= 1.51


def test_a_wild_row_pulls_less_than_it_would_by_squares(fitter: ModuleType) -> None:
    made = problem(fitter, 60, {}, keyed=False)
    made.truth[0] += 5.0
    base = fitter.fit(made, np.ones(60, bool)).table()["memory"]["all"]
    assert base == pytest.approx(0.8, rel=0.05)


def test_multipliers_near_one_are_left_out_where_that_is_asked_for(fitter: ModuleType) -> None:
    made = problem(fitter, 300, {"l40s": 1.2, "a10": 1.01})
    table = fitter.fit(made, np.ones(300, bool), smallest=0.06).table()["memory"]
    assert "l40s" in table
    assert "a10" not in table


def test_a_group_is_in_one_fold_and_the_fit_never_sees_the_fold_that_it_is_judged_on(
    fitter: ModuleType,
) -> None:
    groups = [f"g{i // 10}" for i in range(200)]
    fold = fitter.folds(groups)
    assert all(len({fold[i] for i in range(200) if groups[i] == g}) == 1 for g in set(groups))
    assert set(fold) == {0, 1, 2, 3, 4}
    made = problem(fitter, 200, {}, keyed=False)
    before, fitted = fitter.held_out(made, fold)
    made.truth = made.truth + np.where(fold == 0, 3.0, 0.0)  # what is held out changes
    after, again = fitter.held_out(made, fold)
    assert again[0].logs == pytest.approx(fitted[0].logs)
    assert np.allclose((after - before)[fold == 0], -3.0)
    assert not np.allclose(again[1].logs, fitted[1].logs)


@pytest.mark.parametrize(
    ("factor", "key", "kind"),
    [
        ("memory", "ada", "class"),
        ("step_us", "ada", "class_us"),
        ("memory", "l40s", "gpu"),
        ("memory", "llama.cpp", "engine"),
        ("memory", "fp8", "packing"),
        ("memory", "vllm:fp8", "pair"),
        ("link", "pcie:x4", "link"),
        ("link_us", "x4", "mode"),
        ("pipeline", "stages2", "mode"),
    ],
)
def test_every_key_has_the_width_of_its_kind(fitter: ModuleType, factor: str, key: str, kind: str) -> None:
    prior = fitter.Prior()
    assert prior.of(factor, key) == prior.by_kind[kind]


# --- the score ---------------------------------------------------------------------------------


def scored(scorer: ModuleType, values: list[float], width: float = 1.2) -> Any:
    said = iter(values)

    def answer(_: PerfCase) -> Estimate:
        value = next(said)
        if math.isnan(value):
            raise NoAnswer("no table", hint="")
        return Estimate(value, value / width, value * width, "ms", "memory")

    return scorer.ask([case()] * len(values), answer)


def test_errors_are_shares_and_no_answer_is_wholly_wrong(scorer: ModuleType) -> None:
    cases = [case()] * 4
    found = scored(scorer, [22.0, 16.0, math.nan, 20.0])
    assert scorer.errors_of(cases, found) == pytest.approx([0.1, 0.2, 1.0, 0.0])
    line = scorer.line(cases, found, np.ones(4, bool))
    assert (line.n, line.answered) == (4, 0.75)
    assert line.median == pytest.approx(0.15)
    assert line.p90 == pytest.approx(0.2 + 0.7 * 0.8)  # between the third and fourth of four
    assert line.held == pytest.approx(2 / 3)  # 16 x 1.2 is below 20
    assert "no table" in found.reasons[2]


def test_a_crash_is_an_unanswered_row_and_is_named(scorer: ModuleType) -> None:
    def answer(_: PerfCase) -> float:
        raise ZeroDivisionError("by nothing")

    found = scorer.ask([case()], answer)
    assert found.reasons == {0: "crash: ZeroDivisionError: by nothing"}
    assert scorer.errors_of([case()], found) == [1.0]


def test_slices_hold_the_rows_that_they_name(scorer: ModuleType) -> None:
    cases = [
        case(),
        case(gpu_count=4, parallel="tp4"),
        case(gpu="h100-sxm", gpu_count=2, parallel="tp2", workload="llm_server"),
        case(workload="diffusion", model="sdxl"),
    ]
    found = scorer.lines(cases, scored(scorer, [20.0] * 4))
    assert {name: line.n for name, line in found.items()} == {
        "all LLM": 3, "L40S": 2, "PCIe tensor parallel": 1, "batch-1 decode": 2, "server TPOT": 1,
        "diffusion": 1, "everything": 4,
    }  # fmt: skip


def write(path: Path, *cases: PerfCase) -> Path:
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(COLUMNS)
        for each in cases:
            row = {
                name: getattr(each, "load" if name == "batch_or_concurrency" else name) for name in COLUMNS
            }
            writer.writerow(["" if value is None else value for value in row.values()])
    return path


def test_the_whole_as_json_and_as_text(
    scorer: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(scorer.aic, "is_there", lambda: False)
    rows = (case(), case(gpu="h100-sxm", value=9.0), case(gpu="nothing"), case(quality="suspect: hot"))
    path = write(tmp_path / "cases.csv", *rows)
    assert scorer.main([str(path), "--json"]) == 0
    data = json.loads(capsys.readouterr().out)
    assert set(data["slices"]) == {"rackrate", "roofline"}
    assert data["slices"]["rackrate"]["everything"]["n"] == 3
    assert data["slices"]["rackrate"]["everything"]["answered"] == pytest.approx(2 / 3)
    assert [row["predicted"] is None for row in data["rows"]] == [False, False, True]
    assert "unknown-gpu" in data["rows"][2]["reason"]
    assert scorer.main([str(path), "--worst", "1"]) == 0
    text = capsys.readouterr().out
    assert "| everything | 3 |" in text
    assert "1 row that their source doubts are left out" in text
    assert text.count("\n- ") == 1
    assert scorer.main([str(tmp_path / "none.csv")]) == 2


def test_what_cannot_be_scored_is_one_error(
    scorer: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "cases.csv"
    for content, said in (
        (write(path).read_bytes(), "a header and no rows"),
        (write(path, case(value=math.nan)).read_bytes(), "line 2: value 'nan' is not a number"),
        (write(path, case(quality="suspect")).read_bytes(), "the quality of none begins with ok or note"),
        (b"\xff\xfe", "can't decode"),
    ):
        path.write_bytes(content)
        assert scorer.main([str(path), "--json"]) == 2
        out = capsys.readouterr()
        assert out.out == ""
        assert said in out.err
        assert out.err.count("\n") == 1


def test_json_has_no_nan_and_lists_the_lines_that_are_no_row(
    scorer: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def never(constant: str) -> None:
        raise AssertionError(constant)

    path = write(tmp_path / "cases.csv", case(gpu="nothing"), case(value=-1.0), case(quality="suspect"))
    assert scorer.main([str(path), "--json", "--no-peers"]) == 0
    data = json.loads(capsys.readouterr().out, parse_constant=never)
    assert data["slices"]["rackrate"]["everything"]["held"] is None
    assert data["n_doubted"] == 1
    assert [each["line"] for each in data["unread"]] == [3]
    assert scorer.main([str(path), "--no-peers"]) == 0
    text = capsys.readouterr().out
    assert "1 line of the file could not be read: line 3: value '-1.0' is not a number" in text
    assert "nan" not in text


def test_what_is_no_number_is_no_answer(scorer: ModuleType) -> None:
    found = scorer.ask([case()], lambda _: math.inf)
    assert found.reasons == {0: "no number: inf"}
    assert scorer.errors_of([case()], found) == [1.0]


def test_an_l40s_by_any_name_is_one(scorer: ModuleType) -> None:
    cases = [case(gpu=name) for name in ("NVIDIA L40S", "l40s-48", "L40")]
    assert scorer.lines(cases, scored(scorer, [20.0] * 3))["L40S"].n == 2


def test_the_roofline_divides_by_the_data_sheet(scorer: ModuleType) -> None:
    """15.0 GB and 151 MB of cache at three quarters of 864 GB/s, and hardly any arithmetic."""
    by_hand_ms = (15.01e9 + 1152 * 131_072) / (0.75 * 864e9) * 1e3
    assert scorer.peers()["roofline"](case()) == pytest.approx(by_hand_ms, rel=0.005)


# --- the ranking -------------------------------------------------------------------------------


def test_the_cheapest_gpu_is_found_by_prices_and_measured_speeds(scorer: ModuleType) -> None:
    """At 1.535 and 3.561 USD/h an H100 must be 2.3 times as fast to be cheaper."""
    rows = [case(), case(gpu="h100-sxm", value=10.0)]  # twice as fast only
    right = scorer.ranking(rows, np.array([21.0, 11.0]))
    assert (right.n_questions, right.n_right, right.extra_cost_frac) == (1, 1, 0)
    wrong = scorer.ranking(rows, np.array([30.0, 9.0]))
    assert (wrong.n_questions, wrong.n_right) == (1, 0)
    assert wrong.extra_cost_frac == pytest.approx(3.561 / 1.535 / 2 - 1, rel=0.001)
    flows = [replace(r, metric="decode_tokens_per_s", value=1000 / r.value) for r in rows]
    assert scorer.ranking(flows, np.array([45.0, 95.0])).n_right == 1


def test_what_cannot_be_ranked_is_no_question(scorer: ModuleType) -> None:
    lone = scorer.ranking([case(), case(gpu="h100-sxm", load="64")], np.array([20.0, 10.0]))
    assert lone.n_questions == 0
    assert "No two rows" in str(lone)
    assert scorer.ranking([case(), case(gpu="h100-sxm")], np.array([20.0, math.nan])).n_questions == 0


# --- the sampled peer --------------------------------------------------------------------------


def test_a_sampled_peer_says_what_it_was_asked(scorer: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    named = [case(id=f"r{i}") for i in range(100)]
    others = [case(engine="llama.cpp b1", precision="q4_k_m"), case(model="gemma-2-2b"), case(gpu="a10")]
    cases = [*others, *named]
    rows = scorer.aic.asked(cases, 10)
    assert rows == [3 + 10 * k for k in range(10)]
    assert scorer.aic.asked(named[:4], 10) == [0, 1, 2, 3]
    said = iter([40.0, 20.0])

    def answer(_: PerfCase) -> float:
        value = next(said, None)
        if value is None:
            raise NoAnswer("no table", hint="")
        return value

    monkeypatch.setattr(scorer.aic, "aiconfigurator", answer)
    text = scorer.sampled_text(cases, scorer.sample(cases, rows[:4]))
    assert "asked for 4 rows" in text
    assert "answers 50% of them" in text
    assert "| all that were asked | 4 | 100.0% / 100.0% |" in text
    assert "| those it answers | 2 | 50.0% / 90.0% |" in text
    assert text.endswith("Asked: r0, r10, r20, r30.")
