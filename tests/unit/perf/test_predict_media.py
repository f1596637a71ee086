from __future__ import annotations

from dataclasses import replace

import pytest

from rackrate.catalog.gpu import load_gpu
from rackrate.errors import NoAnswer, UnknownName
from rackrate.perf import benchmark, copies, diffusion, encoder, speech, training
from rackrate.perf.cases import PerfCase
from rackrate.perf.chip import chip_of
from rackrate.perf.predict_media import architecture_named, predict_media, run_of

L40S, H100 = chip_of(load_gpu("l40s")), chip_of(load_gpu("h100-sxm"))
PLAIN = PerfCase(
    id="", workload="diffusion", model="flux.1-dev", precision="bf16", engine="diffusers", gpu="l40s",
    gpu_count=1, nodes=1, parallel="", load="1", input_tokens=None, output_tokens=None,
    metric="seconds_per_batch", value=1.0, unit="s", extra="", quality="ok", source="", licence="", group="",
)  # fmt: skip


def test_the_measured_value_is_not_read() -> None:
    assert predict_media(PLAIN) == predict_media(replace(PLAIN, value=1e6))


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("sd-v1.5", "stable-diffusion-1.5"),
        ("sdxl-1.0-base", "stable-diffusion-xl"),
        ("flux.1-schnell", "flux.1-schnell"),
        ("distil-whisper-large-v2", "distil-whisper-large-v3"),
        ("whisper-large-v3-turbo", "whisper-large-v3-turbo"),
        ("whisper-large-v2", "whisper-large-v2"),
        ("bert-large SQuAD fine-tune (seq 384)", "bert-large-uncased"),
        ("bert-base", "bert-base-uncased"),
        ("distilbert-base", "distilbert-base-uncased"),
        ("llama-3.1-8b LoRA", "llama-3.1-8b"),
    ],
)
def test_sources_names_are_understood(name: str, slug: str) -> None:
    assert architecture_named(name).name == slug


def test_a_model_known_by_its_size_alone_is_answered_and_a_nameless_one_is_not() -> None:
    assert architecture_named("newmodel-13b").n_params == pytest.approx(13e9, rel=0.05)
    with pytest.raises(NoAnswer, match="mystery"):
        architecture_named("mystery")


def test_pictures_come_in_the_unit_of_the_case() -> None:
    arch = architecture_named("flux.1-dev")
    one_s = 1 / diffusion.images_per_s(arch, L40S, diffusion.usual("flux.1-dev")).value
    assert predict_media(PLAIN).value == pytest.approx(one_s)
    in_ms = predict_media(replace(PLAIN, metric="latency_ms", unit="ms"))
    assert in_ms.value == pytest.approx(1000 * one_s)
    speed = predict_media(replace(PLAIN, metric="samples_per_s", unit="samples/s", gpu_count=4))
    assert speed.value == pytest.approx(4 / one_s)
    step = predict_media(replace(PLAIN, metric="step_ms", unit="ms"))
    assert step.value == pytest.approx(1000 * one_s / 28)
    assert predict_media(PLAIN).low < one_s < predict_media(PLAIN).high


def test_settings_in_words_change_the_picture() -> None:
    small = predict_media(replace(PLAIN, extra="512x512;10 steps"))
    assert small.value < predict_media(PLAIN).value / 5
    guided = predict_media(replace(PLAIN, extra="CFG (2 UNet passes a step)"))
    assert guided.value > 1.7 * predict_media(PLAIN).value
    compiled = predict_media(replace(PLAIN, engine="diffusers torch.compile"))
    assert compiled.value < predict_media(PLAIN).value
    assert (
        predict_media(replace(PLAIN, engine="diffusers torch.compile", precision="fp8")).value
        < compiled.value
    )


