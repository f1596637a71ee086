"""`rackrate perf` from the words to the screen; the screens themselves stand in README.md and docs."""

from __future__ import annotations

import csv
import io
import json
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

import rackrate

ASKED = ["perf", "llama-3.1-8b", "--gpu", "l40s", "--slo", "ttft=1s", "--slo", "tpot=60ms"]


def test_all_forms_say_the_same(cli: Any) -> None:
    found = rackrate.speed("llama-3.1-8b", "l40s", ttft="1s", tpot="60ms")
    data = cli(*ASKED, "--json").json
    assert data == json.loads(json.dumps(found.to_dict()))
    table = list(csv.DictReader(io.StringIO(cli(*ASKED, "--csv").out)))
    for where in data["situations"]:
        of = {row["figure"]: row for row in table if row["load"] == where["title"]}
        for name in ("ttft_ms", "tpot_ms", "tokens_per_s"):
            for end, column in (("low", "low_value"), ("value", "value"), ("high", "high_value")):
                assert float(of[name][column]) == pytest.approx(where[name][end], rel=1e-9)
            assert of[name]["limit"] == where[name]["limit"]
    for form in ((), ("--md",), ("--html",)):
        text = cli(*ASKED, *form).out
        assert found.title in text
        assert f"{data['usd_per_output_mtok']['median']['value']:.2f} USD a million tokens out" in text


def test_each_option_reaches_the_answer(cli: Any) -> None:
    words = (
        "perf llama-3.1-70b --gpu l40s:4 --precision fp8 --kv fp8 --layout tp2,pp2 --input 2k --output 100 "
        "--rps 0.25 --cached 0.5 --speculative 1.6 --percentile 0.9 --slo ttft=4s --memory-fraction 0.95 "
        "--max-num-seqs 7 --engine"
    )
    text = cli(*words.split(), "vllm 0.11").out
    for said in (
        "4 x l40s", "0.25 requests/s", "2,000 tokens in, 100 out", "50% of the prompt cached",
        "1.6 tokens a step", "TTFT 4 s for 90%", "vllm 0.11, fp8 weights, fp8 KV cache, TP2 PP2",
        "room for 7 requests",
    ):  # fmt: skip
        assert said in text, said
    drawn = "stable-diffusion-xl --pixels 512x512 --steps 9 --engine compiled --concurrency 2"
    image = cli("perf", *drawn.split())
    for said in ("0.25 megapixels, 9 steps", "compiled in fp16", "2 images at once"):
        assert said in image.out, said
    assert "2 beams" in cli("perf", "whisper-small", "--beams", "2").out
    learnt = "llama-3.1-8b --gpu h100-sxm --task qlora --checkpointing --input 256"
    again = cli("perf", *learnt.split()).out
    assert "qlora training" in again
    assert "layers computed again" in again
    assert "8 x 256 tokens" in again


def test_explain_adds_the_parts_of_a_step_and_they_add_up(cli: Any) -> None:
    assert "Where the time goes" not in cli(*ASKED).out
    text = cli(*ASKED, "--explain").out
    rows = [line.split()[-6:] for line in text.splitlines() if line.startswith("  a token of")]
    assert len(rows) == 2
    for row in rows:
        compute, memory, both, link, engine, total = map(float, row)
        assert max(compute, memory) <= both <= compute + memory
        assert total == pytest.approx(both + link + engine, abs=0.002)


def test_the_curve_is_drawn_and_written(cli: Any, tmp_path: Path) -> None:
    pytest.importorskip("vl_convert")
    path = tmp_path / "speed.svg"
    ran = cli(*ASKED, "--svg", str(path))
    assert f"wrote {path}" in ran.err
    words = "".join(ET.parse(path).getroot().itertext())  # noqa: S314 - our own file
    assert "tokens/s" in words
    assert "llama-3.1-8b on l40s" in words
    refused = cli("perf", "flux.1-dev", "--svg", str(path))
    assert refused.code == 3
    assert "no curve" in refused.err


@pytest.mark.parametrize(
    ("words", "code", "error", "hint"),
    [
        ("llama-3.1-70b", 3, "does-not-fit", "weights in int4"),
        ("llama-3.1-8b --concurrency 0", 2, "bad-quantity", "2"),
        ("llama-3.1-8b --slo tpot=5ms", 3, "below-floor", "17.5 ms"),
        ("llama-3.1-8b --slo tpt=5ms", 2, "unknown-slo", "tpot"),
        ("llama-3.1-8b --slo tpot", 2, "bad-quantity", "tpot=60ms"),
        ("llama-3.1-8b --slo tpot=1s --slo tpot=2s", 2, "bad-quantity", "tpot=60ms"),
        ("llama-3.1-8b --rps 99", 3, "too-much", "copies"),
        ("llama-3.1-8b --engine sglangg", 2, "unknown-engine", "sglang"),
        ("llama-3.1-8b --input 131072", 2, "bad-quantity", "130,772"),
        ("llama-3.1-8b --layout tp3 --gpu l40s:3", 2, "usage", "2"),
        ("llama-3.1-9b --gpu l40s", 2, "unknown-model", "llama-3.1-8b"),
    ],
)
def test_bad_input_is_one_error_with_the_nearest_choice(
    cli: Any, words: str, code: int, error: str, hint: str
) -> None:
    ran = cli("perf", *words.split(), "--json")
    assert (ran.code, ran.json["error"]["code"]) == (code, error)
    assert hint in ran.json["error"]["hint"]
    said = cli("perf", *words.split())
    assert said.out == ""
    assert "Traceback" not in said.err


def test_it_runs_as_a_process_and_starts_soon(process: Any) -> None:
    ran = process("-m", "rackrate", *ASKED, "--csv")
    assert ran.code == 0
    assert ran.out.startswith("load,figure,low_value,value,high_value,limit\n")
    heavy = "import sys, rackrate.cli.perf; print(*{'numpy', 'duckdb', 'altair'} & sys.modules.keys())"
    assert process("-c", heavy).out.strip() == ""
