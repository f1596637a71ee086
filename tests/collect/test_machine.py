"""What the machine that collects may do wrong: its clock, its disk, its proxy; one is told which it was."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rackrate.cli import status
from rackrate.market.collect.archive import Archive
from rackrate.market.store.compare import standing

PATH = "/api/v0/bundles/"
OFFER = {
    "gpu_name": "L40S", "num_gpus": 1, "gpu_ram": 46068, "cpu_cores": 64, "cpu_cores_effective": 8.0,
    "cpu_ram": 262144, "geolocation": "Texas, US",
}  # fmt: skip
GOOD = {"offers": [OFFER | {"id": n, "dph_total": 0.9 + n / 100} for n in range(12)]}


@pytest.fixture
def asked(live: Any, reply: Any) -> Any:
    """A source that answers, and a collector that was never here."""
    live.site.routes[PATH] = reply(GOOD)
    return live


def test_a_clock_that_went_ahead_and_came_back_is_told_until_it_is_past(
    asked: Any, capsys: pytest.CaptureFixture[str]
) -> None:
    asked.set_env("RACKRATE_DATA", str(asked.folder))
    asked.at("2026-08-24T12:00:00Z")
    assert asked.one("vast").says == ""
    asked.at("2026-08-22T13:00:00Z")
    done = asked.one("vast")
    assert (done.outcome, done.rows) == ("ok", 12)
    assert "2026-08-24 12:00" in done.says
    capsys.readouterr()
    assert status(["market", "status", "vast"]) == 0
    told = capsys.readouterr().out
    assert "47 h ahead" in told
    assert "2026-08-24 12:00" in told
    asked.at("2026-08-24T13:00:00Z")
    assert asked.one("vast").says == ""
    found = standing(asked.store, "vast")
    assert found is not None
    assert (found.at.day, found.at.hour) == (24, 13)


COLLECT = """
import resource, sys
from rackrate.cli import status
resource.setrlimit(resource.RLIMIT_FSIZE, (int(sys.argv[1]), int(sys.argv[1])))
sys.exit(status(sys.argv[2:]))
"""


@pytest.mark.parametrize("n_bytes", [0, 64, 400, 2000])
def test_a_disk_that_is_full_at_any_point_is_one_error_and_leaves_no_half_body(
    asked: Any, n_bytes: int
) -> None:
    asked.one("vast")
    before, stored = asked.state("vast"), asked.store.files
    asked.at("2026-08-22T13:00:00Z")
    asked.site.routes[PATH].body["offers"][0]["note"] = os.urandom(1500).hex()
    words = ["market", "collect", "vast", "--data", str(asked.folder), "--json"]
    command = [sys.executable, "-c", COLLECT, str(n_bytes), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    error = json.loads(done.stdout)["error"]
    assert (done.returncode, error["code"]) == (4, "disk"), done.stderr
    assert re.search(r"cannot write .+: File too large", error["detail"]), error
    assert (asked.state("vast"), asked.store.files) == (before, stored)
    assert not list(Archive(asked.folder, "vast").folder.rglob("*.part"))
    assert asked.one("vast").outcome == "ok"


@pytest.fixture
def full_disk(tmp_path: Path) -> Iterator[Path]:
    disk, mount = tmp_path / "disk", shutil.which("mount")
    disk.mkdir()
    options = ["-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)]
    if not mount or subprocess.run([mount, *options], capture_output=True, check=False).returncode:
        pytest.skip("a file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_file_system_without_room_is_told_in_its_own_words(
    asked: Any, full_disk: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    asked.set_env("RACKRATE_COLLECT_URL_VAST", asked.site.url)
    (full_disk / "others").write_bytes(b"x" * 56 * 1024)
    for _ in range(3):  # each leaves less room, so that it fails at another point
        capsys.readouterr()
        assert status(["market", "collect", "vast", "--data", str(full_disk / "store"), "--json"]) == 4
        error = json.loads(capsys.readouterr().out)["error"]
        assert (error["code"], error["detail"].rpartition(": ")[2]) == ("disk", "No space left on device")
        with suppress(OSError), (full_disk / "more").open("ab", buffering=0) as more:
            more.write(b"x" * 1024)


@contextmanager
def proxy(live: Any, address: str) -> Iterator[None]:
    live.set_env("HTTP_PROXY", address)
    yield
    live.set_env("HTTP_PROXY", "")


def test_a_proxy_that_is_down_is_named_without_its_login(asked: Any) -> None:
    with proxy(asked, "http://me:my-word@127.0.0.1:9"):
        done = asked.one("vast")
        late = asked.one("vast", replace(asked.limits, attempts=50, max_s=0.5))
    assert (done.outcome, done.code) == ("failed", "unreachable")
    assert "by way of the proxy 127.0.0.1:9" in done.says
    assert late.code == "timeout"
    assert "by way of the proxy 127.0.0.1:9" in late.says
    assert "my-word" not in done.says + late.says


def test_a_proxy_that_wants_a_login_is_not_taken_for_the_source(asked: Any, reply: Any) -> None:
    asked.site.routes[PATH] = reply(status=407)  # a proxy is asked for the whole address
    asked.site.routes[asked.site.url + PATH] = reply(status=407)
    with proxy(asked, asked.site.url):
        done = asked.one("vast")
    assert (done.outcome, done.code) == ("failed", "refused")
    assert "key" not in done.says
    assert "by way of the proxy 127.0.0.1" in done.says