def test_texts_at_once_and_one_by_one() -> None:
    case = replace(PLAIN, workload="encoder", model="bert-large", precision="int8/fp8", load="offline",
                   engine="TensorRT (MLPerf)", metric="samples_per_s", unit="/s", gpu_count=2)  # fmt: skip
    arch = architecture_named("bert-large")
    assert predict_media(case).value == encoder.texts_per_s(arch, L40S, encoder.Reading(), n_gpus=2).value
    single = replace(case, load="singlestream", metric="p90_latency_ms", unit="ms")
    alone = encoder.latency_s(arch, L40S, encoder.Reading(encoder.SQUAD_P90_TOKENS))
    assert predict_media(single).value == pytest.approx(1000 * alone.value)
    batch = replace(case, engine="transformers", precision="fp16", load="32", metric="forward_ms", unit="ms")
    reading = encoder.Reading(128, 32, "eager", "fp16")
    assert predict_media(replace(batch, gpu_count=1)).value == pytest.approx(
        1000 * encoder.batch_spent(arch, L40S, reading).total_s
    )


def test_speech_in_seconds_tokens_and_real_time_factors() -> None:
    case = replace(PLAIN, workload="asr", model="whisper-large-v3", engine="faster-whisper", load="8",
                   metric="audio_seconds_per_second", unit="x real time", extra="beam 5")  # fmt: skip
    found = predict_media(case).value
    expected = speech.audio_s_per_s(architecture_named("whisper-large-v3"), L40S, speech.Listening(8, 5))
    assert found == expected.value
    assert predict_media(replace(case, metric="rtf", unit="")).value == pytest.approx(1 / found)
    tokens = predict_media(replace(case, metric="output_tokens_per_s", unit="tok/s")).value
    assert tokens == pytest.approx(3.5 * found)
    assert predict_media(replace(case, engine="openai-whisper")).value < found


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        (
            {"model": "bert-base SQuAD fine-tune (seq 384)", "load": "640", "gpu_count": 2,
             "input_tokens": 384, "engine": "NVIDIA DeepLearningExamples PyTorch (22.10 container)"},
            training.Run("full", 384, 320, "fp16", "container", n_gpus=2),
        ),
        (
            {"model": "llama-2-70b LoRA (SCROLLS GovReport, seq 8192)", "load": "8", "gpu_count": 8,
             "engine": "NeMo (MLPerf Training v4.0)", "gpu": "h100-sxm"},
            training.Run("lora", 8192, 1, "8-bit", "tuned", n_gpus=8),
        ),
        (
            {"model": "llama-3.1-8b QLoRA", "load": "2", "engine": "torch", "input_tokens": 1024},
            training.Run("qlora", 1024, 2, has_checkpointing=True),
        ),
        (
            {"model": "llama-3.2-1b", "load": "4", "engine": "torch", "input_tokens": 2048,
             "extra": "gradient checkpointing off", "parallel": "fsdp", "gpu_count": 4, "precision": "tf32"},
            training.Run("full", 2048, 4, "tf32", is_sharded=True, n_gpus=4),
        ),
    ],
)  # fmt: skip
def test_runs_are_read_from_words(changes: dict[str, object], expected: training.Run) -> None:
    case = replace(PLAIN, workload="bert_ft", **changes)  # type: ignore[arg-type]
    assert run_of(case, chip_of(load_gpu(case.gpu))) == expected


def test_training_in_samples_tokens_steps_and_minutes() -> None:
    case = replace(PLAIN, workload="bert_ft", model="bert-base", engine="torch", load="32", input_tokens=128,
                   metric="train_samples_per_s", unit="samples/s")  # fmt: skip
    samples = predict_media(case).value
    tokens = predict_media(replace(case, metric="train_tokens_per_s", unit="tokens/s")).value
    assert tokens == pytest.approx(128 * samples)
    assert predict_media(replace(case, metric="train_step_ms", unit="ms")).value == pytest.approx(
        32e3 / samples
    )
    tuned = replace(case, workload="train", model="resnet50", engine="(MLPerf Training v4.0)", gpu_count=8,
                    metric="time_to_train_min", unit="min", gpu="h100-sxm")  # fmt: skip
    assert predict_media(tuned).value == benchmark.minutes_by_work("resnet", H100, n_gpus=8).value
    with pytest.raises(NoAnswer, match="resnet50"):
        predict_media(replace(tuned, metric="train_samples_per_s"))


