"""Whole fleets on pods: real machines, a real keeper, and a cluster in which nothing is to stay."""

from __future__ import annotations

import json
import secrets
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psutil
import pytest

import rackrate
from rackrate import Fleet
from rackrate.errors import BootFailed, MissingCredential, UsageError
from rackrate.fleet import opening
from rackrate.fleet.backends.base import Machine
from rackrate.fleet.folder import all_folders

pytestmark = pytest.mark.timeout(240)
LEASE_S = 3.0


def until(is_so: Callable[[], bool], patience_s: float = 60.0) -> None:
    """Wait until it is so."""
    started_s = time.monotonic()
    while not is_so():
        assert time.monotonic() - started_s < patience_s, "it never was so"
        time.sleep(0.05)


def asked(cluster: Any, **more: Any) -> dict[str, Any]:
    machine = Machine(image="example/worker:1", gpu="l40s", n_gpus=1)
    where = {"backend": "kubernetes", "at": f"{cluster.pods.ground.address}:0", "machine": machine}
    return where | {"lease_s": LEASE_S, "max_hours": 0.1} | more


def test_a_fleet_works_on_pods_and_leaves_nothing_in_the_cluster(cluster: Any) -> None:
    folder, keeper = opening.open_fleet(is_owned=True, nodes=2, **asked(cluster))
    try:
        opening.wait_ready(folder, keeper)
        fleet = Fleet.attach(folder.fleet)
        assert [future.result() for future in fleet.map(lambda n: n * n, range(4))] == [0, 1, 4, 9]
        assert len(cluster.pods.now) == len(cluster.pods.secrets) == 2
        fleet.client.close()
    finally:
        opening.end(folder, "the test is over", 60, keeper)
    assert (cluster.pods.now, cluster.pods.secrets) == ({}, {})
    assert cluster.pods.ground.names() == frozenset()
    assert cluster.token not in "".join(
        path.read_text(errors="replace") for path in folder.path.rglob("*") if path.is_file()
    )


PROGRAM = f"""#!{sys.executable}
import datetime, json, pathlib, sys
here = pathlib.Path(sys.argv[1])
with (here / "asked").open("a") as asked:
    asked.write("x")
until = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=11)
status = {{"token": (here / "issued").read_text(), "expirationTimestamp": until.isoformat()}}
print(json.dumps({{"apiVersion": sys.argv[2], "kind": "ExecCredential", "status": status}}))
"""


def test_a_fleet_outlives_the_tokens_of_a_program_and_leaves_them_nowhere(
    cluster: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Each token is as good as over a second after it was issued, and refused when the next one is."""
    config, version = cluster.kubeconfig(), "client.authentication.k8s.io/v1"
    (home := tmp_path / "plugin").mkdir()
    (home / "run").write_text(PROGRAM)
    (home / "run").chmod(0o700)
    entry = {"apiVersion": version, "command": "./run", "args": [str(home), version]}
    config["users"][0]["user"] = {"exec": entry}
    (home / "kubeconfig").write_text(json.dumps(config))
    monkeypatch.setenv("KUBECONFIG", str(home / "kubeconfig"))
    tokens = []

    def issue() -> None:
        tokens.append(f"token-{secrets.token_urlsafe(24)}")
        cluster.token = tokens[-1]
        (home / "issued").write_text(tokens[-1])

    issue()
    folder, keeper = opening.open_fleet(is_owned=True, nodes=1, **asked(cluster))
    try:
        opening.wait_ready(folder, keeper)
        issue()
        n_asked = len((home / "asked").read_text())
        until(lambda: len((home / "asked").read_text()) > n_asked)
        shown = [one.info["cmdline"] or [] for one in psutil.process_iter(["cmdline"])]
    finally:
        opening.end(folder, "the test is over", 60, keeper)
    assert (cluster.pods.now, cluster.pods.secrets) == ({}, {})
    written = [path.read_text(errors="replace") for path in folder.path.rglob("*") if path.is_file()]
    for token in tokens:
        assert token not in "".join(written)
        assert token not in str(shown)


@pytest.mark.alone
def test_pods_end_with_their_lease_when_the_keeper_is_killed_and_are_reaped(cluster: Any) -> None:
    folder, keeper = opening.open_fleet(is_owned=True, nodes=2, **asked(cluster))
    opening.wait_ready(folder, keeper)
    keeper.kill()
    keeper.wait()
    killed_s = time.monotonic()
    until(lambda: cluster.pods.ground.names() == frozenset())
    assert time.monotonic() - killed_s < LEASE_S + 1.0
    opening.reap(folder)
    until(lambda: cluster.pods.now == {})
    assert cluster.pods.secrets == {}
    assert opening.status(folder).phase == "closed"


def test_pods_that_nobody_can_end_from_inside_are_reaped(cluster: Any) -> None:
    cluster.pods.faults.n_mute = 100
    folder, keeper = opening.open_fleet(is_owned=True, nodes=2, **asked(cluster))
    until(lambda: len(cluster.pods.now) == 2)
    keeper.kill()
    keeper.wait()
    assert opening.reap(folder) >= 2
    assert (cluster.pods.now, cluster.pods.secrets) == ({}, {})


def test_a_quota_is_said_in_the_words_of_the_server(cluster: Any) -> None:
    cluster.most_pods = 0
    folder, keeper = opening.open_fleet(is_owned=True, nodes=1, **asked(cluster))
    with pytest.raises(BootFailed, match="exceeded quota"):
        opening.wait_ready(folder, keeper)
    opening.end(folder, "the test is over", 60, keeper)
    assert cluster.pods.now == {}


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ({"machine": Machine()}, "made of an image"),
        ({"at": ""}, "cannot reach its loopback address"),
    ],
)
def test_what_cannot_be_is_said_before_a_fleet_is_made(cluster: Any, more: Any, says: str) -> None:
    with pytest.raises(UsageError, match=says):
        opening.open_fleet(is_owned=True, nodes=1, **asked(cluster, **more))
    assert all_folders() == []


def test_a_user_without_a_kubeconfig_is_told_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "none"))
    with pytest.raises(MissingCredential, match="needs a kubeconfig"):
        rackrate.Fleet(backend="kubernetes", image="me/work:1", at="192.0.2.7:7700")
    assert all_folders() == []


def test_the_command_line_says_it_as_data(cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    bad = {"current-context": "away", "contexts": []}
    (tmp_path / "kubeconfig").write_text(json.dumps(bad))
    monkeypatch.setenv("KUBECONFIG", str(tmp_path / "kubeconfig"))
    where = ("--backend", "kubernetes", "--image", "me/work:1", "--at", "192.0.2.7:7700")
    said = cli("fleet", "up", *where, "--json")
    assert said.code == 2
    assert said.json["error"]["code"] == "usage"
    assert "no context 'away'" in said.json["error"]["detail"]
