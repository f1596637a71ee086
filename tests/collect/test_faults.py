"""What goes wrong between a source and us: the last good data stay, and nothing falls over."""

from __future__ import annotations

import gzip
import json
import random
import socket
import ssl
import subprocess
import time
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rackrate.market.collect import collectors
from rackrate.market.collect.archive import Archive
from rackrate.market.collect.base import Answer, SourceFailed
from rackrate.market.collect.run import read
from rackrate.market.currency import bundled_rates
from rackrate.market.normalise import Batch, instant
from rackrate.market.store.compare import standing

PATH = "/api/v0/bundles/"
N = 12


def offer(n: int, **changed: Any) -> dict[str, Any]:
    base = {
        "id": n,
        "gpu_name": "L40S",
        "num_gpus": 1,
        "gpu_ram": 46068,
        "cpu_cores": 64,
        "cpu_cores_effective": 8.0,
        "cpu_ram": 262144,
        "dph_total": 0.9 + n / 100,
        "geolocation": "Texas, US",
    }
    return base | changed


GOOD = {"offers": [offer(n) for n in range(N)]}


@pytest.fixture
def good(live: Any, reply: Any) -> Any:
    """A source that was good once, an hour ago."""
    live.site.routes[PATH] = reply(GOOD, headers={"ETag": '"v1"'})
    assert live.one("vast").rows == N
    live.at("2026-08-22T13:00:00Z")
    live.site.asked.clear()
    return live


def kept_last_good(live: Any) -> bool:
    state = live.state("vast")
    return (state.good_at, state.rows, len(live.rows("price", "vast"))) == ("2026-08-22T12:00:00+00:00", N, N)


