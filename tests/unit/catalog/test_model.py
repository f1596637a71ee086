"""Models: what the files state, and how a name finds its model."""

from __future__ import annotations

import json
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate.catalog.model import TASKS, Model, all_models, find_model, from_table, load_model
from rackrate.errors import CatalogInvalid, UnknownName

MODELS = all_models()
SLUGS = [model.slug for model in MODELS]
OTHERS = [model for model in MODELS if not model.listed.pages]


def test_the_catalog_has_every_model_of_the_rental_page_and_the_wiki_page() -> None:
    pages = [page for model in MODELS for page in model.listed.pages]
    assert len(MODELS) - len(OTHERS) == 37
    assert pages.count("rental-page") == 28
    assert pages.count("l40s-wiki-page") == 11
    assert {model.task for model in MODELS} == set(TASKS)


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("llama-3.1-70b", "llama-3.1-70b"),
        ("LLAMA 3.1 70B", "llama-3.1-70b"),
        ("llama 70b 3.1", "llama-3.1-70b"),
        ("meta-llama/Llama-3.3-70B-Instruct", "llama-3.3-70b"),
        ("Llama-3.3-70B-Instruct", "llama-3.3-70b"),
        ("Qwen: Qwen3.6 35B A3B", "qwen3.6-35b-a3b"),
        ("qwen 3 32b", "qwen3-32b"),
        ("Sao10K: Llama 3.1 70B Hanami x1", "llama-3.1-70b-hanami-x1"),
        ("euryale 2.2", "llama-3.1-euryale-70b-v2.2"),
        ("whisper turbo", "whisper-large-v3-turbo"),
        ("r1 14b", "deepseek-r1-distill-qwen-14b"),
        ("Gemma", "gemma-3-27b"),
        ("flux", "flux.1-schnell"),
        ("BERT large", "bert-large-uncased"),
    ],
)
def test_a_name_finds_its_model(name: str, slug: str) -> None:
    assert find_model(name).slug == slug


@pytest.mark.parametrize("model", MODELS, ids=SLUGS)
def test_every_spelling_finds_its_model(model: Model) -> None:
    assert all(find_model(spelling) is model for spelling in model.spellings())


@pytest.mark.parametrize("model", OTHERS, ids=lambda model: model.slug)
def test_a_model_that_no_page_lists_answers_to_its_hub_id_and_to_the_last_part_of_it(model: Model) -> None:
    assert find_model(model.hf_id) is model
    assert find_model(model.hf_id.rpartition("/")[2]) is model


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("Qwen2.5-7B-Instruct", "qwen2.5-7b"),
        ("Qwen/Qwen2.5-7B", "qwen2.5-7b"),
        ("meta-llama/Meta-Llama-3-8B-Instruct", "llama-3-8b"),
        ("meta-llama/Llama-3.1-70B", "llama-3.1-70b"),
        ("DeepSeek-R1-0528", "deepseek-r1"),
        ("openai/whisper-medium.en", "whisper-medium"),
        ("sdxl", "stable-diffusion-xl"),
        ("Vicuna 7B", "vicuna-7b-v1.5"),
    ],
)
def test_base_and_tuned_versions_of_one_shape_are_one_model(name: str, slug: str) -> None:
    assert find_model(name).slug == slug


@given(slug=st.sampled_from(SLUGS), data=st.data())
def test_case_and_separators_do_not_matter(slug: str, data: st.DataObject) -> None:
    separator = data.draw(st.sampled_from(["-", "_", " ", ".", "", " - "]))
    case = data.draw(st.sampled_from([str.upper, str.title, str.swapcase]))
    assert find_model(case(slug.replace("-", separator))).slug == slug


def test_a_name_that_fits_several_models_lists_them_closest_first() -> None:
    with pytest.raises(UnknownName) as raised:
        find_model("llama 3.1")
    assert raised.value.code == "unknown-model"
    assert set(raised.value.nearest[:3]) == {"llama-3.1-405b", "llama-3.1-70b", "llama-3.1-8b"}
    assert set(raised.value.nearest) > {
        "hermes-3-70b",
        "llama-3.1-70b-hanami-x1",
        "llama-3.1-euryale-70b-v2.2",
    }


def test_a_family_is_no_model() -> None:
    with pytest.raises(UnknownName) as raised:
        find_model("Whisper")
    assert len(raised.value.nearest) == sum(model.family == "whisper" for model in MODELS)


def test_a_name_that_fits_very_many_models_lists_some() -> None:
    with pytest.raises(UnknownName, match=r"fits \d{2} models") as raised:
        find_model("Qwen")
    assert len(raised.value.nearest) == 12


@pytest.mark.parametrize("name", ["lama-3.1-70", "llama-3.1-70c"])
def test_a_misspelt_name_gets_the_nearest(name: str) -> None:
    with pytest.raises(UnknownName) as raised:
        find_model(name)
    assert "llama-3.1-70b" in raised.value.nearest


@given(st.text())
def test_any_text_is_a_model_or_an_unknown_name(name: str) -> None:
    with suppress(UnknownName):
        assert find_model(name).slug in SLUGS


def test_load_model_takes_slugs_only() -> None:
    with pytest.raises(UnknownName):
        load_model("Llama 3.1 70B")


@pytest.mark.parametrize("model", MODELS, ids=SLUGS)
def test_a_model_is_plain_data_with_a_value_or_a_reason_in_every_cell(model: Model) -> None:
    plain = json.loads(json.dumps(model.to_dict()))
    cells = [*plain["facts"].values(), *(c for p in plain["parts"].values() for c in p.values())]
    assert all(cell.get("source") or cell["unknown"] for cell in cells)


def test_a_fact_of_another_architecture_says_so() -> None:
    fact = load_model("qwen3-32b").num_experts
    assert not fact
    assert fact.unknown == "not part of Qwen3ForCausalLM"


def test_a_config_that_was_not_found_says_so_and_keeps_the_estimates() -> None:
    skyfall = load_model("skyfall-36b-v2")
    assert skyfall.hidden_size.unknown == "config not found"
    assert [claim.value for claim in skyfall.params_total.also] == [36_900_000_000, 36_000_000_000]


@pytest.mark.parametrize(
    ("slug", "ours", "the_page"),
    [
        ("qwen2.5-32b", 32768, 131072),
        ("qwen3-32b", 40960, 131072),
        ("yi-34b", 4096, 32768),
        ("code-llama-70b", 4096, 16384),
        ("qwen2.5-vl-72b", 128000, 131072),
        ("llama-3.1-70b-hanami-x1", 131072, 16000),
    ],
)
def test_a_context_that_the_page_states_otherwise_is_kept(slug: str, ours: int, the_page: int) -> None:
    context = load_model(slug).max_position_embeddings
    claims = [claim.value for claim in context.also if claim.source == "rental-page"]
    assert (context.value, claims) == (ours, [the_page])


def test_a_stray_fact_is_refused() -> None:
    row = {"slug": "x", "facts": {"n_layers": {"value": 1, "source": "recalled"}}}
    with pytest.raises(CatalogInvalid, match="n_layers"):
        from_table(row)
