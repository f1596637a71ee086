"""What an answer on memory says: words that fit the task, figures that add up, nothing hidden."""

from __future__ import annotations

from typing import Any

import pytest

import rackrate
from rackrate.fit.activation import SAMPLER_BYTES
from rackrate.report.block import Table, Text, to_html, to_text
from rackrate.report.fit import FitAnswer, chance

ASKED: dict[str, tuple[str, str, dict[str, Any]]] = {
    "text": ("llama-3.1-70b", "l40s", {"precision": "int4"}),
    "several GPUs": ("llama-3.1-70b", "l40s:4", {"engine": "vllm 0.11", "kv": "fp8", "concurrency": 4}),
    "llama.cpp": ("llama-3.1-70b", "l40s", {"precision": "gguf:q4_k_m", "has_flash_attention": False}),
    "image": ("flux.1-schnell", "l40s", {"pixels": 768 * 512, "concurrency": 2}),
    "speech": ("whisper-large-v3", "24GiB", {"beams": 3}),
    "encoder": ("bert-base-uncased", "l40s", {}),
    "full": ("bert-base-uncased", "l40s", {"task": "full", "is_mixed": True, "concurrency": 32}),
    "qlora": ("llama-3.1-70b", "l40s", {"task": "qlora", "rank": 8, "targets": ("q_proj", "v_proj")}),
    "bare count": ("8B", "l40s", {}),
}
SAID = {
    "text": [
        "1 sequence of 8,192 tokens",
        "vllm 0.",
        "90% of the card",
        "int4 weights",
        "fp16 KV cache",
        "1 GPU",
    ],
    "several GPUs": ["4 sequences of 8,192", "vllm 0.11 ", "fp8 KV cache", "4 GPUs (TP4)", "bf16 weights"],
    "llama.cpp": ["llama.cpp b", "gguf:q4_k_m weights", "no flash attention"],
    "image": ["2 images of 393,216 pixels", "diffusers ", "offload none"],
    "speech": ["1 window of 30 s", "3 beams", "faster-whisper "],
    "encoder": ["1 sequence of 512 tokens", "transformers "],
    "full": ["full fine-tuning", "32 sequences of 512 tokens a GPU", "adamw", "32-bit weights, 16-bit work"],
    "qlora": ["QLoRA of rank 8 on attn_q, attn_v", "checkpointing", "nf4-dq weights", "2,048 tokens"],
    "bare count": ["8,192 tokens"],
}


def answer(case: str) -> FitAnswer:
    model, gpu, options = ASKED[case]
    return rackrate.fits(model, gpu, **options)


@pytest.mark.parametrize("case", ASKED)
def test_the_verdict_states_all_that_it_depends_on_in_one_line(case: str) -> None:
    found = answer(case)
    title, *_ = found.blocks()
    assert isinstance(title, Text)
    assert title.lines[0] == found.asked
    assert "\n" not in found.asked
    for words in SAID[case]:
        assert words in found.asked
    assert found.verdict in title.title
    assert chance(found.fit.probability) in title.title


@pytest.mark.parametrize("case", ASKED)
def test_the_terms_add_up_to_the_total_and_stand_against_limit_and_card(case: str) -> None:
    found = answer(case)
    rows = {row[0]: row for row in found.terms().rows}
    terms = [row for name, row in rows.items() if name not in ("total", "limit", "card")]
    assert sum(row[2] for row in terms) == pytest.approx(rows["total"][2])
    assert sum(row[4].value for row in terms) == pytest.approx(1)
    assert rows["limit"][2] == found.fit.estimate.limit_gib <= rows["card"][2] == found.fit.card.gib
    assert all(row[1] <= row[2] <= row[3] for row in rows.values())
    assert all(row[5] and row[6] for row in rows.values()), "each figure has a formula and a source"
    assert [row[2] for row in terms] == sorted((row[2] for row in terms), reverse=True)


