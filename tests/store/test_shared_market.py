"""One market, many machines: what one shares all others read, whole, with or without a network."""

from __future__ import annotations

import hashlib
import json
import os
import re
import signal
import urllib.request
from contextlib import suppress
from pathlib import Path
from typing import Any

import click
import pytest

from rackrate import api, config
from rackrate.cli import main
from rackrate.market.home import home_of
from rackrate.market.mirror import Mirror
from rackrate.market.store import Store, manifest
from rackrate.web.site import Site

ADDRESS = "s3://market/prices"
SECRET = "a-secret-of-mine"  # noqa: S105 - the server on loopback knows it


def days(folder: Path) -> list[str]:
    """Return the days listed in a store, each of whose files is what was written."""
    opened = Store(folder, manifest.load(folder))
    assert opened.damaged() == []
    return sorted(snapshot.at[8:10] for file in opened.files for snapshot in file.snapshots)


def put(machine: Any, path: Path) -> Any:
    return machine.run(
        "market", "import", "--format", "gpurentalprices", str(path), "--store", ADDRESS, "--json"
    )


def offers(machine: Any, **env: str) -> Any:
    return machine.run("offers", "--gpu", "l40s", "--store", ADDRESS, "--json", **env)


@pytest.mark.usefixtures("s3")
def test_what_one_machine_imports_another_reads(machine: Any, price_list: Any) -> None:
    writer, reader = machine("writer"), machine("reader")
    ran = put(writer, price_list(22))
    assert (ran.code, ran.json["meta"]["store"]) == (0, ADDRESS), ran.err
    first = offers(reader)
    assert first.code == 0, first.err
    assert [row["provider"] for row in first.json["data"]] == ["p0", "p1", "p2"]
    assert first.json == offers(writer).json
    assert manifest.load(reader.mirror) == manifest.load(writer.mirror)
    assert {path.name for path in reader.mirror.iterdir()} == {
        *(file.name for file in manifest.load(reader.mirror).files), "manifest.json", "shared.json", "lock",
    }  # fmt: skip


def test_what_did_not_change_is_asked_for_once_and_not_sent(s3: Any, machine: Any, price_list: Any) -> None:
    put(machine("writer"), price_list(22))
    reader = machine("reader")
    offers(reader)
    s3.asked.clear()
    assert offers(reader).code == 0
    assert s3.asked == [("GET", s3.key("manifest.json"))]
    put(machine("writer"), price_list(23))
    s3.asked.clear()
    assert offers(reader).code == 0
    assert [path.split("/")[3] for _, path in s3.asked] == ["manifest.json", "files"]
    assert days(reader.mirror) == ["22", "23"]


@pytest.mark.usefixtures("s3")
def test_two_who_write_at_once_lose_nothing(machine: Any, price_list: Any) -> None:
    words = ("-m", "rackrate", "market", "import", "--format", "gpurentalprices", "--store", ADDRESS)
    lists = {day: price_list(day) for day in range(10, 16)}
    running = [machine(f"of-{day}").start(*words, str(path)) for day, path in lists.items()]
    for process in running:
        _, err = process.communicate(timeout=60)
        assert process.returncode == 0, err
    reader = machine("reader")
    assert offers(reader).code == 0
    assert days(reader.mirror) == [str(day) for day in lists]


