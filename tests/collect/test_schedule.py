"""`rackrate serve --collect`: prices are collected beside the site, and with the site it ends."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import pytest

from rackrate.market.collect import collectors
from rackrate.web.schedule import summary

PATH = "/api/v0/bundles/"
OFFER: dict[str, Any] = {
    "id": 1, "gpu_name": "L40S", "num_gpus": 1, "gpu_ram": 46068, "dph_total": 0.6, "is_bid": False,
    "rentable": True, "geolocation": "Michigan, US",
}  # fmt: skip


@contextmanager
def serving(folder: Path, url: str) -> Iterator[subprocess.Popen[str]]:
    """Run a site that collects from Vast.ai alone, as a group of processes of its own."""
    others = ",".join(name for name in collectors() if name != "vast")
    env = os.environ | {"RACKRATE_COLLECT_URL_VAST": url, "RACKRATE_COLLECT_DISABLE": others}
    env.pop("RACKRATE_NOW", None)
    command = [
        sys.executable,
        "-m",
        "rackrate",
        "serve",
        "--port",
        "0",
        "--collect",
        "24",
        "--data",
        str(folder),
    ]
    with subprocess.Popen(
        command, env=env, stderr=subprocess.PIPE, text=True, start_new_session=True
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            process.communicate(timeout=60)
    with pytest.raises(ProcessLookupError):  # no collection is left of the group
        os.killpg(process.pid, signal.SIGKILL)


def lines_until(process: subprocess.Popen[str], pattern: str) -> str:
    """Return what the site said up to the line that matches."""
    assert process.stderr
    said = ""
    for line in process.stderr:
        said += line
        if re.search(pattern, line):
            return said
    pytest.fail(f"the site never said {pattern!r}: {said}")


@pytest.mark.parametrize("offers", [[OFFER], []])
def test_the_site_has_what_is_collected_and_says_how_it_went(
    offers: list[Any], live: Any, reply: Any, tmp_path: Path
) -> None:
    live.site.routes[PATH] = reply({"offers": offers})
    with serving(tmp_path / "data", live.site.url) as process:
        said = lines_until(process, "^collect")
        address = re.search(r"listening on (\S+)", said)
        assert address
        if not offers:
            assert "0 offers of 0 sources; vast failed (empty" in said
            return
        assert "collected: 1 offers of 1 sources\n" in said
        with urlopen(f"{address[1]}/status.json") as answer:  # noqa: S310 - our own server
            (vast,) = json.load(answer)["live"]
            assert answer.headers["cache-control"] == "no-store"
        assert (vast["source"], vast["state"], vast["rows"], vast["tier"]) == ("vast", "ok", 1, "fresh")
        with urlopen(f"{address[1]}/status") as answer:  # noqa: S310
            page = answer.read().decode()
        assert "Live sources" in page
        assert str(tmp_path) not in page


def test_a_site_that_ends_ends_its_collection(live: Any, reply: Any, tmp_path: Path) -> None:
    is_asked, may_end = threading.Event(), threading.Event()

    def hang(handler: BaseHTTPRequestHandler) -> None:
        is_asked.set()
        may_end.wait(60)
        handler.close_connection = True

    live.site.routes[PATH] = reply(act=hang)
    try:
        with serving(tmp_path / "data", live.site.url) as process:
            lines_until(process, "listening on")
            assert is_asked.wait(60)
    finally:
        may_end.set()
    assert process.returncode == 0


@pytest.mark.parametrize("said", ["", "{", '{"error": {"code": "disk"}}'])
def test_a_collection_that_breaks_is_told_with_its_status(said: str) -> None:
    assert summary(said, 4) == "collection ended with status 4, prices stay as they were"
