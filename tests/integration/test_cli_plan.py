"""`rackrate plan` from the words to the screen: every workload, every form, kept plans, errors."""

from __future__ import annotations

import csv
import io
import json
import re
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest
import yaml

import rackrate

WORDS = "plan llama-3.1-70b --rps 2 --input 1000 --output 300 --ttft 1s --tpot 60ms"
ASKED = WORDS.split()


def test_all_forms_say_the_same(cli: Any) -> None:
    found = rackrate.plan("llama-3.1-70b", rps=2, input=1000, output=300, ttft="1s", tpot="60ms", limit=10)
    data = cli(*ASKED, "--json").json
    assert data == json.loads(json.dumps(found.to_dict()))
    rows = list(csv.DictReader(io.StringIO(cli(*ASKED, "--csv").out)))
    assert len(rows) == len(data["rows"]) == 10
    for row, of in zip(rows, data["rows"], strict=True):
        assert float(row["usd_per_hour"]) == pytest.approx(of["usd_per_hour"]["value"])
        assert float(row["usd_per_mtok"]) == pytest.approx(of["price"]["usd_per_mtok"]["value"])
        assert float(row["tpot_ms"]) == pytest.approx(1e3 * of["speed"]["tpot_s"]["value"])
    for form in ((), ("--md",), ("--html",)):
        assert found.title in cli(*ASKED, *form).out.replace("&#x27;", "'")