@pytest.mark.parametrize("case", ASKED)
def test_the_same_total_is_in_the_data_the_table_and_the_stack(case: str) -> None:
    found = answer(case)
    data = found.to_dict()
    total = data["total_gib"]["value"]
    assert total == pytest.approx(sum(size for _, size in found.stack().parts))
    assert sum(term["gib"] for term in data["terms"]) == pytest.approx(total)
    for text in (to_text(found.blocks()), to_html(found.blocks())):
        assert f"{total:.2f} of {data['limit_gib']:.2f} GiB" in text
    assert repr(found) == f"<FitAnswer: {found.title}, {total:.2f} of {data['limit_gib']:.2f} GiB>"
    assert found._repr_html_() == to_html(found.blocks())


@pytest.mark.parametrize(
    ("case", "says", "is_silent_on"),
    [
        ("text", ["longest context", "most sequences at once at this context"], ["image", "window"]),
        ("image", ["most images at once"], ["context", "sequence", "token"]),
        ("speech", ["most windows of 30 s at once"], ["context at", "sequences"]),
        ("qlora", ["longest sequence at this load", "largest batch of a GPU"], ["KV cache"]),
    ],
)
def test_the_words_fit_the_task(case: str, says: list[str], is_silent_on: list[str]) -> None:
    first = answer(case).blocks()[0]
    assert isinstance(first, Text)
    text = "\n".join(first.lines)
    assert all(words in text for words in says)
    assert not any(words in text for words in is_silent_on)


def test_what_a_task_does_not_have_is_none_in_the_data() -> None:
    image, speech, text = (answer(case).to_dict() for case in ("image", "speech", "text"))
    assert image["context_tokens"] is image["longest_context_tokens"] is None
    assert image["pixels"] == 768 * 512
    assert (speech["context_tokens"], speech["beams"]) == (None, 3)
    assert text["context_tokens"] == 8192
    assert "pixels" not in text


def test_what_does_not_fit_comes_with_up_to_three_ways_each_at_a_price() -> None:
    found = answer("text")
    assert found.verdict == "does not fit"
    table = next(block for block in found.blocks() if block.title == "What would make it fit")
    assert isinstance(table, Table)
    assert 1 <= len(table.rows) == len(found.ways) <= 3
    assert all(
        change and 0 < gib <= limit and likely.value >= 0.95 and price
        for change, gib, limit, likely, price in table.rows
    )
    assert [way["change"] for way in found.to_dict()["ways"]] == [row[0] for row in table.rows]


def test_what_fits_needs_no_ways_and_what_nothing_helps_says_so() -> None:
    assert not any("make it fit" in block.title for block in answer("encoder").blocks())
    hopeless = rackrate.fits("llama-3.1-405b", "1GiB")
    assert hopeless.ways == ()
    block = next(block for block in hopeless.blocks() if "make it fit" in block.title)
    assert isinstance(block, Text)
    assert "nothing" in block.lines[0]


def test_an_assumption_is_said() -> None:
    block = next(block for block in answer("bare count").blocks() if block.title == "Assumed")
    assert isinstance(block, Text)
    assert "only a count was given" in block.lines[0]


@pytest.mark.parametrize(
    ("probability", "words"),
    [
        (1.0, "over 99%"),
        (0.9951, "over 99%"),
        (0.95, "95%"),
        (0.5, "50%"),
        (0.004, "under 1%"),
        (0.0, "under 1%"),
    ],
)
def test_nearly_sure_never_reads_as_certain(probability: float, words: str) -> None:
    assert chance(probability) == words


def test_the_card_names_the_title_of_its_source_and_a_given_one_says_you() -> None:
    assert answer("speech").terms().rows[-1][-1] == "you"
    source = answer("text").terms().rows[-1][-1]
    assert source != answer("text").fit.card.source
    assert "logs" in source


def test_the_document_states_the_constant_that_is_used() -> None:
    from pathlib import Path  # noqa: PLC0415

    text = (Path(__file__).resolve().parents[3] / "docs/concepts/memory.md").read_text()
    assert f"sampler ({SAMPLER_BYTES['kernel']:g} B x" in text
    assert f"{SAMPLER_BYTES['sort']:g} B before 0.17" in text
