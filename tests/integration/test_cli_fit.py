"""`rackrate fit` and `rackrate models --gpu` from the words to the screen.

The screens themselves stand in README.md, docs/how-to/does-it-fit.md and docs/concepts/memory.md, where
`python tools/update_docs.py` writes them and tests/integration/test_docs.py compares them.
"""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import rackrate

ASKED = ["fit", "llama-3.1-70b", "--gpu", "l40s", "--precision", "int4"]
LOGS = Path(__file__).resolve().parents[1] / "unit" / "fit" / "logs"


def rows(text: str) -> dict[str, dict[str, str]]:
    return {row["name"]: row for row in csv.DictReader(io.StringIO(text))}


def test_all_forms_say_the_same(cli: Any) -> None:
    found = rackrate.fits("llama-3.1-70b", "l40s", precision="int4")
    data = cli(*ASKED, "--json").json
    table = rows(cli(*ASKED, "--csv").out)
    assert data == json.loads(json.dumps(found.to_dict()))
    assert float(table["total"]["gib"]) == pytest.approx(data["total_gib"]["value"], rel=1e-9)
    assert float(table["limit"]["gib"]) == pytest.approx(data["limit_gib"], rel=1e-9)
    for term in data["terms"]:
        assert float(table[term["name"]]["gib"]) == pytest.approx(term["gib"], rel=1e-9)
    for form in ((), ("--md",), ("--html",)):
        text = cli(*ASKED, *form).out.replace("&#x27;", "'")
        assert found.title in text
        assert found.asked in text
        assert f"{data['total_gib']['value']:.2f} of {data['limit_gib']:.2f} GiB" in text


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    model=st.sampled_from(
        ["llama-3.1-8b", "qwen3-32b", "gemma-3-27b", "flux.1-schnell", "whisper-small", "70B"]
    ),
    gpu=st.sampled_from(["l40s", "l40s:2", "a10", "h100-sxm:4", "24GiB"]),
    task=st.sampled_from(["inference", "lora", "qlora"]),
    concurrency=st.integers(1, 64),
)
def test_the_total_of_the_data_is_the_printed_one(
    cli: Any, model: str, gpu: str, task: str, concurrency: int
) -> None:
    words = ["fit", model, "--gpu", gpu, "--task", task, "--concurrency", str(concurrency)]
    ran = cli(*words, "--json")
    if ran.code == 2:  # speech models have no adapters' layers in 4 bit, and the like
        assert ran.json["error"]["hint"]
        return
    total, limit = ran.json["total_gib"]["value"], ran.json["limit_gib"]
    text = cli(*words).out
    assert re.search(rf"^Memory of the .*GPU: {total:.2f} of {limit:.2f} GiB, ", text, flags=re.MULTILINE)
    assert re.search(rf"^  total +[\d.]+ +{total:.2f} ", text, flags=re.MULTILINE)
    weights = next(term["gib"] for term in ran.json["terms"] if term["name"] == "weights")
    assert not (weights > ran.json["limit_gib"] and ran.json["verdict"] == "fits")


def test_the_default_gpu_is_said_like_every_other_default(cli: Any) -> None:
    text = cli("fit", "llama-3.1-8b").out
    assert text.startswith("llama-3.1-8b on l40s: ")
    assert "1 sequence of 8,192 tokens" in text


def test_each_option_reaches_the_answer(cli: Any) -> None:
    serving = (
        "fit llama-3.1-8b --gpu l40s:4 --tensor-parallel 2 --pipeline-parallel 2 --memory-fraction 0.8 "
        "--max-num-seqs 17 --max-num-batched-tokens 4096 --eager --kv fp8 --context 16k --concurrency 3 "
        "--engine"
    )
    text = cli(*serving.split(), "vllm 0.11").out
    said = ("TP2 PP2", "80% of the card", "17 sequences and 4,096 tokens", "no CUDA graphs", "fp8 KV cache")
    for words in (*said, "3 sequences of 16,384 tokens", "vllm 0.11"):
        assert words in text, words
    training = (
        "fit llama-3.1-8b --task lora --optimiser paged-adamw-8bit --no-checkpointing --loss fused --rank 4 "
        "--targets q_proj,v_proj --no-flash-attention"
    )
    text = cli(*training.split()).out
    for words in (
        "paged-adamw-8bit",
        "no checkpointing",
        "fused loss",
        "rank 4 on attn_q, attn_v",
        "eager attention",
    ):
        assert words in text, words
    assert "fp32 weights" in cli("fit", "bert-base-uncased", "--task", "full", "--fp32").out
    assert "32-bit weights" in cli("fit", "bert-base-uncased", "--task", "full", "--mixed").out
    image = cli(
        "fit", "flux.1-schnell", "--pixels", "512x512", "--offload", "model", "--concurrency", "2"
    ).out
    assert "2 images of 512x512" in image
    assert "offload model" in image
    assert "3 beams" in cli("fit", "whisper-small", "--beams", "3").out


