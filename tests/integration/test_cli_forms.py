"""Every command that prints data prints them in four forms, and all forms say the same numbers."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest

import rackrate
from rackrate.cli import main

EXAMPLES = {
    "config show": [],
    "doctor": [],
    "fit": ["llama-3.1-70b", "--gpu", "l40s", "--precision", "int4"],
    "gpu": ["l40s"],
    "gpus compare": ["l40s", "a10", "h100-sxm"],
    "gpus list": [],
    "gpus show": ["l40s"],
    "market check": [],
    "market import": ["--formats"],
    "market status": [],
    "market stats": [],
    "models": ["--gpu", "l40s", "--name", "gemma"],
    "models list": [],
    "models show": ["llama-3.1-70b"],
    "offers": ["--gpu", "l40s"],
    "own": ["l40s"],
    "perf": ["llama-3.1-8b", "--gpu", "l40s"],
    "plan ask": ["llama-3.1-8b", "--rps", "1"],
    "price": ["l40s", "--history", "30d"],
    "providers list": [],
    "providers show": ["runpod"],
}
OF_STORES = {"market compact", "market publish"}  # of one's own: test_store_compact, tests/store
OF_PROVIDERS = {"market collect", "market replay"}  # tests/collect walks them, against servers of its own
OF_FILES = {"plan show", "plan diff", "plan export"}  # of plans that were kept: test_cli_plan walks them
WITHOUT_DATA = (
    {"mcp", "serve", "config path", "market watch"} | OF_FILES | OF_PROVIDERS | OF_STORES
)  # prints one path, as it is
_FLEET = ("up", "run", "status", "watch", "cost", "logs", "scale", "down", "ls", "reap", "doctor")
OF_A_FLEET = {"run", "sweep"} | {f"fleet {word}" for word in _FLEET}
"""They need nodes: tests/integration/test_cli_fleet.py, test_cli_sweep.py, test_fleet_command.py, ..."""

A_UNIT = re.compile(
    r"(usd|gib|_frac$|tokens|_w$|_gb_per_s|tflops|tops|bytes|usd_per_|^n_|count|^n$|params|vcpu|index|of_median|_years$|_s$|_ms$|^hours$|_per_s$|rows|number|"
    r"max_position_embeddings|matched|^nvenc|value$|date|^l40s$|^a10$|^h100-sxm$)"
)


def walk(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Yield every command that answers by itself, by its words."""
    if not isinstance(command, click.Group) or command.invoke_without_command:
        yield " ".join(path), command
    if not isinstance(command, click.Group):
        return
    ctx = click.Context(command)
    for name in command.list_commands(ctx):
        found = command.get_command(ctx, name)
        assert found is not None
        yield from walk(found, (*path, name))


COMMANDS = dict(walk(main))
OF_OTHERS = (
    "market import", "market collect", "market publish", "market compact", "rules.toml", "--svg",
    "--from-log", " -o ", "serve", "fleet", "rackrate run", "rackrate sweep",
)  # fmt: skip
"""What the help shows that needs files, servers or nodes."""


def words(command: str, *more: str) -> list[str]:
    return [*command.split(), *EXAMPLES[command], *more]


def table(text: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(text)))


def test_every_command_is_walked_here() -> None:
    assert set(COMMANDS) == EXAMPLES.keys() | WITHOUT_DATA | OF_A_FLEET


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_every_command_with_data_has_the_three_forms_and_says_what_it_does(name: str) -> None:
    command = COMMANDS[name]
    flags = {flag for param in command.params for flag in param.opts}
    assert {"--json", "--csv", "--md", "--html"} <= flags
    assert command.help
    undocumented = [p.name for p in command.params if isinstance(p, click.Option) and not p.help]
    assert undocumented == []


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_plain_text_has_no_colour_and_cuts_nothing(name: str, cli: Any) -> None:
    ran = cli(*words(name))
    assert ran.code == 0, ran.err
    assert "\x1b" not in ran.out
    assert "…" not in ran.out
    assert not any(line != line.rstrip() for line in ran.out.splitlines() if "|" not in line)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_json_is_one_object_that_any_reader_takes(name: str, cli: Any) -> None:
    ran = cli(*words(name, "--json"))
    assert ran.code == 0, ran.err
    assert ran.err == ""
    assert isinstance(ran.json, dict)


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_csv_is_one_table_whose_numeric_columns_name_their_unit(name: str, cli: Any) -> None:
    ran = cli(*words(name, "--csv"))
    assert ran.code == 0, ran.err
    header, *rows = csv.reader(io.StringIO(ran.out))
    assert rows
    assert {len(row) for row in rows} == {len(header)}
    assert len(set(header)) == len(header)
    for at, key in enumerate(header):
        values = [row[at] for row in rows if row[at]]
        if values and all(re.fullmatch(r"-?[\d.]+(e[-+]\d+)?", value) for value in values):
            assert A_UNIT.search(key), f"the numbers of column {key!r} have no unit"


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_markdown_has_a_heading_and_a_table_of_even_rows(name: str, cli: Any) -> None:
    ran = cli(*words(name, "--md"))
    assert ran.code == 0, ran.err
    assert ran.out.startswith("## ")
    tables = re.findall(r"(?:^\|.*\|\n)+", ran.out, flags=re.MULTILINE)
    assert tables
    for text in tables:
        bars = [len(re.findall(r"(?<!\\)\|", line)) for line in text.splitlines()]
        assert len(set(bars)) == 1


