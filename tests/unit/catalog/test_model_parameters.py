"""Parameter counts: the formulae against the totals that transformers and diffusers give."""

from __future__ import annotations

from dataclasses import replace

import pytest

from rackrate.catalog.architecture import architecture_of, count_parameters
from rackrate.catalog.architecture.bare import best_architecture
from rackrate.catalog.architecture.sizes import sizes_of
from rackrate.catalog.fact import Fact
from rackrate.catalog.model import Model, all_models, load_model
from rackrate.errors import NoAnswer

COUNTED = [model for model in all_models() if model.params_total]


@pytest.mark.parametrize("model", COUNTED, ids=lambda model: model.slug)
def test_the_sum_is_exact(model: Model) -> None:
    count = count_parameters(model)
    assert count.total == model.params_total.value == sum(count.by_part.values())
    assert count.active == model.params_active.value
    assert count.embedding == model.params_embedding.value or not model.params_embedding
    assert all(n > 0 for n in count.by_part.values())


def test_all_listed_models_but_the_one_without_a_config_are_counted() -> None:
    listed = {model.slug for model in all_models() if model.listed.pages}
    uncounted = listed - {model.slug for model in COUNTED}
    assert uncounted == {"skyfall-36b-v2"}


def test_every_model_has_a_size_stated_or_counted() -> None:
    for model in all_models():
        sizes = sizes_of(model)
        assert sizes.params_total, model.slug
        assert sizes.params_active, model.slug
        assert sizes.params_active <= sizes.params_total, model.slug


FULL = [m for m in all_models() if m.attention_layout.value == "full" and not m.sliding_window]


@pytest.mark.parametrize("model", FULL, ids=lambda model: model.slug)
def test_what_attends_to_everything_remembers_everything(model: Model) -> None:
    kinds = {cache.kind for cache in best_architecture(model).caches}
    assert "sliding" not in kinds
    assert sizes_of(model).kv_bytes_per_token


@pytest.mark.parametrize("model", COUNTED, ids=lambda model: model.slug)
def test_what_a_source_states_is_what_the_config_says(model: Model) -> None:
    stated = model.kv_bytes_per_token_bf16.value
    counted = architecture_of(model).kv_bytes_per_token()
    assert stated in (None, counted)
    assert sizes_of(model).kv_bytes_per_token == (counted or None)


@pytest.mark.parametrize("model", COUNTED, ids=lambda model: model.slug)
def test_the_parts_that_see_add_up_to_the_stated_vision_parameters(model: Model) -> None:
    parts = count_parameters(model).by_part
    assert parts.get("vision", 0) == (model.vision_params.value or 0)


def test_flux_adds_up_part_by_part() -> None:
    assert dict(count_parameters(load_model("flux.1-schnell")).by_part) == {
        "transformer": 11_891_178_560,
        "text_encoder": 123_060_480,
        "text_encoder_2": 4_762_310_656,
        "vae": 83_819_683,
    }


def test_flux_dev_has_a_guidance_embedder_more() -> None:
    schnell = load_model("flux.1-schnell")
    guided = {
        **schnell.parts["transformer"],
        "guidance_embeds": Fact(value=True, source="recalled"),
    }
    dev = replace(schnell, parts={**schnell.parts, "transformer": guided})
    assert count_parameters(dev).active == 11_901_408_320


def test_the_checkpoint_holds_the_mtp_layer_beside_the_total() -> None:
    count = count_parameters(load_model("qwen3.5-35b-a3b"))
    assert count.checkpoint == count.total + count.mtp
    assert count.checkpoint == pytest.approx(35.95e9, rel=2e-4)  # published, including MTP


@pytest.mark.parametrize(
    ("slug", "rel"),
    [("whisper-tiny", 0.032), ("whisper-base", 0.02), ("bert-large-uncased", 0.015)],
)
def test_published_counts_that_round_too_far_say_so(slug: str, rel: float) -> None:
    model = load_model(slug)
    assert model.published_differs
    published = model.params_published.value
    assert published is not None
    off = abs(count_parameters(model).checkpoint / published - 1)
    assert 0.01 < off < rel


def test_an_unknown_number_is_named() -> None:
    with pytest.raises(NoAnswer, match=r"skyfall-36b-v2 .* num_hidden_layers: config not found"):
        count_parameters(load_model("skyfall-36b-v2"))


def test_a_tower_without_facts_is_not_counted_and_said_so() -> None:
    gemma = load_model("gemma-3-27b")
    blind = architecture_of(replace(gemma, parts={}))
    assert gemma.vision_params.value == architecture_of(gemma).n_params - blind.n_params
    assert "vision_config" in blind.assumptions[0]


def test_an_unknown_family_is_named() -> None:
    with pytest.raises(NoAnswer, match="no-such-family"):
        count_parameters(replace(load_model("qwen3-32b"), family="no-such-family"))