def test_a_plan_can_be_recomputed_by_hand_from_its_json(cli: Any) -> None:
    data = cli(*ASKED, "--json").json
    for row in data["rows"]:
        a_machine = row["capacity_per_s"]["value"] / row["machines"]
        assert row["machines"] == -(-2 // a_machine)  # ceil(load / capacity)
        beside = row["beside"]
        paid_gb = max(beside["disk_gb"] - (beside["included_disk_gb"] or 0), 0)
        disk_usd = paid_gb * (beside["storage_usd_per_gb_month"] or 0) / 730
        assert (beside["disk_usd_per_hour"] or 0) == pytest.approx(disk_usd)
        sent_usd = beside["sent_gb"] * (beside["egress_usd_per_gb"] or 0)
        assert (beside["egress_usd"] or 0) == pytest.approx(sent_usd)
        assert beside["ingress_usd"] == 0
        usd = row["machines"] * (row["usd_per_machine_hour"] + disk_usd) + sent_usd
        assert row["usd_per_hour"]["value"] == pytest.approx(usd)
        assert row["price"]["usd_per_mtok"]["value"] == pytest.approx(usd / (2 * 3600 * 1300 / 1e6))
        assert row["price"]["usd_per_output_mtok"]["value"] == pytest.approx(usd / (2 * 3600 * 300 / 1e6))
        start = row["start"]
        assert row["start_s"] == pytest.approx(start["boot_s"] + start["image_s"] + start["load_s"])
    best = data["rows"][0]
    fit = rackrate.fits(
        "llama-3.1-70b", f"{best['taken_as']}:{best['tensor'] * best['pipeline']}", context=1300,
        precision=best["precision"], tensor=best["tensor"], pipeline=best["pipeline"],
        concurrency=max(round(2 * (best["speed"]["seconds"]["value"]) / best["machines"]), 1),
    )  # fmt: skip
    assert fit.verdict == "fits"


@pytest.mark.parametrize(
    ("words", "says"),
    [
        ("llama-3.1-70b --tokens-per-day 100M", ["USD/Mtok", "no latency promised"]),
        ("flux.1-schnell --images-per-hour 500", ["USD/1000 images", "FLUX".lower()]),
        ("stable-diffusion-xl-base-1.0 --images-per-hour 500", ["USD/1000 images"]),
        ("whisper-large-v3 --audio-hours-per-day 500", ["USD/audio h"]),
        ("--workload segalign --genomes 2", ["USD/alignment", "rough", "SC20"]),
        ("--workload doom-eternal --as-fast-as 4", ["no graphics api", "a100", "h100", "compute-only"]),
        ("--workload render --as-fast-as 4", ["no graphics api", "a100", "h100", "rough"]),
        ("--workload transcode --as-fast-as 4", ["no nvenc", "rough"]),
        ("--sweep bert --variants 64 --nodes 64", ["USD/variant", "64 variants of 10,000,000 tokens"]),
        ("finetune llama-3.1-8b --tokens 20M", ["lora training", "USD/run"]),
        ("llama-3.1-8b --finetune full --tokens 20M", ["full training"]),
        ("llama-3.1-70b --finetune qlora --tokens 20M", ["qlora training", "nf4-dq"]),
        (
            "llama-3.1-8b --workload tightly-coupled-training --tokens 20M",
            ["no nvlink: an all-reduce of 256 MiB runs at 302 GB/s over it and at 28 GB/s without", "l40s"],
        ),
    ],
)
def test_every_workload_has_a_plan(cli: Any, words: str, says: list[str]) -> None:
    ran = cli("plan", *words.split(), "--explain")
    assert ran.code == 0, ran.err
    for text in says:
        assert text in ran.out, text
    assert "How it is reckoned" in ran.out
    assert "start = boot" in ran.out


def test_graphics_work_names_a100_and_h100(cli: Any) -> None:
    data = cli("plan", "--workload", "rendering", "--as-fast-as", "1", "--json").json
    (rule,) = (each for each in data["excluded"] if "graphics" in each["rule"])
    assert {"a100", "h100"} <= {slug.split("-")[0] for slug in rule["examples"]}
    assert all(row["gpu"].split("-")[0] not in ("a100", "h100") for row in data["rows"])


def test_constraints_hold_in_every_row(cli: Any) -> None:
    words = "--rps 1 --gpu l40s --gpu h100 --provider aws --provider runpod --kind any --max-usd-per-hour 20"
    data = cli("plan", "llama-3.1-8b", *words.split(), "--json").json
    assert data["rows"]
    for row in data["rows"]:
        assert row["taken_as"].startswith(("l40s", "h100"))
        assert "aws" in (row["provider"], row["seller"]) or "runpod" in (row["provider"], row["seller"])
        assert row["usd_per_hour"]["value"] <= 20
    own = cli("plan", "llama-3.1-8b", "--rps", "1", "--own", "l40s:2=0.05", "--json").json
    assert (own["rows"][0]["provider"], own["rows"][0]["usd_per_machine_hour"]) == ("own", 0.05)
    one = cli("plan", "llama-3.1-8b", "--rps", "1", "--precision", "bf16", "--country", "DE", "--json").json
    assert {row["precision"] for row in one["rows"]} == {"bf16"}
    assert {row["country"] for row in one["rows"]} == {"DE"}


def test_a_file_asks_the_same(cli: Any, tmp_path: Path) -> None:
    path = tmp_path / "workload.toml"
    path.write_text(
        'model = "llama-3.1-70b"\nrps = 2\ninput = 1000\noutput = 300\nttft = "1s"\ntpot = "60ms"\n'
    )
    assert cli("plan", str(path), "--json").json == cli(*ASKED, "--json").json
    path.write_text('model = "llama-3.1-70b"\nrsp = 2\n')
    assert cli("plan", str(path), "--json").json["error"]["code"] == "unknown-workload-field"
    path.write_text("model = ")
    assert cli("plan", str(path)).code == 4
    assert cli("plan", str(tmp_path / "none.toml")).code == 4


def test_a_kept_plan_is_shown_compared_and_exported(cli: Any, tmp_path: Path) -> None:
    kept, other = tmp_path / "plan.json", tmp_path / "other.json"
    made = cli(*ASKED, "--gpu", "l40s:4", "--tpot", "90ms", "-o", str(kept))
    assert (made.code, f"wrote {kept}" in made.err) == (0, True)
    assert cli("plan", "show", str(kept)).out == made.out
    assert cli(*ASKED, "--gpu", "h100", "-o", str(other)).code == 0
    changed = cli("plan", "diff", str(kept), str(other), "--json").json
    assert changed["asked"]["tpot_s"] == {"before": 0.09, "after": 0.06}
    assert "l40s" in changed["recommended"]["machines"]["before"]
    assert "h100" in cli("plan", "diff", str(kept), str(other)).out
    same = cli("plan", "diff", str(kept), str(kept))
    assert "the same" in same.out
    for tool in ("skypilot", "dstack", "compose", "kubernetes"):
        text = cli("plan", "export", str(kept), "--to", tool, "--weights", "me/weights").out
        assert list(yaml.safe_load_all(text)), tool
        assert "me/weights" in text
    for words in (
        ("show", "none.json"),
        ("diff", str(kept), "none.json"),
        ("export", "none.json", "--to", "dstack"),
    ):
        assert cli("plan", *words).code == 4
    kept.write_text("{}")
    assert cli("plan", "show", str(kept)).code == 4
    assert cli("plan", "export", str(other), "--to", "dstack", "--row", "99").code == 2
    assert cli("plan", "export", str(other), "--to", "nomad").code == 2


@pytest.mark.parametrize(
    ("words", "code", "says", "hint"),
    [
        ("llama-3.1-70b --rps 0", 2, "'0'", "like 2"),
        ("llama-3.1-70b --rps 2 --ttft 1ms", 2, "TTFT of 1 ms is below", "the shortest is"),
        ("llama-3.1-70b --rps 2 --tpot 1ms", 2, "TPOT of 1 ms is below", "the shortest is"),
        ("llama-3.1-70b --rps 1 --input 200k", 2, "200,300 tokens", "131,072"),
        ("llama-3.1-70b --rps 1 --pixels 3x3", 2, "pixels", "its fields"),
        ("flux.1-dev --rps 1", 2, "rps", "images_per_hour"),
        ("llama-3.1-7b --rps 1", 2, "llama-3.1-7b", "llama-3.1-70b"),
        ("--rps 1", 2, "neither model nor workload", "rackrate plan"),
        ("--workload rendering --as-fast-as 0", 2, "'0'", "like 2"),
        ("whisper-large-v3 --finetune lora --tokens 1M", 3, "training whisper-large-v3", "language models"),
        ("llama-3.1-70b --rps 2 --ttft 500ms --gpu t4", 3, "too slow", "t4"),
        ("llama-3.1-70b --rps 2 --gpu rtx-4090:1", 3, "fits no machine", "lacks"),
        ("llama-3.1-70b --rps 2 --max-usd-per-hour 1", 3, "for 1 USD/h", "the nearest"),
        ("llama-3.1-8b --finetune full --tokens 1B --within 10min", 3, "within 10 min", "the fastest"),
        ("llama-3.1-70b --rps 2 --country TV", 3, "no offer", "left out"),
        ("llama-3.1-70b --rps 2 --provider nobody", 2, "nobody", ""),
        ("bert-base-uncased --rps 2", 3, "serving bert-base-uncased", "--finetune"),
    ],
)
def test_a_question_without_an_answer_is_one_error(
    cli: Any, words: str, code: int, says: str, hint: str
) -> None:
    ran = cli("plan", *words.split())
    assert (ran.code, ran.out) == (code, ""), ran.err
    message, _, rest = ran.err.partition("error: ")[2].partition("\n")
    assert says in message
    assert hint in rest
    assert "Traceback" not in ran.err
    assert cli("plan", *words.split(), "--json").json["error"]["detail"] == message


def test_instead_of_a_gpu(cli: Any) -> None:
    plain = cli("plan", "--instead-of", "a10", "--json").json
    prices = {row["gpu"]: row["usd_per_gpu_hour"] for row in plain["data"]}
    assert all(usd <= plain["usd_per_gpu_hour"] * 1.1 for usd in prices.values())
    l40 = next(row for row in plain["data"] if row["gpu"] == "l40")
    assert l40["ratios"]["memory_gib"] == 2.0
    assert l40["is_better"]
    assert "For the price of the a10" in cli("plan", "--instead-of", "a10").out
    assert "For the price of the a10" in cli("gpu", "a10").out
    data = cli("plan", "llama-3.1-8b", "--rps", "1", "--instead-of", "a10", "--json").json
    base, *better = data["instead"]
    assert base["gpu"] == "a10"
    assert better
    for row in better:
        assert row["usd_per_hour"]["value"] <= base["usd_per_hour"]["value"]
        assert row["speed"]["seconds"]["value"] < base["speed"]["seconds"]["value"]


def test_the_chart_shows_the_frontier(cli: Any, tmp_path: Path) -> None:
    svg = tmp_path / "plan.svg"
    data = cli(*ASKED, "--svg", str(svg), "--json").json
    text = " ".join(ET.fromstring(svg.read_text()).itertext())  # noqa: S314 - our own chart
    names = [f"{row['count']} x {row['gpu']} at {row['provider']}" for row in data["frontier"]]
    drawn = [name for name in names if name in text]
    assert drawn[0] == names[0]
    assert len(drawn) > 2  # of those that would lie on each other one is named
    assert not any(
        f"{row['count']} x {row['gpu']} at {row['provider']}" in text
        for row in data["rows"]
        if f"{row['count']} x {row['gpu']} at {row['provider']}" not in names
    )


def test_help_shows_options_and_commands(cli: Any) -> None:
    text = cli("plan", "--help").out
    for words in ("--rps", "--instead-of", "show", "diff", "export"):
        assert words in text
    assert re.search(r"rackrate plan llama-3.1-70b --rps 2", text)


def test_a_text_and_keywords_ask_in_python() -> None:
    found = rackrate.plan("finetune bert-base-uncased", gpu="l40s", tokens="10M")
    assert found.best.taken_as == "l40s"
    assert found.plan.question["workload"] == "finetune-full"
    swept = rackrate.plan("sweep bert-base-uncased", gpu="l40s", nodes=64)
    assert swept.best.machines == 64
    assert swept.plan.question["amount"] == 64
    assert "L40S".lower() in repr(swept)
    assert "<table>" in swept._repr_html_()
