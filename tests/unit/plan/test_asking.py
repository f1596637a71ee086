"""From words to a question: numbers with units, one load, no field that the workload lacks."""

from __future__ import annotations

import math
from typing import Any

import pytest

from rackrate.errors import BadQuantity, NoAnswer, RackrateError, UnknownName, UsageError
from rackrate.plan.asking import choose_workload, read_question
from rackrate.plan.question import Owned

CHAT = {"rps": 2, "input": 1000, "output": 300}


def test_numbers_are_read_with_their_units() -> None:
    fields = {"rps": "0.5k", "input": "2k", "output": "300", "ttft": "1s", "tpot": "60ms", "cached": "50%"}
    found = read_question(fields, "llm-serving", "x")
    assert (found.rate_per_s, found.input_tokens, found.output_tokens) == (500, 2000, 300)
    assert (found.promise.ttft_s, found.promise.tpot_s, found.cached_frac) == (1.0, 0.06, 0.5)


def test_loads_become_a_rate() -> None:
    # 86.4 million tokens a day of 1,000 a request are one request a second
    day = read_question({"tokens_per_day": "86.4M", "input": 900, "output": 100}, "llm-serving")
    assert day.rate_per_s == pytest.approx(1.0)
    assert day.promise.ttft_s == math.inf  # a batch promises nobody anything
    # an answer takes 1 s + 100 x 0.05 s = 6 s: 12 users ask twice a second
    users = read_question({"users": 12, "output": 100, "ttft": "1s", "tpot": "50ms"}, "llm-serving")
    assert users.rate_per_s == pytest.approx(2.0)
    assert read_question({"images_per_hour": 7200}, "image-generation").rate_per_s == pytest.approx(2.0)
    assert read_question({"audio_hours_per_day": 24}, "asr").rate_per_s == pytest.approx(1.0)
    assert read_question({"tokens": "50M"}, "finetune-lora").amount == 50e6
    sweep = read_question({"variants": 64, "tokens": "1M"}, "bert-sweep")
    assert (sweep.amount, sweep.variant_tokens, sweep.is_in_parts) == (64, 1e6, True)
    assert read_question({"sweep": "bert", "nodes": 64}, "bert-sweep").amount == 64


def test_what_decides_is_said_defaults_included() -> None:
    asked = " ".join(read_question({"rps": 1}, "llm-serving", "llama-3.1-8b").asked)
    for words in ("1,000 tokens in, 300 out", "within 2 s for 90%", "100 ms a token", "on_demand"):
        assert words in asked


@pytest.mark.parametrize(
    ("fields", "task", "workload"),
    [
        ({}, "text", "llm-serving"),
        ({}, "vision-language", "llm-serving"),
        ({}, "image", "image-generation"),
        ({}, "asr", "asr"),
        ({"finetune": ""}, "encoder", "finetune-full"),
        ({"finetune": ""}, "text", "finetune-lora"),
        ({"finetune": "qlora"}, "text", "finetune-qlora"),
        ({"sweep": "bert"}, "encoder", "bert-sweep"),
        ({"workload": "segalign"}, "", "genome-alignment"),
        ({"workload": "doom-eternal"}, "", "game-streaming"),
        ({"workload": "render"}, "", "rendering"),
        ({"workload": "transcode"}, "", "video-transcode"),
    ],
)
def test_the_workload_follows_from_fields_and_model(fields: dict[str, Any], task: str, workload: str) -> None:
    assert choose_workload(fields, task) == workload


