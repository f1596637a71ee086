"""Many small files become few: nothing is lost or doubled, killed or not; who reads is not disturbed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from rackrate.errors import StoreBroken
from rackrate.market.filter import OfferFilter, order_by
from rackrate.market.ingest import import_list
from rackrate.market.store import Store, manifest
from rackrate.market.store.compact import compact

Rows = Callable[..., Counter[tuple[str, ...]]]
USD = order_by("usd")
NOW = datetime(2026, 8, 3, 12, tzinfo=UTC)
LATER = datetime(2026, 9, 1, tzinfo=UTC)
N_OFFERS = 3


def listing(folder: Path, day: int, hour: int, usd: float = 1.0) -> Path:
    """Write the listing of an hour, with one record that is rejected."""
    at = f"2026-08-{day:02d}T{hour:02d}:00:00Z"
    offer = {"gpu": "l40s", "kind": "on-demand", "fetched_at": at, "source_url": "https://a.example"}
    offers = [offer | {"provider": f"p{i}", "usd_hr": usd + i / 100} for i in range(N_OFFERS)]
    folder.mkdir(exist_ok=True)
    path = folder / f"{day:02d}-{hour:02d}.json"
    path.write_text(json.dumps({"generated_at": at, "offers": [*offers, offer | {"provider": "none"}]}))
    return path


def take(store: Path, path: Path) -> int:
    return import_list(store, path, form="gpurentalprices")[0].n_published


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return a store of three hours on each of three days, one file each."""
    monkeypatch.setenv("RACKRATE_NOW", NOW.isoformat())
    for day in (1, 2, 3):
        for hour in (6, 7, 8):
            take(tmp_path / "store", listing(tmp_path / "lists", day, hour, 1 + day / 10 + hour / 100))
    return tmp_path / "store"


def files(store: Path, table: str = "offers") -> list[manifest.File]:
    return Store.open(store, store).files if not table else manifest.load(store).tables(table)


def answers(store: Store) -> list[Any]:
    """Return what a store says: now, then, by day, and what was rejected."""
    then = datetime(2026, 8, 2, 7, 30, tzinfo=UTC)
    days = list(store.prices_by_day("l40s", "on_demand", date(2026, 8, 1), NOW.date()))
    return [
        store.find(OfferFilter(), USD).rows,
        store.find(OfferFilter(), USD, as_of=then).rows,
        days,
        sorted(store.quarantine(100)),
        sorted(store.live()),
    ]


def test_days_that_are_over_become_a_file_each_and_say_the_same(store: Path, rows: Rows) -> None:
    before, n_before = answers(Store.open(store, store)), rows(store, "offers")
    merges = compact(store, NOW)
    assert [(each.table, each.period, each.n_files, each.rows) for each in merges] == [
        ("offers", "2026-08-01", 3, 3 * N_OFFERS),
        ("offers", "2026-08-02", 3, 3 * N_OFFERS),
    ]  # what is in quarantine came today
    opened = Store.open(store, store)
    assert len(files(store)) == 5
    assert opened.damaged() == []
    assert answers(opened) == before
    assert rows(store, "offers") == n_before
    assert compact(store, NOW) == []


def test_a_month_that_is_over_becomes_one_file(store: Path) -> None:
    before = answers(Store.open(store, store))
    compact(store, NOW)
    assert {each.period for each in compact(store, LATER)} == {"2026-08"}
    assert [(file.rows, len(file.snapshots)) for file in files(store)] == [(9 * N_OFFERS, 9)]
    assert [(file.rows, dict(file.rules)) for file in files(store, "quarantine")] == [(9, {"no_price": 9})]
    assert answers(Store.open(store, store)) == before


def test_what_was_imported_before_is_still_known_and_what_corrects_it_still_wins(store: Path) -> None:
    lists = store.parent / "lists"
    old = listing(lists, 1, 6).read_text()
    assert take(store, listing(lists, 1, 6, 5.0)) == N_OFFERS  # corrects the first hour before it is merged
    compact(store, NOW)
    merged = {snapshot.at: file for file in files(store) for snapshot in file.snapshots}
    assert sum(file.rows for file in files(store)) == 9 * N_OFFERS  # what was corrected is not carried over
    assert len(merged) == 9
    assert take(store, lists / "01-07.json") == 0
    assert take(store, lists / "01-06.json") == 0
    (lists / "01-06.json").write_text(old)
    assert take(store, lists / "01-06.json") == N_OFFERS  # says again what it said at first: corrects it back
    asked = Store.open(store, store).find(OfferFilter(), USD, as_of=datetime(2026, 8, 1, 6, 30, tzinfo=UTC))
    assert asked.n_matching == N_OFFERS
    assert compact(store, NOW)[0].rows == 3 * N_OFFERS


