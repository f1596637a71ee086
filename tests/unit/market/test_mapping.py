"""Anyone's list by a mapping: every format, unit and constant; and every slip in a mapping is told."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from rackrate.errors import BadQuantity, ImportRejected, RackrateError, UnknownName, UsageError
from rackrate.market.filter import OfferFilter, order_by
from rackrate.market.ingest import import_list
from rackrate.market.offer import COLUMNS, Offer
from rackrate.market.store import Store

BASIC = 'provider = "who"\ngpu = { value = "L40S" }\nat = "at"'
RECORDS = [
    {"who": "a", "at": "2026-08-22T06:00:00Z", "usd": 1.25},
    {"who": "b", "at": "2026-08-22T06:00:00Z", "usd": 1.5},
]
CSV = "who;at;usd\na;2026-08-22T06:00:00Z;1.25\nb;2026-08-22T06:00:00Z;1.5\n"
Write = Callable[..., Path]
PER_OFFER = 'from = "usd"\nper = "instance"'


def take(
    tmp: Path, mapping: Path, name: str, content: str | bytes | list[Any] | dict[str, Any]
) -> dict[str, Offer]:
    """Import one list; return its offers by provider."""
    path = tmp / name
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        path.write_text(content if isinstance(content, str) else json.dumps(content))
    import_list(tmp / "store", path, mapping=mapping)
    found = Store.open(tmp / "store", tmp / "store").find(OfferFilter(), order_by("usd"))
    return {offer.provider: offer for offer in map(Offer.from_row, found.rows)}


FORMATS: dict[str, tuple[str, str, Any]] = {
    "csv": ("a.csv", "", CSV.replace(";", ",")),
    "tsv": ("a.tsv", "", CSV.replace(";", "\t")),
    "semicolon": ("a.csv", 'file.delimiter = ";"', CSV),
    "bom": ("a.csv", 'file.delimiter = ";"', "\ufeff" + CSV),
    "crlf": ("a.csv", 'file.delimiter = ";"', CSV.replace("\n", "\r\n")),
    "json": ("a.json", "", RECORDS),
    "nested": ("a.json", 'file.records = "data.offers"', {"data": {"offers": RECORDS}}),
    "by-key": ("a.json", 'file.records = "d"', {"d": {"x": RECORDS[0], "y": RECORDS[1]}}),
    "jsonl": ("a.jsonl", "", "\n".join(map(json.dumps, RECORDS))),
    "ndjson": ("a.ndjson", "", "\n\n".join(map(json.dumps, RECORDS))),
    "no-suffix": ("prices", 'file.format = "json"', RECORDS),
    "csv.gz": ("a.csv.gz", 'file.delimiter = ";"', gzip.compress(CSV.encode())),
    "json.gz": ("a.json.gz", "", gzip.compress(json.dumps(RECORDS).encode())),
    "jsonl.gz": ("a.jsonl.gz", "", gzip.compress("\n".join(map(json.dumps, RECORDS)).encode())),
}


@pytest.mark.parametrize("form", FORMATS)
def test_every_format_reads_the_same(tmp_path: Path, write_mapping: Write, form: str) -> None:
    name, head, content = FORMATS[form]
    found = take(tmp_path, write_mapping(BASIC, head=head), name, content)
    assert {who: offer.usd_per_gpu_hour for who, offer in found.items()} == {"a": 1.25, "b": 1.5}
    assert found["a"].observed_at == datetime(2026, 8, 22, 6, tzinfo=UTC)
    assert found["a"].gpu == "l40s"


@pytest.mark.parametrize(
    ("price", "usd"),
    [
        ('from = "usd"', 1.2),
        ('from = "usd"\nunit = "cent"', 0.012),
        ('from = "usd"\nunit = "micro"\n', 1.2e-6),
        ('from = "usd"\ntime = "second"', 1.2 * 3600),
        ('from = "usd"\ntime = "minute"', 72),
        ('from = "usd"\ntime = "day"', 1.2 / 24),
        ('from = "usd"\ntime = "week"', 1.2 / 168),
        ('from = "usd"\ntime = "month"', 1.2 / 730),
        ('from = "usd"\ntime = "year"', 1.2 / 8760),
        ('from = "usd"\nper = "instance"', 0.3),
        ('from = "usd"\ncurrency = "EUR"', 1.2 * 1.15),
        ('from = "usd"\ncurrency = { from = "money" }', 1.2 * 1.15),
        ('from = "usd"\nper = "instance"\nunit = "cent"\ntime = "second"', 10.8),
    ],
)
def test_units_of_a_price(tmp_path: Path, write_mapping: Write, price: str, usd: float) -> None:
    columns = 'provider = { value = "a" }\ngpu = { value = "of my own" }\ngpu_count = "n"\nat = "at"'
    row = {"usd": 1.2, "n": 4, "money": "eur", "at": "2026-08-22"}
    mapping = write_mapping(columns, price, tail='[fx]\nEUR = [["2026-08-22", 1.15]]')
    offer = take(tmp_path, mapping, "a.json", [row])["a"]
    assert offer.usd_per_gpu_hour == pytest.approx(usd)
    assert offer.usd_per_hour == pytest.approx(4 * usd)


@pytest.mark.parametrize(
    ("spec", "stated", "vram", "ram"),
    [
        ('{ from = "m" }', 48, 48, 48),
        ('{ from = "m", unit = "MiB" }', 49152, 48, 48),
        ('{ from = "m", unit = "GB" }', 48, 48e9 / 2**30, 48e9 / 2**30),
        ('{ from = "m", unit = "B" }', 48 * 2**30, 48, 48),
        ('{ from = "m", per = "gpu" }', 48, 48, 96),
        ('{ from = "m", per = "instance" }', 96, 48, 96),
        ('{ value = 49152, unit = "MiB" }', 0, 48, 48),
    ],
)
def test_units_of_memory(
    tmp_path: Path, write_mapping: Write, spec: str, stated: float, vram: float, ram: float
) -> None:
    columns = f"{BASIC}\ngpu_count = {{ value = 2 }}\nvram = {spec}\nram = {spec}"
    offer = take(tmp_path, write_mapping(columns), "a.json", [RECORDS[0] | {"m": stated}])["a"]
    assert offer.vram_raw_gib == pytest.approx(vram)
    assert offer.ram_gib == pytest.approx(ram)
    assert offer.vram_gib == 48


@pytest.mark.parametrize(
    ("text", "usd"),
    [("$1.25", 1.25), ("1,25", 1.25), ("1,25 €", 1.25), ("0,950", 0.95), ("1.25 USD", 1.25), (" 1.25 ", 1.25),
     ("1e0", 1.0), ("€ 0,9", 0.9)],
)  # fmt: skip
def test_prices_as_people_write_them(tmp_path: Path, write_mapping: Write, text: str, usd: float) -> None:
    assert take(tmp_path, write_mapping(BASIC), "a.json", [RECORDS[0] | {"usd": text}])["a"].price == usd


def test_values_are_translated_and_constants_hold(tmp_path: Path, write_mapping: Write) -> None:
    columns = (
        'provider = { value = "Crusoe" }\ngpu = { from = "g", values = { big = "L40S" } }\nat = "at"\n'
        'kind = { from = "k", values = { preempt = "spot", "1y" = "reserved" } }\n'
        'term_months = { from = "k", values = { "1y" = 12, preempt = "" } }\nregion = { value = "eu-1" }'
    )
    rows = [{"g": "big", "k": k, "at": "2026-08-22", "usd": 1.0} for k in ("preempt", "1y")]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows))
    import_list(tmp_path / "store", path, mapping=write_mapping(columns))
    found = Store.open(tmp_path / "store", tmp_path).find(OfferFilter(), order_by("kind"))
    offers = [Offer.from_row(row) for row in found.rows]
    assert [(o.kind.value, o.term_months, o.gpu, o.region) for o in offers] == [
        ("reserved", 12, "l40s", "eu-1"),
        ("spot", None, "l40s", "eu-1"),
    ]


def test_several_price_columns_are_several_offers(tmp_path: Path, write_mapping: Write) -> None:
    price = (
        'from = "usd"\n[[price]]\nfrom = "spot"\nkind = "spot"\n[[price]]\nfrom = "ye.ar"\nkind = "reserved"'
    )
    rows = [RECORDS[0] | {"spot": "", "ye": {"ar": 0.8}}, RECORDS[1] | {"spot": 0.5, "ye": None}]
    path = tmp_path / "a.json"
    path.write_text(json.dumps(rows))
    (receipt,) = import_list(tmp_path / "store", path, mapping=write_mapping(BASIC, price))
    assert (receipt.n_read, receipt.n_published) == (4, 4)
    found = Store.open(tmp_path / "store", tmp_path).find(OfferFilter(), order_by("usd"))
    offers = [Offer.from_row(row) for row in found.rows]
    assert [(o.provider, o.kind.value, o.price) for o in offers] == [
        ("b", "spot", 0.5), ("a", "reserved", 0.8), ("a", "on_demand", 1.25), ("b", "on_demand", 1.5),
    ]  # fmt: skip


@pytest.mark.parametrize("at", ["1787378400", 1787378400, 1787378400000, "2026-08-22T08:00:00+02:00"])
def test_instants_in_any_writing(tmp_path: Path, write_mapping: Write, at: Any) -> None:
    offer = take(tmp_path, write_mapping(BASIC), "a.json", [RECORDS[0] | {"at": at}])["a"]
    assert offer.observed_at == datetime(2026, 8, 22, 6, tzinfo=UTC)


def test_a_key_that_some_records_lack_is_no_missing_column(tmp_path: Path, write_mapping: Write) -> None:
    rows = [RECORDS[0], RECORDS[1] | {"place": "eu-1"}]
    found = take(tmp_path, write_mapping(BASIC + '\nregion = "place"'), "a.json", rows)
    assert (found["a"].region, found["b"].region) == (None, "eu-1")


def test_a_missing_column_names_the_nearest(tmp_path: Path, write_mapping: Write) -> None:
    with pytest.raises(UnknownName) as caught:
        take(tmp_path, write_mapping(BASIC.replace('"who"', '"woh"')), "a.csv", CSV.replace(";", ","))
    assert (caught.value.code, caught.value.nearest[0]) == ("unknown-column", "who")
    assert not (tmp_path / "store").exists()


def test_a_record_without_a_provider_is_rejected(tmp_path: Path, write_mapping: Write) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([RECORDS[0], RECORDS[1] | {"who": None}]))
    (receipt,) = import_list(tmp_path / "store", path, mapping=write_mapping(BASIC))
    assert (receipt.n_published, receipt.n_rejected) == (1, 1)
    assert receipt.rules["no_provider"] == 1


def test_records_of_a_dict_that_are_none_are_rejected_not_lost(tmp_path: Path, write_mapping: Write) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"d": {"x": RECORDS[0], "y": 3, "z": [1]}}))
    (receipt,) = import_list(
        tmp_path / "store", path, mapping=write_mapping(BASIC, head='file.records = "d"')
    )
    assert (receipt.n_read, receipt.n_published, receipt.n_rejected) == (3, 1, 2)


def test_a_dry_run_writes_nothing_and_shows_first_rows_and_rejects(
    tmp_path: Path, write_mapping: Write
) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([*RECORDS, {"who": "c", "at": "2026-08-22", "usd": "free"}, 4]))
    mapping = write_mapping(BASIC)
    (receipt,) = import_list(tmp_path / "store", path, mapping=mapping, is_dry_run=True)
    assert not (tmp_path / "store").exists()
    assert [Offer.from_row(row).provider for row in receipt.first] == ["a", "b"]
    assert all(len(row) == len(COLUMNS) for row in receipt.first)
    assert sorted(rule for rule, _, _ in receipt.rejects) == ["malformed", "price"]
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.json", "mapping.toml"]


PRICE = 'from = "usd"'
SLIPS: dict[str, tuple[dict[str, str], type[RackrateError], str]] = {
    "top-key": ({"head": "titel = 'x'"}, UnknownName, "title"),
    "file-key": ({"head": "file.delimeter = ';'"}, UnknownName, "delimiter"),
    "column-key": ({"columns": BASIC + '\nregoin = "x"'}, UnknownName, "region"),
    "spec-key": ({"columns": BASIC + '\nregion = { frm = "x", value = "y" }'}, UnknownName, "from"),
    "price-key": ({"price": PRICE + '\ncurency = "EUR"'}, UnknownName, "currency"),
    "price-unit": ({"price": PRICE + '\nunit = "cents"'}, UnknownName, "cent"),
    "price-time": ({"price": PRICE + '\ntime = "mnth"'}, UnknownName, "month"),
    "price-per": ({"price": PRICE + '\nper = "instnce"'}, UnknownName, "instance"),
    "price-kind": ({"price": PRICE + '\nkind = "spott"'}, UnknownName, "spot"),
    "memory-unit": ({"columns": BASIC + '\nvram = { from = "v", unit = "MIBB" }'}, UnknownName, "MIB"),
    "memory-per": ({"columns": BASIC + '\nvram = { from = "v", per = "gpus" }'}, UnknownName, "gpu"),
    "format": ({"head": "file.format = 'jsno'"}, UnknownName, "json"),
    "snapshot": ({"head": "file.snapshot = 'dya'"}, UnknownName, "day"),
    "cadence": ({"head": "cadence = 'dayly'"}, UnknownName, "daily"),
    "both": ({"columns": BASIC + '\nregion = { from = "x", value = "y" }'}, UsageError, ""),
    "neither": ({"columns": BASIC + "\nregion = {}"}, UsageError, ""),
    "number": ({"columns": BASIC + "\nregion = 3"}, UsageError, ""),
    "values": ({"columns": BASIC + '\nregion = { from = "x", values = "y" }'}, UsageError, ""),
    "no-provider": ({"columns": 'gpu = "g"'}, UsageError, ""),
    "no-from": ({"price": 'per = "gpu"'}, UsageError, ""),
    "currency": ({"price": PRICE + "\ncurrency = {}"}, UsageError, ""),
    "delimiter": ({"head": "file.delimiter = ';;'"}, UsageError, ""),
    "letter": ({"head": "file.delimiter = 'x'"}, UsageError, ""),
    "fx-number": ({"tail": "[fx]\nEUR = 1.15"}, UsageError, ""),
    "fx-day": ({"tail": '[fx]\nEUR = [["soon", 1.15]]'}, UsageError, ""),
    "fx-zero": ({"tail": '[fx]\nEUR = [["2026-08-22", 0]]'}, UsageError, ""),
    "fx-inf": ({"tail": '[fx]\nEUR = [["2026-08-22", inf]]'}, UsageError, ""),
    "file-text": ({"head": 'file = "x"'}, UsageError, ""),
    "toml": ({"head": "= ="}, ImportRejected, ""),
    "twice": ({"head": "title = 'x'\ntitle = 'y'"}, ImportRejected, ""),
}


@pytest.mark.parametrize("slip", SLIPS)
def test_a_slip_in_a_mapping_is_told_with_the_nearest(
    tmp_path: Path, write_mapping: Write, slip: str
) -> None:
    changes, error, near = SLIPS[slip]
    mapping = write_mapping(**({"columns": BASIC, "price": PRICE} | changes))
    with pytest.raises(error) as caught:
        take(tmp_path, mapping, "a.csv", CSV.replace(";", ","))
    if near:
        assert isinstance(caught.value, UnknownName)
        assert near in caught.value.nearest
    assert not (tmp_path / "store").exists()


@pytest.mark.parametrize("source", ["", "Acme", "a b", "../x", "-a"])
def test_a_source_that_is_no_slug_is_told(tmp_path: Path, source: str) -> None:
    mapping = tmp_path / "m.toml"
    mapping.write_text(f'source = "{source}"\n[columns]\nprovider = "who"\n[[price]]\nfrom = "usd"\n')
    with pytest.raises(UsageError):
        take(tmp_path, mapping, "a.csv", CSV)


@pytest.mark.parametrize(
    ("name", "head", "content"),
    [
        ("a.json", 'file.records = "data"', {"dta": []}),
        ("a.json", 'file.records = "data.x"', {"data": []}),
        ("a.json", "", {"a": 1}),
        ("a.json", "", 7),
        ("a.csv", "", "who,who\n1,2\n"),
        ("a.csv", "", 'who,at,usd\n"a'),
        ("a.csv", "", ""),
        ("a.jsonl", "", b"\xff\xfe"),
    ],
)
def test_a_file_that_is_not_what_the_mapping_says_is_rejected(
    tmp_path: Path, write_mapping: Write, name: str, head: str, content: Any
) -> None:
    with pytest.raises(ImportRejected):
        take(tmp_path, write_mapping(BASIC, head=head), name, content)
    assert not (tmp_path / "store").exists()


def test_a_suffix_that_tells_nothing_is_told(tmp_path: Path, write_mapping: Write) -> None:
    with pytest.raises(UsageError) as caught:
        take(tmp_path, write_mapping(BASIC), "a.xlsx", b"PK")
    assert caught.value.hint
    assert not isinstance(caught.value, BadQuantity)


def test_a_folder_of_files_is_one_list(tmp_path: Path, write_mapping: Write) -> None:
    folder = tmp_path / "days"
    folder.mkdir()
    for day in ("21", "22"):
        (folder / f"{day}.csv").write_text(f"who,at,usd\na,2026-08-{day},1.{day}\n")
    (folder / "README.md").write_text("not a list")
    (receipt,) = import_list(tmp_path / "store", folder, mapping=write_mapping(BASIC))
    assert receipt.snapshots == ("2026-08-21T00:00:00.000000", "2026-08-22T00:00:00.000000")
    assert receipt.n_read == receipt.n_published == 2


def test_records_that_share_a_shape_keep_their_own_price_time_and_place(
    tmp_path: Path, write_mapping: Write
) -> None:
    columns = f'{BASIC}\ngpu_count = "n"\nregion = "where"\ncountry = "land"\navailable = "stock"'
    record = {"who": "a", "n": 8, "at": "2026-08-22T06:00:00Z", "usd": 8}
    own = [
        {"usd": 8, "where": "x", "land": "DE", "stock": 1},
        {"usd": 16, "where": "y", "land": "FR", "stock": None, "at": "2026-08-22T05:00:00Z"},
        {"usd": 24, "where": "z", "n": True},  # equal to 1, and no number
        {"usd": 32, "where": "z", "n": 1},
        {"usd": 40, "where": "z", "n": [1]},
        {"usd": 48, "where": None, "n": 8},
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps([record | row for row in own]))
    (receipt,) = import_list(tmp_path / "store", path, mapping=write_mapping(columns, PER_OFFER))
    assert (receipt.n_published, receipt.n_rejected) == (4, 2)
    found = Store.open(tmp_path / "store", tmp_path / "store").find(OfferFilter(), order_by("usd_per_hour"))
    offers = list(map(Offer.from_row, found.rows))
    assert [(o.usd_per_hour, o.gpu_count, o.region, o.country, o.available) for o in offers] == [
        (8, 8, "x", "DE", 1), (16, 8, "y", "FR", None), (32, 1, "z", None, None), (48, 8, None, None, None),
    ]  # fmt: skip
    assert [o.observed_at.hour for o in offers if o.observed_at] == [6, 5, 6, 6]


def test_what_is_no_text_or_cannot_be_stored_does_not_stop_an_import(
    tmp_path: Path, write_mapping: Write
) -> None:
    record = {"who": "a", "usd": 1}
    rows = [
        record | {"at": f"2026-08-2{day}T06:00:00Z", "cpus": cpus}
        for day, cpus in enumerate([[4], {"n": 4}, "\ud800", "4\0"])
    ]
    mapping = write_mapping(f'{BASIC}\nvcpu = "cpus"', PER_OFFER)
    offers = take(tmp_path, mapping, "a.json", rows)
    assert offers["a"].vcpu is None
    assert "shape_unread" in offers["a"].flags