@pytest.mark.parametrize(
    ("fields", "error", "says", "hint"),
    [
        (CHAT | {"rps": 0}, BadQuantity, "rps '0'", "0.5"),
        (CHAT | {"rps": "-1"}, BadQuantity, "'-1'", "like 2"),
        (CHAT | {"rps": "nan"}, BadQuantity, "nan", "like 2"),
        (CHAT | {"rps": "1e999"}, BadQuantity, "1e999", "like 2"),
        (CHAT | {"ttft": "0s"}, BadQuantity, "'0s'", "60ms"),
        (CHAT | {"tpot": "fast"}, BadQuantity, "'fast'", "60ms"),
        (CHAT | {"cached": 1}, BadQuantity, "cached_frac 1", "0.999"),
        (CHAT | {"cached": 2}, BadQuantity, "cached 2", "50%"),
        (CHAT | {"percentile": 1}, BadQuantity, "percentile 1", "0.99"),
        (CHAT | {"speculative": 0.5}, BadQuantity, "tokens_a_step 0.5", "nearest that can be is 1"),
        (CHAT | {"users": 3}, UsageError, "rps and users", "one of"),
        ({"input": 10}, UsageError, "no load", "--rps"),
        (CHAT | {"pixels": "512x512"}, UsageError, "pixels does not belong", "rps"),
        (CHAT | {"rsp": 1}, UnknownName, "'rsp'", "`rps`"),
        (CHAT | {"gpu": "l40z"}, UnknownName, "l40z", "l40"),
        (CHAT | {"gpu": 7}, BadQuantity, "gpu 7", "names"),
        (CHAT | {"country": "Germany"}, UnknownName, "Germany", "two letters"),
        (CHAT | {"kind": "sport"}, UnknownName, "sport", "spot"),
        (CHAT | {"objective": "costs"}, UnknownName, "costs", "cost"),
        (CHAT | {"engine": "vlm"}, UnknownName, "vlm", "vllm"),
        (CHAT | {"engine": "transformers"}, UsageError, "transformers is no server", "vllm"),
        (CHAT | {"kv": "fp9"}, UnknownName, "fp9", "fp8"),
        (CHAT | {"kv": "fp8", "engine": "llama.cpp"}, UnknownName, "llama.cpp does not take it", "fp16"),
        (CHAT | {"engine": "vllm", "precision": "q4_k_m"}, UsageError, "gguf:q4_k_m", "llama.cpp"),
        (CHAT | {"engine": "llama.cpp", "precision": "fp8"}, UsageError, "fp8 weights", "llama.cpp"),
        (CHAT | {"precision": "fp7"}, UnknownName, "fp7", "fp"),
        (CHAT | {"own": "l40s:4"}, BadQuantity, "l40s:4", "=0.80"),
        (CHAT | {"max_usd_per_hour": 0}, BadQuantity, "max_usd_per_hour 0", "no limit"),
        (CHAT | {"graphics": "yes"}, BadQuantity, "graphics 'yes'", "true"),
        (CHAT | {"store_in": "EU"}, BadQuantity, "several countries", "DE"),
    ],
)
def test_what_cannot_be_is_one_error_with_the_nearest_choice(
    fields: dict[str, Any], error: type[RackrateError], says: str, hint: str
) -> None:
    with pytest.raises(error) as caught:
        read_question(fields, "llm-serving", "llama-3.1-8b")
    assert says in caught.value.message
    assert hint in caught.value.hint
    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("workload", "fields", "says", "hint"),
    [
        ("image-generation", {"pixels": "1024x"}, "pixels '1024x'", "1024x1024"),
        ("image-generation", {"pixels": "x1024"}, "pixels 'x1024'", "1024x1024"),
        ("image-generation", {"pixels": "32x32"}, "pixels 1024 is not between 4096", "is 4096"),
        ("image-generation", {"steps": 2.5}, "steps 2.5 is no whole number", "nearest is 2"),
        ("finetune-full", {"sequence": "2M"}, "2000000 is not between 1 and 1048576", "is 1048576"),
        ("finetune-full", {"batch": 0}, "batch '0'", "like 2"),
        ("bert-sweep", {"nodes": 1e9}, "nodes 1000000000 is", "is 65536"),
        ("genome-alignment", {"genomes": 0}, "genomes '0'", "like 2"),
        ("genome-alignment", {"precision": "fp8"}, "precision does not belong", "genomes"),
        ("rendering", {"within": "3h"}, "within does not belong", "as_fast_as"),
    ],
)
def test_fields_of_other_work_are_bounded_too(
    workload: str, fields: dict[str, Any], says: str, hint: str
) -> None:
    load = {"image-generation": {"images_per_hour": 5}, "finetune-full": {"tokens": "1M"}}
    with pytest.raises(UsageError) as caught:
        read_question({**load.get(workload, {}), **fields}, workload)
    assert says in caught.value.message
    assert hint in caught.value.hint