@pytest.mark.parametrize("name", sorted(EXAMPLES))
def test_html_is_one_element_with_the_tables_of_the_answer(name: str, cli: Any) -> None:
    ran = cli(*words(name, "--html"))
    assert ran.code == 0, ran.err
    assert ran.out.startswith("<div>")
    assert ran.out.endswith("</div>\n")
    n_tables = len(re.findall(r"(?:^\|.*\|\n)+", cli(*words(name, "--md")).out, flags=re.MULTILINE))
    assert ran.out.count("<table>") == ran.out.count("</table>") == n_tables


def test_offers_are_the_same_in_every_form(cli: Any) -> None:
    asked = ["offers", "--gpu", "l40s", "--country", "US", "--limit", "9"]
    found = rackrate.offers("l40s", country="US", limit=9)
    data = cli(*asked, "--json").json["data"]
    rows = table(cli(*asked, "--csv").out)
    lines = cli(*asked).out.splitlines()[2:]
    marked = [line for line in cli(*asked, "--md").out.splitlines() if line.startswith("| ")][2:]
    assert [offer.to_dict() for offer in found] == [
        {key: value for key, value in row.items() if key != "usd_per_month"} for row in data
    ]
    for offer, row, cells, line, mark in zip(found, data, rows, lines, marked, strict=False):
        assert row["usd_per_gpu_hour"] == offer.usd_per_gpu_hour
        assert float(cells["usd_per_gpu_hour"]) == pytest.approx(offer.usd_per_gpu_hour, rel=1e-9)
        assert float(cells["usd_per_month"]) == pytest.approx(row["usd_per_month"], rel=1e-9)
        shown = f"{offer.usd_per_gpu_hour:,.3f}"
        assert line.split()[0] == offer.provider
        assert shown in line
        assert f"| {shown} |" in mark
    assert len(data) == len(rows) == 9


def test_a_price_is_the_same_in_every_form(cli: Any) -> None:
    found = rackrate.price("l40s")
    data = cli("price", "l40s", "--json").json["spread"]
    rows = {(row["kind"], row["price"]): row for row in table(cli("price", "l40s", "--csv").out)}
    text = cli("price", "l40s").out
    assert found.spread is not None
    assert data["median_usd_per_gpu_hour"] == found.spread.median_usd_per_gpu_hour
    assert data["by_provider_usd_per_gpu_hour"] == dict(found.spread.by_provider)
    median = rows["on_demand", "median"]
    for span, usd in data["median_usd"].items():
        assert float(median[f"usd_per_{span}"]) == pytest.approx(usd, rel=1e-9)
    for provider, usd in found.spread.by_provider.items():
        assert re.search(rf"^  {provider} +{usd:.3f} ", text, flags=re.MULTILINE)


def test_a_comparison_is_the_same_in_every_form(cli: Any) -> None:
    asked = ["gpus", "compare", "l40s", "a10", "h100-sxm"]
    found = rackrate.compare("l40s", "a10", "h100-sxm")
    answer = cli(*asked, "--json").json
    rows = {row["figure"]: row for row in table(cli(*asked, "--csv").out)}
    text = cli(*asked).out
    assert tuple(answer["sentences"]) == found.sentences()
    for gpu, data in zip(found.gpus, answer["data"], strict=True):
        assert {**found.numbers(gpu), "graphics_apis": None} == {
            **{key: data[key] for key in found.numbers(gpu)},
            "graphics_apis": None,
        }
        per_usd = data["fp16_tflops_per_usd_hour"]
        assert float(rows["FP16 dense TFLOPS per USD/h"][gpu.slug]) == pytest.approx(per_usd, rel=1e-9)
        assert f"{per_usd:,.0f}" in text
        assert f"{data['median_usd_per_gpu_hour']:.3f}" in text


def test_a_dossier_holds_the_same_numbers_as_its_parts(cli: Any) -> None:
    whole = cli("gpu", "l40s", "--json").json
    price = cli("price", "l40s", "--history", "10y", "--json").json
    beside = cli(
        "gpus", "compare", "l40s", "a10", "a100-80gb-sxm", "h100-sxm", "l40", "rtx-4090", "--json"
    ).json
    facts = {row["fact"]: row["value"] for row in table(cli("gpu", "l40s", "--csv").out)}
    found = rackrate.gpu("l40s")
    assert whole["price"] == price
    assert whole["comparison"] == beside
    assert float(facts["bandwidth_gb_per_s"]) == whole["gpu"]["facts"]["bandwidth_gb_per_s"]["value"] == 864
    assert found.gpu.memory_gib.value == float(facts["memory_gib"]) == 48
    assert whole["offers"]["data"][0]["usd_per_gpu_hour"] == found.offers[0].usd_per_gpu_hour
    assert f"{found.offers[0].usd_per_gpu_hour:.3f}" in cli("gpu", "l40s").out


def test_a_form_given_twice_is_the_last_one(cli: Any) -> None:
    assert cli("models", "list", "--json", "--csv").out.startswith("model,name,")


def test_the_readme_of_the_command_line_runs(cli: Any) -> None:
    for line in (main.help or "").splitlines():
        if line.strip().startswith("rackrate "):
            assert cli(*line.split()[1:]).code == 0


def test_the_examples_in_the_help_run(cli: Any, tmp_path: Path) -> None:
    ran = 0
    for command in COMMANDS.values():
        for line in (command.help or "").splitlines():
            is_runnable = not any(word in line for word in OF_OTHERS)
            if line.strip().startswith("rackrate ") and is_runnable:
                args = [word.strip('"') for word in re.findall(r'"[^"]+"|\S+', line)][1:]
                assert cli(*args).code == 0, line
                ran += 1
    assert ran >= 7
    assert list(tmp_path.iterdir()) == []
