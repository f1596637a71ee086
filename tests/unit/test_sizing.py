"""Sizing: what people write, what it stands for, and what they hear when it is wrong."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from rackrate.choice import best_choice
from rackrate.errors import BadQuantity, ImportRejected, RackrateError, UnknownName, UsageError
from rackrate.fit.parallel import Layout
from rackrate.fit.weights import weight_bytes
from rackrate.sizing import Wish, find_card, find_weights, fits, parse_tokens, setup_for

LLAMA_8B = {
    "model_type": "llama", "architectures": ["LlamaForCausalLM"], "hidden_size": 4096,
    "intermediate_size": 14336, "num_hidden_layers": 32, "num_attention_heads": 32,
    "num_key_value_heads": 8, "vocab_size": 128256, "max_position_embeddings": 131072,
    "tie_word_embeddings": False, "torch_dtype": "bfloat16",
}  # fmt: skip
AWQ = {"bits": 4, "group_size": 128, "quant_method": "awq", "version": "gemm", "zero_point": True}


def config(folder: Path, **more: object) -> str:
    path = folder / "config.json"
    path.write_text(json.dumps(LLAMA_8B | more), encoding="utf-8")
    return str(path)


def test_a_config_is_the_model_of_the_catalog(tmp_path: Path) -> None:
    by_file, by_name = fits(config(tmp_path), "l40s"), fits("llama-3.1-8b", "l40s")
    assert by_file.total.gib == by_name.total.gib
    assert by_file.setup.precision.name == "bf16"


def test_a_configs_own_quantisation_decides_unless_another_is_asked_for(tmp_path: Path) -> None:
    path = config(tmp_path, quantization_config=AWQ)
    stated = fits(path, "l40s")
    in_files = weight_bytes(stated.arch, stated.setup.precision)
    assert in_files / 1e9 == pytest.approx(5.73, abs=0.01)
    assert fits(path, "l40s", precision="bf16").estimate.gib("weights") == pytest.approx(14.99, abs=0.01)
    assert fits(path, "l40s", task="qlora").setup.precision.name == "nf4-dq"


def test_a_count_stands_for_a_dense_model_and_says_so() -> None:
    fit = fits("70B", "h100:2", precision="bf16")
    assert fit.arch.n_params == pytest.approx(70e9, rel=0.01)
    assert fit.assumptions
    known = fits("llama-3.1-70b", "h100:2", precision="bf16")
    assert fit.total.sigma_gib > 3 * known.total.sigma_gib
    assert abs(fit.total.gib - known.total.gib) < fit.total.high_gib - fit.total.gib


@pytest.mark.parametrize("text", ["135M", "0.5b", "1.7B", "8b", "13 B", "32B", "405B", "1000B"])
def test_every_size_has_a_shape(text: str) -> None:
    number, unit = float(text[:-1]), text[-1].lower()
    expected = number * (1e9 if unit == "b" else 1e6)
    # widths go in steps of 256, which is 4 % of a small model
    assert find_weights(text).arch.n_params == pytest.approx(expected, rel=0.05)


@pytest.mark.parametrize(
    ("text", "tokens"),
    [("8192", 8192), ("8k", 8192), ("128K", 131072), ("1M", 1048576), ("1,024", 1024), ("1_000", 1000),
     ("1.5k", 1536), (" 4k ", 4096), (1, 1)],
)  # fmt: skip
def test_tokens(text: str | int, tokens: int) -> None:
    assert parse_tokens(text) == tokens


@pytest.mark.parametrize(
    "text",
    [
        "",
        "0",
        "-1",
        "1.5",
        "k",
        "8kk",
        "1e3",
        "nan",
        "inf",
        "_",
        ",",
        "9" * 400,
        "1.0001k",
        "2g",
        "8 k tokens",
    ],
)
def test_what_is_no_number_of_tokens(text: str) -> None:
    with pytest.raises(BadQuantity) as caught:
        parse_tokens(text)
    assert caught.value.hint


def test_cards() -> None:
    assert find_card("L40S:2")[0].gib == 44.39
    assert find_card("L40S:2")[1] == 2
    assert find_card("24GiB")[0].gib == find_card("24gb")[0].gib == 24.0
    family, _ = find_card("a100-80gb")
    members = [find_card(name)[0].gib for name in ("a100-80gb-sxm", "a100-80gb-pcie")]
    assert family.gib == min(members)


@pytest.mark.parametrize(
    "text",
    ["", "l40s:", "l40s:0", "l40s:-2", "l40s:1.5", "l40s:x", "l40s:2:2", "l40s:99999", "l40s:nan", "0GiB",
     "-8GiB", "99999GiB", "gtx-9999", "nan"],
)  # fmt: skip
def test_what_is_no_card(text: str) -> None:
    with pytest.raises(UsageError):
        find_card(text)


def test_an_unknown_name_brings_its_neighbours() -> None:
    for bad, near in ((("llama-3-71b", "l40s"), "llama-3-70b"), (("llama-3-70b", "l40x"), "l40s")):
        with pytest.raises(UnknownName) as caught:
            fits(*bad)
        assert near in caught.value.hint
        assert bad[0 if near != "l40s" else 1] in caught.value.message


@pytest.mark.parametrize(
    ("options", "error"),
    [
        ({"concurrency": 0}, BadQuantity),
        ({"concurrency": 1.5}, BadQuantity),
        ({"concurrency": "4"}, BadQuantity),
        ({"concurrency": True}, BadQuantity),
        ({"concurrency": None}, BadQuantity),
        ({"pixels": 0}, BadQuantity),
        ({"beams": -1}, BadQuantity),
        ({"max_num_seqs": -1}, BadQuantity),
        ({"memory_fraction": 1.5}, UsageError),
        ({"memory_fraction": float("nan")}, UsageError),
        ({"memory_fraction": "0.9"}, UsageError),
        ({"max_num_batched_tokens": 0.5}, BadQuantity),
        ({"precision": 4}, UsageError),
        ({"kv": None}, UsageError),
        ({"kv": "fp3"}, UnknownName),
        ({"precision": "int5"}, UnknownName),
        ({"engine": "vlm"}, UnknownName),
        ({"task": "pretrain"}, UnknownName),
        ({"offload": "disk"}, UnknownName),
        ({"contxt": 8}, UnknownName),
        ({"tensor": 3}, UsageError),
        ({"tensor": -1}, BadQuantity),
        ({"pipeline": 500}, UsageError),
    ],
)
def test_bad_values_are_our_errors(options: dict[str, object], error: type[RackrateError]) -> None:
    with pytest.raises(error) as caught:
        fits("llama-3-70b", "l40s", **options)  # type: ignore[arg-type]
    assert caught.value.message


@pytest.mark.parametrize(("tensor", "pipeline"), [(3, None), (None, 3), (8, None), (2, 1)])
def test_the_hint_of_a_bad_split_works(tensor: int | None, pipeline: int | None) -> None:
    with pytest.raises(UsageError) as caught:
        fits("llama-3-70b", "h100:4", tensor=tensor, pipeline=pipeline)
    count = int(caught.value.hint.split("NAME:")[1].split(",")[0])
    if 64 % (tensor or 1) == 0:
        assert (
            fits("llama-3-70b", f"h100:{count}", tensor=tensor, pipeline=pipeline).setup.layout.n_gpus
            == count
        )


def test_heads_decide_about_the_split() -> None:
    qwen = find_weights("qwen2.5-7b")  # 28 heads
    assert setup_for(qwen, 8, Wish()).layout == Layout(tensor=4, pipeline=2)
    with pytest.raises(UsageError, match="28 attention heads"):
        setup_for(qwen, 8, Wish(tensor=8))
    assert setup_for(find_weights("llama-3-70b"), 8, Wish()).layout == Layout(tensor=8)
    assert setup_for(find_weights("llama-3-70b"), 8, Wish(engine="transformers")).layout == Layout(pipeline=8)
    assert setup_for(find_weights("llama-3-70b"), 8, Wish(task="lora")).layout == Layout(data=8, shard=3)
    assert setup_for(find_weights("flux.1-dev"), 8, Wish()).layout == Layout(data=8)


def test_engines_do_what_they_are_for() -> None:
    for model, engine in (
        ("whisper-large-v3", "vllm"),
        ("flux.1-dev", "llama.cpp"),
        ("llama-3-70b", "diffusers"),
    ):
        with pytest.raises(UsageError, match="does not do"):
            fits(model, "l40s", engine=engine)
    with pytest.raises(UsageError):
        fits("llama-3-70b", "l40s", engine="vllm", task="lora")


@pytest.mark.parametrize("content", ["", "[]", "3", "{", '"llama"', "null"])
def test_a_broken_config_is_our_error(tmp_path: Path, content: str) -> None:
    path = tmp_path / "config.json"
    path.write_text(content, encoding="utf-8")
    with pytest.raises(RackrateError):
        find_weights(str(path))


def test_a_config_with_an_impossible_number_says_which(tmp_path: Path) -> None:
    with pytest.raises(RackrateError) as caught:
        find_weights(config(tmp_path, num_hidden_layers=-1))
    assert "num_hidden_layers" in caught.value.message


def test_a_file_that_is_not_there() -> None:
    with pytest.raises(ImportRejected):
        find_weights("nowhere/model.safetensors")


def test_names_that_no_file_system_takes() -> None:
    for text in ("x" * 5000, "a\x00b", "é" * 300):
        with pytest.raises(UsageError):
            find_weights(text)


def test_the_best_choice_fits() -> None:
    found = best_choice("llama-3.3-70b", "l40s")
    assert found.fit is not None
    assert found.fit.verdict == "fits"
    assert found.fit.setup.layout.n_gpus <= 2
    small = best_choice("llama-3.1-8b", "l40s")
    assert small.fit is not None
    assert (small.fit.setup.layout.n_gpus, small.fit.setup.precision.name) == (1, "bf16")
    huge = best_choice("kimi-k2", "t4")
    assert huge.fit is None
    assert huge.nearest is not None
    unknown = best_choice("skyfall-36b-v2", "l40s")
    assert unknown.fit or unknown.why_not


def test_speech_and_images_have_loads_of_their_own() -> None:
    assert best_choice("whisper-large-v3", "t4").fit is not None
    assert best_choice("bert-base-uncased", "t4").fit is not None
    assert best_choice("flux.1-schnell", "l40s").fit is not None


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"engine": "llama.cpp", "precision": "fp8"}, "gguf"),
        ({"engine": "vllm", "kv": "q8_0"}, "fp8"),
        ({"engine": "transformers", "kv": "q4_0"}, "bf16"),
    ],
)
def test_an_engine_refuses_the_types_that_it_does_not_take(options: dict[str, str], hint: str) -> None:
    with pytest.raises(UsageError, match="does not take") as caught:
        fits("qwen3-8b", "l40s", **options)
    assert hint in str(caught.value.hint)
