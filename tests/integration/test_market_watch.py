"""A watch from the price list to the listener: real files, a real program, a real HTTP server."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import re
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from rackrate.alerts import webhook

MAPPING = """
source = "acme"
title = "Acme rate card"
licence = "private"
[columns]
provider = { from = "who" }
gpu = { value = "L40S" }
gpu_count = { value = "1" }
sku = "who"
at = "day"
[[price]]
from = "usd"
per = "instance"
time = "hour"
currency = "USD"
"""
KEY = "a secret that only the two know"
ATOM = "{http://www.w3.org/2005/Atom}"


def shown(language: str) -> str:
    """Return the block of a language that the how-to shows."""
    page = Path(__file__).resolve().parents[2] / "docs/how-to/watch-prices.md"
    block = re.search(rf"```{language}\n(.*?)```", page.read_text(), re.DOTALL)
    assert block
    return block[1]


class Market:
    """A store that grows by a day at a time."""

    def __init__(self, folder: Path, cli: Any) -> None:
        self.store, self._folder, self._cli = folder / "store", folder, cli
        (folder / "acme.toml").write_text(MAPPING)
        self._lines = ["day,who,usd"]

    def lists(self, day: str, **usd: float) -> None:
        self._lines += [f"{day},{who},{price}" for who, price in usd.items()]
        prices = self._folder / "prices.csv"
        prices.write_text("\n".join(self._lines) + "\n")
        words = ("--mapping", str(self._folder / "acme.toml"), str(prices), "--data", str(self.store))
        ran = self._cli("market", "import", *words)
        assert ran.code == 0, ran.err


@pytest.fixture
def market(tmp_path: Path, cli: Any) -> Market:
    found = Market(tmp_path, cli)
    found.lists("2026-08-20", runpod=0.9, vast=1.1, aws=2.0)
    return found


@pytest.fixture
def watch(market: Market, tmp_path: Path, cli: Any) -> Any:
    """Look once; the state lies in the same file each time."""

    def run(*words: str) -> Any:
        state = ("--state", str(tmp_path / "state.json"), "--data", str(market.store))
        return cli("market", "watch", "--once", *words, *state)

    return run


class Listener:
    """A server that answers with the statuses it was given, then with 204, and keeps what came."""

    def __init__(self, *statuses: int, drips: int = 0) -> None:
        self.statuses = list(statuses)
        self.came: list[tuple[dict[str, str], bytes]] = []
        listener = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                listener.came.append(({k.lower(): v for k, v in self.headers.items()}, body))
                status = listener.statuses.pop(0) if listener.statuses else 204
                if drips:
                    self._drip()
                    return
                self.send_response(status)
                if status == HTTPStatus.FOUND:
                    self.send_header("location", listener.url)
                if status == HTTPStatus.OK:
                    self.end_headers()
                    self._talk_on()
                    return
                self.send_header("content-length", "0")
                self.end_headers()

            def _drip(self) -> None:
                """Begin an answer byte by byte: at no time silent, and with no status in sight."""
                with suppress(OSError):
                    for _ in range(drips):
                        self.wfile.write(b"H")
                        time.sleep(0.05)

            def _talk_on(self) -> None:
                """Send until nobody listens."""
                with suppress(OSError):
                    while True:
                        self.wfile.write(bytes(1 << 16))

            def log_message(self, *_: object) -> None:
                """Keep quiet."""

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}/hook?token=hidden"

    @contextmanager
    def listening(self) -> Iterator[Listener]:
        thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield self
        finally:
            self._server.shutdown()
            self._server.server_close()
            thread.join()


def test_a_price_is_told_once_until_it_clears(market: Market, watch: Any) -> None:
    rule = ("--below", "l40s=0.80")
    assert (watch(*rule).code, watch(*rule).out) == (0, "")
    market.lists("2026-08-21", runpod=0.7, vast=1.1, aws=2.0)
    told = watch(*rule).out
    assert told == "2026-08-22T12:00:00+00:00  l40s on_demand: 0.700 USD/GPU-h at runpod, below 0.8\n"
    assert watch(*rule).out == ""
    market.lists("2026-08-22", runpod=0.9, vast=1.1, aws=2.0)
    assert watch(*rule).out == ""
    market.lists("2026-08-22T06:00", runpod=0.75, vast=1.1, aws=2.0)
    assert "0.750" in watch(*rule).out


def test_a_file_holds_every_kind_of_rule(market: Market, watch: Any, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(
        """
        [[rule]]
        when = "moved"
        gpu = "L40S 48GB"
        percent = 5
        days = 1
        [[rule]]
        when = "new-provider"
        gpu = "l40s"
        [[rule]]
        when = "stale"
        source = "acme"
        age = "36h"
        [tell]
        feed = "alerts.atom"
        """
    )
    first = [json.loads(line) for line in watch(str(rules), "--json").out.splitlines()]
    assert [each["rule"] for each in first] == ["stale acme 36h"]
    assert first[0]["numbers"] == {"source": "acme", "age_hours": 60.0}
    market.lists("2026-08-21", runpod=0.9, vast=1.0, aws=2.0, ovh=0.8)
    second = [json.loads(line) for line in watch(str(rules), "--json").out.splitlines()]
    moved, new = second
    assert (moved["subject"], new["subject"]) == ("down", "ovh")
    assert moved["numbers"]["moved_frac"] == pytest.approx(0.95 / 1.1 - 1)  # median of 4 against that of 3
    feed = ET.parse(tmp_path / "alerts.atom").getroot()  # noqa: S314 - our own file
    told = [entry.findtext(ATOM + "id") for entry in feed.iter(ATOM + "entry")]
    assert told == [f"urn:uuid:{each['id']}" for each in (new, moved, first[0])]
    assert feed.findtext(ATOM + "updated") == new["at"]


def test_the_rules_of_the_how_to_are_read(tmp_path: Path, cli: Any) -> None:
    (tmp_path / "rules.toml").write_text(shown("toml").replace("logger -t rackrate", "true"))
    ran = cli("market", "watch", "--once", str(tmp_path / "rules.toml"), "--json")  # the bundled sample
    assert ran.code == 0, ran.err
    held = json.loads((Path(os.environ["XDG_DATA_HOME"]) / "rackrate" / "alerts.json").read_text())["held"]
    assert len(held) == 4
    assert (tmp_path / "alerts.atom").exists()


def test_a_webhook_is_signed_and_tried_again(
    watch: Any, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("RACKRATE_WEBHOOK_KEY", KEY)
    with Listener(503, 429).listening() as listener:
        ran = watch("--below", "l40s=1", "--webhook", listener.url)
    assert ran.code == 0, ran.err
    assert len(listener.came) == 3
    assert len({(headers["webhook-id"], body) for headers, body in listener.came}) == 1
    headers, body = listener.came[-1]
    name, at = headers["webhook-id"], headers["webhook-timestamp"]
    signed = hmac.new(KEY.encode(), f"{name}.{at}.".encode() + body, hashlib.sha256).digest()
    assert headers["webhook-signature"] == "v1," + base64.b64encode(signed).decode()
    names: dict[str, Any] = {}
    exec(shown("python"), names)  # noqa: S102 - our own how-to
    assert names["is_ours"](KEY.encode(), headers, body)
    assert not names["is_ours"](KEY.encode(), headers, body + b" ")
    assert json.loads(body)["numbers"] == {"provider": "runpod", "usd_per_gpu_hour": 0.9}
    assert KEY not in ran.out + ran.err + caplog.text


def test_what_a_webhook_does_not_take_is_owed_until_it_does(
    watch: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RACKRATE_WEBHOOK_KEY", "whsec_" + base64.b64encode(KEY.encode()).decode())
    with Listener(410).listening() as listener:
        rule = ("--below", "l40s=1", "--webhook", listener.url)
        refused = watch(*rule)
        assert (refused.code, len(listener.came)) == (5, 1)  # no second attempt: it would say the same
        assert "HTTP 410" in refused.err
        assert "hidden" not in refused.err + (tmp_path / "state.json").read_text()
        assert KEY not in (tmp_path / "state.json").read_text()
        later = watch(*rule)
        assert (later.code, later.out, len(listener.came)) == (0, "", 2)  # told to the line already
        assert watch(*rule).code == 0
    assert len(listener.came) == 2
    assert listener.came[0][1] == listener.came[1][1]


def test_a_webhook_that_talks_without_end_has_taken_the_news(
    watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RACKRATE_WEBHOOK_KEY", KEY)
    with Listener(HTTPStatus.OK).listening() as listener:
        ran = watch("--below", "l40s=1", "--webhook", listener.url)
    assert (ran.code, len(listener.came)) == (0, 1)


def test_a_webhook_that_never_comes_to_the_point_is_given_up(
    watch: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No read of it is slow; a limit for silence would wait for as long as it sends."""
    monkeypatch.setenv("RACKRATE_WEBHOOK_KEY", KEY)
    monkeypatch.setattr(webhook, "_LONGEST_S", 0.5)
    with Listener(drips=100).listening() as listener:
        started = time.monotonic()
        ran = watch("--below", "l40s=1", "--webhook", listener.url)
        assert time.monotonic() - started < 15, "it sends for 20 s"
    assert ran.code == 5
    assert listener.came
    assert "no answer within 0.5 s" in ran.err