@pytest.mark.parametrize(
    ("workload", "fields", "words"),
    [
        ("genome-alignment", {}, "1 pair of genomes aligned"),
        ("genome-alignment", {"genomes": 3}, "3 pairs of genomes aligned"),
        ("bert-sweep", {}, "64 variants of 10,000,000 tokens each"),
        ("bert-sweep", {"variants": 1, "tokens": 5000}, "1 variant of 5,000 tokens each"),
        ("game-streaming", {}, "as much as one L40S does"),
        ("llm-serving", {"rps": 1}, "1 request a second"),
        ("llm-serving", {"rps": 0.5}, "0.5 requests a second"),
        ("asr", {"audio_hours_per_day": 24}, "24 hours of audio a day"),
    ],
)
def test_loads_are_said_in_words_usual_ones_too(workload: str, fields: dict[str, Any], words: str) -> None:
    assert read_question(fields, workload).asked[0] == words


def test_a_workload_that_is_none_or_several_is_refused() -> None:
    with pytest.raises(UnknownName):
        choose_workload({"workload": "e"}, "")  # a part of many
    with pytest.raises(UnknownName):
        choose_workload({"finetune": "loro"}, "text")
    with pytest.raises(UsageError):
        choose_workload({"finetune": "lora", "sweep": "bert"}, "text")
    with pytest.raises(UsageError):
        choose_workload({}, "")
    with pytest.raises(NoAnswer):
        choose_workload({}, "encoder")


def test_limits_are_read() -> None:
    fields = CHAT | {
        "gpu": ["l40s:2..", "h100"],
        "country": "EU",
        "kind": ["spot", "on-demand"],
        "own": "l40s:4=0.8",
    }
    allowed = read_question(fields, "llm-serving").allowed
    assert len(allowed.countries) == 27
    assert allowed.kinds == ("spot", "on_demand")
    assert allowed.own == (Owned("l40s", 4, 0.8),)
    assert read_question(CHAT | {"kind": "any"}, "llm-serving").allowed.kinds == ()


def test_a_request_longer_than_the_model_takes_is_refused() -> None:
    question = read_question(CHAT | {"input": 130_000, "output": 2000}, "llm-serving", "llama")
    question.check_context(132_000)
    with pytest.raises(BadQuantity, match="132,000 tokens"):
        question.check_context(131_072)


@pytest.mark.parametrize(
    ("countries", "words"),
    [
        (["EU"], "in EU"),
        (["EU", "CH"], "in EU, CH"),
        (["US", "EU"], "in EU, US"),
        (["DE", "FR"], "in DE, FR"),
        ([], ""),
    ],
)
def test_the_european_union_is_said_by_its_name(countries: list[str], words: str) -> None:
    asked = read_question({"rps": 1, "country": countries}, "llm-serving").asked
    assert [each for each in asked if each.startswith("in ")] == ([words] if words else [])


@pytest.mark.parametrize("name", ["l40s:0", "H100:0"])
def test_a_machine_without_a_gpu_is_refused(name: str) -> None:
    with pytest.raises(BadQuantity, match="without a GPU") as caught:
        read_question({"rps": 1, "gpu": name}, "llm-serving")
    assert caught.value.hint.endswith(":1")
