"""Images and speech: which precisions are tried where, what they hold, and how long a result takes."""

from __future__ import annotations

from typing import Any

import pytest

from rackrate.errors import UnknownName
from rackrate.plan.fitting import LeftOut
from rackrate.plan.media import drawing_of, media
from rackrate.plan.options import Option
from rackrate.plan.question import Question
from rackrate.sizing import find_weights

FLUX, WHISPER = "flux.1-schnell", "whisper-large-v3"
Made = Any


@pytest.fixture
def made(cards: Any) -> Made:
    """Return a function that gives the options by card and precision, and what is left out."""

    def make(question: Question, *sold: str) -> tuple[dict[tuple[str, str], Option], LeftOut]:
        left_out, arch = LeftOut(), find_weights(question.model).arch
        found = media(question, arch, cards, {cards.at(slug): 1 for slug in sold}, left_out)
        return {(cards.gpus[o.card].slug, o.precision): o for o in found.options}, left_out

    return make


def test_eight_bits_are_tried_where_the_card_has_them(made: Made) -> None:
    found, _ = made(Question("image-generation", FLUX), "l40s", "a100-80gb-sxm")
    assert {name for slug, name in found if slug == "l40s"} == {"bf16", "fp8", "int8"}
    assert {name for slug, name in found if slug == "a100-80gb-sxm"} == {"bf16", "int8"}  # no FP8
    found, _ = made(Question("asr", WHISPER), "l40s")
    assert {name for _, name in found} == {"fp16", "int8"}
    found, _ = made(Question("asr", WHISPER, precision="int8"), "l40s")
    assert {name for _, name in found} == {"int8"}


def test_a_card_that_is_too_small_is_named(made: Made) -> None:
    found, left_out = made(Question("image-generation", FLUX, precision="bf16"), "l4", "l40s")
    assert {slug for slug, _ in found} == {"l40s"}
    assert left_out.rules == {"the model does not fit": ["l4"]}


def test_a_precision_is_refused_or_leaves_cards_out_for_what_it_is(made: Made) -> None:
    for workload, model, name in (("asr", WHISPER, "fp8"), ("image-generation", FLUX, "int4")):
        with pytest.raises(UnknownName) as caught:
            made(Question(workload, model, precision=name), "h100-sxm")
        assert caught.value.code == "unknown-precision"
        assert "int8" in caught.value.nearest
    found, left_out = made(Question("image-generation", FLUX, precision="fp8"), "a100-80gb-sxm", "l40s")
    assert found.keys() == {("l40s", "fp8")}
    assert left_out.rules == {"it does not compute in fp8": ["a100-80gb-sxm"]}  # 80 GiB would do


def test_weights_are_those_of_the_model_cards(made: Made) -> None:
    # 1.543 billion parameters of 2 bytes; 11.9 + 4.76 + 0.12 + 0.08 billion of transformer, T5, CLIP and VAE
    speech, _ = made(Question("asr", WHISPER), "l40s")
    assert speech["l40s", "fp16"].weights_gib == pytest.approx(1.543e9 * 2 / 2**30, rel=0.01)
    images, _ = made(Question("image-generation", FLUX), "h100-sxm")
    assert images["h100-sxm", "bf16"].weights_gib == pytest.approx(16.86e9 * 2 / 2**30, rel=0.01)
    wide, narrow = images["h100-sxm", "bf16"], images["h100-sxm", "fp8"]
    assert narrow.weights_gib < wide.weights_gib
    assert narrow.headroom_gib > wide.headroom_gib > 0


def test_a_batch_of_speech_is_eight_windows_of_half_a_minute(made: Made) -> None:
    found, _ = made(Question("asr", WHISPER), "l40s")
    for option in found.values():  # 240 s of sound at the speed of the card
        assert option.seconds * option.speed.value == pytest.approx(240)
        assert (option.n_gpus, option.layout) == (1, "1 GPU")


def test_an_image_takes_the_inverse_of_its_rate_and_longer_with_more_steps(made: Made) -> None:
    usual, _ = made(Question("image-generation", FLUX), "l40s")
    told, _ = made(Question("image-generation", FLUX, steps=40), "l40s")
    one, ten = usual["l40s", "bf16"], told["l40s", "bf16"]
    assert one.seconds * one.speed.value == pytest.approx(1)
    assert 4 < ten.seconds / one.seconds < 10  # 40 steps for 4, and the encoders once in either
    small, _ = made(Question("image-generation", FLUX, pixels=512 * 512), "l40s")
    assert small["l40s", "bf16"].seconds < one.seconds


@pytest.mark.parametrize(
    ("model", "steps", "said"),
    [(FLUX, 0, 4), ("flux.1-dev", 0, 28), ("stable-diffusion-xl-base-1.0", 0, 30), (FLUX, 7, 7)],
)
def test_steps_are_those_of_the_question_else_of_the_models_card(model: str, steps: int, said: int) -> None:
    arch = find_weights(model).arch
    assert drawing_of(Question("image-generation", model, steps=steps), arch, "fp16").steps == said
