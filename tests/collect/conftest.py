"""A site on loopback that answers as the providers do, or as badly as they can, and a store beside it."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import duckdb
import pytest

from rackrate.market.collect import collectors
from rackrate.market.collect.archive import Archive, State
from rackrate.market.collect.fetch import Limits
from rackrate.market.collect.run import Outcome, collect
from rackrate.market.collect.settings import load
from rackrate.market.store import Store, manifest

QUICK = Limits(connect_s=2, silence_s=2, attempts=3, wait_s=0.01, most_wait_s=0.5, per_s=10_000, max_s=20)


@dataclass
class Asked:
    """A request that came."""

    method: str
    path: str
    query: dict[str, list[str]]
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


@dataclass
class Reply:
    """What is sent back.

    Attributes:
        body: bytes, or what is written as JSON.
        status: of HTTP.
        headers: beside Content-Type and Content-Length; a None takes one of them away.
        act: instead of all that: gets the handler and does what it likes with the connection.
    """

    body: Any = b""
    status: int = 200
    headers: dict[str, str | None] = field(default_factory=dict)
    act: Callable[[BaseHTTPRequestHandler], None] | None = None

    def send(self, handler: BaseHTTPRequestHandler) -> None:
        if self.act:
            self.act(handler)
            return
        body = self.body if isinstance(self.body, bytes) else json.dumps(self.body).encode()
        headers = {"Content-Type": "application/json", "Content-Length": str(len(body))} | self.headers
        handler.send_response(self.status)
        for name, value in headers.items():
            if value is not None:
                handler.send_header(name, value)
        handler.end_headers()
        handler.wfile.write(body)


Route = Reply | Callable[[Asked], Reply] | list[Reply]


class Site:
    """An HTTP server with routes by path; a list of replies is used up one by one, the last one stays."""

    def __init__(self) -> None:
        self.routes: dict[str, Route] = {}
        self.asked: list[Asked] = []
        site = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            timeout = 10

            def answer(self) -> None:
                parts = urlsplit(self.path)
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                asked = Asked(
                    self.command, parts.path, parse_qs(parts.query), dict(self.headers.items()), body
                )
                site.asked.append(asked)
                try:
                    site.reply(asked).send(self)
                except (BrokenPipeError, ConnectionResetError):
                    self.close_connection = True

            do_GET = do_POST = answer  # noqa: N815 - names that the server looks for

            def log_message(self, *_: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.server.daemon_threads = False
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.02})
        self.thread.start()

    def reply(self, asked: Asked) -> Reply:
        route = self.routes.get(asked.path, Reply(b"", 404))
        if isinstance(route, list):
            return route.pop(0) if len(route) > 1 else route[0]
        return route(asked) if callable(route) else route

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


@pytest.fixture
def site() -> Iterator[Site]:
    made = Site()
    yield made
    made.close()


@dataclass
class Live:
    """A store, and collections into it from the site."""

    folder: Path
    site: Site
    set_env: Callable[[str, str], None]
    limits: Limits = QUICK

    def at(self, when: str) -> None:
        self.set_env("RACKRATE_NOW", when)

    def get(self, *names: str, limits: Limits | None = None) -> dict[str, Outcome]:
        """Collect from these sources, all of them from the site."""
        for name in names:
            self.set_env(f"RACKRATE_COLLECT_URL_{name.upper()}", self.site.url)
        done = collect(
            self.folder, [collectors()[name] for name in names], load(names), limits or self.limits
        )
        return {outcome.source: outcome for outcome in done}

    def one(self, name: str, limits: Limits | None = None) -> Outcome:
        return self.get(name, limits=limits)[name]

    def state(self, name: str) -> State:
        return Archive(self.folder, name).state()

    @property
    def store(self) -> Store:
        return Store(self.folder, manifest.load(self.folder))

    def rows(self, columns: str, source: str, table: str = "offers") -> list[tuple[Any, ...]]:
        """Return columns of the live rows of a source."""
        names = {file.name for (name, _), (file, _) in self.store.live().items() if name == source}
        if table != "offers":
            names = {file.name for file in self.store.files if file.table == table and file.source == source}
        paths = [str(self.folder / name) for name in sorted(names)]
        if not paths:
            return []
        sql = f"SELECT {columns} FROM read_parquet(?) ORDER BY ALL"  # noqa: S608
        with duckdb.connect() as con:
            return con.execute(sql, [paths]).fetchall()


@pytest.fixture
def live(tmp_path: Path, site: Site, monkeypatch: pytest.MonkeyPatch) -> Live:
    for name in ("HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(tmp_path)
    made = Live(tmp_path / "store", site, monkeypatch.setenv)
    made.at("2026-08-22T12:00:00Z")
    return made


@pytest.fixture
def reply() -> type[Reply]:
    return Reply