def test_does_not_fit_is_an_answer_unless_it_is_checked(cli: Any) -> None:
    assert cli(*ASKED).code == 0
    checked = cli(*ASKED, "--check", "--json")
    assert (checked.code, checked.json["verdict"]) == (3, "does not fit")
    assert cli("fit", "bert-base-uncased", "--check").code == 0


@pytest.mark.parametrize(
    ("words", "code", "names", "hint"),
    [
        ("fit", "usage", "name a model", "rackrate fit"),
        ("fit llamma-3.1-70b", "unknown-model", "llamma-3.1-70b", "llama-3.1-70b"),
        ("fit llama-3.1-8b --gpu l40z", "unknown-gpu", "l40z", "l40s"),
        ("fit llama-3.1-8b --engine vlm", "unknown-engine", "vlm", "vllm"),
        ("fit llama-3.1-8b --precision fp9", "unknown-precision", "fp9", "fp8"),
        ("fit llama-3.1-8b --kv fp7", "unknown-kv-cache-type", "fp7", "fp8"),
        ("fit llama-3.1-8b --task qlorra", "unknown-task", "qlorra", "qlora"),
        ("fit llama-3.1-8b --context 0", "bad-quantity", "'0'", "8k"),
        ("fit llama-3.1-8b --gpu l40s:3 --tensor-parallel 3", "usage", "32 attention heads", "2"),
        ("fit llama-3.1-8b --concurrency many", "usage", "many", "--help"),
        ("fit flux.1-schnell --pixels big", "bad-quantity", "big", "1024x1024"),
        ("fit llama-3.1-8b --rank 8", "usage", "training", "--task"),
        ("fit llama-3.1-8b --save", "usage", "--save", "--from-log"),
        ("fit --from-log x.log --context 8k", "usage", "context", "--model"),
        ("models --gpu l40s list", "usage", "list", "models --gpu"),
        ("models --gpu l40s --name nosuchmodel", "unknown-model", "nosuchmodel", ""),
    ],
)
def test_a_malformed_question_exits_2_and_says_what_was_meant(
    words: str, code: str, names: str, hint: str, cli: Any
) -> None:
    ran = cli(*words.split(), "--json")
    assert ran.code == 2
    error = ran.json["error"]
    assert error["code"] == code
    assert names in error["detail"]
    assert hint in error["hint"]
    plain = cli(*words.split())
    assert plain.err.startswith("error: ") or "error: " in plain.err
    assert plain.out == ""


def test_a_file_that_is_no_log_exits_4(tmp_path: Path, cli: Any) -> None:
    (tmp_path / "garbage.log").write_text("nothing\nof the kind\n")
    for path in (tmp_path / "garbage.log", tmp_path / "missing.log"):
        ran = cli("fit", "--from-log", str(path), "--gpu", "l40s", "--json")
        assert (ran.code, ran.json["error"]["code"]) == (4, "import-rejected")


def test_a_missing_model_file_is_named(cli: Any) -> None:
    ran = cli("fit", "nowhere/model.gguf", "--json")
    assert ran.code == 4
    assert "nowhere/model.gguf" in ran.json["error"]["detail"]


def test_a_config_and_a_bare_count_are_models_too(tmp_path: Path, cli: Any) -> None:
    config = {
        "model_type": "llama", "hidden_size": 1024, "intermediate_size": 4096, "num_hidden_layers": 8,
        "num_attention_heads": 16, "num_key_value_heads": 4, "vocab_size": 32000,
        "max_position_embeddings": 4096,
    }  # fmt: skip
    path = tmp_path / "mine" / "config.json"
    path.parent.mkdir()
    path.write_text(json.dumps(config))
    found = cli("fit", str(path), "--json").json
    assert (found["model"], found["context_tokens"], found["verdict"]) == ("mine", 4096, "fits")
    assert cli("fit", "8B", "--json").json["assumptions"]


def test_the_memory_is_written_as_svg_with_its_finding(tmp_path: Path, cli: Any) -> None:
    file = tmp_path / "fit.svg"
    ran = cli(*ASKED, "--svg", str(file))
    assert (ran.code, ran.err) == (0, f"wrote {file}\n")
    said = "".join(ET.fromstring(file.read_text(encoding="utf-8")).itertext())  # noqa: S314 - we wrote it
    found = rackrate.fits("llama-3.1-70b", "l40s", precision="int4")
    assert found.title in said
    assert f"limit {found.fit.estimate.limit_gib:.2f}" in said
    assert all(term.name in said for term in found.fit.estimate.terms)


