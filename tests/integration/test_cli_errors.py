"""What the command line says when something is wrong: code, status, one line and what to do next."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rackrate
from rackrate.cli import status

USAGE: list[tuple[list[str], str, str]] = [
    (["gpu", "l40sx"], "unknown-gpu", "l40s"),
    (["gpu", ""], "unknown-gpu", ""),
    (["gpus", "show", "h100-sxmm"], "unknown-gpu", "h100-sxm"),
    (["gpus", "compare", "l40s", "b10"], "unknown-gpu", "a10"),
    (["gpus", "compare", "l40s"], "usage", "gpus compare"),
    (["gpus", "compare", "l40s", "L40S"], "usage", "gpus compare"),
    (["gpus", "list", "--segment", "datacentre"], "unknown-segment", "datacenter"),
    (["gpus", "lst"], "usage", "did you mean `list`?"),
    (["gpuu", "l40s"], "unknown-command", "gpu"),
    (["models", "show", "lama-3"], "unknown-model", "llama"),
    (["models", "show", "llama"], "unknown-model", "llama-3-70b"),
    (["providers", "show", "runpodd"], "unknown-provider", "runpod"),
    (["offers", "--provider", "vultrr"], "unknown-provider", "vultr"),
    (["offers", "--provider", ""], "unknown-provider", ""),
    (["offers", "--gpu", "l40sx:2"], "unknown-gpu", "l40s"),
    (["offers", "--gpu", "l40s:x"], "bad-quantity", "1..8"),
    (["offers", "--gpu", "l40s:-1"], "bad-quantity", "0 or more"),
    (["offers", "--kind", "spto"], "unknown-kind", "spot"),
    (["offers", "--country", "Germany"], "unknown-country", "ISO"),
    (["offers", "--sort", "vram"], "unknown-sort-column", "vram_gib"),
    (["offers", "--sort", "usd/provider"], "unknown-sort-column", "did you mean"),
    (["offers", "--sort", ""], "unknown-sort-column", "did you mean"),
    (["offers", "--sort", "usd/vram_gib/ram_gib"], "unknown-sort-column", "ratio"),
    (["offers", "--limit", "-1"], "usage", "0 shows all"),
    (["offers", "--limit", "many"], "usage", "--help"),
    (["offers", "--max-price", "-1"], "bad-quantity", "0 USD"),
    (["offers", "--max-price", "cheap"], "bad-quantity", "0.95"),
    (["offers", "--max-total", "1e999"], "bad-quantity", "0.95"),
    (["offers", "--vram", "48..24"], "bad-quantity", "turn it round"),
    (["offers", "--vram", "much"], "bad-quantity", "24.."),
    (["offers", "--ram", "-3"], "bad-quantity", "0 or more"),
    (["offers", "--vcpu", "16..."], "bad-quantity", "24.."),
    (["offers", "--disk", "nan"], "bad-quantity", "24.."),
    (["offers", "--count", ""], "bad-quantity", "1..8"),
    (["offers", "--max-age", "-3d"], "bad-quantity", "90d"),
    (["offers", "--max-age", "5000y"], "bad-quantity", "100y"),
    (["offers", "--as-of", "2026-13-01"], "bad-quantity", "2026-08-22"),
    (["offers", "--as-of", "tomorrow"], "bad-quantity", "2026-08-22"),
    (["gpu", "l40s", "--as-of", "0005-01-01"], "bad-quantity", "2026-08-22"),
    (["gpu", "l40s", "--as-of", "0001-01-01T00:00+10:00"], "bad-quantity", "2026-08-22"),
    (["price", "l40s", "--history", "long"], "bad-quantity", "90d"),
    (["price", "l40s", "--history", "1e9y"], "bad-quantity", "100y"),
    (["price", "l40s", "--kind", "any"], "usage", "kinds"),
    (["price", "l40s", "--hours-per-month", "0"], "usage", "730"),
    (["price", "l40s", "--hours-per-month", "745"], "usage", "730"),
    (["price", "l40s", "--hours-per-month", "many"], "bad-quantity", "write it like"),
    (["price", "l40s", "--jsn"], "usage", "did you mean"),
    (["price"], "usage", "--help"),
    (["price", "l40s", "--max-data-age", "new"], "bad-quantity", "90d"),
    (["price", "l40s", "--data", __file__], "usage", "--help"),
    (["own", "l40sx"], "unknown-gpu", "l40s"),
    (["own", "a10"], "no-price", "--price-usd 3200"),
    (["own", "l40s", "--price-usd", "0"], "bad-quantity", "can be: 1"),
    (["own", "l40s", "--kwh-usd", "cheap"], "bad-quantity", "0.12..0.20"),
    (["own", "l40s", "--hours-per-day", "25"], "bad-quantity", "24"),
    (["own", "l40s", "--pue", "2..1"], "bad-quantity", "1..2"),
    (["own", "l40s", "--rent-usd", "-1"], "bad-quantity", "0"),
    (["own", "l40s", "--country", "Germny"], "unknown-place", "Germany"),
    (["own", "l40s", "--utilisation", "trainin"], "unknown-utilisation", "training"),
    (["own", "l40s", "--utilisation", "0.5", "--hours-per-day", "12"], "usage", "over 24"),
    (["own", "l40s", "--kind", "any"], "usage", "kinds"),
    (["own", "l40s", "--kind", "spto"], "unknown-kind", "spot"),
    (["market", "check", "--limit", "-1"], "usage", "--help"),
    (["market", "import", "x.csv"], "usage", "--formats"),
    (["market", "import", "--format", "gpurental", "x.csv"], "unknown-format", "gpurentalprices"),
    (["market", "import", "--format", "fsdl", "--mapping", "m.toml", "x.csv"], "usage", "--formats"),
]
NO_ANSWER: list[tuple[list[str], str, str]] = [
    (["offers", "--country", "AQ"], "no-offers", "without --country there would be"),
    (["offers", "--gpu", "l40s", "--nvlink"], "no-offers", "there would be"),
    (["offers", "--gpu", "l40s", "--max-price", "0.01"], "no-offers", "--max-price"),
    (["offers", "--gpu", "mi355x"], "no-offers", "--kind"),
    (["price", "a10g"], "no-offers", "rackrate offers --gpu a10g --kind on_demand"),
    (["price", "p4"], "no-offers", "gpus list"),
    (["price", "mi355x"], "no-offers", "--kind spot"),
    (["price", "l40s", "--as-of", "2020-01-01", "--history", "90d"], "no-offers", "gpus list"),
]
NO_DATA: list[tuple[list[str], str, str]] = [
    (["price", "l40s", "--data", "/nowhere/at/all"], "no-market-data", "--data"),
    (["price", "l40s", "--max-data-age", "3h"], "stale-data", "import newer"),
    (["market", "stats", "--data", "/nowhere/at/all"], "no-market-data", "import"),
    (["market", "import", "--format", "gpurentalprices", "/nowhere/x.json"], "import-rejected", ""),
    (["price", "l40s", "--history", "90d", "--svg", "/nowhere/x.svg"], "file", "path"),
]
ALL = [
    *((args, 2, code, hint) for args, code, hint in USAGE),
    *((args, 3, code, hint) for args, code, hint in NO_ANSWER),
    *((args, 4, code, hint) for args, code, hint in NO_DATA),
]
IDS = [" ".join(args) or "nothing" for args, *_ in ALL]


@pytest.mark.parametrize(("args", "exit_code", "code", "hint"), ALL, ids=IDS)
def test_an_error_is_one_line_with_a_hint_and_a_problem_in_json(
    args: list[str], exit_code: int, code: str, hint: str, cli: Any
) -> None:
    plain = cli(*args)
    assert (plain.code, plain.out) == (exit_code, "")
    first, *rest = plain.err.splitlines()
    assert first.startswith("error: ")
    assert len(rest) <= 1
    assert all(line.startswith("  ") and hint in line for line in rest)
    assert "Traceback" not in plain.err
    assert rest or hint == ""
    asked = cli(*args, "--json")
    problem = asked.json["error"]
    assert (asked.code, problem["code"]) == (exit_code, code)
    assert asked.err == ""
    assert problem["detail"] == first.removeprefix("error: ")
    assert problem["hint"] == "".join(rest).strip()
    assert problem.keys() == {"type", "title", "status", "detail", "hint", "code"}
    assert {2: (400, 404), 3: (404,), 4: (422, 503)}[exit_code].count(problem["status"]) == 1


@pytest.mark.parametrize("value", ["l40sx", "spto", "Germany", "-1", "48..24", "tomorrow"])
def test_the_message_names_the_value(value: str, cli: Any) -> None:
    args = next(args for args, _, _, _ in ALL if value in args)
    assert value in cli(*args).err.splitlines()[0]


def test_the_number_in_the_hint_is_what_comes_without_the_condition(cli: Any) -> None:
    said = cli("offers", "--gpu", "l40s", "--country", "AQ", "--max-age", "24h", "--json").json["error"][
        "hint"
    ]
    n = cli("offers", "--gpu", "l40s", "--max-age", "24h", "--json").json["meta"]["n_matching"]
    assert said == f"without --country there would be {n}"


def test_no_words_at_all_bring_the_help(cli: Any) -> None:
    for args in ([], ["gpus"], ["market"]):
        ran = cli(*args)
        assert ran.code == 2
        assert ran.out == ""
        assert ran.err.startswith("Usage: rackrate")
        assert "Commands:" in ran.err


def test_data_that_are_nowhere_are_named_by_the_environment_too(
    cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("RACKRATE_DATA", str(tmp_path / "gone"))
    ran = cli("offers", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (4, "no-market-data")
    states = {row["what"]: row["state"] for row in cli("doctor", "--json").json["data"]}
    assert states["market"] == "fault"
    assert cli("doctor").code == 4
    assert cli("models", "list").code == 0


def test_a_data_folder_that_is_a_file_is_no_fault_of_ours(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RACKRATE_DATA", __file__)
    ran = cli("price", "l40s", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (4, "store-broken")


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("[rackrate]\nhours_per_moth = 720", "unknown-setting"),
        ("[rackrate", "usage"),
        ("rackrate = 3", "usage"),
        ("[rackrate]\nhours_per_month = 'many'", "bad-quantity"),
    ],
)
def test_a_settings_file_that_is_wrong_is_said_once(
    text: str, code: str, cli: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    (tmp_path / "rackrate.toml").write_text(text)
    monkeypatch.chdir(tmp_path)
    ran = cli("price", "l40s", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, code)
    assert cli("gpus", "show", "l40s").code == 0


def test_the_age_of_the_data_is_measured_from_now(cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fresh = cli("price", "l40s", "--max-data-age", "1d")
    assert (fresh.code, fresh.err) == (0, "")
    monkeypatch.setenv("RACKRATE_NOW", "2026-08-24T12:00:00+00:00")
    assert cli("price", "l40s", "--max-data-age", "1d").code == 4
    assert cli("price", "l40s", "--max-data-age", "3d").code == 0
    monkeypatch.setenv("RACKRATE_NOW", "2026-10-22T12:00:00+00:00")
    old = cli("price", "l40s", "--json")
    assert old.code == 0
    assert old.err.startswith("note: prices are 61 days old")


def test_an_interruption_is_130(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    class Impatient:
        def to_dict(self) -> dict[str, Any]:
            raise KeyboardInterrupt

    monkeypatch.setattr("rackrate.api.models", Impatient)
    assert status(["models", "list", "--json"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_control_c_ends_a_process_with_130() -> None:
    code = "import os, signal, sys; from rackrate import cli, api; "
    code += f"api.models = lambda: os.kill(os.getpid(), {int(signal.SIGINT)}); "
    code += "sys.exit(cli.status(['models', 'list']))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 130
    assert "Traceback" not in done.stderr


def test_a_fault_of_ours_is_1_and_shows_its_traceback_when_asked(
    cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken() -> None:
        raise LookupError("nobody thought of this")

    monkeypatch.setattr("rackrate.api.models", broken)
    ran = cli("models", "list", "--json")
    assert (ran.code, ran.json["error"]["code"]) == (1, "internal")
    monkeypatch.setenv("RACKRATE_DEBUG", "1")
    with pytest.raises(LookupError):
        status(["models", "list"])


def run_piped(args: list[str], n_bytes: int) -> Iterator[Any]:
    process = subprocess.Popen(
        [sys.executable, "-c", "from rackrate.cli import run; run()", *args],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process:
        yield process.stdout.read(n_bytes)
        process.stdout.close()
        yield process.stderr.read().decode()
    yield process.returncode


@pytest.mark.parametrize("form", ["--csv", "--json", "--md"])
def test_a_reader_that_goes_away_is_no_error(form: str) -> None:
    args = ["offers", "--kind", "any", "--limit", "0", "--max-data-age", "99y", form]
    _, said, code = run_piped(args, 10)
    assert code == 0
    assert [line for line in said.splitlines() if not line.startswith("note: ")] == []


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="this system has no /dev/full")
@pytest.mark.parametrize("more", [[], ["--json"]])
def test_a_full_disk_is_said(more: list[str]) -> None:
    with Path("/dev/full").open("wb") as full:
        done = subprocess.run(
            [sys.executable, "-c", "from rackrate.cli import run; run()", "models", "list", *more],
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert done.returncode in (4, 120)
    assert done.stderr.startswith("error: No space left on device")
    assert "Traceback" not in done.stderr


def test_the_error_in_json_is_the_error_in_python(cli: Any) -> None:
    problem = cli("gpu", "l40sx", "--json").json["error"]
    with pytest.raises(rackrate.UnknownName) as caught:
        rackrate.gpu("l40sx")
    assert json.loads(json.dumps(caught.value.to_problem())) == problem
    assert os.environ["HOME"]
