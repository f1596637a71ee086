"""The scorer: exact arithmetic on a few rows, refusals that count, peers that refuse, JSON."""

from __future__ import annotations

import csv
import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from rackrate.catalog.architecture import architecture_of
from rackrate.catalog.model import find_model
from rackrate.errors import ImportRejected
from rackrate.fit.cases import COLUMNS, Case, case_from_row, write_cases
from rackrate.fit.predict import Prediction

BENCH = Path(__file__).resolve().parents[2] / "bench"
LLAMA_GIB = 70_553_706_496 * 2 / 2**30


@pytest.fixture(scope="module")
def bench() -> Iterator[ModuleType]:
    """Import bench/score_fit.py as its users run it: its folder is on the path."""
    sys.path.insert(0, str(BENCH))
    try:
        import score_fit  # noqa: PLC0415 - only here is its folder on the path

        yield score_fit
    finally:
        sys.path.remove(str(BENCH))


def case(**values: str) -> Case:
    row = {"workload": "inference", "model": "Llama-3.1-70B", "params_b": "70.553706", "precision": "bf16"}
    row |= {"quantity": "weights_gib", "value": "131.4", "per": "total", "gpu_count": "1", "batch": "1"}
    return case_from_row(row | values)


def scored(bench: ModuleType, said: float | None, sigma: float = 1.0, **values: str) -> object:
    answer = bench.Answer(None if said is None else Prediction(said, sigma), "why")
    one = case(**values)
    return bench.Scored(one, bench.class_of(one, None, reserves="vLLM" in one.engine), answer)


def write(path: Path, *cases: Case) -> Path:
    path.write_text(write_cases(cases), "utf-8")
    return path


def test_errors_are_shares_and_of_kv_room_gib(bench: ModuleType) -> None:
    assert scored(bench, 110.0, value="100").error == pytest.approx(0.10)
    assert scored(bench, 90.0, value="100").error == pytest.approx(0.10)
    assert scored(bench, 3.5, quantity="kv_gib", value="4", engine="vLLM 0.11").error == pytest.approx(0.5)
    assert scored(bench, 3.0, quantity="kv_gib", value="4", engine="llama.cpp").error == pytest.approx(0.25)


def test_an_unanswered_row_is_wholly_wrong(bench: ModuleType) -> None:
    assert scored(bench, None, value="100").error == 1
    assert scored(bench, None, quantity="kv_gib", value="4", engine="vLLM 0.11").error == 4
    assert scored(bench, None, quantity="fits", value="1").error == 1


@pytest.mark.parametrize(
    ("quantity", "chance", "error"),
    [("fits", 0.5, 0), ("fits", 0.49, 1), ("oom", 0.5, 1), ("oom", 0.49, 0)],
)
def test_a_verdict_is_right_from_one_half(
    bench: ModuleType, quantity: str, chance: float, error: float
) -> None:
    assert scored(bench, chance, 0.0, quantity=quantity, value="1").error == error


def test_a_score_counts_refusals_and_ranges(bench: ModuleType) -> None:
    rows = [
        scored(bench, 100.0, 10.0, value="100"),
        scored(bench, 90.0, 1.0, value="100"),
        scored(bench, 120.0, 20.0, value="100"),
        scored(bench, None, value="100"),
    ]
    (found,) = bench.scores(rows)
    assert (found.n, found.n_refused) == (4, 1)
    assert found.median == pytest.approx(0.15)  # of 0, 0.1, 0.2, 1
    assert found.p90 == pytest.approx(0.2 + 0.7 * 0.8)
    assert found.median_answered == pytest.approx(0.1)
    assert found.p90_answered == pytest.approx(0.18)
    assert found.coverage == pytest.approx(2 / 3)  # 88 to 92 misses 100
    assert found.width == pytest.approx(2 * 1.645 * 10 / 100)
    assert found.is_met is False


def test_verdicts_are_shares_and_false_fits_are_counted(bench: ModuleType) -> None:
    rows = [
        scored(bench, chance, 0.0, quantity=quantity, value="1")
        for quantity, chance in (("fits", 0.9), ("oom", 0.96), ("oom", 0.6), ("oom", 0.1))
    ]
    (found,) = bench.scores(rows)
    assert (found.kind, found.median, found.n_false_fits) == ("verdict", 0.5, 1)
    assert found.is_met is False


