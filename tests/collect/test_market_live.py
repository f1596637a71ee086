"""The life of a market that is collected: status, what changed, the archive, killed and rival collectors."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from rackrate.cli import status
from rackrate.market.collect import collectors
from rackrate.market.collect.archive import Archive
from rackrate.market.collect.run import replay
from rackrate.market.filter import OfferFilter, order_by
from rackrate.market.store.compare import changes, tally

PATH = "/api/v0/bundles/"


def offer(n: int, **changed: Any) -> dict[str, Any]:
    base = {
        "id": n,
        "gpu_name": "L40S",
        "num_gpus": 1,
        "gpu_ram": 46068,
        "cpu_cores": 64,
        "cpu_cores_effective": 8.0,
        "cpu_ram": 262144,
        "dph_total": 0.9,
        "min_bid": 0,
        "geolocation": "Texas, US",
    }
    return base | changed


def listing(*offers: dict[str, Any]) -> dict[str, Any]:
    return {"offers": list(offers)}


def cli(capsys: pytest.CaptureFixture[str], *args: str) -> tuple[int, Any]:
    capsys.readouterr()
    code = status([*args, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_status_tells_how_each_source_stands_and_what_changed_in_a_day(
    live: Any, reply: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    live.set_env("RACKRATE_DATA", str(live.folder))
    live.site.routes[PATH] = [
        reply(listing(*(offer(n) for n in range(6)))),
        reply(
            listing(
                *(offer(n) for n in range(2, 6)),
                offer(0, dph_total=0.8),
                offer(9, gpu_name="H100 SXM", gpu_ram=81559, dph_total=2.1, min_bid=1.05),
            )
        ),
        reply(status=500),
    ]
    live.at("2026-08-21T12:00:00Z")
    assert live.one("vast").outcome == "ok"
    live.at("2026-08-22T11:30:00Z")
    assert live.one("vast").outcome == "ok"
    live.at("2026-08-22T12:30:00Z")
    assert live.one("vast").outcome == "failed"
    code, found = cli(capsys, "market", "status")
    assert code == 0
    by_name = {row["source"]: row for row in found["data"]}
    assert set(by_name) == set(collectors())
    vast = by_name["vast"]
    assert (vast["state"], vast["rows"], vast["l40s_rows"]) == ("failed", 7, 5)
    assert (vast["age_h"], vast["tier"], vast["good_at"]) == (1.0, "fresh", "2026-08-22T11:30:00+00:00")
    assert vast["says"].startswith("status: ")
    assert vast["changed"] == {"new": 2, "gone": 1, "moved": 1}
    assert vast["compared_with"].startswith("2026-08-21T12:00")
    assert by_name["runpod"]["state"] == "off"
    assert by_name["lambda"]["state"] == "skipped"
    assert "LAMBDA_API_KEY" in by_name["lambda"]["says"]
    assert by_name["azure"]["state"] == "never"

    _, named = cli(capsys, "market", "status", "vast")
    told = sorted((c["what"], c["sku"], c["kind"], c["before"], c["after"]) for c in named["changes"])
    assert told == [
        ("gone", "1", "on_demand", 0.9, None),
        ("moved", "0", "on_demand", 0.9, 0.8),
        ("new", "9", "on_demand", None, 2.1),
        ("new", "9", "spot", None, 1.05),
    ]
    live.at("2026-08-30T12:30:00Z")
    _, old = cli(capsys, "market", "status", "vast")
    assert old["data"][0]["tier"] == "hidden"


def test_rejects_of_the_last_attempt_are_counted_by_rule(
    live: Any, reply: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    live.site.routes[PATH] = reply(listing(*(offer(n) for n in range(4))))
    live.one("vast")
    live.site.routes[PATH] = reply(listing(*(offer(n) for n in range(3)), {"id": 9}))
    live.at("2026-08-22T13:00:00Z")
    live.one("vast")
    _, found = cli(capsys, "market", "status", "vast", "--data", str(live.folder))
    assert found["data"][0]["rejects"] == {"malformed": 1, "zero_spot": 3}


def test_what_was_collected_answers_questions(live: Any, reply: Any) -> None:
    live.site.routes[PATH] = reply(listing(offer(1), offer(2, dph_total=0.7)))
    live.one("vast")
    found = live.store.find(OfferFilter(), order_by("usd_per_gpu_hour"))
    assert found.n_matching == 2


def test_changes_need_two_listings(live: Any, reply: Any) -> None:
    assert changes(live.store, "vast") == ("", [])
    live.site.routes[PATH] = reply(listing(offer(1)))
    live.one("vast")
    assert changes(live.store, "vast") == ("", [])
    live.at("2026-08-22T13:00:00Z")
    live.one("vast")
    at, found = changes(live.store, "vast", timedelta(hours=24))
    assert at.startswith("2026-08-22T12:00")
    assert tally(found) == {"new": 0, "gone": 0, "moved": 0}


def test_exit_status_tells_a_schedule_what_it_must_know(
    live: Any, reply: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    live.site.routes[PATH] = [reply(listing(offer(1))), reply(status=404)]
    for name in collectors():
        live.set_env(f"RACKRATE_COLLECT_URL_{name.upper()}", live.site.url)
    live.set_env("RACKRATE_DATA", str(live.folder))
    code, found = cli(capsys, "market", "collect", "vast")
    assert (code, found["data"][0]["outcome"]) == (0, "ok")
    code, found = cli(capsys, "market", "collect", "vast")
    assert (code, found["data"][0]["code"]) == (5, "status")
    code, found = cli(capsys, "market", "collect", "runpod", "lambda")
    assert (code, [done["outcome"] for done in found["data"]]) == (0, ["skipped", "off"])
    capsys.readouterr()
    assert status(["market", "collect", "vats"]) == 2
    assert "vast" in capsys.readouterr().err


def test_settings_come_from_files_too_and_a_wrong_one_is_an_error(
    live: Any, reply: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    settings = Path("rackrate.toml")  # the fixture stands in a folder of its own
    settings.write_text(
        f'[collect]\nenable = ["runpod"]\ndisable = ["vast"]\n[collect.urls]\nrunpod = "{live.site.url}"\n'
    )
    live.site.routes["/graphql"] = reply({"data": {"gpuTypes": []}})
    code, found = cli(capsys, "market", "collect", "runpod", "vast", "--data", str(live.folder))
    assert code == 5
    by_name = {done["source"]: done for done in found["data"]}
    assert by_name["runpod"]["code"] == "empty"
    assert by_name["vast"]["says"] == "switched off by you"
    for wrong in ("[collect]\nenable = 3", "collect = 1", '[collect.urls]\nvast = "no"', "[collect"):
        settings.write_text(wrong)
        capsys.readouterr()
        assert status(["market", "collect", "vast"]) == 2
        assert "Traceback" not in capsys.readouterr().err


def test_a_key_does_not_go_unencrypted_over_the_network(live: Any) -> None:
    live.set_env("LAMBDA_API_KEY", "hush")
    live.set_env("RACKRATE_COLLECT_URL_LAMBDA", "http://prices.example")
    live.site.url = "http://prices.example"
    assert live.one("lambda").code == "insecure"


def test_answers_are_read_again_after_a_parser_was_mended(
    live: Any, reply: Any, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    vast = collectors()["vast"]
    live.site.routes[PATH] = reply(listing(offer(1, min_bid=None), offer(2, min_bid=None)))
    right = type(vast).offer

    def wrong(self: Any, *args: Any, price: Any, **more: Any) -> Any:
        return right(self, *args, price=price * 2, **more)

    with monkeypatch.context() as patch:
        patch.setattr(type(vast), "offer", wrong)
        live.one("vast")
    assert [price for (price,) in live.rows("price", "vast")] == [1.8, 1.8]
    assert replay(live.folder, [vast]) == []  # this parser read them already
    monkeypatch.setattr(type(vast), "parser_version", vast.parser_version + 1)
    code, found = cli(capsys, "market", "replay", "vast", "--data", str(live.folder))
    assert (code, found["data"][0]["outcome"], found["data"][0]["rows"]) == (0, "ok", 2)
    (live_file,) = {file.name for (file, _) in live.store.live().values()}
    assert live_file
    assert [price for (price,) in live.rows("price", "vast")] == [0.9, 0.9]
    assert live.state("vast").good_at == "2026-08-22T12:00:00+00:00"  # as old as it was
    assert replay(live.folder, [vast]) == []


def test_a_failed_answer_can_be_read_once_its_parser_is_mended(
    live: Any, reply: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    vast = collectors()["vast"]
    renamed = [{"n" if key == "num_gpus" else key: v for key, v in offer(n).items()} for n in range(3)]
    live.site.routes[PATH] = reply(listing(*renamed))
    assert live.one("vast").code == "layout"
    read = type(vast)._read

    def mended(self: Any, answer: Any, line: int, at: Any, record: Any) -> Any:
        return read(self, answer, line, at, record | {"num_gpus": record["n"]})

    monkeypatch.setattr(type(vast), "_read", mended)
    monkeypatch.setattr(type(vast), "parser_version", vast.parser_version + 1)
    (done,) = replay(live.folder, [vast])
    assert (done.outcome, done.rows) == ("ok", 3)


def test_a_damaged_body_fails_the_replay_and_harms_nothing(live: Any, reply: Any) -> None:
    live.site.routes[PATH] = reply(listing(offer(1), offer(2)))
    live.one("vast")
    (body,) = Archive(live.folder, "vast").folder.glob("raw/*.gz")
    body.write_bytes(body.read_bytes()[:-9])
    (done,) = replay(live.folder, [collectors()["vast"]], is_all=True)
    assert (done.outcome, done.code) == ("failed", "archive")
    assert len(live.rows("price", "vast")) == 2


def test_old_answers_go_and_the_newest_stays(live: Any, reply: Any) -> None:
    live.site.routes[PATH] = [reply(listing(offer(n), offer(7))) for n in range(3)]
    for when in ("2026-06-01T00:00:00Z", "2026-06-02T00:00:00Z", "2026-08-22T12:00:00Z"):
        live.at(when)
        assert live.one("vast").outcome == "ok"
    archive = Archive(live.folder, "vast")
    assert [run.at for run in archive.runs()] == ["2026-08-22T12:00:00+00:00"]
    assert len(list(archive.folder.glob("raw/*"))) == 1


COLLECT = [sys.executable, "-m", "rackrate", "market", "collect", "vast", "--json"]


def test_a_second_collector_leaves_a_source_alone_that_is_being_asked(live: Any, reply: Any) -> None:
    live.site.routes[PATH] = reply(listing(offer(1)))
    with Archive(live.folder, "vast").collecting() as is_ours:
        assert is_ours
        assert live.one("vast").outcome == "busy"
    assert live.one("vast").outcome == "ok"


def test_two_collectors_at_once_are_safe(live: Any, reply: Any) -> None:
    live.site.routes[PATH] = reply(listing(*(offer(n) for n in range(40))))
    environment = {
        **os.environ,
        "RACKRATE_COLLECT_URL_VAST": live.site.url,
        "RACKRATE_DATA": str(live.folder),
    }
    environment.pop("RACKRATE_NOW")
    rivals = [
        subprocess.Popen(COLLECT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        for _ in range(3)
    ]
    outcomes = []
    for rival in rivals:
        out, err = rival.communicate(timeout=90)
        assert rival.returncode == 0, err
        outcomes.append(json.loads(out)["data"][0]["outcome"])
    assert set(outcomes) <= {"ok", "busy"}
    assert "ok" in outcomes
    assert not live.store.damaged()
    at, found = changes(live.store, "vast")
    assert tally(found) == {"new": 0, "gone": 0, "moved": 0}, at


KILLER = """
import os, signal, sys
from pathlib import Path
from rackrate.market.collect import collectors
from rackrate.market.collect import archive, run
from rackrate.market.collect.settings import load
from rackrate.market.store import manifest
steps = [(archive.BodyWriter, "write"), (archive.BodyWriter, "keep"), (archive.Archive, "add"),
         (manifest, "save"), (archive.Archive, "save_state")]
