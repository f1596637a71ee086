"""Training: what shares what, how long a step takes, and the variants of a sweep."""

from __future__ import annotations

import re
from typing import Any

import pytest

import rackrate
from rackrate.errors import NothingFits
from rackrate.fit.training import Training
from rackrate.market.store import Store
from rackrate.plan.fitting import LeftOut
from rackrate.plan.learning import learning, run_of
from rackrate.plan.options import Option
from rackrate.plan.question import Question
from rackrate.sizing import Wish, find_weights, setup_for

LLAMA, BERT = "llama-3.1-8b", "bert-base-uncased"
Made = Any


@pytest.fixture
def made(cards: Any) -> Made:
    """Return a function that gives the options of a run by card and number, and what is left out."""

    def make(
        question: Question, task: str = "full", **sold: tuple[int, ...]
    ) -> tuple[dict[tuple[str, int], Option], LeftOut]:
        left_out, weights = LeftOut(), find_weights(question.model)
        setup = setup_for(weights, 1, Wish(task=task, training=Training()))
        counts = {cards.at(slug.replace("_", "-")): n for slug, n in sold.items()}
        found = learning(question, weights.arch, setup, cards, counts, left_out)
        return {(cards.gpus[o.card].slug, o.n_gpus): o for o in found.options}, left_out

    return make


def test_weights_are_shared_out_only_where_a_copy_does_not_fit_each_gpu(made: Made) -> None:
    # 8.03 billion weights and two moments of 2 bytes are 44.9 GiB before any gradient: an L40S has 44.4
    whole, left_out = made(Question("finetune-full", LLAMA, amount=1e9), l40s=(1, 8), h100_sxm=(1,))
    assert whole.keys() == {("l40s", 8), ("h100-sxm", 1)}
    assert "ZeRO-3" in whole["l40s", 8].layout
    assert not left_out.rules  # it fits eight, so the card is an answer
    adapters, _ = made(Question("finetune-lora", LLAMA, amount=1e9), "lora", l40s=(1, 8))
    assert adapters.keys() == {("l40s", 1), ("l40s", 8)}
    assert adapters["l40s", 8].layout == "DP8"


def test_a_card_on_which_the_run_fits_in_no_number_is_named(made: Made) -> None:
    found, left_out = made(Question("finetune-full", LLAMA, amount=1e9), t4=(1, 4), h100_sxm=(8,))
    assert {slug for slug, _ in found} == {"h100-sxm"}
    assert left_out.rules == {"the run does not fit": ["t4"]}


def test_where_no_card_holds_the_run_the_nearest_is_named_with_what_it_lacks(made: Made) -> None:
    """Llama 3.1 70B keeps 16 bytes a parameter in full training: 70.6e9 x 16 are 1,051 GiB of states."""
    found, left_out = made(
        Question("finetune-full", "llama-3.1-70b", amount=1e9), t4=(1, 8), l40s=(1, 8), h100_sxm=(1,)
    )
    assert not found
    named = re.fullmatch(r"the nearest: 8 x l40s lacks (\d+\.\d) GiB on each GPU", left_out.nearest)
    assert named
    assert 20 < float(named[1]) < 1051 / 8
    with pytest.raises(NothingFits) as caught:
        rackrate.plan("llama-3.1-405b", finetune="full", tokens="1M", gpu="l40s:8", data=Store.sample())
    assert "the nearest: 8 x l40s lacks" in caught.value.hint


def test_a_step_takes_its_tokens_at_the_speed_of_all_gpus(made: Made) -> None:
    question = Question("finetune-lora", LLAMA, amount=1e9, sequence=1024, batch=4)
    found, _ = made(question, "lora", h100_sxm=(1, 2, 8))
    for (_, n), option in found.items():  # 4 sequences of 1,024 tokens on each GPU
        assert option.seconds * option.speed.value == pytest.approx(4096 * n)
        assert option.speed.unit == "tokens/s"
    one, eight = found["h100-sxm", 1].speed.value, found["h100-sxm", 8].speed.value
    assert 4 * one < eight < 8 * one  # a link costs something, and gives nothing


def test_a_variant_has_a_gpu_of_its_own_however_many_a_machine_has(made: Made) -> None:
    run, _ = made(Question("finetune-full", BERT, amount=1e9), l40s=(1,))
    sweep = Question("bert-sweep", BERT, amount=64.0, variant_tokens=1e7)
    found, _ = made(sweep, l40s=(4, 8))
    assert found.keys() == {("l40s", 1)}
    tokens, variants = run["l40s", 1].speed, found["l40s", 1].speed
    assert variants.unit == "variants/s"
    for mine, of_run in zip(
        (variants.low, variants.value, variants.high), (tokens.low, tokens.value, tokens.high), strict=True
    ):
        assert mine * 1e7 == pytest.approx(of_run)  # ten million tokens each


@pytest.mark.parametrize(
    ("task", "model", "method", "number"),
    [("full", BERT, "full", "fp16"), ("lora", LLAMA, "lora", "fp16"), ("qlora", LLAMA, "qlora", "fp16")],
)
def test_the_speed_model_is_asked_for_what_the_memory_model_holds(
    task: str, model: str, method: str, number: str
) -> None:
    setup = setup_for(find_weights(model), 1, Wish(task=task, training=Training()))
    question = Question("finetune-full", model, amount=1e9, sequence=256, batch=3)
    run = run_of(question, setup, 4, is_sharded=True)
    assert (run.method, run.number) == (method, number)
    assert (run.tokens, run.batch, run.n_gpus, run.is_sharded) == (256, 3, 4, True)