def drip(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    for _ in range(200):
        handler.wfile.write(b" ")
        handler.wfile.flush()
        time.sleep(0.05)


def cut_off(handler: Any) -> None:
    handler.send_response(200)
    handler.send_header("Content-Type", "application/json")
    handler.send_header("Content-Length", "100000")
    handler.end_headers()
    handler.wfile.write(b'{"offers": [')
    handler.close_connection = True


def silent(handler: Any) -> None:
    handler.connection.settimeout(5)
    with suppress(OSError):
        handler.connection.recv(1)  # until the client gives up
    handler.close_connection = True


def hang_up(handler: Any) -> None:
    handler.connection.shutdown(socket.SHUT_RDWR)
    handler.close_connection = True


FAULTS: dict[str, tuple[str, dict[str, Any], int]] = {
    "silence": ("timeout", {"act": silent}, 2),
    "slow drip": ("timeout", {"act": drip}, 1),
    "cut off": ("truncated", {"act": cut_off}, 3),
    "hang up": ("truncated", {"act": hang_up}, 3),
    "500 for ever": ("status", {"status": 500}, 3),
    "429 for too long": ("rate-limited", {"status": 429, "headers": {"Retry-After": "3600"}}, 1),
    "403": ("refused", {"status": 403}, 1),
    "404": ("status", {"status": 404}, 1),
    "a page of HTML": ("content-type", {"body": b"<html>", "headers": {"Content-Type": "text/html"}}, 1),
    "not JSON": ("layout", {"body": b'{"offers": ['}, 1),
    "not gzip": ("truncated", {"body": b"plain", "headers": {"Content-Encoding": "gzip"}}, 3),
    "nothing": ("layout", {"body": b""}, 1),
    "to another host": ("host", {"status": 302, "headers": {"Location": "http://127.0.0.2:9/x"}}, 1),
    "round and round": ("redirect", {"status": 302, "headers": {"Location": PATH}}, 4),
    "304 to no question": ("status", {"status": 304, "headers": {"Content-Length": "0"}}, 1),
}


@pytest.mark.parametrize("name", FAULTS)
def test_a_fault_fails_the_source_and_keeps_its_last_good_data(name: str, good: Any, reply: Any) -> None:
    code, answer, n_asked = FAULTS[name]
    good.site.routes[PATH] = reply(**answer)
    if name == "304 to no question":  # no run to compare with, so no condition was sent
        for path in Archive(good.folder, "vast").folder.glob("runs/*"):
            path.unlink()
    limits = replace(good.limits, silence_s=0.4, attempts=3, max_s=1.0 if "drip" in name else 20)
    if name == "silence":
        limits = replace(limits, attempts=2)
    done = good.one("vast", limits)
    assert (done.outcome, done.code) == ("failed", code), done
    assert done.says
    assert len(good.site.asked) == n_asked
    assert kept_last_good(good)
    assert not list(good.folder.rglob("*.part"))


def test_a_source_that_recovers_within_the_attempts_has_not_failed(good: Any, reply: Any) -> None:
    busy = reply(status=429, headers={"Retry-After": "0.2"})
    good.site.routes[PATH] = [reply(status=503), busy, reply(GOOD)]
    began = time.monotonic()
    assert good.one("vast").rows == N
    assert time.monotonic() - began >= 0.2
    assert len(good.site.asked) == 3


def test_an_answer_that_unpacks_to_too_much_is_not_taken(good: Any, reply: Any) -> None:
    bomb = gzip.compress(b" " * 5_000_000)
    assert len(bomb) < 20_000
    good.site.routes[PATH] = reply(bomb, headers={"Content-Encoding": "gzip"})
    done = good.one("vast", replace(good.limits, max_bytes=1_000_000))
    assert (done.outcome, done.code) == ("failed", "oversized")
    assert kept_last_good(good)


def test_what_did_not_change_is_not_sent_again_and_is_as_young_as_the_question(good: Any, reply: Any) -> None:
    def answer(asked: Any) -> Any:
        unchanged = asked.headers.get("If-None-Match") == '"v1"'
        return reply(b"", 304) if unchanged else reply(status=500)

    good.site.routes[PATH] = answer
    assert good.one("vast").rows == N
    assert good.state("vast").good_at == "2026-08-22T13:00:00+00:00"
    assert len(list(Archive(good.folder, "vast").folder.glob("raw/*.gz"))) == 1


def test_a_certificate_that_nobody_signed_is_not_believed(live: Any, tmp_path: Path) -> None:
    key, certificate = tmp_path / "key.pem", tmp_path / "cert.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", key, "-out", certificate,
         "-days", "2", "-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = live.site.server
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.handle_error = lambda *_: None
    live.site.url = live.site.url.replace("http:", "https:")
    done = live.one("vast")
    assert (done.outcome, done.code) == ("failed", "tls")


def test_one_bad_source_blocks_no_other(live: Any, reply: Any) -> None:
    live.site.routes[PATH] = reply(GOOD)
    live.site.routes["/api/retail/prices"] = reply(status=500)
    done = live.get("vast", "azure")
    assert (done["vast"].outcome, done["azure"].outcome) == ("ok", "failed")


def test_a_list_that_shrinks_by_more_than_half_fails_for_a_day_and_is_then_the_truth(
    good: Any, reply: Any
) -> None:
    good.site.routes[PATH] = reply({"offers": GOOD["offers"][:5]})
    done = good.one("vast")
    assert (done.outcome, done.code) == ("failed", "shrunk")
    assert kept_last_good(good)
    good.at("2026-08-23T12:59:00Z")
    assert good.one("vast").code == "shrunk"
    good.at("2026-08-23T13:01:00Z")
    assert good.one("vast").outcome == "ok"
    good.at("2026-08-23T14:01:00Z")  # rule 17 of the gate believes a listing when it is seen twice
    assert good.one("vast").outcome == "ok"
    found = standing(good.store, "vast")
    assert found is not None
    assert (found.rows, found.at.hour) == (5, 14)


def test_a_list_that_recovers_is_forgiven(good: Any, reply: Any) -> None:
    good.site.routes[PATH] = [reply({"offers": GOOD["offers"][:5]}), reply(GOOD)]
    assert good.one("vast").code == "shrunk"
    good.at("2026-08-22T14:00:00Z")
    assert good.one("vast").outcome == "ok"
    assert good.state("vast").small_since == ""


@pytest.mark.parametrize("factor", [100, 730, 0.01])
def test_prices_in_another_unit_fail_the_source(good: Any, reply: Any, factor: float) -> None:
    dear = [offer(n, dph_total=(0.9 + n / 100) * factor) for n in range(N)]
    good.site.routes[PATH] = reply({"offers": dear})
    done = good.one("vast")
    assert (done.outcome, done.code) == ("failed", "units")
    assert kept_last_good(good)


def test_a_layout_that_changed_fails_the_source_and_one_odd_record_does_not(good: Any, reply: Any) -> None:
    renamed = [{"gpu" if key == "gpu_name" else key: v for key, v in o.items()} for o in GOOD["offers"]]
    good.site.routes[PATH] = [
        reply({"offers": renamed}),
        reply({"offers": [*GOOD["offers"], {"id": 99}, "no record", None, {"id": 100, "num_gpus": "two"}]}),
    ]
    done = good.one("vast")
    assert (done.outcome, done.code, dict(done.rejects)) == ("failed", "layout", {"malformed": N})
    assert kept_last_good(good)
    good.at("2026-08-22T14:00:00Z")
    done = good.one("vast")
    assert (done.outcome, done.rows, dict(done.rejects)) == ("ok", N, {"malformed": 4})
    assert len(good.rows("rule", "vast", "quarantine")) == 4
    good.at("2026-08-22T15:00:00Z")
    assert dict(good.one("vast").rejects) == {"malformed": 4}  # counted anew, kept once
    assert len(good.rows("rule", "vast", "quarantine")) == 4


def test_ten_thousand_garbled_answers_break_nothing() -> None:
    """Each either fails the source or gives rows and rejects; no other exception, ever."""
    rng = random.Random(7)  # noqa: S311 - the same damage each time
    collector = collectors()["vast"]
    at = instant("2026-08-22T12:00:00Z", "now")
    text = bytearray(repr(GOOD["offers"][:2]).replace("'", '"').encode())
    clean = b'{"offers": ' + bytes(text) + b"}"
    n_failed = n_read = 0
    for _ in range(10_000):
        garbled = bytearray(clean)
        for _ in range(rng.choice((1, 1, 2, 5, 40))):
            place = rng.randrange(len(garbled) or 1)
            match rng.randrange(4):
                case 0:
                    garbled[place : place + 1] = bytes([rng.randrange(256)])
                case 1:
                    del garbled[place : place + rng.randrange(1, 30)]
                case 2:
                    garbled[place:place] = rng.choice(
                        (b"null", b"-1", b"1e999", b"NaN", b'"', b"[]", b"{}", b"\x00", b"9" * 400, b"true")
                    )
                case _:
                    garbled = garbled[: place + 1]
        answer = Answer("x", "", None, "", len(garbled), secret=bytes(garbled))
        try:
            batch = read(collector, [answer], at, bundled_rates())
        except SourceFailed:
            n_failed += 1
        else:
            assert isinstance(batch, Batch)
            assert all(reject.reason for reject in batch.rejects)
            n_read += 1
    assert n_failed > 1000
    assert n_read > 1000


_LEAVES = (
    None,
    True,
    0,
    -1,
    3,
    1.5,
    1e308,
    10**400,
    "",
    "x",
    "1.2",
    "NaN",
    "1 Hour",
    "Standard_NC24ads_A100_v4",
)
_KEYS = {
    "vast": ("id", "num_gpus", "gpu_name", "gpu_ram", "dph_total", "min_bid", "geolocation", "cpu_cores"),
    "azure": ("armSkuName", "type", "retailPrice", "unitOfMeasure", "currencyCode", "effectiveStartDate"),
    "scaleway": ("L40S-1-48G", "gpu", "hourly_price", "ram", "ncpus"),
    "ovh": ("planCode", "pricings", "blobs", "technical", "gpu", "number", "price", "capacities"),
    "oci": ("name", "gpuQty", "products", "type", "partNumber", "qty", "currencyCodeLocalizations"),
}
_TOPS = ("offers", "Items", "nodes", "plans", "plans_metal", "data", "instance_types", "servers", "addons",
         "models", "items", "sizes", "gpuTypes", "locale", "rates", "date", "base")  # fmt: skip
_FIELDS = ("gpus", "price", "hourly", "gpu_info", "configuration", "availability", "prices", "specs",
           "variants", "regions", "locations", "name", "gpu_count", "instance_type",
           "currencyCode")  # fmt: skip


def anything(rng: random.Random, keys: tuple[str, ...], depth: int) -> Any:
    """Return some JSON with the names that a collector looks for, and values that it does not expect."""
    kind = rng.random()
    if depth == 0 or kind < 0.3:
        return rng.choice(_LEAVES)
    if kind < 0.5:
        return [anything(rng, keys, depth - 1) for _ in range(rng.randrange(3))]
    return {key: anything(rng, keys, depth - 1) for key in rng.sample(keys, rng.randrange(1, 6))}


@pytest.mark.parametrize("name", sorted(collectors()))
def test_no_collector_stumbles_over_json_of_another_shape(name: str) -> None:
    collector = collectors()[name]
    rng = random.Random(name)  # noqa: S311 - the same shapes each time
    at = instant("2026-08-22T12:00:00Z", "now")
    asking = collector.requests(dict.fromkeys(collector.auth, "key"))
    first = next(asking).name
    asking.close()
    for _ in range(400):
        top = {key: anything(rng, (*_KEYS.get(name, ()), *_FIELDS), 4) for key in _TOPS}
        document: Any = rng.choice((top, top["data"], [top], {"data": top}))
        body = json.dumps(document).encode()
        parts = (first, "products", "pricebook")
        answers = [Answer(part, "", None, "", len(body), secret=body) for part in parts]
        with suppress(SourceFailed):
            for reject in read(collector, answers, at, bundled_rates()).rejects:
                assert reject.reason


def test_a_host_is_asked_no_faster_than_its_rate(live: Any, reply: Any) -> None:
    live.site.routes["/v2/plans"] = reply({"plans": [], "meta": {"links": {"next": ""}}})
    live.site.routes["/v2/plans-metal"] = reply({"plans_metal": [], "meta": {"links": {"next": ""}}})
    began = time.monotonic()
    assert live.one("vultr", replace(live.limits, per_s=4)).code == "empty"
    assert len(live.site.asked) == 2
    assert time.monotonic() - began >= 0.25


def test_a_proxy_of_the_environment_is_used(live: Any, reply: Any) -> None:
    live.set_env("HTTP_PROXY", live.site.url)
    live.site.routes[PATH] = reply(GOOD)
    live.site.url = "http://prices.example"
    assert live.one("vast").rows == N
    (asked,) = live.site.asked
    assert asked.headers["Host"] == "prices.example"