def test_the_card_by_itself() -> None:
    case = replace(PLAIN, workload="bandwidth", metric="h2d_copy_GBps", unit="GB/s")
    assert predict_media(case).value == copies.copy_gb_per_s(L40S, "from-host").value
    gemm = replace(PLAIN, workload="gemm", metric="achieved_tflops", precision="fp8", unit="TFLOP/s")
    assert predict_media(gemm).value == copies.product_tflops(L40S, "fp8").value
    with pytest.raises(UnknownName, match="metric"):
        predict_media(replace(case, metric="latency_ns"))


def test_what_is_not_of_this_model_is_refused() -> None:
    with pytest.raises(UnknownName, match="workload"):
        predict_media(replace(PLAIN, workload="llm_decode"))
    with pytest.raises(UnknownName, match="GPU"):
        predict_media(replace(PLAIN, gpu="voodoo-2"))


@pytest.mark.parametrize(
    ("name", "slug"),
    [("bert-99.9", "bert-large-uncased"), ("stabilityai/sdxl-turbo", "stable-diffusion-xl")],
)
def test_names_of_benchmarks_and_hubs_are_understood(name: str, slug: str) -> None:
    assert architecture_named(name).name == slug


def test_a_later_model_of_a_name_is_not_taken_for_the_earlier() -> None:
    assert architecture_named("FLUX.2-dev").name == "flux.2-dev"


def test_rates_come_in_the_time_and_for_the_gpus_of_the_case() -> None:
    def asked(metric: str, unit: str, **more: object) -> float:
        return predict_media(replace(PLAIN, metric=metric, unit=unit, **more)).value  # type: ignore[arg-type]

    a_second = asked("images_per_s", "images/s")
    assert asked("images_per_min", "images/min") == pytest.approx(60 * a_second)
    assert asked("images_per_hour", "images/h") == pytest.approx(3600 * a_second)
    assert asked("it_per_s", "it/s") == pytest.approx(28 * a_second)
    assert asked("images_per_s_per_gpu", "images/s/GPU", gpu_count=4) == pytest.approx(a_second)
    trained = {"workload": "train", "model": "llama-3.1-8b", "engine": "torch", "gpu_count": 8}
    of_all = asked("tokens_per_s", "tok/s", **trained)
    assert asked("tokens_per_s_per_gpu", "tok/s/GPU", **trained) == pytest.approx(of_all / 8)


def test_distilled_models_take_few_steps_without_guidance() -> None:
    full, few = (
        predict_media(replace(PLAIN, model=model)).value
        for model in ("stable-diffusion-xl", "stabilityai/sdxl-turbo")
    )
    assert few < full / 8  # 4 passes instead of 60, and the rest of the pipeline


def test_speech_by_its_names_and_times() -> None:
    heard = replace(PLAIN, workload="asr", model="large-v3", engine="faster-whisper")
    times = predict_media(replace(heard, metric="rtfx", unit="x")).value
    assert predict_media(replace(heard, model="whisper-large-v3", metric="speed_x", unit="x")).value == times
    assert predict_media(replace(heard, metric="RTF", unit="")).value == pytest.approx(1 / times)
    long = replace(heard, metric="transcription_time_s", unit="s", extra="13 min of audio; beam 1")
    assert predict_media(long).value == pytest.approx(13 * 60 / times)
    with pytest.raises(NoAnswer, match="how long the audio is"):
        predict_media(replace(long, extra=""))


@pytest.mark.parametrize("metric", ["mfu", "power_w", "memory_gib", "accuracy"])
def test_what_is_no_speed_is_refused(metric: str) -> None:
    with pytest.raises(UnknownName, match=metric):
        predict_media(replace(PLAIN, metric=metric))