@pytest.mark.parametrize(
    ("values", "kind"),
    [
        ({}, "weights 16-bit"),
        ({"quantity": "peak_gib"}, "inference peak"),
        ({"quantity": "peak_gib", "workload": "lora"}, "LoRA"),
        ({"quantity": "peak_gib", "workload": "qlora"}, "QLoRA"),
        ({"quantity": "peak_gib", "workload": "full_ft"}, "full fine-tune"),
        ({"workload": "diffusion"}, "diffusion"),
        ({"quantity": "peak_gib", "workload": "asr"}, "ASR"),
        ({"quantity": "activation_gib"}, "activation peak"),
        ({"quantity": "kv_tokens"}, "KV tokens"),
        ({"quantity": "oom"}, "verdict"),
        ({"quantity": "non_torch_gib"}, "other"),
    ],
)
def test_rows_are_put_in_classes(bench: ModuleType, values: dict[str, str], kind: str) -> None:
    assert scored(bench, 1.0, **({"value": "1"} | values)).kind == kind


def test_a_file_of_cases_gives_known_scores(bench: ModuleType, tmp_path: Path) -> None:
    path = write(
        tmp_path / "cases.csv",
        case(id="a", value=f"{LLAMA_GIB:.6f}"),
        case(id="b", value=f"{LLAMA_GIB / 1.1:.6f}"),
        case(id="c", model="Unheard-Of", params_b=""),
        case(id="d", quantity="unheard_of_gib"),
    )
    outcome, _ = bench.run([path])
    ours = {row.case.id: row for row in outcome.by_name["rackrate"]}
    assert ours["a"].error == pytest.approx(0, abs=1e-6)
    assert ours["b"].error == pytest.approx(0.1, abs=1e-6)
    assert ours["c"].error == ours["d"].error == 1
    assert "no-answer" in ours["c"].answer.reason
    assert "unheard_of_gib" in ours["d"].answer.reason
    rule = {row.case.id: row for row in outcome.by_name["rule of 1.2"]}
    assert rule["a"].error == pytest.approx(0, abs=1e-6)
    assert rule["d"].answer.prediction is None


def test_a_crash_is_an_unanswered_row(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object) -> None:
        raise ZeroDivisionError("of the model")

    monkeypatch.setattr(bench, "predict", broken)
    outcome, _ = bench.run([write(tmp_path / "cases.csv", case(id="a"))], with_peers=False)
    (row,) = outcome.by_name["rackrate"]
    assert row.error == 1
    assert "ZeroDivisionError" in row.answer.reason


def test_a_config_column_says_the_model(bench: ModuleType, tmp_path: Path) -> None:
    config = json.dumps({"model_type": "llama"})  # Llama 7B: the defaults of its class
    row = case(id="a", model="my-model", params_b="", value="12.55").to_row() | {"config": config}
    path = tmp_path / "cases.csv"
    quoted = ['"' + row[name].replace('"', '""') + '"' for name in (*COLUMNS, "config")]
    path.write_text(",".join((*COLUMNS, "config")) + "\n" + ",".join(quoted) + "\n", "utf-8")
    outcome, _ = bench.run([path], with_peers=False)
    assert outcome.by_name["rackrate"][0].answer.prediction.value == pytest.approx(
        6_738_415_616 * 2 / 2**30, rel=1e-6
    )


def test_tokens_are_scored_given_the_room_of_the_same_run(bench: ModuleType, tmp_path: Path) -> None:
    run = {"engine": "vLLM 0.11", "gpu": "H100-80GB", "gpu_count": "4", "context": "8192", "per": "gpu"}
    room = case(id="a", quantity="kv_gib", value="10", **run)
    tokens = case(id="b", quantity="kv_tokens", value="131072", **(run | {"per": "total"}))
    other = case(id="c", quantity="kv_tokens", value="131072", source="elsewhere", **run)
    _, prepared = bench.run([write(tmp_path / "cases.csv", room, tokens, other)], with_peers=False)
    assert [one.room_gib for one in prepared] == [None, 10, None]
    # 80 layers x 2 KV heads on each of 4 GPUs x 128 x 2 x 2 B = 80 KiB a token
    assert bench.ours(prepared[1]).answer.prediction.value == pytest.approx(10 * 2**20 / 80, rel=1e-3)


