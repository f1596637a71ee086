"""The store keeps its promises: all or nothing, once, in time, and damage is told."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rackrate.errors import DataError, ImportRejected, RackrateError, StoreBroken
from rackrate.market.filter import OfferFilter, order_by
from rackrate.market.ingest import import_list
from rackrate.market.offer import SINCE, Offer
from rackrate.market.store import Store
from rackrate.market.store.write import Receipt, copy_store

Rows = Callable[..., Counter[tuple[str, ...]]]
USD = order_by("usd")


def snapshot(folder: Path, day: int, prices: dict[str, float | None], **more: Any) -> Path:
    """Write a daily snapshot of one L40S a provider."""
    at = f"2026-08-{day:02d}T06:20:00Z"
    offer = {"gpu": "l40s", "vram_gb": 48, "kind": "on-demand", "source_url": "https://a.example"}
    offers = [
        offer | {"provider": name, "usd_hr": usd, "fetched_at": at} | more for name, usd in prices.items()
    ]
    folder.mkdir(exist_ok=True)
    path = folder / f"2026-08-{day:02d}.json"
    path.write_text(json.dumps({"generated_at": at, "offers": offers}))
    return path


def take(store: Path, path: Path, **options: Any) -> Receipt:
    (receipt,) = import_list(store, path, form="gpurentalprices", **options)
    assert receipt.n_read == receipt.n_published + receipt.n_rejected + receipt.n_known
    return receipt


def offers(store: Path, **options: Any) -> list[Offer]:
    found = Store.open(store, store).find(OfferFilter(), USD, max_age=timedelta(days=3650), **options)
    assert found.n_matching == len(found.rows)
    return [Offer.from_row(row) for row in found.rows]


def asked(store: Path, **options: Any) -> dict[str, float]:
    return {offer.provider: offer.usd_per_gpu_hour for offer in offers(store, **options)}


def as_of_schema_1(store: Path) -> None:
    """Turn a store into what versions wrote that knew no prices beside the hour."""
    path = store / "manifest.json"
    doc = json.loads(path.read_text())
    newer = ", ".join(name for name, since in SINCE.items() if since > 1)
    for file in doc["files"]:
        name = store / file["name"]
        if file["table"] == "offers":
            select = f"SELECT * EXCLUDE ({newer}) FROM '{name}'"  # noqa: S608 - names of our own
            with duckdb.connect() as con:
                con.execute(f"COPY ({select}) TO '{name}.old' (FORMAT parquet)")
            Path(f"{name}.old").replace(name)
        file["sha256"] = hashlib.sha256(name.read_bytes()).hexdigest()
        del file["schema"]
    path.write_text(json.dumps(doc | {"schema": 1}))


def test_a_store_of_an_older_version_is_read_and_added_to(tmp_path: Path, lists: Path) -> None:
    store = tmp_path / "store"
    first = snapshot(lists, 1, {"a": 1.0, "b": 2.0})
    take(store, first)
    as_of_schema_1(store)
    assert asked(store) == {"a": 1.0, "b": 2.0}
    assert {offer.egress_usd_per_gb for offer in offers(store)} == {None}
    assert take(store, first).n_published == 0  # the old files say the same as the list read anew
    assert take(store, snapshot(lists, 2, {"a": 3.5, "b": 2.0})).rules["jump"] == 1  # compared over time
    mapping, own = tmp_path / "own.toml", tmp_path / "own.csv"
    mapping.write_text(
        'source = "own"\n[columns]\nprovider = { value = "c" }\ngpu = { value = "l40s" }\nat = "at"\n'
        'url = { value = "https://a.example" }\negress_per_gb = "sent"\n[[price]]\nfrom = "usd"\n'
    )
    own.write_text("usd,sent,at\n0.5,0.02,2026-08-02T06:20:00Z\n")
    import_list(store, own, mapping=mapping)
    beside = {offer.provider: offer.egress_usd_per_gb for offer in offers(store)}
    assert beside == {"a": None, "b": None, "c": 0.02}
    assert asked(store, as_of=datetime(2026, 8, 1, 12, tzinfo=UTC)) == {"a": 1.0, "b": 2.0}
    found = Store.open(store, store).columns(["provider", "egress_usd_per_gb"], max_age=timedelta.max)
    assert found["egress_usd_per_gb"] == [None, None, 0.02]
    assert json.loads((store / "manifest.json").read_text())["schema"] == 2


def test_copying_a_store_doubles_nothing_and_overwrites_nothing(
    tmp_path: Path, lists: Path, rows: Rows
) -> None:
    one, other = tmp_path / "one", tmp_path / "other"
    take(one, snapshot(lists, 1, {"a": 1.0, "b": 2.0}))
    take(other, snapshot(lists, 2, {"a": 0.2}))
    take(other, snapshot(lists, 3, {"a": 1.2}))
    path = snapshot(lists, 4, {"a": 3.1})
    take(one, path)
    take(other, path)  # the same list, judged beside other prices: another file under the same name
    for _ in range(2):
        copy_store(one, other)
        assert Store.open(other, other).damaged() == []
        assert {file.sha256 for file in Store.open(one, one).files} <= {
            file.sha256 for file in Store.open(other, other).files
        }
    assert rows(other, columns="snapshot_at, provider").total() == 6


@pytest.fixture
def store(tmp_path: Path) -> Path:
    return tmp_path / "store"


@pytest.fixture
def lists(tmp_path: Path) -> Path:
    return tmp_path / "lists"


def test_importing_the_same_list_again_changes_nothing(store: Path, lists: Path) -> None:
    snapshot(lists, 1, {"a": 1.0, "b": 2.0, "c": None})
    first = take(store, lists)
    files, version = sorted(store.iterdir()), Store.open(store, store).version
    again = take(store, lists)
    assert (first.n_published, first.n_rejected, first.n_known) == (2, 1, 0)
    assert (again.n_published, again.n_rejected, again.n_known) == (0, 0, 3)
    assert sorted(store.iterdir()) == files
    assert Store.open(store, store).version == version


def test_a_grown_folder_adds_what_is_new_and_no_reject_twice(store: Path, lists: Path, rows: Rows) -> None:
    snapshot(lists, 1, {"a": 1.0, "b": 2.0, "c": None})
    take(store, lists)
    snapshot(lists, 2, {"a": 1.1, "b": 2.0, "c": None})
    receipt = take(store, lists)
    assert (receipt.n_published, receipt.n_rejected, receipt.n_known) == (2, 1, 3)
    assert receipt.snapshots == ("2026-08-02T06:20:00.000000",)
    assert rows(store).total() == 4
    assert rows(store, "quarantine", "origin, line") == {
        ("2026-08-01.json", "3"): 1,
        ("2026-08-02.json", "3"): 1,
    }
    assert not any("had_duplicates" in offer.flags for offer in offers(store))


def test_an_earlier_list_that_comes_back_takes_its_place_again(store: Path, lists: Path, rows: Rows) -> None:
    first = snapshot(lists, 5, {"a": 1.5, "b": 1.8, "c": None})
    take(store, first)
    text = first.read_text()
    take(store, snapshot(lists, 5, {"a": 1.6, "b": 1.8, "c": None}))
    assert asked(store) == {"a": 1.6, "b": 1.8}
    first.write_text(text)
    again = take(store, first)
    assert (again.n_published, again.n_rejected) == (2, 0)
    assert asked(store) == {"a": 1.5, "b": 1.8}
    assert take(store, first).n_published == 0
    assert sum(rows(store, "quarantine", "line").values()) == 1


def test_a_changed_snapshot_takes_the_place_of_the_stored_one(store: Path, lists: Path) -> None:
    snapshot(lists, 1, {"a": 1.0, "b": 2.0})
    take(store, lists)
    snapshot(lists, 1, {"a": 1.5, "b": 2.0})
    receipt = take(store, lists)
    assert (receipt.n_published, receipt.n_rejected) == (2, 0)
    assert asked(store) == {"a": 1.5, "b": 2.0}
    day = datetime(2026, 8, 1, tzinfo=UTC).date()
    found = Store.open(store, store).prices_by_day("l40s", "on_demand", day, day)
    assert [(row[1], row[3]) for row in found] == [("a", 1.5), ("b", 2.0)]


def test_a_snapshot_that_comes_late_does_not_become_the_market(store: Path, lists: Path, rows: Rows) -> None:
    take(store, snapshot(lists, 3, {"a": 1.0}))
    take(store, snapshot(lists, 1, {"a": 4.0}))
    assert asked(store) == {"a": 1.0}
    assert all("jump" not in flags for (flags,) in rows(store, columns="flags"))


@pytest.mark.parametrize("day", [1, 2, 3])
def test_as_of_a_day_is_the_store_of_the_snapshots_up_to_it(tmp_path: Path, day: int) -> None:
    for n in (1, 2, 3):
        path = snapshot(tmp_path / "lists", n, {"a": 1.0 + n, "b": 2.0, f"only{n}": 3.0 + n})
        take(tmp_path / "whole", path)
        if n <= day:
            take(tmp_path / "part", path)
    as_of = datetime(2026, 8, day, 23, tzinfo=UTC)
    assert offers(tmp_path / "whole", as_of=as_of) == offers(tmp_path / "part")
    assert offers(tmp_path / "whole", as_of=as_of + timedelta(hours=2)) == offers(tmp_path / "part")
    assert offers(tmp_path / "whole", as_of=datetime(2026, 7, 31, tzinfo=UTC)) == []


def test_as_of_an_instant_within_a_listing_is_what_was_seen_till_then(tmp_path: Path, store: Path) -> None:
    text = "who,at,usd\na,2026-08-01T03:00Z,1\na,2026-08-01T09:00Z,2\nb,2026-08-01T09:00Z,4\n"
    (tmp_path / "list.csv").write_text(text)
    mapping = 'source = "x"\nfile.snapshot = "day"\n[columns]\nprovider = "who"\nat = "at"\n'
    mapping += 'gpu = { value = "L40S" }\n'
    (tmp_path / "m.toml").write_text(mapping + '[[price]]\nfrom = "usd"\n')
    import_list(store, tmp_path / "list.csv", mapping=tmp_path / "m.toml")
    assert asked(store) == {"a": 2.0, "b": 4.0}
    assert asked(store, as_of=datetime(2026, 8, 1, 6, tzinfo=UTC)) == {"a": 1.0}
    assert asked(store, as_of=datetime(2026, 8, 1, 9, tzinfo=UTC)) == {"a": 2.0, "b": 4.0}


def test_undated_rows_are_shown_and_in_no_statistic(tmp_path: Path, store: Path) -> None:
    (tmp_path / "list.csv").write_text("who,usd\na,1\n")
    mapping = 'source = "x"\n[columns]\nprovider = "who"\ngpu = { value = "L40S" }\n[[price]]\nfrom = "usd"\n'
    (tmp_path / "m.toml").write_text(mapping)
    import_list(store, tmp_path / "list.csv", mapping=tmp_path / "m.toml")
    (offer,) = offers(store)
    assert offer.observed_at is None
    assert not offer.is_counted
    opened = Store.open(store, store)
    assert opened.newest is None
    assert opened.tally() == []
    day = offer.snapshot_at.date()
    assert list(opened.prices_by_day("l40s", "on_demand", day, day)) == []


@pytest.mark.parametrize("name", ["it's", "[a]*?", "ä b", 'q"q'])
def test_a_folder_may_have_any_name(tmp_path: Path, name: str) -> None:
    store = tmp_path / name
    take(store, snapshot(tmp_path / "lists", 1, {"a": 1.0}))
    take(store, snapshot(tmp_path / "lists", 2, {"a": 1.2, "b": None}))
    assert asked(store) == {"a": 1.2}
    assert len(Store.open(store, store).quarantine()) == 1
    assert take(store, tmp_path / "lists").n_published == 0


def test_two_lists_of_one_provider_are_two_series(tmp_path: Path, store: Path) -> None:
    for source, usd in (("one", 1.0), ("two", 2.0)):
        (tmp_path / "list.csv").write_text(f"at,usd\n2026-08-01,{usd}\n")
        columns = 'provider = { value = "a" }\ngpu = { value = "L40S" }\nat = "at"'
        (tmp_path / "m.toml").write_text(
            f'source = "{source}"\n[columns]\n{columns}\n[[price]]\nfrom = "usd"\n'
        )
        import_list(store, tmp_path / "list.csv", mapping=tmp_path / "m.toml")
    day = datetime(2026, 8, 1, tzinfo=UTC).date()
    found = Store.open(store, store).prices_by_day("l40s", "on_demand", day, day)
    assert [(row[1], row[3]) for row in found] == [("a", 1.0), ("a", 2.0)]


def test_purchases_are_not_doubled_when_the_folder_grows(store: Path, lists: Path) -> None:
    lists.mkdir()
    card = {"gpu_name": "NVIDIA L40S", "prices": {"2024-01-01T00:00:00": 9000.0, "bad": 1, "2024-01-02": -5}}
    (lists / "l40s.json").write_text(json.dumps(card))
    (first,) = import_list(store, lists, form="purchase")
    card["prices"] |= {"2024-02-01T02:00:00+02:00": 8000.0}
    (lists / "l40s.json").write_text(json.dumps(card))
    (second,) = import_list(store, lists, form="purchase")
    assert (first.n_read, first.n_published, first.n_rejected) == (3, 1, 2)
    assert (second.n_read, second.n_published, second.n_known) == (4, 1, 3)
    assert [(at.isoformat(), usd) for at, usd, _ in Store.open(store, store).purchases("l40s")] == [
        ("2024-01-01T00:00:00+00:00", 9000.0),
        ("2024-02-01T00:00:00+00:00", 8000.0),
    ]


def test_a_dry_run_writes_nothing_and_says_the_same(store: Path, lists: Path) -> None:
    snapshot(lists, 1, {"a": 1.0, "b": 2.0, "c": None})
    dry = take(store, lists, is_dry_run=True)
    assert not store.exists()
    assert take(store, lists) == dry
    assert len(dry.first) == 2
    assert [rule for rule, _, _ in dry.rejects] == ["no_price"]


@pytest.mark.parametrize(
    "text",
    [
        *("", "{", "[]", "null", '"x"', "\x00", '{"schema": 1}', '{"schema": 3, "files": []}'),
        '{"schema": 1, "files": [1]}',
        '{"schema": 1, "files": [{"name": "x"}]}',
        '{"schema": 1, "files": {"a": 1}}',
    ],
)
def test_a_damaged_manifest_is_told_and_nothing_is_removed(store: Path, lists: Path, text: str) -> None:
    take(store, snapshot(lists, 1, {"a": 1.0}))
    (store / "manifest.json").write_text(text)
    before = sorted(store.iterdir())
    with pytest.raises(StoreBroken):
        Store.open(store, store)
    with pytest.raises(StoreBroken):
        take(store, snapshot(lists, 2, {"a": 1.1}))
    assert sorted(store.iterdir()) == before


def test_a_lost_manifest_is_told_and_no_file_is_removed(store: Path, lists: Path) -> None:
    take(store, snapshot(lists, 1, {"a": 1.0}))
    manifest = store / "manifest.json"
    text = manifest.read_text()
    manifest.unlink()
    with pytest.raises(StoreBroken):
        take(store, snapshot(lists, 2, {"a": 1.1}))
    manifest.write_text(text)
    assert asked(store) == {"a": 1.0}


def test_a_writer_removes_nothing_that_is_not_its_own(store: Path, lists: Path) -> None:
    store.mkdir()
    mine = [store / name for name in ("sales.parquet", "notes.tmp", "x.new", "offers-mine.parquet")]
    for path in mine:
        path.write_text("precious")
    take(store, snapshot(lists, 1, {"a": 1.0}))
    left = store / "offers-dead-0123456789ab.parquet.tmp"
    left.write_text("of a writer that died")
    take(store, snapshot(lists, 2, {"a": 1.1}))
    assert [path.read_text() for path in mine] == ["precious"] * 4
    assert not left.exists()


@pytest.mark.parametrize("how", ["removed", "cut", "emptied", "overwritten", "turned"])
def test_a_damaged_file_is_named_and_reading_it_is_no_crash(store: Path, lists: Path, how: str) -> None:
    take(store, snapshot(lists, 1, {"a": 1.0, "b": 2.0}))
    (path,) = store.glob("offers-*.parquet")
    content = bytearray(path.read_bytes())
    if how == "removed":
        path.unlink()
    elif how == "turned":
        for i in range(4, len(content) - 8, 3):
            content[i] ^= 0xFF
        path.write_bytes(content)
    else:
        path.write_bytes({"cut": content[:-20], "emptied": b"", "overwritten": b"x" * 5000}[how])
    assert [path.name in wrong for wrong in Store.open(store, store).damaged()] == [True]
    with pytest.raises(StoreBroken) as caught:
        offers(store)
    assert caught.value.hint


def test_no_turned_byte_brings_a_reader_down(store: Path, lists: Path) -> None:
    take(store, snapshot(lists, 1, {f"p{i}": 1.0 + i / 10 for i in range(20)}))
    (path,) = store.glob("offers-*.parquet")
    content = path.read_bytes()
    for i in range(0, len(content), max(1, len(content) // 60)):
        path.write_bytes(content[:i] + bytes([content[i] ^ 0x55]) + content[i + 1 :])
        opened = Store.open(store, store)
        assert opened.damaged()
        try:
            opened.find(OfferFilter(), USD)
        except RackrateError as error:
            assert error.code == "store-broken"  # noqa: PT017 - a byte of a value may also go unnoticed


def test_a_folder_without_a_market_is_told(tmp_path: Path) -> None:
    with pytest.raises(DataError) as caught:
        Store.open(tmp_path, tmp_path)
    assert caught.value.code == "no-market-data"


def test_a_list_of_no_records_is_rejected_and_leaves_no_store(store: Path, lists: Path) -> None:
    path = snapshot(lists, 1, {})
    with pytest.raises(ImportRejected):
        take(store, path)
    assert not store.exists()
