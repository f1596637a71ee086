"""Memory: what must hold for every model, card and load, whatever the constants are."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rackrate.catalog.gpu import load_gpu
from rackrate.catalog.load import slugs
from rackrate.errors import NoAnswer
from rackrate.fit.estimate import Estimate, estimate, sequence_memory
from rackrate.fit.overhead import Card, usable_memory
from rackrate.fit.parallel import Layout
from rackrate.fit.precision import PRECISIONS, find_precision
from rackrate.fit.setup import Load, Setup
from rackrate.fit.solve import probability, solve
from rackrate.fit.term import GIB
from rackrate.fit.training import Training
from rackrate.fit.ways import ways
from rackrate.fit.weights import weight_bytes
from rackrate.sizing import Weights, Wish, find_card, find_weights, fits, setup_for

TEXT = (
    "llama-3.1-8b",
    "llama-3-70b",
    "gemma-3-12b",
    "qwen3.6-27b",
    "mixtral-8x7b",
    "deepseek-v2-lite",
    "gpt-oss-20b",
)
TASKS = ("inference", "full", "lora", "qlora")
ENGINES = ("vllm", "sglang", "transformers", "llama.cpp")
CARDS = ("t4", "l40s", "a100-80gb-sxm", "h100-sxm")

models = st.sampled_from(TEXT)
cards = st.sampled_from(CARDS)
counts = st.sampled_from((1, 2, 4, 8))
contexts = st.integers(1, 200_000)
batches = st.integers(1, 512)
few = settings(max_examples=30)


@cache
def weights_of(slug: str) -> Weights:
    return find_weights(slug)


def asked(slug: str, card: str, n: int, context: int, batch: int, wish: Wish) -> Estimate:
    weights = weights_of(slug)
    setup = setup_for(weights, n, wish)
    return estimate(weights.arch, find_card(card)[0], setup, Load(context, batch))


@few
@given(
    models,
    st.sampled_from(ENGINES),
    cards,
    counts,
    contexts,
    batches,
    st.integers(0, 100_000),
    st.integers(0, 64),
)
def test_memory_never_falls_with_context_or_concurrency(
    slug: str, engine: str, card: str, n: int, context: int, batch: int, more: int, others: int
) -> None:
    wish = Wish(engine=engine)
    base = asked(slug, card, n, context, batch, wish).total.gib
    assert asked(slug, card, n, context + more, batch, wish).total.gib >= base - 1e-9
    assert asked(slug, card, n, context, batch + others, wish).total.gib >= base - 1e-9


@few
@given(
    models,
    st.sampled_from(TASKS[1:]),
    counts,
    st.integers(1, 32_768),
    st.integers(1, 64),
    st.integers(0, 4096),
)
def test_training_never_takes_less_for_longer_or_larger_batches(
    slug: str, task: str, n: int, context: int, batch: int, more: int
) -> None:
    wish = Wish(task=task)
    base = asked(slug, "h100-sxm", n, context, batch, wish).total.gib
    assert asked(slug, "h100-sxm", n, context + more, batch, wish).total.gib >= base - 1e-9
    assert asked(slug, "h100-sxm", n, context, batch + 1, wish).total.gib >= base - 1e-9


@few
@given(models, counts)
def test_fewer_bits_never_weigh_more(slug: str, n: int) -> None:
    layout = setup_for(weights_of(slug), n, Wish()).layout
    arch = weights_of(slug).arch
    for names in (
        ("fp32", "bf16", "fp8", "int4", "int3"),
        ("gguf:f16", "gguf:q8_0", "gguf:q6_k", "gguf:q5_k_m", "gguf:q5_k_s", "gguf:q4_k_m", "gguf:q4_k_s",
         "gguf:q3_k_l", "gguf:q3_k_m", "gguf:q3_k_s", "gguf:q2_k", "gguf:iq2_s", "gguf:iq1_s"),
        ("nf4", "nf4-dq"),
    ):  # fmt: skip
        if names[0].startswith("gguf") and arch.main.hidden_size % 256:
            continue  # rows that fall back: there Q2_K is no smaller than Q3_K_S
        sizes = [weight_bytes(arch, find_precision(p), layout) for p in names]
        assert sizes == sorted(sizes, reverse=True)


@few
@given(models, cards, counts, contexts, batches)
def test_a_narrower_cache_never_takes_more(slug: str, card: str, n: int, context: int, batch: int) -> None:
    sizes = [
        asked(slug, card, n, context, batch, Wish(kv=kv, engine="llama.cpp")).gib("KV cache")
        for kv in ("fp32", "fp16", "q8_0", "q4_0")
    ]
    assert sizes == sorted(sizes, reverse=True)


@few
@given(models, cards, counts, contexts, batches, st.integers(0, 50_000))
def test_the_room_that_vllm_has_left_never_grows_with_the_load(
    slug: str, card: str, n: int, context: int, batch: int, more: int
) -> None:
    def room(found: Estimate) -> float:
        return float(found.limit_gib - found.total.gib + found.gib("KV cache"))

    for version in ("vllm 0.6.4", "vllm 0.11", "vllm"):
        wish = Wish(engine=version)
        longer = min(context + more, 32_768) if version == "vllm 0.6.4" else context + more
        start = min(context, 32_768) if version == "vllm 0.6.4" else context
        base = room(asked(slug, card, n, start, batch, wish))
        assert room(asked(slug, card, n, longer, batch + 1, wish)) <= base + 1e-9


@few
@given(models, st.sampled_from(TASKS), cards, counts, contexts, batches)
def test_every_term_is_a_range_around_its_value(
    slug: str, task: str, card: str, n: int, context: int, batch: int
) -> None:
    found = asked(slug, card, n, context, batch, Wish(task=task))
    for term in found.terms:
        assert math.isfinite(term.gib)
        assert 0 <= term.low_gib <= term.gib <= term.high_gib
        assert term.formula
        assert term.source
    total = found.total
    assert total.gib == pytest.approx(sum(term.gib for term in found.terms))
    assert total.low_gib <= total.gib <= total.high_gib
    assert found.allocated.gib <= total.gib
    assert 0 <= probability(found) <= 1


@few
@given(models, st.sampled_from(("full", "lora")), st.integers(1, 8192), st.integers(1, 16))
def test_data_parallel_training(slug: str, task: str, context: int, batch: int) -> None:
    """DDP holds the same on 2 and on 64 GPUs; FSDP never more of the states; what fits goes on fitting."""
    weights, card = weights_of(slug), find_card("h100-sxm")[0]

    def held(layout: Layout) -> Estimate:
        setup = replace(setup_for(weights, 1, Wish(task=task, training=Training(method=task))), layout=layout)
        return estimate(weights.arch, card, setup, Load(context, batch))

    copies = [held(Layout(data=n)).total.gib for n in (2, 8, 64)]
    assert copies[0] == copies[1] == copies[2]
    shared = [held(Layout(data=n, shard=3)) for n in (2, 4, 8, 64)]
    totals = [found.total.gib for found in shared]
    assert totals == sorted(totals, reverse=True)
    chances = [probability(found) for found in shared]
    assert chances == sorted(chances)
    by_stage = [held(Layout(data=8, shard=stage)).gib("optimiser") for stage in (0, 1, 2, 3)]
    assert by_stage == sorted(by_stage, reverse=True)


@few
@given(models, cards, st.integers(1, 65_536), st.integers(1, 64))
def test_more_gpus_for_one_copy_never_hold_more_each(slug: str, card: str, context: int, batch: int) -> None:
    for engine in ("vllm", "transformers"):
        terms = [asked(slug, card, n, context, batch, Wish(engine=engine)) for n in (1, 2, 4, 8)]
        for name in ("weights", "KV cache"):
            sizes = [found.gib(name) for found in terms]
            assert sizes == sorted(sizes, reverse=True)


@few
@given(models, cards, counts, st.integers(1, 65_536), st.integers(1, 64))
def test_all_gpus_together_hold_at_least_the_whole(
    slug: str, card: str, n: int, context: int, batch: int
) -> None:
    one = asked(slug, card, 1, context, batch, Wish())
    many = asked(slug, card, n, context, batch, Wish())
    for name in ("weights", "KV cache"):
        assert many.gib(name) * n >= one.gib(name) * (1 - 1e-9)


@few
@given(models, cards, counts, st.lists(st.integers(1, 131_072), min_size=1, max_size=5), batches)
def test_an_array_of_loads_gives_the_numbers_of_each(
    slug: str, card: str, n: int, lengths: list[int], batch: int
) -> None:
    weights, memory = weights_of(slug), find_card(card)[0]
    for engine, task in (
        ("vllm", "inference"),
        ("transformers", "inference"),
        ("llama.cpp", "inference"),
        ("", "lora"),
    ):
        setup = setup_for(weights, n, Wish(engine=engine, task=task))
        many = estimate(weights.arch, memory, setup, Load(np.array(lengths), np.full(len(lengths), batch)))
        for i, length in enumerate(lengths):
            one = estimate(weights.arch, memory, setup, Load(length, batch))
            assert np.broadcast_to(many.total.gib, len(lengths))[i] == pytest.approx(float(one.total.gib))
            assert np.broadcast_to(many.total.sigma_gib, len(lengths))[i] == pytest.approx(
                float(one.total.sigma_gib)
            )


@settings(max_examples=15)
@given(
    models,
    cards,
    counts,
    st.sampled_from(("bf16", "fp8", "int4")),
    st.integers(1, 65_536),
    st.integers(1, 64),
)
def test_limits_and_ways_really_hold(
    slug: str, card: str, n: int, precision: str, context: int, batch: int
) -> None:
    fit = fits(weights_of(slug), f"{card}:{n}", precision=precision, context=context, concurrency=batch)
    for field, found, most in (
        ("context", fit.longest_context, fit.arch.max_context),
        ("concurrency", fit.most_concurrent, 4096),
    ):
        if found:
            assert solve(fit.arch, fit.card, fit.setup, replace(fit.load, **{field: found})).verdict == "fits"
        if found < most:
            assert (
                solve(fit.arch, fit.card, fit.setup, replace(fit.load, **{field: found + 1})).verdict
                != "fits"
            )
    assert (fit.verdict == "fits") == (ways(fit) == [] and fit.verdict == "fits")
    assert all(way.probability >= 0.95 for way in ways(fit))
    json.dumps(fit.to_dict(), allow_nan=False)


@few
@given(models, counts, contexts)
def test_a_sequence_costs_what_its_term_says(slug: str, n: int, context: int) -> None:
    weights = weights_of(slug)
    setup = setup_for(weights, n, Wish())
    per_sequence = sequence_memory(weights.arch, setup).sequence_bytes(context)
    found = estimate(weights.arch, find_card("l40s")[0], setup, Load(context, 3))
    assert found.gib("KV cache") == pytest.approx(3 * per_sequence / GIB)


def known(slug: str) -> Weights | None:
    try:
        return weights_of(slug)
    except NoAnswer:
        return None


def all_cards() -> list[Card]:
    return sorted((usable_memory(load_gpu(slug)) for slug in slugs("gpus")), key=lambda card: card.gib)


def test_nothing_fits_where_its_weights_do_not() -> None:
    """The whole catalog in five precisions on every card too small for the weights alone.

    Less memory never fits more, so the two largest of the cards that are too small stand for all.
    """
    memories = all_cards()
    sizes = [card.gib for card in memories]
    judged = 0
    for slug in slugs("models"):
        weights = known(slug)
        if weights is None or weights.arch.task not in ("text", "vision-language", "encoder"):
            continue
        for name in ("bf16", "fp8", "int8", "int4", "gguf:q4_k_m"):
            gib = weight_bytes(weights.arch, PRECISIONS[name]) / GIB
            too_small = memories[: int(np.searchsorted(sizes, gib))]
            engine = "llama.cpp" if name.startswith("gguf") else ""
            setup = setup_for(weights, 1, Wish(precision=name, engine=engine))
            for card in too_small[-2:]:
                judged += 1
                assert solve(weights.arch, card, setup, Load(1, 1)).verdict != "fits", (slug, name, card.gpu)
    assert judged > 1000


def test_a_larger_card_of_a_kind_never_fits_less() -> None:
    arch = weights_of("qwen3-32b").arch
    for engine in ("vllm", "transformers"):
        setup = setup_for(weights_of("qwen3-32b"), 1, Wish(engine=engine, precision="fp8"))
        chances = [
            probability(estimate(arch, Card("c", gib, 0.1, "", "", is_a100=True), setup, Load(8192, 4)))
            for gib in range(8, 200, 4)
        ]
        assert chances == sorted(chances)


@pytest.mark.parametrize("task", TASKS)
def test_every_model_of_the_catalog_has_an_answer_for_every_task(task: str) -> None:
    """0 crashes, 0 NaN, no negative terms; every third model, each card in turn."""
    for i, slug in enumerate(slugs("models")):
        weights = known(slug)
        if weights is None or i % 3:
            continue
        card = find_card(CARDS[i % len(CARDS)])[0]
        for n in (1, 4):
            setup = setup_for(weights, n, Wish(task=task))
            found = estimate(weights.arch, card, setup, Load(2048, 2))
            assert all(math.isfinite(term.gib) and term.gib >= 0 for term in found.terms), slug
            assert found.gib("weights") > 0
            assert isinstance(setup, Setup)