def test_a_webhook_leads_nowhere_else(watch: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RACKRATE_WEBHOOK_KEY", KEY)
    with Listener(HTTPStatus.FOUND).listening() as listener:
        ran = watch("--below", "l40s=1", "--webhook", listener.url)
    assert (ran.code, len(listener.came)) == (5, 1)
    assert "HTTP 302" in ran.err


def test_a_program_gets_the_news_and_its_failure_is_told(watch: Any, tmp_path: Path) -> None:
    out = tmp_path / "news.json"
    script = tmp_path / "program.py"
    script.write_text(
        "import os, sys, pathlib\n"
        f"out = pathlib.Path({str(out)!r})\n"
        "if not out.exists(): out.touch(); sys.exit('not yet')\n"
        "out.write_text(sys.stdin.read() + os.environ['RACKRATE_ALERT'])\n"
    )
    rule = ("--below", "l40s=1", "--command", f"{sys.executable} '{script}'")
    failed = watch(*rule)
    assert failed.code == 5
    assert "status 1: not yet" in failed.err
    assert watch(*rule).code == 0
    assert json.loads(out.read_text().split("}l40s")[0] + "}")["subject"] == "l40s"
    assert out.read_text().endswith("at runpod, below 1")


def test_it_goes_on_until_it_is_stopped_and_one_state_has_one_watch(market: Market, tmp_path: Path) -> None:
    words = [sys.executable, "-m", "rackrate", "market", "watch", "--below", "l40s=1", "--every", "1"]
    words += ["--state", str(tmp_path / "state.json"), "--data", str(market.store)]
    env = {**os.environ, "RACKRATE_NOW": "2026-08-22T12:00:00+00:00"}
    with subprocess.Popen(words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=env) as done:
        assert done.stdout
        assert "0.900" in done.stdout.readline()
        market.lists("2026-08-21", runpod=1.5, vast=1.1, aws=2.0)
        held = tmp_path / "state.json"
        while '"l40s"' in held.read_text().split('"owed"')[0]:
            assert done.poll() is None
            time.sleep(0.02)
        market.lists("2026-08-22", runpod=0.5, vast=1.1, aws=2.0)
        assert "0.500" in done.stdout.readline()
        done.send_signal(signal.SIGINT)
        assert done.stdout.read() == ""
        assert done.stderr
        assert done.stderr.read().strip() == ""
    assert done.returncode == 130


def test_two_watches_do_not_share_a_state(watch: Any, tmp_path: Path) -> None:
    from rackrate.alerts.state import holding  # noqa: PLC0415

    with holding(tmp_path / "state.json"):
        ran = watch("--below", "l40s=1")
    assert ran.code == 6
    assert "another watch uses" in ran.err


@pytest.mark.parametrize(
    ("words", "code", "says"),
    [
        ((), 2, "there is no rule"),
        (("--below", "l40s"), 2, "--below 'l40s' is not GPU=VALUE"),
        (("--below", "l4os=1"), 2, "unknown GPU 'l4os'"),
        (("--below", "l40s=-1"), 2, "negative"),
        (("--moved", "l40s=0%"), 2, "not above 0"),
        (("--stale", "acme=soon"), 2, "'soon' is not a length of time"),
        (("--stale", "acne=1d"), 2, "unknown source 'acne'"),
        (("--below", "l40s=1", "--kind", "any"), 2, "a rule is of one kind"),
        (("--below", "l40s=1", "--webhook", "https://example.org/h"), 5, "there is no key"),
        (("--below", "l40s=1", "--webhook", "http://example.org/h"), 6, "unencrypted"),
        (("--below", "l40s=1", "--webhook", "ftp://example.org"), 2, "an address like"),
        (("--below", "l40s=1", "--webhook", "https://[x"), 2, "an address like"),
        (("--below", "l40s=1", "--command", "say 'x"), 2, "cannot be read"),
        (("--below", "l40s=1", "--command", " "), 2, "is empty"),
        (("--below", "l40s=1", "--command", "/no/such/program"), 5, "cannot be run"),
        (("no-such.toml",), 2, "cannot read no-such.toml"),
    ],
)
def test_bad_words_are_one_error(words: tuple[str, ...], code: int, says: str, watch: Any) -> None:
    ran = watch(*words)
    assert ran.code == code, ran.err
    assert says in ran.err
    assert "Traceback" not in ran.err


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("rule = 1", "rules are [[rule]]"),
        ("[[rule]\n", "is not TOML"),
        ("[[rules]]\nwhen = 'below'", "unknown key 'rules'"),
        ("[[rule]]\ngpu = 'l40s'", "rule 1: has no when"),
        ("[[rule]]\nwhen = 'bellow'", "unknown rule 'bellow'"),
        ("[[rule]]\nwhen = 'below'\ngpu = 'l40s'", "has no usd_per_gpu_hour"),
        ("[[rule]]\nwhen = 'below'\ngpu = 'l40s'\nusd = 1", "unknown key 'usd'"),
        ("[[rule]]\nwhen = 'moved'\ngpu = 'l40s'\npercent = 5\ndays = 0", "days 0 is not a whole number"),
        ("[[rule]]\nwhen = 'below'\ngpu = ['l40s']\nusd_per_gpu_hour = 1", "is no text or number"),
        ("[tell]\nmail = 'x'", "unknown key 'mail'"),
    ],
)
def test_a_bad_file_is_one_error(text: str, says: str, watch: Any, tmp_path: Path) -> None:
    rules = tmp_path / "rules.toml"
    rules.write_text(text)
    ran = watch(str(rules))
    assert (ran.code, ran.out) == (2, "")
    assert says in ran.err


@pytest.mark.parametrize("text", ["", "{", "[]", '{"schema": 2}', '{"schema": 1, "held": 3}'])
def test_a_damaged_state_is_one_error_and_stays(text: str, watch: Any, tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(text)
    ran = watch("--below", "l40s=1")
    assert ran.code == 4
    assert "state.json" in ran.err
    assert (tmp_path / "state.json").read_text() == text
