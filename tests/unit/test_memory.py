"""The questions of memory as functions: options by name, the catalog on a card, logs beside predictions."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

import rackrate
from rackrate import calibration, config, memory
from rackrate.catalog.load import slugs
from rackrate.choice import best_choice
from rackrate.errors import BadQuantity, ImportRejected, NoAnswer, UnknownName, UsageError
from rackrate.fit.logs import EngineLog
from rackrate.sizing import find_card

LOGS = Path(__file__).parent / "fit" / "logs"


# --- fits -------------------------------------------------------------------------------------


def test_options_of_running_and_of_training_are_given_by_name() -> None:
    plain = rackrate.fits("llama-3.1-8b", "l40s", engine="vllm 0.11", max_num_seqs=32).fit
    assert (plain.setup.version, plain.setup.max_num_seqs, plain.setup.training) == ("0.11", 32, None)
    lora = rackrate.fits("llama-3.1-8b", "l40s", task="lora", rank=4, optimiser="adamw-8bit").fit
    assert lora.setup.training is not None
    assert (lora.setup.training.rank, lora.setup.training.optimiser) == (4, "adamw-8bit")


def test_defaults_are_the_usual_ones_and_no_longer_than_the_model_goes() -> None:
    assert rackrate.fits("llama-3.1-8b").fit.load.context == 8192
    assert rackrate.fits("bert-base-uncased").fit.load.context == 512
    assert rackrate.fits("llama-3.1-8b", task="lora").fit.load.context == 2048
    assert (
        rackrate.fits("bert-base-uncased", context=1024).fit.load.context == 1024
    )  # asked for: taken, and said
    assert rackrate.fits("bert-base-uncased", context=1024).fit.assumptions


def test_a_gguf_precision_runs_in_llama_cpp_unless_said_otherwise() -> None:
    assert rackrate.fits("llama-3.1-8b", precision="q4_k_m").fit.setup.engine.name == "llama.cpp"
    named = rackrate.fits("llama-3.1-8b", precision="q4_k_m", engine="transformers")
    assert named.fit.setup.engine.name == "transformers"


def test_32_bit_training_is_the_same_by_flag_and_by_precision() -> None:
    by_flag = rackrate.fits("bert-base-uncased", task="full", is_fp32=True)
    by_name = rackrate.fits("bert-base-uncased", task="full", precision="fp32")
    assert by_flag.fit.total == by_name.fit.total
    assert by_flag.fit.setup.precision.name == "fp32"
    assert by_flag.fit.total.gib > rackrate.fits("bert-base-uncased", task="full").fit.total.gib


def test_lora_targets_go_by_either_name() -> None:
    ours = rackrate.fits("llama-3.1-8b", task="lora", targets=("attn_q", "attn_output", "ffn_gate"))
    theirs = rackrate.fits("llama-3.1-8b", task="lora", targets=("q_proj", "o_proj", "gate_proj"))
    assert ours.fit.total == theirs.fit.total
    whole = rackrate.fits("llama-3.1-8b", task="lora", targets=("all-linear",))
    assert whole.fit.total == rackrate.fits("llama-3.1-8b", task="lora").fit.total


def test_an_encoder_that_reads_no_text_has_a_memory_and_no_speed() -> None:
    heard = rackrate.fits("wav2vec2-base-960h", "t4")
    assert heard.fit.estimate.gib("weights") == pytest.approx(94_396_320 * 2 / 2**30, rel=0.01)
    with pytest.raises(NoAnswer, match="reads no text"):
        rackrate.speed("wav2vec2-base-960h", "t4")


def test_an_image_learns_from_its_pixels() -> None:
    small, large = (rackrate.fits("flux.1-schnell", task="lora", pixels=side * side) for side in (512, 1024))
    assert small.fit.total.gib < large.fit.total.gib


@pytest.mark.parametrize(
    ("options", "error", "names"),
    [
        ({"precison": "int4"}, UnknownName, "precison"),
        ({"precision": "fp9"}, UnknownName, "fp9"),
        ({"kv": "fp7"}, UnknownName, "fp7"),
        ({"engine": "vlm"}, UnknownName, "vlm"),
        ({"engine": "vllm banana"}, BadQuantity, "banana"),
        ({"task": "lorra"}, UnknownName, "lorra"),
        ({"context": 0}, BadQuantity, "0"),
        ({"context": "8x"}, BadQuantity, "8x"),
        ({"concurrency": 0}, BadQuantity, "0"),
        ({"beams": 0}, BadQuantity, "0"),
        ({"pixels": 0}, BadQuantity, "0"),
        ({"max_num_seqs": 0}, BadQuantity, "0"),
        ({"max_num_batched_tokens": -1}, BadQuantity, "-1"),
        ({"memory_fraction": 0}, UsageError, "0"),
        ({"memory_fraction": 1.2}, UsageError, "1.2"),
        ({"tensor": 0}, BadQuantity, "0"),
        ({"tensor": 2}, UsageError, "2"),
        ({"gpu": "l40s:3", "tensor": 3}, UsageError, "3"),
        ({"gpu": "l40s:0"}, BadQuantity, "0"),
        ({"gpu": "2x l40s"}, BadQuantity, "2x l40s"),
        ({"gpu": "rtx 4090 x 2"}, BadQuantity, "rtx 4090 x 2"),
        ({"gpu": "2 \u00d7 l40s"}, BadQuantity, "2 \u00d7 l40s"),
        ({"gpu": "0GiB"}, BadQuantity, "0GiB"),
        ({"gpu": "l40z"}, UnknownName, "l40z"),
        ({"offload": "model"}, UsageError, "model"),
        ({"rank": 8}, UsageError, "training"),
        ({"task": "lora", "rank": 0}, UsageError, "0"),
        ({"task": "lora", "targets": ("q_prj",)}, UnknownName, "q_prj"),
        ({"task": "lora", "optimiser": "adamm"}, UnknownName, "adamm"),
        ({"task": "full", "precision": "int4"}, UsageError, "int4"),
    ],
    ids=str,
)
def test_a_bad_value_is_one_error_that_names_it_and_says_what_to_do(
    options: dict[str, Any], error: type[UsageError], names: str
) -> None:
    with pytest.raises(error) as caught:
        rackrate.fits("llama-3.1-8b", **options)
    assert names in caught.value.message
    assert caught.value.hint


def test_the_heads_decide_how_many_gpus_can_share_a_layer_and_the_hint_says_which() -> None:
    with pytest.raises(UsageError, match="32 attention heads do not divide by tensor parallel 6") as caught:
        rackrate.fits("llama-3.1-8b", "l40s:6", tensor=6)
    assert "nearest" in caught.value.hint


# --- models_on --------------------------------------------------------------------------------


def test_every_model_of_the_catalog_has_one_row_with_a_set_up_or_a_reason() -> None:
    n_told = 0
    rows = rackrate.models_on("l40s", on_model=lambda: None).to_dict()["data"]
    assert sorted(row["model"] for row in rows) == sorted(slugs("models"))
    for row in rows:
        assert row["verdict"] in ("fits", "does not fit", "tight", "not known")
        assert (row["verdict"] == "fits") == (row["why_not"] is None)
        if row["verdict"] == "fits":
            held = row["weights_gib"] + (row["kv_gib"] or 0) + row["overhead_gib"]
            assert held <= row["usable_gib"], "it never fits when what is held exceeds what is usable"
            assert row["most_concurrent_count"] >= 1
            n_told += 1
    assert n_told > len(rows) / 2


def test_one_card_comes_first_and_the_larger_model_before_the_smaller() -> None:
    rows = [row for row in rackrate.models_on("l40s").to_dict()["data"] if row["verdict"] == "fits"]
    order = [(row["gpu_count"], -row["params_total"]) for row in rows]
    assert order == sorted(order)
    assert order[0][0] == 1


def test_what_is_in_the_row_is_what_the_question_on_that_model_answers() -> None:
    row = rackrate.models_on("l40s", name="llama-3.1-70b").to_dict()["data"][0]
    gpu = f"l40s:{row['gpu_count']}"
    same = rackrate.fits(row["model"], gpu, precision=row["precision"])
    assert same.verdict == "fits"
    assert same.fit.longest_context == row["longest_context_tokens"]
    assert same.fit.most_concurrent == row["most_concurrent_count"]
    fewer = rackrate.fits(row["model"], "l40s", precision="int4")
    assert fewer.verdict != "fits", "one card fewer holds it at no precision"


def test_a_miss_says_by_how_much_and_what_takes_the_most() -> None:
    row = rackrate.models_on("l40s:1", name="llama-3.1-405b").to_dict()["data"][0]
    assert row["verdict"] == "does not fit"
    assert "GiB too much: weights" in row["why_not"]
    over = row["weights_gib"] + row["kv_gib"] + row["overhead_gib"] - row["usable_gib"]
    assert f"{over:.1f} GiB too much" in row["why_not"]


def test_filters_say_what_they_leave_out() -> None:
    everything = rackrate.models_on("l40s:1", name="llama-3.1")
    fitting = rackrate.models_on("l40s:1", name="llama-3.1", fits_only=True)
    left_out = len(everything.rows) - len(fitting.rows)
    assert left_out > 0
    assert any(f"{left_out} that do not fit are left out" in note for note in fitting.notes)
    with pytest.raises(UnknownName):
        rackrate.models_on("l40s", name="no such model")


def test_what_is_known_by_its_size_alone_is_named() -> None:
    rough = rackrate.models_on("l40s", name="flux.2-dev")
    assert rackrate.fits("flux.2-dev", "l40s").fit.assumptions
    assert "roughly, their config being unknown: flux.2-dev" in rough.notes
    assert not any("roughly" in note for note in rackrate.models_on("l40s", name="gemma-3-27b").notes)


def test_progress_is_told_once_a_model() -> None:
    told: list[int] = []
    rackrate.models_on("l40s", name="qwen3", on_model=lambda: told.append(1))
    assert len(told) == len(rackrate.models_on("l40s", name="qwen3").rows) > 3


@pytest.mark.parametrize("task", ["inference", "full", "lora", "qlora"])
def test_every_task_is_judged(task: str) -> None:
    rows = rackrate.models_on("l40s", task=task, name="8b").to_dict()["data"]
    assert any(row["verdict"] == "fits" for row in rows)


@pytest.mark.parametrize("bad", [{"task": "x"}, {"gpu": "l40x"}, {"context": "x"}, {"concurrency": 0}])
def test_a_bad_question_is_one_error_and_not_a_row_a_model(bad: dict[str, Any]) -> None:
    with pytest.raises(UsageError):
        rackrate.models_on(**bad)


def test_a_choice_takes_no_more_cards_than_allowed() -> None:
    card, _ = find_card("l40s")
    assert card.gpu == "l40s"
    one = best_choice("llama-3.1-70b", "l40s", most_gpus=1)
    assert one.fit is None
    assert one.nearest is not None


# --- measured ---------------------------------------------------------------------------------


def run(name: str, model: str, gpu: str = "") -> Any:
    return memory.measured(LOGS / f"{name}.txt", model=model, gpu=gpu)


@pytest.mark.parametrize(
    ("log", "gpu", "shown"),
    [
        ("vllm-0.11.0-tp2", "h200-sxm", "h200-sxm"),
        ("vllm-0.6.4", "", "7.92 GiB"),
        ("sglang-0.5", "h100-sxm", "h100-sxm"),
        ("llama.cpp-b9943", "", "rtx-3090"),
    ],
)
def test_every_figure_of_a_log_stands_beside_a_prediction_with_its_range(
    log: str, gpu: str, shown: str
) -> None:
    found = run(log, "llama-3.1-8b", gpu)
    assert found.gpu == shown
    assert found.rows
    for row in found.rows:
        if row.predicted is None:
            assert row.is_inside is None
        elif not row.is_verdict:
            assert row.predicted.low <= row.predicted.value <= row.predicted.high
            assert row.is_inside == (row.predicted.low <= row.case.value <= row.predicted.high)
            assert row.error_frac == pytest.approx(row.predicted.value / row.case.value - 1)
    data = found.to_dict()
    assert [row["measured"] for row in data["data"]] == [row.case.value for row in found.rows]
    assert data["settings"] == dict(found.log.settings)
    assert "Measured beside predicted" in found._repr_html_()


def test_the_model_is_found_by_its_name_in_the_log() -> None:
    names = {
        "meta-llama/Llama-3.1-8B-Instruct": "llama-3.1-8b",
        "/models/Meta-Llama-3.1-8B-Instruct-Q4_K_M.gguf": "llama-3.1-8b",
        "neuralmagic/Meta-Llama-3.1-70B-Instruct-quantized.w4a16": "llama-3.1-70b",
        "/hub/models--google--gemma-3-27b-it/snapshots/005ad3404e59d6023443cb575daa": "gemma-3-27b",
        "Qwen/Qwen2.5-32B-Instruct-AWQ": "qwen2.5-32b",
    }
    for name, slug in names.items():
        assert memory._model_named(EngineLog("vLLM", model=name)).arch.name == slug, name


TWO_GPUS = """\
llama_model_load_from_file_impl: using device CUDA0 (NVIDIA GeForce RTX 3090) - 23871 MiB free
llama_model_load_from_file_impl: using device CUDA1 (NVIDIA GeForce RTX 3090) - 23871 MiB free
print_info: file type   = Q4_K - Medium
print_info: general.name     = Qwen2.5 32B Instruct
load_tensors: offloaded 65/65 layers to GPU
load_tensors:   CPU_Mapped model buffer size =   417.66 MiB
load_tensors:        CUDA0 model buffer size =  9106.94 MiB
load_tensors:        CUDA1 model buffer size =  9401.53 MiB
llama_context: n_ctx         = 16384
llama_context: n_ubatch      = 512
llama_kv_cache:      CUDA0 KV buffer size =  2112.00 MiB
llama_kv_cache:      CUDA1 KV buffer size =  1984.00 MiB
llama_kv_cache: size = 4096.00 MiB ( 16384 cells,  64 layers), K (f16): 2048.00 MiB, V (f16): 2048.00 MiB
llama_context:      CUDA0 compute buffer size =   268.01 MiB
llama_context:      CUDA1 compute buffer size =   347.01 MiB
main: server is listening on http://127.0.0.1:8080
"""
HALF_ON_THE_HOST = """\
print_info: file type   = Q4_K - Medium
print_info: general.name     = Meta Llama 3.1 8B Instruct
load_tensors: offloaded 16/33 layers to GPU
load_tensors:   CPU_Mapped model buffer size =  4685.30 MiB
load_tensors:        CUDA0 model buffer size =  2004.00 MiB
llama_context: n_ctx         = 8192
llama_kv_cache:      CUDA0 KV buffer size =   512.00 MiB
llama_kv_cache:        CPU KV buffer size =   512.00 MiB
"""


@pytest.mark.parametrize(("text", "gpu"), [(TWO_GPUS, "rtx-3090:2"), (HALF_ON_THE_HOST, "l40s")])
def test_llama_cpp_on_two_gpus_and_on_half_of_one(text: str, gpu: str, tmp_path: Path) -> None:
    """The embedding stays on the host; the cache counts over all GPUs, the compute buffer on the fullest."""
    path = tmp_path / "server.log"
    path.write_text(text, "utf-8")
    found = memory.measured(path, gpu=gpu)
    assert {"weights_gib", "kv_gib"} <= {row.case.quantity for row in found.rows}
    assert [row.case.quantity for row in found.rows if row.is_inside is False] == []


def test_a_model_that_nobody_knows_is_asked_for() -> None:
    with pytest.raises(UnknownName, match="'moe-fp8': so the log names it; --model says which"):
        run("vllm-0.11.0-tp2", "")
    with pytest.raises(UsageError, match="does not name its model") as caught:
        run("vllm-0.8.5-tp2", "")
    assert "--model" in caught.value.hint


def test_a_log_that_names_no_gpu_asks_for_it_or_takes_its_memory_and_says_so() -> None:
    with pytest.raises(UsageError, match="on which GPU"):
        run("vllm-0.5.4", "llama-3.1-8b")
    assert "does not name its GPU" in run("vllm-0.6.4", "llama-3.1-8b").assumed[0]
    assert "several GPUs" in run("llama.cpp-b3600", "llama-3.1-8b").assumed[0]


def test_what_is_no_log_is_refused(tmp_path: Path) -> None:
    (tmp_path / "garbage").write_bytes(bytes(range(256)) * 20)
    for path in (tmp_path / "garbage", tmp_path / "missing", tmp_path):
        with pytest.raises(ImportRejected):
            memory.measured(path)


def test_a_run_is_saved_once_and_shown_below_later_answers() -> None:
    found = run("vllm-0.8.5-tp2", "llama-3.1-8b", "l40s")
    first, second = memory.saved(found), memory.saved(found)
    assert f"saved {len(found.rows)} cases" in first.saved
    assert "already" in second.saved
    kept = calibration.load()
    assert len(kept) == len(found.rows)
    assert len({case.id for case in kept}) == len(kept)
    answer = rackrate.fits("llama-3.1-8b", "l40s")
    assert answer.measured == kept
    assert any("calibration file" in block.title for block in answer.blocks())
    for model, gpu, engine in (
        ("llama-3.1-70b", "l40s", ""),
        ("llama-3.1-8b", "a10", ""),
        ("llama-3.1-8b", "l40s", "sglang"),
    ):
        assert rackrate.fits(model, gpu, engine=engine).measured == ()


def test_a_prediction_does_not_depend_on_what_was_saved() -> None:
    before = rackrate.fits("llama-3.1-8b", "l40s").fit.total
    memory.saved(run("vllm-0.8.5-tp2", "llama-3.1-8b", "l40s"))
    assert rackrate.fits("llama-3.1-8b", "l40s").fit.total == before


def test_a_broken_calibration_file_is_named_and_left_alone() -> None:
    path = config.calibration_file()
    path.parent.mkdir(parents=True)
    path.write_text("id,model\n1,2\n")
    with pytest.raises(ImportRejected, match="your calibration file") as caught:
        rackrate.fits("llama-3.1-8b", "l40s")
    assert str(path) in caught.value.hint
    with pytest.raises(ImportRejected):
        memory.saved(run("vllm-0.8.5-tp2", "llama-3.1-8b", "l40s"))
    assert path.read_text() == "id,model\n1,2\n"