def test_measurements_become_cases_with_their_footing(bench: ModuleType, tmp_path: Path) -> None:
    config = json.dumps({"model": {"class": "LlamaConfig", "num_hidden_layers": 2}})
    common = {"workload": "llm-inference", "model": "tiny", "config_json": config, "precision": "bf16"}
    common |= {"batch": "1", "input_tokens": "512", "output_tokens": "0", "gpus": "1", "notes": "prefill"}
    common |= {"gpu": "NVIDIA H100"}
    measured = (
        ("weights_bytes", 2**30, "B"),
        ("prefill_nvml_used_gib", 3.47, "GiB"),
        ("prefill_peak_alloc_gib", 2, "GiB"),
        ("prefill_peak_reserved_gib", 2, "GiB"),
        ("prefill_ms", 2, "ms"),
    )
    path = tmp_path / "measured.csv"
    with path.open("w", encoding="utf-8", newline="") as out:
        writer = csv.DictWriter(out, ["id", "quantity", "value", "unit", *common])
        writer.writeheader()
        for number, (quantity, value, unit) in enumerate(measured):
            writer.writerow(common | {"id": number, "quantity": quantity, "value": value, "unit": unit})
    outcome, prepared = bench.run([path], with_peers=False)
    assert [one.row.case.quantity for one in prepared] == ["weights_gib", "peak_gib", "peak_gib"]
    assert [one.row.case.value for one in prepared] == pytest.approx([1, 3, 2])
    assert [one.row.style.footing for one in prepared] == ["allocated", "device", "allocated"]
    assert len(outcome.left_out) == 1
    assert all(row.answer.prediction for row in outcome.by_name["rackrate"])


def test_peers_refuse_what_they_have_no_word_for(bench: ModuleType) -> None:
    import score_peers as peers  # noqa: PLC0415 - only here is its folder on the path

    arch, card = architecture_of(find_model("llama-3.1-70b")), bench.card_for("H100-80GB")

    def ask(peer: str, **values: str) -> float:
        one = case(**values)
        found: Prediction = getattr(peers, peer)(one, arch, card, bench.precision_of(one))
        return found.value

    assert ask("rule", quantity="peak_gib", value="1") == pytest.approx(1.2 * LLAMA_GIB)
    assert ask("rule", quantity="peak_gib", precision="int4", value="1") == pytest.approx(0.3 * LLAMA_GIB)
    assert ask("rule", quantity="fits", value="1") == 0
    with pytest.raises(peers.Refused):
        ask("rule", quantity="activation_gib", value="1")
    with pytest.raises(peers.Refused):
        ask("accelerate", quantity="peak_gib", workload="lora", value="1")


@pytest.mark.parametrize(
    ("slug", "total_bytes"),
    # `calculate_maximum_sizes` of accelerate 1.15 on AutoModel from the configs, transformers 5.23, float32
    [
        ("llama-3.1-70b", 278_012_266_496),
        ("bert-large-uncased", 1_340_575_744),
        ("whisper-large-v3", 6_173_962_240),
    ],
)
def test_accelerates_arithmetic_is_the_real_one(bench: ModuleType, slug: str, total_bytes: int) -> None:
    import score_peers as peers  # noqa: PLC0415

    one = case(precision="fp32", model=slug, params_b="")
    found = peers.accelerate(
        one, architecture_of(find_model(slug)), bench.card_for(""), bench.precision_of(one)
    )
    assert found.value * 2**30 == pytest.approx(total_bytes, rel=1e-5)  # buffers are counted there too