VLLM = """INFO 11-20 10:00:00 [__init__.py:239] vLLM API server version 0.11.0
INFO non-default args: {'model': 'meta-llama/Llama-3.1-8B-Instruct', 'max_model_len': 8192, 'gpu_memory_utilization': 0.9}
INFO Initializing a V1 LLM engine (v0.11.0) with config: model='meta-llama/Llama-3.1-8B-Instruct', dtype=torch.bfloat16, max_seq_len=8192, tensor_parallel_size=1, quantization=None, kv_cache_dtype=auto
INFO Model loading took 14.9889 GiB and 3.2 seconds
INFO Available KV cache memory: 23.28 GiB
INFO GPU KV cache size: 190,704 tokens
INFO Maximum concurrency for 8,192 tokens per request: 23.28x
INFO Graph capturing finished in 20 secs, took 0.55 GiB
INFO Started server process [1]
INFO Application startup complete.
"""  # noqa: E501 - an engine's own lines


def test_a_log_of_vllm_end_to_end(tmp_path: Path, cli: Any) -> None:
    (tmp_path / "vllm.log").write_text(VLLM)
    words = ["fit", "--from-log", str(tmp_path / "vllm.log"), "--gpu", "l40s"]
    found = cli(*words, "--json").json
    assert (found["model"], found["gpu"], found["outcome"]) == ("llama-3.1-8b", "l40s", "started")
    by_name = {row["quantity"]: row for row in found["data"]}
    assert by_name["weights_gib"]["measured"] == 14.9889
    assert by_name["weights_gib"]["is_inside"]
    assert abs(by_name["weights_gib"]["error_frac"]) < 0.01
    assert by_name["kv_tokens"]["predicted"] == pytest.approx(190_704, rel=0.01)
    assert by_name["fits"]["is_inside"]
    text = cli(*words).out
    assert text.startswith("vLLM 0.11.0 with llama-3.1-8b on l40s: started")
    assert re.search(r"^  gpu_memory_utilization +0\.9", text, flags=re.MULTILINE)
    assert len(list(csv.DictReader(io.StringIO(cli(*words, "--csv").out)))) == len(found["data"])


def test_a_log_copied_from_a_terminal_keeps_its_settings(tmp_path: Path, cli: Any) -> None:
    """Half of each of two cards: a list that is lost at the edge of the screen would double the room."""
    log = tmp_path / "cut.log"
    arguments = {"model": "qwen2.5-7b", "port": 8081, "max_model_len": 16384, "seed": 20260903}
    arguments |= {"enable_prefix_caching": True, "tensor_parallel_size": 2, "gpu_memory_utilization": 0.5}
    config = "model='qwen2.5-7b', dtype=torch.bfloat16, max_seq_len=16384, tensor_parallel_size=2, seed=0"
    whole = [
        f"(APIServer pid=9) INFO 09-03 02:11:14 [utils.py:326] non-default args: {arguments}",
        f"(Core pid=9) INFO 09-03 02:11:44 Initializing a V1 LLM engine (v0.10.1) with config: {config}",
        "(Worker TP0 pid=74) INFO 09-03 02:12:04 [gpu_model_runner.py:2007] Model loading took 7.12 GiB",
        "(Worker TP0 pid=74) INFO 09-03 02:12:25 [gpu_worker.py:276] Available KV cache memory: 31.3 GiB",
    ]
    log.write_text("\n".join(line[i : i + 100] for line in whole for i in range(0, len(line), 100)))
    found = cli("fit", "--from-log", str(log), "--gpu", "a100-80gb-pcie", "--json").json
    assert found["model"] == "qwen2.5-7b"
    by_name = {row["quantity"]: row for row in found["data"]}
    assert by_name["weights_gib"]["is_inside"]
    assert by_name["kv_gib"]["predicted"] == pytest.approx(0.5 * 79.15 - 7.12 - 1.9, abs=0.7)


def test_what_a_log_measured_is_kept_and_shown_later(tmp_path: Path, cli: Any) -> None:
    (tmp_path / "vllm.log").write_text(VLLM)
    words = ["fit", "--from-log", str(tmp_path / "vllm.log"), "--gpu", "l40s", "--save"]
    first = cli(*words)
    assert "saved 5 cases to " in first.out
    assert "nothing saved" in cli(*words).out
    later = cli("fit", "llama-3.1-8b", "--gpu", "l40s").out
    assert "The nearest run in your calibration file" in later
    assert re.search(r"^  weights_gib +14\.99 ", later, flags=re.MULTILINE)
    assert "calibration file" not in cli("fit", "llama-3.1-8b", "--gpu", "a10").out