def test_who_opened_the_store_before_reads_on_for_a_day(store: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    opened = Store.open(store, store)
    names, before = {file.name for file in opened.files}, answers(Store.open(store, store))
    compact(store, NOW)
    take(store, listing(store.parent / "lists", 3, 9))  # a later writer, the same day
    assert answers(opened) == before
    assert all((store / name).exists() for name in names)
    monkeypatch.setenv("RACKRATE_NOW", "2026-08-04T12:00:01Z")
    take(store, listing(store.parent / "lists", 3, 10))
    now = {file.name for file in files(store, "")}
    assert {path.name for path in store.iterdir()} == now | {"manifest.json", "lock"}
    assert len(names - now) == 6
    late, then = Store(store, manifest.Manifest(opened.files)), datetime(2026, 8, 2, tzinfo=UTC)
    with pytest.raises(StoreBroken):
        late.find(OfferFilter(), USD, as_of=then)


def test_a_part_that_is_damaged_is_not_merged(store: Path) -> None:
    broken = store / files(store)[1].name
    broken.write_bytes(broken.read_bytes()[:-200])
    before = (store / "manifest.json").read_text()
    with pytest.raises(StoreBroken):
        compact(store, NOW)
    assert (store / "manifest.json").read_text() == before


KILLED = """
import os, random, signal, sys, threading, time
from datetime import datetime
from pathlib import Path
from rackrate.market.store.compact import compact
store, now, when, seed = Path(sys.argv[1]), datetime.fromisoformat(sys.argv[2]), sys.argv[3], sys.argv[4]
seen = []

def die():
    os.kill(os.getpid(), signal.SIGKILL)

def on_file(name):
    seen.append(name)
    if when == f"file {len(seen)}":
        die()

if when == "any time":
    threading.Timer(random.Random(seed).uniform(0, 0.15), die).start()
compact(store, now, on_file)
if when == "after":
    die()
"""


@pytest.mark.parametrize(
    ("when", "seed"), [("file 1", 0), ("file 2", 0), ("after", 0), *(("any time", n) for n in range(8))]
)
def test_killed_at_any_point_it_loses_and_doubles_nothing(
    store: Path, rows: Rows, when: str, seed: int
) -> None:
    before, n_before = answers(Store.open(store, store)), rows(store, "offers")
    words = [sys.executable, "-c", KILLED, str(store), NOW.isoformat(), when, str(seed)]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode in (0, -9), done.stderr
    assert when == "any time" or done.returncode == -9
    opened = Store.open(store, store)
    assert opened.damaged() == []
    assert answers(opened) == before
    assert len(files(store)) == (5 if when == "after" else 9) or when == "any time"
    compact(store, NOW)
    assert answers(Store.open(store, store)) == before
    assert rows(store, "offers") == n_before
    named = {file.name for file in files(store, "")} | set(manifest.load(store).retired)
    assert {path.name for path in store.iterdir()} == named | {"manifest.json", "lock"}


def test_a_reader_sees_the_same_all_the_while(store: Path) -> None:
    before = answers(Store.open(store, store))
    twice = "compact(store, now); compact(store, datetime.fromisoformat(when))"
    script = KILLED.replace("compact(store, now, on_file)", twice)
    words = [sys.executable, "-c", script, str(store), NOW.isoformat(), LATER.isoformat(), "0"]
    opened = Store.open(store, store)
    with subprocess.Popen(words) as writer:
        while writer.poll() is None:
            assert answers(opened) == before
            assert answers(Store.open(store, store)) == before
    assert writer.returncode == 0
    assert len(files(store)) == 1
    assert answers(opened) == before


def test_the_command_tells_what_it_merged(cli: Any, store: Path) -> None:  # whose clock is set last
    found = cli("market", "compact", "--data", str(store), "--json")
    assert found.code == 0
    said = [(row["period"], row["n_files"]) for row in found.json["data"]]
    assert said == [("2026-08-01", 3), ("2026-08-02", 3)]
    assert "0 files merged" in cli("market", "compact", "--data", str(store)).out
    assert cli("market", "compact", "--data", str(store / "none")).code == 4
    assert not (store / "none").exists()
