"""The research table of models and the catalog say the same, cell by cell."""

from __future__ import annotations

import csv
import re
from pathlib import Path

import pytest

from rackrate.catalog import load
from rackrate.catalog.model import Model, all_models

Row = dict[str, str]

SAME_FACT = (
    "hidden_size",
    "intermediate_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "vocab_size",
    "sliding_window",
    "full_attention_layers",
    "linear_attention_layers",
    "linear_num_value_heads",
    "linear_num_key_heads",
    "linear_key_head_dim",
    "linear_value_head_dim",
    "linear_conv_kernel_dim",
    "num_experts",
    "num_experts_per_tok",
    "moe_intermediate_size",
    "shared_expert_intermediate_size",
    "mtp_layers",
    "vision_params",
    "params_total",
    "params_embedding",
    "params_active",
    "attention_layout",
    "tie_word_embeddings",
    "kv_bytes_per_token_bf16",
)
LISTED = {
    "seed_name": "name",
    "seed_params": "params",
    "seed_context": "context",
    "seed_precision": "precision",
}
IN_WORDS = ("context_note", "published_params", "params_basis", "remark")
_NUMBER = re.compile(r"\d+(?:[.,]\d+)*")


@pytest.fixture(scope="module")
def rows(shared: Path) -> list[tuple[Row, Model]]:
    with (shared / "data" / "models.csv").open(encoding="utf-8", newline="") as file:
        by_hf_id = {model.hf_id: model for model in all_models()}
        return [(row, by_hf_id[row["hf_id"]]) for row in csv.DictReader(file)]


def _numbers(text: str) -> set[str]:
    return {number.replace(",", "") for number in _NUMBER.findall(text)}


def _sources(model: Model) -> str:
    facts = [*model.facts().values(), *(f for p in model.parts.values() for f in p.values())]
    named = {f.source for f in facts if f} | {claim.source for f in facts for claim in f.also}
    return " ".join(load.sources()[name].title for name in named)


def _all_words(model: Model) -> str:
    return f"{model.to_dict()} {_sources(model)}"


def test_every_row_is_a_model_and_every_listed_model_a_row(rows: list[tuple[Row, Model]]) -> None:
    listed = {model.slug for model in all_models() if model.listed.pages}
    assert {model.slug for _, model in rows} == listed
    assert len(rows) == len(listed)


def test_plain_cells_are_facts_with_that_value(rows: list[tuple[Row, Model]]) -> None:
    for row, model in rows:
        for column in SAME_FACT:
            value = model.facts()[column].value
            said = str(value).lower() if isinstance(value, bool) else str(value)
            assert (said if value is not None else "") == row[column], (model.slug, column)


def test_names_and_classes(rows: list[tuple[Row, Model]]) -> None:
    for row, model in rows:
        assert row["seed_vendor"] == model.maker
        assert row["family"] == model.family
        assert row["architecture"].split(" ")[0] == model.architecture


def test_what_the_page_said_is_quoted(rows: list[tuple[Row, Model]]) -> None:
    for row, model in rows:
        on_wiki_only = row["listed_in"].startswith("first seed")
        for column, claim in LISTED.items():
            said = getattr(model.listed, claim).value
            assert (said or "") == row[column] or (on_wiki_only and column == "seed_name")
        if on_wiki_only:
            assert model.name == row["seed_name"]
        assert ("first" in row["listed_in"]) == ("l40s-wiki-page" in model.listed.pages)
        assert ("second" in row["listed_in"]) == ("rental-page" in model.listed.pages)


def test_compound_cells_are_separate_numbers(rows: list[tuple[Row, Model]]) -> None:
    for row, model in rows:
        if model.family == "whisper":
            layers = f"{model.encoder_layers.value} encoder + {model.decoder_layers.value} decoder"
            places = model.max_source_positions.value, model.max_target_positions.value
            context = "{} encoder / {} decoder".format(*places)
        elif model.family == "flux":
            blocks = model.parts["transformer"]
            layers = f"{blocks['num_layers'].value} double + "
            layers += f"{blocks['num_single_layers'].value} single"
            context = ""
        else:
            layers = str(model.num_hidden_layers.value or "")
            context = str(model.max_position_embeddings.value or "")
        assert (row["num_hidden_layers"], row["max_position_embeddings"]) == (layers, context)


def test_every_number_of_the_vision_towers_is_a_fact(rows: list[tuple[Row, Model]]) -> None:
    for row, model in rows:
        facts = model.parts.get("vision_config", {}).values()
        known = {f.value for f in facts} | {claim.value for f in facts for claim in f.also}
        # "ViT-L/14-336", "72B", "7B" and "CLIP" name models, "14" and "336" are sizes too.
        text = re.sub(r"\d+B\b", "", row["vision_tower"])
        assert {int(number) for number in _numbers(text)} <= known, model.slug


def test_texts_keep_their_numbers(rows: list[tuple[Row, Model]]) -> None:
    for row, model in rows:
        have = _numbers(_all_words(model))
        for column in IN_WORDS:
            if column != "params_basis" or model.family not in {"whisper", "bert"}:
                assert _numbers(row[column]) <= have, (model.slug, column)


def test_sources_keep_their_commits_and_repositories(rows: list[tuple[Row, Model]]) -> None:
    for row, model in rows:
        named = re.findall(r"@[0-9a-f]{7,}", row["source"])
        named = named or re.findall(r"[\w.-]+/[\w.-]+[\w]", row["source"])
        assert all(name in _all_words(model) for name in named), (model.slug, named)