place, name = steps[int(sys.argv[2])]
def die(*_, **__):
    os.kill(os.getpid(), signal.SIGKILL)
setattr(place, name, die)
run.collect(Path(sys.argv[1]), [collectors()["vast"]], load())
"""


@pytest.mark.parametrize("step", range(5))
def test_a_killed_collector_leaves_the_store_whole(step: int, live: Any, reply: Any) -> None:
    """Killed at each step that writes; a reader sees the old listing or the new one, and the next heals."""
    live.site.routes[PATH] = [
        reply(listing(offer(1), offer(2))),
        reply(listing(offer(1), offer(2), offer(3))),
    ]
    live.at("2026-08-22T12:00:00Z")
    assert live.one("vast").rows == 2
    environment = {**os.environ, "RACKRATE_NOW": "2026-08-22T13:00:00Z"}
    done = subprocess.run(
        [sys.executable, "-c", KILLER, str(live.folder), str(step)],
        env=environment, capture_output=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == -signal.SIGKILL, done.stderr
    assert not live.store.damaged()
    found = live.store.find(OfferFilter(), order_by("usd_per_gpu_hour"))
    assert found.n_matching == (3 if step == 4 else 2)
    live.at("2026-08-22T14:00:00Z")
    assert live.one("vast").rows == 3
    assert not live.store.damaged()
    assert not list(live.folder.rglob("*.part"))
    assert not list(live.folder.rglob("*.tmp"))
