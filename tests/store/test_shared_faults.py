"""What a shared market may answer instead of prices: each is one clear error, and no half of it is kept."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rackrate import upkeep
from rackrate.errors import StoreBroken
from rackrate.market.mirror import Mirror
from rackrate.market.store import manifest

ADDRESS = "s3://market/prices"


def offers(machine: Any, address: str = ADDRESS, **env: str) -> Any:
    return machine.run("offers", "--gpu", "l40s", "--store", address, "--json", **env)


def code(ran: Any) -> tuple[int, str]:
    return ran.code, ran.json["error"]["code"]


@pytest.fixture
def shared_one(s3: Any, machine: Any, price_list: Any, monkeypatch: pytest.MonkeyPatch) -> Any:
    """A store with the prices of a day."""
    with machine("writer").here(monkeypatch):
        assert not upkeep.import_prices(price_list(22), form="gpurentalprices", data=ADDRESS).unshared
    return s3


def file_of(machine: Any) -> str:
    (file,) = manifest.load(machine("writer").mirror).files
    return f"files/{file.sha256}.parquet"


@pytest.mark.usefixtures("shared_one")
def test_a_bucket_that_is_not_there_is_named_and_an_empty_market_too(machine: Any) -> None:
    ran = offers(machine("reader"), "s3://other-bucket/prices")
    assert code(ran) == (4, "no-market-data")
    assert "other-bucket" in ran.json["error"]["detail"]
    ran = offers(machine("reader"), "s3://market/elsewhere")
    assert code(ran) == (4, "no-market-data")
    assert "s3://market/elsewhere" in ran.json["error"]["detail"]


def test_a_key_that_is_not_taken_is_told_even_where_a_mirror_could_answer(
    shared_one: Any, machine: Any, price_list: Any
) -> None:
    reader = machine("reader")
    assert offers(reader).code == 0
    shared_one.tell("POST", "/moto-api/reset-auth", b"0")
    try:
        assert code(offers(reader)) == (4, "gated")
        assert "InvalidAccessKeyId" in offers(reader).json["error"]["detail"]
        ran = machine("writer").run(
            "market",
            "import",
            "--format",
            "gpurentalprices",
            str(price_list(23)),
            "--store",
            ADDRESS,
            "--json",
        )
        assert code(ran) == (4, "gated")
    finally:
        shared_one.tell("POST", "/moto-api/reset-auth", b"inf")


def test_without_a_key_nobody_is_asked(shared_one: Any, machine: Any) -> None:
    shared_one.asked.clear()
    ran = offers(machine("reader"), AWS_ACCESS_KEY_ID="")
    assert code(ran) == (4, "gated")
    assert "AWS_ACCESS_KEY_ID" in ran.json["error"]["hint"]
    assert shared_one.asked == []
    for name in ("manifest.json", file_of(machine)):
        shared_one.tell("PUT", shared_one.key(name) + "?acl", **{"x-amz-acl": "public-read"})
    nobody = {"AWS_ACCESS_KEY_ID": "", "AWS_SECRET_ACCESS_KEY": "", "AWS_SKIP_SIGNATURE": "true"}
    assert offers(machine("reader"), **nobody).code == 0


def test_no_key_goes_unencrypted_to_another_machine(machine: Any, s3: Any) -> None:
    del s3
    ran = offers(machine("reader"), AWS_ENDPOINT_URL="http://192.0.2.1:9")
    assert code(ran) == (2, "usage")
    assert "without encryption" in ran.json["error"]["detail"]
    assert "AWS_ALLOW_HTTP" in ran.json["error"]["hint"]


@pytest.mark.parametrize("half", [True, False])
def test_an_object_that_is_not_what_was_published_is_not_taken(
    shared_one: Any, machine: Any, price_list: Any, *, half: bool
) -> None:
    reader = machine("reader")
    assert offers(reader).code == 0
    before = manifest.load(reader.mirror)
    words = ("market", "import", "--format", "gpurentalprices", str(price_list(23)), "--store", ADDRESS)
    assert machine("writer").run(*words).code == 0
    new = manifest.load(machine("writer").mirror).files[-1]
    key = shared_one.key(f"files/{new.sha256}.parquet")
    body = shared_one.tell("GET", key)
    shared_one.tell("PUT", key, body[: len(body) // 2] if half else b"x" * len(body))
    ran = offers(reader)
    assert ran.code == 0
    assert "is not what was published" in ran.err
    assert "the mirror of" in ran.err
    assert manifest.load(reader.mirror) == before
    assert not list(reader.mirror.glob("*.tmp"))
    assert code(offers(machine("new"))) == (4, "store-broken")
    shared_one.tell("DELETE", key)
    assert code(offers(machine("new"))) == (4, "store-broken")
    shared_one.tell("PUT", key, body)
    assert offers(reader).err == ""


def test_an_answer_that_breaks_off_is_not_taken(shared_one: Any, machine: Any) -> None:
    body = shared_one.tell("GET", shared_one.key(file_of(machine)))

    def cut(asked: Any) -> Any:
        is_file = asked.method == "GET" and "/files/" in asked.path
        return asked.cut_short(body[:100]) if is_file else None

    shared_one.hook = cut
    assert code(offers(machine("reader"))) in ((4, "network"), (4, "store-broken"))
    assert not list(machine("reader").mirror.glob("*.parquet*"))
    shared_one.hook = None
    assert offers(machine("reader")).code == 0


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"<html>",
        b"[]",
        b'{"schema": 99, "files": []}',
        b'{"schema": 1, "files": [{"name": "x"}]}',
        b'{"schema": 1, "files": [], "rates": [["EUR", "2026-08-22"]]}',
    ],
)
def test_a_manifest_that_is_none_is_not_taken(
    shared_one: Any, machine: Any, text: bytes, monkeypatch: pytest.MonkeyPatch
) -> None:
    with machine("reader").here(monkeypatch):
        mirror = Mirror(ADDRESS)
        assert mirror.look() == ""
        before = manifest.load(mirror.folder)
        shared_one.tell("PUT", shared_one.key("manifest.json"), text)
        assert "manifest.json" in mirror.look(is_due=True)
        assert manifest.load(mirror.folder) == before
        with pytest.raises(StoreBroken):
            mirror.share()
    with machine("new").here(monkeypatch), pytest.raises(StoreBroken):
        Mirror(ADDRESS).look()


@pytest.mark.parametrize(
    "changed",
    [
        {"name": "../../evil-gpurentalprices-0123456789ab.parquet"},
        {"name": "offers-../../x-0123456789ab.parquet"},
        {"name": "lock"},
        {"name": "manifest.json"},
        {"sha256": "../../manifest"},
        {"sha256": ""},
    ],
)
def test_a_manifest_that_would_write_elsewhere_is_not_taken(
    shared_one: Any, machine: Any, changed: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    doc = json.loads(shared_one.tell("GET", shared_one.key("manifest.json")))
    doc["files"][0] |= changed
    shared_one.tell("PUT", shared_one.key("manifest.json"), json.dumps(doc).encode())
    before = {path for path in tmp_path.rglob("*") if "reader" not in path.parts}
    with machine("reader").here(monkeypatch), pytest.raises(StoreBroken):
        Mirror(ADDRESS).look()
    assert {path for path in tmp_path.rglob("*") if "reader" not in path.parts} == before


def test_a_damaged_file_here_is_not_published(s3: Any, machine: Any, price_list: Any, tmp_path: Path) -> None:
    own, writer = tmp_path / "own", machine("writer")
    words = ("--format", "gpurentalprices", "--data", str(own))
    assert writer.run("market", "import", str(price_list(21)), *words).code == 0
    (path,) = own.glob("offers-*.parquet")
    path.write_bytes(path.read_bytes()[:-1])
    ran = writer.run("market", "publish", str(own), "--store", ADDRESS, "--json")
    assert code(ran) == (4, "store-broken")
    path.unlink()
    ran = writer.run("market", "publish", str(own), "--store", ADDRESS, "--json")
    assert code(ran) == (4, "store-broken")
    assert s3.puts() == []


def test_a_mirror_that_cannot_be_written_is_told(shared_one: Any, machine: Any, tmp_path: Path) -> None:
    del shared_one
    (tmp_path / "reader").write_text("a file in the place of the home")
    ran = offers(machine("reader"))
    assert code(ran) == (6, "refused")
