"""What these tests share: a real server in a process of its own, and a client that reads what it sends."""

from __future__ import annotations

import csv
import gzip
import json
import os
import re
import shutil
import subprocess
import sys
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import sync_playwright

from rackrate.upkeep import import_prices

NOW = "2026-08-22T12:00:00+00:00"


@dataclass(frozen=True)
class Answer:
    """What the server sent."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def text(self) -> str:
        return self.body.decode()

    @property
    def json(self) -> Any:
        return json.loads(self.body, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


class _Stay(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *args: Any, **kwargs: Any) -> None:
        del args, kwargs


class Client:
    """Asks one server; follows no redirection."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._opener = urllib.request.build_opener(_Stay)

    def get(self, path: str, method: str = "GET", data: bytes | None = None, **headers: str) -> Answer:
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        request = urllib.request.Request(self.address + path, data=data, headers=sent, method=method)  # noqa: S310
        try:
            with self._opener.open(request, timeout=90) as answer:
                return self._read(answer)
        except urllib.error.HTTPError as error:
            with error:
                return self._read(error)

    def _read(self, answer: Any) -> Answer:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        body = answer.read()
        if headers.get("content-encoding") == "gzip":
            body = gzip.decompress(body)
        return Answer(answer.status, headers, body)


@contextmanager
def serving(home: Path, *options: str, **env: str) -> Iterator[Client]:
    """Run a site with an empty home on a free port, and end it."""
    command = [sys.executable, "-m", "rackrate", "serve", "--port", "0", *options]
    outside = {name: value for name, value in os.environ.items() if not name.startswith("RACKRATE_")}
    of_home = {
        "HOME": str(home),
        "XDG_DATA_HOME": str(home / "data"),
        "XDG_CONFIG_HOME": str(home / "config"),
    }
    with subprocess.Popen(
        command, stderr=subprocess.PIPE, text=True, env={**outside, **of_home, "RACKRATE_NOW": NOW, **env}
    ) as process:
        try:
            assert process.stderr
            said = ""
            for line in process.stderr:
                said += line
                if found := re.search(r"listening on (\S+)", line):
                    break
            else:
                pytest.fail(f"the server did not start: {said}")
            yield Client(found[1])
        finally:
            process.terminate()
            process.wait(20)


MAPPING = """
source = "mine"
title = "My list"

[file]
snapshot = "day"

[columns]
provider = "provider"
gpu = "gpu"
gpu_count = "count"
kind = "kind"
sku = "sku"
at = "at"

[[price]]
from = "usd"
per = "gpu"
"""


def make_market(folder: Path, rows: Iterable[Mapping[str, object]]) -> Path:
    """Make a store of offers with provider, gpu, count, kind, sku, at and usd for one GPU and hour."""
    folder.mkdir(parents=True, exist_ok=True)
    columns = ("provider", "gpu", "count", "kind", "sku", "at", "usd")
    with (folder / "list.csv").open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, columns)
        writer.writeheader()
        writer.writerows(rows)
    (folder / "mapping.toml").write_text(MAPPING, encoding="utf-8")
    store = folder / "store"
    import_prices(folder / "list.csv", mapping=folder / "mapping.toml", data=store)
    return store


Serve = Callable[..., Any]


@pytest.fixture
def serve(tmp_path: Path) -> Serve:
    """Return what runs a site of its own for one test."""
    return lambda *options, **env: serving(tmp_path, *options, **env)


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Client]:
    """Return a site over the bundled sample, shared by the tests that only read."""
    with serving(tmp_path_factory.mktemp("site"), "--rate", "0") as client:
        yield client


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    """Return Debian's Chromium, or skip where there is none.

    No longer than its module: while Playwright is open, its event loop counts as the running one, and
    tests of other modules in this process could not run their own.
    """
    path = shutil.which("chromium")
    if not path:
        pytest.skip("no chromium: apt-get install chromium")
    with sync_playwright() as play:
        found = play.chromium.launch(
            executable_path=path, args=["--no-sandbox", "--disable-background-networking"]
        )
        yield found
        found.close()