def test_one_that_is_not_installed_is_said_and_not_scored(
    bench: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import score_peers as peers  # noqa: PLC0415

    monkeypatch.setattr(peers.importlib.util, "find_spec", lambda _: None)
    assert bench.main([str(write(tmp_path / "cases.csv", case(id="a")))]) == 0
    assert "vramcalc: not installed" in capsys.readouterr().out


def test_json_holds_scores_and_rows(
    bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = write(tmp_path / "cases.csv", case(id="a"), case(id="b", quantity="oom", value="1"))
    assert bench.main([str(path), "--json", "--cross-validate"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["n_rows"] == 2
    assert {score["class"] for score in found["scores"]["rackrate"]} == {"weights 16-bit", "verdict"}
    assert [row["id"] for row in found["rows"]] == ["a", "b"]
    assert [one["by"] for one in found["cross_validation"]] == ["source", "model"]


def test_a_file_that_is_none_is_an_error(
    bench: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "other.csv"
    path.write_text("a,b\n1,2\n", "utf-8")
    with pytest.raises(ImportRejected):
        bench.read_rows(path)
    assert bench.main([str(path)]) == 2
    assert "column" in capsys.readouterr().err


def test_a_constant_is_fitted_and_left_as_it_was(bench: ModuleType) -> None:
    import score_cross as cross  # noqa: PLC0415

    constant = cross.Constant("engine", "vllm.context_gib")
    before = constant.get()
    rows = [case(quantity="non_torch_gib", value=f"{value}") for value in (0.19, 0.2, 0.21)]

    def answer(one: Case) -> object:
        return bench.Scored(one, "other", bench.Answer(Prediction(constant.get(), 0.01)))

    assert cross.fit(constant, rows, answer) == pytest.approx(0.2, rel=0.05)
    assert constant.get() == before


def test_every_fitted_constant_is_still_in_the_model(bench: ModuleType) -> None:
    import score_cross as cross  # noqa: PLC0415

    assert bench
    assert [str(constant) for constant in cross.CONSTANTS if not constant.exists()] == []


def test_held_out_rows_are_scored_by_the_others(bench: ModuleType, tmp_path: Path) -> None:
    run = {"quantity": "non_torch_gib", "engine": "vLLM 0.11", "gpu": "H100-80GB", "per": "gpu"}
    rows = [
        case(id=f"{source}{number}", source=source, value=value, **run)
        for source, value in (("one", "0.26"), ("two", "0.13"))
        for number in range(4)
    ]
    _, prepared = bench.run([write(tmp_path / "cases.csv", *rows)], with_peers=False)
    found = bench.cross_validate(prepared, bench.ours, "source")
    said = {row.case.id: row.answer.prediction.value for row in found.rows}
    assert said["one0"] == pytest.approx(0.13, rel=0.05)  # what the other source teaches
    assert said["two0"] == pytest.approx(0.26, rel=0.05)
    assert (found.n_groups, found.n_unheld) == (2, 0)


def test_speed_is_measured_on_questions_that_all_differ(bench: ModuleType) -> None:
    import fit_speed  # noqa: PLC0415

    assert bench
    assert len(set(fit_speed.questions(200))) == 200
    assert len(fit_speed.one_by_one(3)) == 3
    name, model, gpu, wish = fit_speed.CASES[0]
    assert fit_speed.at_once(model, gpu, wish) > 0
    assert all(fit_speed.disagreements(m, g, w) == 0 for _, m, g, w in fit_speed.CASES)
    assert fit_speed.heavy_imports() == []
    assert name


def test_the_engine_logs_are_answered_and_their_rooms_are_close(bench: ModuleType) -> None:
    outcome, _ = bench.run([BENCH / "cases" / "engine_logs.csv"], with_peers=False)
    assert outcome.left_out == []
    by_kind = {score.kind: score for score in bench.scores(outcome.by_name[bench.OURS])}
    assert all(score.n_refused == 0 for score in by_kind.values())
    assert by_kind["KV room"].n >= 50
    assert by_kind["KV room"].is_met


def test_the_reported_verdicts_are_all_answered_and_of_both_kinds(bench: ModuleType) -> None:
    outcome, prepared = bench.run([BENCH / "cases" / "reported_verdicts.csv"], with_peers=False)
    assert outcome.left_out == []
    (score,) = bench.scores(outcome.by_name[bench.OURS])
    assert (score.kind, score.n, score.n_refused) == ("verdict", 111, 0)
    assert sum(one.row.case.quantity == "fits" for one in prepared) == 49
    assert all(re.search(r"#\d+|@[0-9a-f]{7}|/[0-9a-f]{7}|\(vLLM 0", one.row.case.source) for one in prepared)


def test_a_run_of_ours_close_to_the_limit_is_a_verdict_too(bench: ModuleType) -> None:
    outcome, prepared = bench.run([next((BENCH / "gpu" / "results").glob("*limits*.csv"))], with_peers=False)
    verdicts = [one.row.case for one in prepared if one.kind == "verdict"]
    assert {case.quantity for case in verdicts} == {"fits", "oom"}
    assert not any(score.n_false_fits for score in bench.scores(outcome.by_name[bench.OURS]))