def test_who_is_outrun_adds_to_what_the_other_wrote(
    s3: Any, machine: Any, price_list: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    slow, fast = machine("slow"), machine("fast")

    def overtake(asked: Any) -> None:
        if asked.method == "PUT" and asked.path == s3.key("manifest.json"):
            s3.hook = None
            assert put(fast, price_list(21)).code == 0

    s3.hook = overtake
    assert put(slow, price_list(22)).code == 0
    assert days(slow.mirror) == ["21", "22"]
    assert s3.puts().count("manifest.json") == 3
    with machine("reader").here(monkeypatch):
        assert Mirror(ADDRESS).look() == ""
        assert days(Mirror(ADDRESS).folder) == ["21", "22"]


def test_a_reader_sees_the_market_before_or_after_never_between(
    s3: Any, machine: Any, price_list: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(machine("writer"), price_list(21))
    seen = []
    with machine("reader").here(monkeypatch):
        mirror = Mirror(ADDRESS)

        def look(asked: Any) -> None:
            if asked.method == "PUT":
                s3.hook = None
                mirror.look(is_due=True)
                seen.append((asked.path.split("/")[3], days(mirror.folder)))
                s3.hook = look

        s3.hook = look
        assert put(machine("writer"), price_list(22)).code == 0
        s3.hook = None
        assert seen == [("files", ["21"]), ("manifest.json", ["21"])]
        mirror.look(is_due=True)
        assert days(mirror.folder) == ["21", "22"]


def test_a_writer_that_dies_after_its_upload_leaves_the_market_as_it_was(
    s3: Any, machine: Any, price_list: Any
) -> None:
    writer, reader = machine("writer"), machine("reader")
    put(writer, price_list(21))
    words = ("-m", "rackrate", "market", "import", "--format", "gpurentalprices", "--store", ADDRESS)
    running = []

    def kill(asked: Any) -> Any:
        if asked.method == "PUT" and asked.path == s3.key("manifest.json"):
            os.kill(running[0].pid, signal.SIGKILL)
            return asked.refuse("503 Slow Down")
        return None

    s3.hook = kill
    path = price_list(22)
    running.append(writer.start(*words, str(path)))
    running[0].communicate(timeout=60)
    s3.hook = None
    assert running[0].returncode == -signal.SIGKILL
    assert offers(reader).code == 0
    assert days(reader.mirror) == ["21"]
    ran = writer.run("market", "publish", "--store", ADDRESS, "--json")
    assert (ran.code, ran.json["data"]["new"]) == (0, 1), ran.err
    assert offers(reader).code == 0
    assert days(reader.mirror) == ["21", "22"]


def test_a_server_that_is_down_leaves_readers_their_mirror_and_writers_their_work(
    s3: Any, machine: Any, price_list: Any
) -> None:
    writer, reader = machine("writer"), machine("reader")
    put(writer, price_list(21))
    before = offers(reader)
    refused = {
        "AWS_ENDPOINT_URL": os.environ["AWS_ENDPOINT_URL"],
        "RACKRATE_NOW": "2026-08-22T15:00:00+00:00",
    }
    s3.hook = lambda asked: asked.refuse("503 Slow Down")
    ran = offers(reader, **refused)
    assert (ran.code, ran.json["data"]) == (0, before.json["data"])
    assert re.search(r"HTTP 503.*; the mirror of 3 h ago answers", ran.err), ran.err
    ran = put(writer, price_list(22))
    assert ran.code == 4
    assert "not shared yet" in ran.json["meta"]["unshared"]
    assert days(writer.mirror) == ["21", "22"]
    new = offers(machine("new"))
    assert (new.code, new.json["error"]["code"]) == (4, "network")
    s3.hook = None
    assert writer.run("market", "publish", "--store", ADDRESS).code == 0
    assert offers(reader).err == ""
    assert days(reader.mirror) == ["21", "22"]
    s3.close()
    ran = offers(reader)
    assert ran.code == 0
    assert "cannot be asked" in ran.err


def test_a_market_of_ones_own_is_published_and_what_is_there_already_is_not_sent_again(
    s3: Any, machine: Any, price_list: Any, tmp_path: Path
) -> None:
    own, writer = tmp_path / "own", machine("writer")
    words = ["--format", "gpurentalprices", "--data", str(own)]
    assert writer.run("market", "import", str(price_list(21)), *words).code == 0
    for n_new in (1, 0):
        ran = writer.run("market", "publish", str(own), "--store", ADDRESS, "--json")
        assert (ran.code, ran.json["data"]) == (
            0, {"new": n_new, "files": 1, "dataset": manifest.load(own).version},
        )  # fmt: skip
    assert s3.puts() == [f"{manifest.load(own).files[0].sha256}.parquet", "manifest.json"]
    assert writer.run("market", "publish", str(own), "--data", str(own)).code == 2
    ran = writer.run("market", "publish", str(tmp_path / "none"), "--store", ADDRESS, "--json")
    assert ran.json["error"]["code"] == "no-market-data"


@pytest.mark.usefixtures("s3")
def test_rates_of_exchange_are_shared_with_the_prices(
    machine: Any, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, price_list: Any
) -> None:
    from datetime import date  # noqa: PLC0415

    from rackrate.market.rates import keep_rates, known_rates  # noqa: PLC0415

    put(machine("writer"), price_list(21))
    with machine("writer").here(monkeypatch):
        mirror = Mirror(ADDRESS)
        keep_rates(mirror.folder, [("EUR", date(2026, 11, 20), 1.25)])
        assert mirror.share() == 0
    with machine("reader").here(monkeypatch):
        reader = Mirror(ADDRESS)
        reader.look()
        found = known_rates(reader.folder).usd_for_one("EUR", date(2026, 11, 21))
        assert found is not None
        assert found[0] == 1.25
        day = "at = { value = '2026-11-21' }\nprovider = { value = 'acme' }\ngpu = { value = 'L40S' }"
        price = "[[price]]\nfrom = 'eur'\ncurrency = 'EUR'"
        (tmp_path / "m.toml").write_text(f"source = 'acme'\n[columns]\n{day}\n{price}\n")
        (tmp_path / "acme.csv").write_text("eur\n1.00\n")
    words = ("--mapping", str(tmp_path / "m.toml"), str(tmp_path / "acme.csv"))
    ran = machine("reader").run("market", "import", *words, "--store", ADDRESS, "--dry-run", "--json")
    assert ran.json["data"][0]["first"][0]["usd_per_gpu_hour"] == 1.25, ran.err


def test_a_market_that_was_begun_anew_replaces_the_mirror_but_not_what_waits_here(
    s3: Any, machine: Any, price_list: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(machine("writer"), price_list(21))
    with machine("reader").here(monkeypatch):
        mirror = Mirror(ADDRESS)
        mirror.look()
        own = machine("own").home
        machine("own").run(
            "market",
            "import",
            "--format",
            "gpurentalprices",
            str(price_list(19)),
            "--data",
            str(mirror.folder),
        )
        assert days(mirror.folder) == ["19", "21"]
        assert not (own / "rackrate" / "shared").exists()
        s3.tell("DELETE", s3.key("manifest.json"))
        assert "is gone; the mirror of" in mirror.look(is_due=True)
        assert days(mirror.folder) == ["19", "21"]
        put(machine("other"), price_list(22))
        assert mirror.share() == 1
        assert days(mirror.folder) == ["19", "22"]


def test_a_process_that_was_slow_to_hear_does_not_turn_the_mirror_back(
    s3: Any, machine: Any, price_list: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(machine("writer"), price_list(21))

    def late(asked: Any) -> Any:
        if asked.method != "GET" or asked.path != s3.key("manifest.json"):
            return None
        s3.hook = None
        old = s3.tell("GET", asked.path)
        put(machine("writer"), price_list(22))
        assert offers(machine("reader")).code == 0
        tag = f'"{hashlib.md5(old, usedforsecurity=False).hexdigest()}"'
        stated = "Sat, 22 Aug 2026 12:00:00 GMT"
        asked.start("200 OK", [("ETag", tag), ("Last-Modified", stated), ("Content-Length", str(len(old)))])
        return [old]

    with machine("reader").here(monkeypatch):
        s3.hook = late
        mirror = Mirror(ADDRESS)
        mirror.look(is_due=True)
        assert days(mirror.folder) == ["21", "22"]


def test_the_site_follows_a_shared_market_and_no_page_waits_for_it(
    s3: Any, machine: Any, price_list: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(machine("writer"), price_list(21))
    with machine("site").here(monkeypatch):
        site = Site(ADDRESS)
        site.look()
        before = site.version
        put(machine("writer"), price_list(22))
        s3.asked.clear()
        assert site.version == before
        assert s3.asked == []
        site.look()
        assert site.version != before
        assert site.market().version == manifest.load(Mirror(ADDRESS).folder).version
        behind = site.version
        s3.hook = lambda asked: asked.refuse("503 Slow Down")
        site.look()
        assert site.version != behind
        assert "HTTP 503" in site.is_behind
        s3.hook = None
        site.look()
        assert (site.version, site.is_behind) == (behind, "")


@pytest.mark.usefixtures("s3")
def test_the_served_site_answers_from_a_shared_market(machine: Any, price_list: Any) -> None:
    put(machine("writer"), price_list(21))
    process = machine("site").start("-m", "rackrate", "serve", "--port", "0", "--store", ADDRESS)
    try:
        said = ""
        while "listening on" not in said:
            said = process.stderr.readline()
            assert said
        with urllib.request.urlopen(said.split()[-1] + "/readyz", timeout=10) as answer:  # noqa: S310
            ready = json.load(answer)
        assert ready["dataset"] == manifest.load(machine("writer").mirror).version
    finally:
        process.terminate()
        process.communicate(timeout=20)
    assert process.returncode == 0


def test_every_command_that_reads_the_market_takes_the_address_of_a_shared_one() -> None:
    taking = {}

    def walk(command: click.Command, name: str) -> None:
        for option in command.params:
            if "--data" in option.opts:
                taking[name] = option.opts
        if isinstance(command, click.Group):
            context = click.Context(command)
            for each in command.list_commands(context):
                found = command.get_command(context, each)
                assert found
                walk(found, f"{name} {each}".strip())

    walk(main, "")
    assert set(taking) >= {
        "gpu", "gpus list", "gpus compare", "offers", "price", "plan ask", "own", "perf", "providers list",
        "serve",
        "market import", "market collect", "market check", "market stats", "market status", "market watch",
        "market replay", "market publish",
    }  # fmt: skip
    assert all(opts == ["--data", "--store"] for opts in taking.values())


@pytest.mark.usefixtures("s3")
def test_every_question_is_answered_from_where_the_environment_says(machine: Any, price_list: Any) -> None:
    put(machine("writer"), price_list(22))
    reader = machine("reader")
    asked = [
        ["gpu", "l40s"], ["gpus", "list"], ["offers", "--gpu", "l40s"], ["price", "l40s"],
        ["plan", "llama-3.1-8b", "--rps", "1"], ["providers", "list"], ["market", "stats"],
        ["market", "check"], ["market", "status"], ["market", "watch", "--once", "--below", "l40s=0.5"],
    ]  # fmt: skip
    for words in asked:
        ran = reader.run(*words, RACKRATE_STORE=ADDRESS, RACKRATE_DATA="/nowhere")
        assert ran.code == 0, (words, ran.err)
    assert '"p0"' in reader.run("offers", "--gpu", "l40s", "--json", RACKRATE_DATA=ADDRESS).out


def test_a_question_from_python_looks_again_after_a_minute_not_at_once(
    s3: Any, machine: Any, price_list: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(machine("writer"), price_list(22))
    with machine("notebook").here(monkeypatch):
        store = api.open_market(ADDRESS)
        assert (store.address, store.behind, store.is_sample) == (ADDRESS, "", False)
        assert ADDRESS in store._repr_html_()
        s3.asked.clear()
        assert api.open_market(ADDRESS) is store
        assert s3.asked == []


@pytest.mark.usefixtures("s3")
def test_no_file_and_no_word_of_ours_holds_a_key(machine: Any, price_list: Any) -> None:
    writer = machine("writer")
    said = put(writer, price_list(22))
    spoken = said.out + said.err + writer.run("config", "show", RACKRATE_STORE=ADDRESS).out
    refused = writer.run("gpus", "list", "--store", f"s3://me:{SECRET}@market/prices")
    assert refused.code == 2
    spoken += refused.err
    for path in writer.home.rglob("*"):
        if path.is_file():
            with suppress(UnicodeDecodeError):
                spoken += path.read_text()
    assert SECRET not in spoken


@pytest.mark.parametrize(
    "place", ["gs://b/p", "https://b/p", "s3://", "s3://a b/c", "s3://B/x", "s3://bucket/../x?y"]
)
def test_what_is_no_address_is_refused(place: str, machine: Any) -> None:
    ran = machine("one").run("gpus", "list", "--store", place, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (2, "usage")


def test_a_folder_stays_a_folder(monkeypatch: pytest.MonkeyPatch, own_home: Path) -> None:
    assert home_of("~/x").folder == own_home / "x"
    assert home_of().named is None
    assert home_of().folder == config.default_store()
    monkeypatch.setenv("RACKRATE_DATA", "/srv/market")
    assert (str(home_of()), home_of().look(), home_of().share()) == ("/srv/market", "", "")


WITHOUT = """
import sys
sys.modules["obstore"] = None
from rackrate.cli import status
sys.exit(status(sys.argv[1:]))
"""


def test_without_the_extra_one_error_says_what_to_install(machine: Any) -> None:
    process = machine("bare").start("-c", WITHOUT, "price", "l40s", "--store", ADDRESS, "--json")
    out, _ = process.communicate(timeout=60)
    error = json.loads(out)["error"]
    assert (process.returncode, error["code"]) == (2, "extra")
    assert "rackrate[store]" in error["hint"]
    process = machine("bare").start("-c", WITHOUT, "price", "l40s", "--json")
    process.communicate(timeout=60)
    assert process.returncode == 0


def test_what_is_collected_is_shared_now_or_with_the_next_collection(s3: Any, machine: Any) -> None:
    offer = {"gpu_name": "L40S", "num_gpus": 1, "gpu_ram": 46068, "cpu_ram": 262144, "dph_total": 0.9}
    listing = json.dumps({"offers": [offer | {"id": n} for n in range(5)]}).encode()

    def source(asked: Any) -> Any:
        if asked.path != "/api/v0/bundles/":
            return asked.refuse("503 Slow Down") if is_down and asked.method == "PUT" else None
        asked.start("200 OK", [("Content-Type", "application/json"), ("Content-Length", str(len(listing)))])
        return [listing]

    s3.hook, is_down = source, True
    collector, reader = machine("collector"), machine("reader")
    words = ("market", "collect", "vast", "--store", ADDRESS, "--json")
    asked_at = {"RACKRATE_COLLECT_URL_VAST": f"http://127.0.0.1:{s3.port}"}
    ran = collector.run(*words, **asked_at)
    assert ran.code == 4, ran.err
    assert ran.json["data"][0]["outcome"] == "ok"
    assert (ran.json["meta"]["store"], "HTTP 503" in ran.json["meta"]["unshared"]) == (ADDRESS, True)
    assert offers(reader).json["error"]["code"] == "no-market-data"
    is_down = False
    ran = collector.run(*words, **asked_at, RACKRATE_NOW="2026-08-22T13:00:00Z")
    assert (ran.code, "unshared" in ran.json["meta"]) == (0, False), ran.err
    assert len(offers(reader).json["data"]) == 5
    assert len(days(reader.mirror)) == 2
    ran = reader.run("market", "status", "vast", "--store", ADDRESS, "--json")
    assert (ran.json["data"][0]["rows"], ran.json["data"][0]["state"]) == (5, "ok")  # asked by another
    assert not (reader.mirror / "collected").exists()