def test_a_log_of_llama_cpp_names_its_card(cli: Any) -> None:
    path = str(LOGS / "llama.cpp-b9943.txt")
    found = cli("fit", "--from-log", path, "--model", "qwen3.6-27b", "--json").json
    assert (found["gpu"], found["engine"]) == ("rtx-3090", "llama.cpp")
    assert {"weights_gib", "kv_gib", "fits"} <= {row["quantity"] for row in found["data"]}


def test_models_on_a_card_in_every_form(cli: Any) -> None:
    words = ["models", "--gpu", "l40s", "--name", "llama-3"]
    found = rackrate.models_on("l40s", name="llama-3")
    data = cli(*words, "--json").json["data"]
    table = list(csv.DictReader(io.StringIO(cli(*words, "--csv").out)))
    lines = cli(*words).out.splitlines()[2:]
    assert len(data) == len(table) == len(found.rows) > 5
    for row, cells, line in zip(data, table, lines, strict=False):
        assert line.split()[0] == row["model"] == cells["model"]
        assert float(cells["weights_gib"]) == pytest.approx(row["weights_gib"], rel=1e-9)
        assert f"{row['weights_gib']:,.1f}" in line
    assert cli(*words, "--fits-only", "--json").json["meta"]["n"] <= len(data)


def test_the_group_still_lists_and_shows_and_helps(cli: Any) -> None:
    assert cli("models", "list").code == 0
    assert cli("models", "show", "llama-3.1-70b").code == 0
    bare = cli("models")
    assert bare.code == 2
    assert "Usage: rackrate models" in bare.err


# Excerpts as people post them: no loader lines, a service manager's prefix, a terminal's frame.
POSTED = {
    "llama.cpp": """Mar 12 07:01:08 host python[433748]: load_tensors: offloaded 49/49 layers to GPU
Mar 12 07:01:08 host python[433748]: load_tensors:        CUDA0 model buffer size = 4403.49 MiB
""",
    "vllm": """│ INFO 03-21 20:15:45 [worker.py:267] the current vLLM instance can use total_gpu_memory (79.19GiB) x gpu_memory_utilization (0.90) = 71.27GiB    │
│ INFO 03-21 20:15:45 [worker.py:267] model weights take 12.55GiB; non_torch_memory takes 0.16GiB; PyTorch activation peak memory takes 2.38GiB; the rest of the memory reserved for KV Cache is 56.18GiB.    │
""",  # noqa: E501 - as it is posted
}


def test_a_log_without_the_files_type_asks_for_it_and_takes_it(tmp_path: Path, cli: Any) -> None:
    (tmp_path / "posted.log").write_text(POSTED["llama.cpp"])
    words = ["fit", "--from-log", str(tmp_path / "posted.log"), "--gpu", "l40s", "--model", "llama-3.1-8b"]
    asked = cli(*words, "--json")
    assert (asked.code, asked.json["error"]["code"]) == (2, "usage")
    assert "--precision gguf:" in asked.json["error"]["hint"]
    found = cli(*words, "--precision", "gguf:q4_k_m", "--json").json
    weights = next(row for row in found["data"] if row["quantity"] == "weights_gib")
    assert weights["measured"] == pytest.approx(4403.49 / 1024, abs=1e-4)
    assert abs(weights["error_frac"]) < 0.08  # the table of words stays with the host
    assert cli(*words, "--precision", "gguf:q4_k_x", "--json").json["error"]["code"] == "unknown-precision"
    named = POSTED["llama.cpp"] + (
        "llama_model_loader: loaded meta data with 29 key-value pairs and 292 tensors from "
        "/models/Llama-3.1-8B.Q4_K_M.gguf (version GGUF V3 (latest))\n"
    )
    (tmp_path / "posted.log").write_text("\n".join(reversed(named.splitlines())))
    assert cli(*words, "--json").json["data"][0] == weights


def test_a_log_of_another_card_is_said_to_be_one(tmp_path: Path, cli: Any) -> None:
    (tmp_path / "posted.log").write_text(POSTED["vllm"])
    words = ["fit", "--from-log", str(tmp_path / "posted.log"), "--model", "llama-3.1-8b"]
    other = cli(*words, "--gpu", "l40s", "--json").json["assumed"]
    assert any("79.19 GiB" in line and "l40s has 44." in line for line in other)
    same = cli(*words, "--gpu", "h100-sxm", "--json").json["assumed"]
    assert not any("79.19 GiB" in line for line in same)
