"""`rackrate.speed`: figures that were measured, sums by hand, loads of each kind, and what is refused."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import rackrate
from rackrate.errors import BadQuantity, NoAnswer, RackrateError, UnknownName, UsageError
from rackrate.pace import Situation, layout_of
from rackrate.report.block import Text
from rackrate.report.speed import SpeedAnswer


def ask(model: str = "llama-3.1-8b", gpu: str = "l40s", **options: Any) -> SpeedAnswer:
    return rackrate.speed(model, gpu, **options)


def situations(answer: SpeedAnswer) -> tuple[Situation, ...]:
    return answer.pace.situations


def value(where: Situation, name: str) -> float:
    return where.figures[name].value


def test_llama_8b_on_an_l40s_is_as_fast_as_was_measured() -> None:
    """vLLM 0.22.1, 1,024 tokens in, 256 out: 19.09 ms a token, 131 ms to the first."""
    alone = situations(ask(input=1024, output=256))[0]
    for name, measured in (("tpot_ms", 19.09), ("ttft_ms", 131.0)):
        assert alone.figures[name].low < measured < alone.figures[name].high
    assert value(alone, "tokens_per_s") == pytest.approx(1000 / value(alone, "tpot_ms"))
    assert alone.figures["tpot_ms"].limit == "memory"
    assert alone.figures["ttft_ms"].limit == "compute"


def test_the_room_is_what_memory_leaves() -> None:
    """About 24 GiB are left of 40 beside 15 of weights; 1,150 tokens x 128 KiB are 0.14 GiB."""
    assert ask().pace.room == pytest.approx((39.95 - 16.7) / (1150 / 8192), rel=0.03)
    assert ask("llama-3.2-1b").pace.room == 256  # vLLM's limit on a card of less than 70 GiB


def test_what_a_million_tokens_cost_by_hand() -> None:
    found = ask()
    flow, spread = found.pace.asked_for.figures["tokens_per_s"], rackrate.price("l40s").spread
    assert spread
    by_hand = spread.median_usd_per_gpu_hour / (flow.value * 3600 / 1e6)
    assert found.usd["median"]["value"] == pytest.approx(by_hand)
    assert found.usd["median"]["low"] == pytest.approx(by_hand * flow.value / flow.high)
    cheapest = spread.cheapest[1] / spread.median_usd_per_gpu_hour
    assert found.usd["cheapest"]["value"] == pytest.approx(by_hand * cheapest)
    pair = ask(gpu="l40s:2")
    assert pair.to_dict()["usd_per_hour"]["median"] == pytest.approx(2 * spread.median_usd_per_gpu_hour)


def test_a_card_that_nobody_rents_out_has_a_speed_and_no_price() -> None:
    found = ask(gpu="gh200-144gb")  # in no list of the bundled sample
    assert found.usd == {}
    assert "nobody rents out" in found.blocks()[0].lines[-1]  # type: ignore[union-attr]
    assert all(row["usd_per_output_mtok"] is None for row in found.to_dict()["curve"])


def test_the_capacity_keeps_the_promise_and_uses_it_up() -> None:
    most = situations(ask(ttft="1s", tpot="60ms"))[2]
    assert most.title == "most within the SLO"
    assert value(most, "tpot_ms") == pytest.approx(60, rel=0.01)
    assert value(most, "ttft_ms") < 1000
    missed = situations(ask(tpot="18.5ms"))[2]
    assert "misses" in missed.title
    assert value(missed, "tpot_ms") > 18.5
    assert situations(ask())[2].title == "all that fits"


def test_a_rate_is_served_at_that_rate() -> None:
    where = situations(ask(rps="2"))[1]
    assert value(where, "requests_per_s") == pytest.approx(2, rel=0.01)
    there_s = (value(where, "ttft_ms") + 299 * value(where, "tpot_ms")) / 1000
    assert where.concurrency == pytest.approx(2 * there_s, rel=0.05)  # Little's law


def test_more_gpus_and_narrower_weights_bring_tokens_sooner() -> None:
    def tpot(**options: Any) -> float:
        return value(situations(ask(**options))[0], "tpot_ms")

    assert tpot(gpu="l40s:2") < tpot()
    assert tpot(precision="fp8") < tpot()
    assert tpot(speculative="1.6") == pytest.approx(tpot() / 1.6)
    stages = situations(ask(gpu="l40s:2", layout="pp2"))[0]
    assert value(stages, "tpot_ms") > tpot() * 0.95  # stages work one after the other


def test_the_curve_ends_where_the_room_does() -> None:
    curve = ask().pace.curve
    assert curve
    assert curve.concurrency == (1, 2, 4, 8, 16, 32, 64, 128, 165)
    assert list(curve.tokens_per_s) == sorted(curve.tokens_per_s)
    assert list(curve.tpot_ms) == sorted(curve.tpot_ms)


def test_images_speech_texts_and_training_have_figures_of_their_own() -> None:
    """FLUX.1-dev: 28 steps of 74 TFLOP at 252 TFLOP/s are 8.2 s, and no engine reaches all of it."""
    image = situations(ask("flux.1-dev"))[0]
    assert value(image, "s_per_image") == pytest.approx(1 / value(image, "images_per_s"))
    assert value(image, "s_per_image") > 28 * 74 / 252
    two = situations(ask("flux.1-dev", "l40s:2"))[0]
    assert value(two, "images_per_s") == pytest.approx(2 * value(image, "images_per_s"))
    assert value(two, "s_per_image") == pytest.approx(value(image, "s_per_image"))
    sound = situations(ask("whisper-large-v3", concurrency=8))[0]
    assert value(sound, "real_time_factor") * value(sound, "audio_s_per_s") == pytest.approx(1)
    text = situations(ask("bert-large-uncased", concurrency=32, input=128))[0]
    assert value(text, "texts_per_s") > 32 / value(text, "s_per_text") / 32
    learnt = situations(ask(task="lora", gpu="h100-sxm", input=1024, concurrency=4))[0]
    assert value(learnt, "tokens_per_s") == pytest.approx(1024 * value(learnt, "samples_per_s"))


@pytest.mark.parametrize(
    ("options", "error", "says"),
    [
        ({"model": "llama-3.1-70b"}, NoAnswer, "does not fit l40s"),
        ({"concurrency": 0}, BadQuantity, "concurrency"),
        ({"concurrency": -1}, BadQuantity, "concurrency"),
        ({"concurrency": 10**9}, BadQuantity, "65536"),
        ({"input": "200k"}, BadQuantity, "131,072"),
        ({"input": 1.5}, BadQuantity, "whole"),
        ({"output": "none"}, BadQuantity, "output"),
        ({"tpot": "5ms"}, NoAnswer, "17.5 ms"),
        ({"ttft": "5ms"}, NoAnswer, "39.3 ms"),
        ({"ttft": "soon"}, BadQuantity, "ttft"),
        ({"percentile": 1}, BadQuantity, "percentile"),
        ({"cached": -0.1}, BadQuantity, "cached"),
        ({"speculative": 0.5}, BadQuantity, "speculative"),
        ({"rps": 0}, BadQuantity, "rps"),
        ({"rps": 50}, NoAnswer, "at most"),
        ({"rps": 1, "concurrency": 2}, UsageError, "both"),
        ({"engine": "vlm"}, UnknownName, "vlm"),
        ({"engine": "transformers"}, UnknownName, "never measured"),
        ({"gpu": "24GiB"}, BadQuantity, "amount of memory"),
        ({"gpu": "l40x"}, UnknownName, "l40x"),
        ({"gpu": "l40s:999"}, UsageError, "32 layers of llama-3.1-8b do not make 999 stages"),
        ({"layout": "tp2"}, UsageError, "1 GPU"),
        ({"layout": "tp0"}, BadQuantity, "tp0"),
        ({"layout": "tp2", "tensor": 2, "gpu": "l40s:2"}, UsageError, "layout"),
        ({"pixels": 9}, UsageError, "pixels"),
        ({"precison": "fp8"}, UnknownName, "precison"),
        ({"model": "flux.1-dev", "rps": 3}, UsageError, "rps"),
        ({"model": "flux.1-dev", "precision": "int4"}, UnknownName, "int4"),
        ({"model": "whisper-large-v3", "engine": "vlm"}, UnknownName, "vlm"),
        ({"task": "lora", "output": 3}, UsageError, "output"),
    ],
)
def test_what_cannot_be_is_refused_with_what_can(
    options: dict[str, Any], error: type[RackrateError], says: str
) -> None:
    with pytest.raises(error) as found:
        ask(**options)
    assert says in found.value.message
    assert found.value.hint


def test_a_layout_reads_in_any_order() -> None:
    assert layout_of("pp2, TP4") == layout_of("tp4,pp2")
    for text in ("", "tp", "2", "tp2,tp4", "tp2;pp2", "dp2"):
        with pytest.raises(BadQuantity):
            layout_of(text)


@settings(max_examples=40)
@given(
    model=st.sampled_from(
        ["llama-3.1-8b", "mixtral-8x7b", "gemma-3-27b", "qwen3-30b-a3b", "deepseek-v2-lite"]
    ),
    gpu=st.sampled_from(["l40s", "l40s:4", "h100-sxm", "h200-sxm:8", "rtx-4090:2", "mi300x", "a10:8"]),
    precision=st.sampled_from(["bf16", "fp8", "int4"]),
    concurrency=st.integers(1, 600),
    n_in=st.integers(1, 6000),
    n_out=st.integers(1, 2000),
)
def test_every_answer_is_finite_ordered_and_data(
    model: str, gpu: str, precision: str, concurrency: int, n_in: int, n_out: int
) -> None:
    try:
        found = ask(model, gpu, precision=precision, concurrency=concurrency, input=n_in, output=n_out)
    except NoAnswer as error:
        assert error.code == "does-not-fit"  # noqa: PT017 - the one reason that these questions have
        return
    data = json.loads(json.dumps(found.to_dict(), allow_nan=False))
    assert data["kv_room"] >= 1
    for where in situations(found):
        for name, each in where.figures.items():
            assert 0 < each.low < each.value < each.high < math.inf, name
            assert each.unit
            assert each.assumptions
    alone, load, most = situations(found)
    assert value(load, "tpot_ms") >= value(alone, "tpot_ms") * (1 - 1e-6)
    assert value(load, "tokens_per_s") <= value(most, "tokens_per_s") * (1 + 1e-6)


@pytest.mark.parametrize(
    ("model", "gpu"), [("llama-3.1-8b", "h100"), ("flux.1-dev", "h200"), ("whisper-large-v3", "a100:2")]
)
def test_a_family_says_which_of_its_cards_was_taken(model: str, gpu: str) -> None:
    answer = ask(model, gpu)
    card = answer.pace.fit.card.gpu
    text = "\n".join(line for block in answer.blocks() if isinstance(block, Text) for line in block.lines)
    assert f"{gpu.partition(':')[0]} may be any of its family: {card} is taken" in text
    again = ask(model, card)
    assert not any("family" in line for b in again.blocks() if isinstance(b, Text) for line in b.lines)


def test_a_card_that_was_measured_is_not_said_to_be_unmeasured() -> None:
    """The H100 PCIe has cases, and no factor of its own, as it is like its class."""
    says = ask(gpu="h100-pcie").pace.asked_for.figures["tokens_per_s"].assumptions
    assert "the h100-pcie has the factors of its class: too few cases, or none unlike the others'" in says
    says = ask(gpu="rtx-5090").pace.asked_for.figures["tokens_per_s"].assumptions
    assert "the rtx-5090 has the factors of its class: no case of it was fitted to" in says


def test_one_of_anything_is_singular() -> None:
    for model, words in (
        ("whisper-large-v3", "1 window x 1 beam"),
        ("flux.1-dev", "28 steps x 1 pass, "),
        ("bert-base-uncased", "on 1 GPU"),
    ):
        assert words in ask(model).pace.asked + ", "
