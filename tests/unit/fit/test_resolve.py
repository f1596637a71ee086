"""Names of models and cards as sources write them: what they mean, and what stays open."""

from __future__ import annotations

import pytest

from rackrate.catalog.architecture import architecture_of
from rackrate.catalog.model import find_model
from rackrate.errors import NoAnswer
from rackrate.fit.cases import Case, case_from_row
from rackrate.fit.resolve import UNKNOWN_SIGMA_GIB, architecture_for, card_for, count_in, model_for


def case(model: str, params_b: str = "", note: str = "") -> Case:
    row = {"workload": "inference", "model": model, "params_b": params_b, "quantity": "peak_gib"}
    return case_from_row(row | {"value": "1", "per": "total", "note": note})


@pytest.mark.parametrize(
    ("name", "params_b", "slug"),
    [
        ("Llama-3.1-70B", 70.55, "llama-3.1-70b"),
        ("Llama-3.1-70B (Reflection)", 70.55, "llama-3.1-70b"),
        ("meta-llama/Llama-3.1-70B-Instruct", None, "llama-3.1-70b"),
        ("Yi-34B class (60 layers)", 34.39, "yi-34b"),
        ("Qwen2.5-VL-72B-Instruct", 73.41, "qwen2.5-vl-72b"),
        ("FLUX.1-schnell pipeline", 16.86, "flux.1-schnell"),
        ("FLUX.1-schnell training", 12.0, "flux.1-schnell"),  # the count of its transformer
        ("Whisper turbo", 0.808878, "whisper-large-v3-turbo"),
    ],
)
def test_a_name_with_what_people_add_to_it_is_found(name: str, params_b: float | None, slug: str) -> None:
    found = model_for(name, params_b)
    assert found is not None
    assert found.slug == slug


@pytest.mark.parametrize(
    ("name", "params_b"),
    [("R1-Distill-14B", None), ("Llama-3.1-70B", 8.0), ("Command-R+ class 111B", 111.0), ("nothing", 1.0)],
)
def test_half_a_name_or_another_count_is_no_model(name: str, params_b: float | None) -> None:
    assert model_for(name, params_b) is None


def test_a_config_decides() -> None:
    config = {"model_type": "llama", "num_hidden_layers": 2}
    found = architecture_for(case("Llama-3.1-70B", "70.55"), config)
    assert found.main.n_layers == 2
    assert found.name == "Llama-3.1-70B"


def test_a_count_alone_says_that_it_is_one() -> None:
    for found in (architecture_for(case("Unheard-Of", "7.1")), architecture_for(case("Unheard-Of-7B"))):
        assert found.n_params / 1e9 == pytest.approx(7, rel=0.03)
        assert any("only a count" in text for text in found.assumptions)


def test_the_note_of_a_case_gives_a_count_its_shape() -> None:
    found = architecture_for(case("Command-R+ class 111B", "111", "KV q8_0; 64 layers, 8 KV heads"))
    assert (found.main.n_layers, found.main.n_kv_heads) == (64, 8)
    assert found.n_params / 1e9 == pytest.approx(111, rel=0.01)


def test_no_name_and_no_count_is_no_answer() -> None:
    with pytest.raises(NoAnswer) as caught:
        architecture_for(case("Unheard-Of"))
    assert caught.value.hint


def test_experts_are_multiplied_out_and_versions_are_no_counts() -> None:
    assert count_in("Mixtral-8x22B") == 176
    assert count_in("Qwen2.5-0.5B-Instruct") == 0.5
    assert count_in("whisper-large-v3") is None


def test_the_catalogs_own_architecture_is_given() -> None:
    assert architecture_for(case("qwen3-32b")) is architecture_of(find_model("qwen3-32b"))


@pytest.mark.parametrize(
    ("text", "gib", "within"),
    [
        ("L40S", 44.39, 0.1),
        ("T4-16GB", 14.56, 0.1),
        ("24 GB class card (21.48 GiB seen)", 21.48, 0.001),
        ("4x RTX 3090", 23.7, 0.5),
        ("24 GB card", 23.7, 0.5),
        ("20+11 GB cards", 19.75, 0.5),
        ("A800-80GB", 79, 1),
        ("H20-96GB", 95, 1.5),
    ],
)
def test_a_card_is_what_its_words_allow(text: str, gib: float, within: float) -> None:
    card = card_for(text)
    assert card.gib == pytest.approx(gib, abs=within)
    assert 0 < card.sigma_gib < 0.05 * card.gib


def test_a_family_is_a_measured_member_and_less_sure() -> None:
    card = card_for("A100-80GB")
    assert card.is_a100
    assert card.gib == pytest.approx(79.15, abs=0.1)
    assert card.sigma_gib > card_for("a100-80gb-sxm").sigma_gib
    assert "family" in card.formula


def test_what_cuda_saw_may_stand_in_the_source() -> None:
    assert card_for("H100-80GB", "empirical results (H100 79.18 GiB)").gib == 79.18


@pytest.mark.parametrize("text", ["", "unstated", "4 GPUs", "RTX-class", "AMD Strix Halo"])
def test_an_unknown_card_is_wide(text: str) -> None:
    assert card_for(text).sigma_gib == UNKNOWN_SIGMA_GIB
