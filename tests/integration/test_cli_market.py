"""A price list of one's own, from the file to the answers, through the command line alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

MAPPING = """
source = "acme"
title = "Acme rate card"
licence = "private"
[columns]
provider = { value = "acme" }
gpu = "card"
gpu_count = "cards"
vcpu = "cpus"
ram = { from = "memory_gb", unit = "GB" }
country = "land"
sku = "shape"
at = "day"
[[price]]
from = "eur_cents"
unit = "cent"
per = "instance"
time = "hour"
currency = "EUR"
[fx]
EUR = [["2026-08-20", 1.25], ["2026-08-21", 1.25]]
"""
HEADER = "day,shape,card,cards,cpus,memory_gb,land,eur_cents"
FIRST = (
    "2026-08-20,one,L40S,1,16,128,DE,88",
    "2026-08-20,two,L40S,2,32,256,DE,160",
    "2026-08-20,odd,Quantum 9000,1,16,128,DE,100",
    "2026-08-20,bad,L40S,1,16,128,DE,call us",
)
GROWN = ("2026-08-21,one,L40S,1,16,128,DE,80", "2026-08-21,two,L40S,2,32,256,DE,160")


@pytest.fixture
def price_list(tmp_path: Path) -> Path:
    (tmp_path / "acme.toml").write_text(MAPPING)
    (tmp_path / "prices.csv").write_text("\n".join((HEADER, *FIRST)) + "\n")
    return tmp_path / "prices.csv"


def importing(price_list: Path, *more: str) -> list[str]:
    store = str(price_list.parent / "store")
    mapping = str(price_list.parent / "acme.toml")
    return ["market", "import", "--mapping", mapping, str(price_list), "--data", store, *more]


def receipt(ran: Any) -> dict[str, Any]:
    assert ran.code == 0, ran.err
    (found,) = ran.json["data"]
    return dict(found)


def test_a_dry_run_judges_and_writes_nothing(price_list: Path, cli: Any) -> None:
    found = receipt(cli(*importing(price_list, "--dry-run", "--json")))
    assert (found["n_read"], found["n_published"], found["n_rejected"]) == (4, 3, 1)
    assert found["unknown_gpus"] == {"Quantum 9000": 1}
    assert found["first"][0]["usd_per_hour"] == pytest.approx(0.88 * 1.25)
    assert not (price_list.parent / "store").exists()
    text = cli(*importing(price_list, "--dry-run")).out
    assert text.startswith("Dry run: nothing was written")
    assert "'Quantum 9000' (1 rows)" in text
    assert "call us" in text


def test_importing_again_changes_nothing_and_a_grown_list_adds_what_is_new(
    price_list: Path, cli: Any
) -> None:
    first = receipt(cli(*importing(price_list, "--json")))
    again = receipt(cli(*importing(price_list, "--json")))
    with price_list.open("a") as out:
        out.write("\n".join(GROWN) + "\n")
    grown = receipt(cli(*importing(price_list, "--json")))
    assert (first["n_published"], first["n_known"]) == (3, 0)
    assert (again["n_published"], len(again["snapshots"])) == (0, 0)
    assert (grown["n_published"], grown["n_known"], grown["n_read"]) == (2, 4, 6)
    assert [at[:10] for at in grown["snapshots"]] == ["2026-08-21"]
    store = ("--data", str(price_list.parent / "store"))
    history = cli("price", "l40s", "--history", "30d", *store, "--json").json["history"]
    assert [day["median_usd_per_gpu_hour"] for day in history] == pytest.approx([1.0, 1.0])
    assert [day["index"] for day in history] == pytest.approx([100, 100])


def test_the_first_import_says_that_the_sample_no_longer_answers(price_list: Path, cli: Any) -> None:
    note = "this store now answers instead of the bundled sample"
    assert note in cli(*importing(price_list)).out
    with price_list.open("a") as out:
        out.write("\n".join(GROWN) + "\n")
    assert note not in cli(*importing(price_list)).out


def test_what_was_imported_answers_every_question(
    price_list: Path, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt(cli(*importing(price_list, "--json")))
    monkeypatch.setenv("RACKRATE_DATA", str(price_list.parent / "store"))
    rows = cli("offers", "--provider", "Acme", "--json").json["data"]
    assert [(row["sku"], row["usd_per_gpu_hour"]) for row in rows] == [
        ("two", pytest.approx(1.0)),
        ("one", pytest.approx(1.1)),
        ("odd", pytest.approx(1.25)),
    ]
    assert rows[0]["ram_gib"] == pytest.approx(256e9 / 2**30)
    assert (rows[2]["gpu"], rows[2]["gpu_raw"]) == (None, "Quantum 9000")
    spread = cli("price", "l40s", "--json").json["spread"]
    assert spread["by_provider_usd_per_gpu_hour"] == {"acme": pytest.approx(1.0)}
    assert cli("gpu", "l40s", "--json").json["bundles"]["meta"]["n_matching"] == 2
    assert cli("offers", "--provider", "acne").code == 2


def test_check_names_the_quarantine_and_stats_the_list(price_list: Path, cli: Any) -> None:
    receipt(cli(*importing(price_list, "--json")))
    store = ("--data", str(price_list.parent / "store"))
    found = cli("market", "check", *store, "--json").json
    assert found["sound"]
    assert found["meta"] == {"n_rows": 3, "n_rejected": 1}
    assert found["unknown_gpus"] == [{"source": "acme", "gpu_raw": "Quantum 9000", "rows": 1}]
    (rejected,) = found["quarantine"]
    assert (rejected["rule"], rejected["line"]) == ("price", 4)
    assert "call us" in cli("market", "check", *store).out
    stats = cli("market", "stats", *store, "--json").json
    assert [(row["source"], row["n_rows"], row["licence"]) for row in stats["sources"]] == [
        ("acme", 3, "private")
    ]
    assert stats["gpus"] == [{"gpu": "l40s", "on_demand": 1, "spot": 0, "reserved": 0, "serverless": 0}]


def test_a_damaged_store_is_faulty_and_named(price_list: Path, cli: Any) -> None:
    receipt(cli(*importing(price_list, "--json")))
    store = price_list.parent / "store"
    damaged = next(store.glob("offers-*.parquet"))
    damaged.write_bytes(damaged.read_bytes()[:-7])
    ran = cli("market", "check", "--data", str(store), "--json")
    if ran.code == 4 and "error" in ran.json:  # not even the quarantine can be read
        pytest.fail("check must name the damage, not fall over it")
    assert ran.code == 4
    assert ran.json["damaged"] == [f"{damaged.name} is not what was written"]
    price = cli("price", "l40s", "--data", str(store), "--json")
    assert (price.code, price.json["error"]["code"]) == (4, "store-broken")


def test_the_sample_can_be_taken_into_a_store_of_one_s_own(price_list: Path, cli: Any) -> None:
    store = price_list.parent / "store"
    ran = cli("market", "import", "--format", "sample", "--data", str(store), "--json")
    assert ran.code == 0
    before = cli("price", "l40s", "--json").json["spread"]
    receipt(cli(*importing(price_list, "--json")))
    after = cli("price", "l40s", "--data", str(store), "--json").json["spread"]
    assert before["by_provider_usd_per_gpu_hour"].items() <= after["by_provider_usd_per_gpu_hour"].items()
    assert after["n"] == before["n"] + 1
    assert after["by_provider_usd_per_gpu_hour"]["acme"] == pytest.approx(1.0)


@pytest.mark.parametrize("dry", [[], ["--dry-run"]])
def test_the_sample_in_a_dry_run_writes_nothing(dry: list[str], tmp_path: Path, cli: Any) -> None:
    store = tmp_path / "store"
    ran = cli("market", "import", "--format", "sample", "--data", str(store), *dry, "--json")
    assert ran.json["meta"]["dry_run"] is bool(dry)
    assert sum(row["n_published"] for row in ran.json["data"]) > 10_000
    assert (store / "manifest.json").exists() is not bool(dry)


def test_an_empty_store_is_said_with_what_to_do(tmp_path: Path, cli: Any) -> None:
    ran = cli("price", "l40s", "--data", str(tmp_path))
    assert ran.code == 4
    assert ran.err.splitlines() == [
        f"error: {tmp_path} holds no market data",
        "  import a list into it: rackrate market import, or leave --data out",
    ]


@pytest.mark.parametrize(
    ("mapping", "code"),
    [
        ('source = "x"\n[columns]\nproviderr = "p"', 2),
        ("source = ", 4),
        (MAPPING.replace('card"', 'kard"'), 2),
        (MAPPING.replace('unit = "GB"', 'unit = "GX"'), 2),
    ],
)
def test_a_mapping_that_is_wrong_is_refused_before_anything_is_stored(
    mapping: str, code: int, price_list: Path, cli: Any
) -> None:
    (price_list.parent / "acme.toml").write_text(mapping)
    ran = cli(*importing(price_list, "--json"))
    assert ran.code == code, ran.out
    assert ran.json["error"]["detail"]
    assert not (price_list.parent / "store" / "manifest.json").exists()


def test_formats_are_listed_with_the_way_for_all_others(cli: Any) -> None:
    found = cli("market", "import", "--formats", "--json").json
    assert {"gpurentalprices", "skypilot", "sample"} <= {row["format"] for row in found["data"]}
    assert "--mapping" in " ".join(found["meta"]["notes"])


def test_the_store_of_the_settings_file_is_used_and_flags_win(
    price_list: Path, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    receipt(cli(*importing(price_list, "--json")))
    project = price_list.parent
    (project / "rackrate.toml").write_text(f"[rackrate]\ndata = {json.dumps(str(project / 'store'))}\n")
    monkeypatch.chdir(project)
    assert cli("price", "l40s", "--json").json["spread"]["n"] == 1
    (shown,) = (row for row in cli("config", "show", "--json").json["data"] if row["key"] == "data")
    assert (shown["value"], shown["origin"]) == (str(project / "store"), "rackrate.toml")
    monkeypatch.setenv("RACKRATE_DATA", str(project / "nothing"))
    assert cli("price", "l40s").code == 4
    assert cli("price", "l40s", "--data", str(project / "store")).code == 0
    says = {row["what"]: row["says"] for row in cli("doctor", "--json").json["data"]}
    assert "holds no market data" in says["market"]


def test_config_path_is_the_file_that_is_read(cli: Any) -> None:
    path = Path(cli("config", "path").out.strip())
    path.parent.mkdir(parents=True)
    path.write_text("[rackrate]\nhours_per_month = 720\n")
    rows = {row["key"]: row for row in cli("config", "show", "--json").json["data"]}
    assert (rows["hours_per_month"]["value"], rows["hours_per_month"]["origin"]) == ("720", str(path))
    assert cli("price", "l40s", "--json").json["meta"]["hours_per_month"] == 720


def test_doctor_is_well_on_the_bundled_sample(cli: Any) -> None:
    ran = cli("doctor", "--json")
    states = {row["what"]: (row["state"], row["says"]) for row in ran.json["data"]}
    assert ran.code == 0
    assert states["catalog"] == ("ok", "no contradictions")
    assert states["market"] == ("ok", "the bundled sample, newest prices 2026-08-22")
    assert {"python", "duckdb", "click", "rich", "numpy"} <= {
        name for name, (state, _) in states.items() if state == "ok"
    }
