"""The process that nodes of this machine are forked from outlives an order that it cannot carry out."""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from rackrate.fleet import tree
from rackrate.fleet.backends.base import NoNode, Order
from rackrate.fleet.backends.local import LocalBackend

pytestmark = pytest.mark.alone

FLEET = "10ca1000"


@pytest.fixture
def backend(tmp_path: Path) -> Iterator[LocalBackend]:
    backend = LocalBackend(tmp_path, FLEET)
    yield backend
    tree.end_marked(FLEET)
    backend.close()


def order(number: int) -> Order:
    return Order(f"rr-{FLEET}-{number}", FLEET, "worker", "/nowhere", ttl_s=20.0, longest_s=20.0)


def _agent(folder: Path) -> psutil.Process:
    alive = folder / "nodes" / order(1).name / "alive"
    while not alive.read_text():
        time.sleep(0.001)
    return psutil.Process(int(alive.read_text()))


def test_an_order_that_cannot_be_carried_out_fails_alone(backend: LocalBackend, tmp_path: Path) -> None:
    backend.create(order(1))
    (tmp_path / "nodes" / order(2).name).write_text("in the way")
    with pytest.raises(NoNode, match="NotADirectoryError"):
        backend.create(order(2))
    backend.create(order(3))
    assert backend.list(FLEET) == {order(1).name, order(3).name}
    assert backend.trouble == ""


KEEPER = "import subprocess, sys; subprocess.Popen([sys.executable, '-c', sys.argv[1]], stdin=-1).wait()"
CHILD = """
import os, signal, time
from rackrate.fleet import tree
from rackrate.fleet.backends import forking, zygote
keeper = os.getppid()
print(zygote._has_keeper())
os.kill(keeper, signal.SIGSTOP)
while not tree.is_frozen(keeper):
    time.sleep(0.01)
print(zygote._has_keeper())
os.kill(keeper, signal.SIGKILL)
while not forking.is_hung_up():
    time.sleep(0.01)
print(zygote._has_keeper())
"""


def test_a_keeper_that_is_frozen_or_dead_has_nobody_wait_for_a_node() -> None:
    """Seen: a fleet whose keeper died while its first node was being made lived for a lease more."""
    done = subprocess.run([sys.executable, "-c", KEEPER, CHILD], capture_output=True, text=True, check=False)
    assert done.stdout.split() == ["True", "False", "False"]


def test_an_order_whose_keeper_died_before_it_was_read_makes_no_node(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "rackrate.fleet.backends.zygote", str(tmp_path)]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as zygote:
        said, _ = zygote.communicate(json.dumps(order(1).to_dict()).encode() + b"\n")
    assert "dead or frozen" in json.loads(said)["trouble"]
    assert list(tmp_path.iterdir()) == []


def test_a_zygote_that_was_killed_is_trouble(backend: LocalBackend) -> None:
    assert backend.trouble == ""
    backend.create(order(1))
    assert backend._zygote
    backend._zygote.kill()
    with pytest.raises(NoNode, match="has died: it wrote nothing"):
        backend.create(order(2))
    backend._zygote.wait()
    assert "has died" in backend.trouble


def test_the_key_of_an_account_stays_with_the_keeper(
    backend: LocalBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RUNPOD_API_KEY", "secret")
    monkeypatch.setenv("RUNPOD_POD_ID", "not a key")
    backend.start()
    assert backend._zygote
    zygote = psutil.Process(backend._zygote.pid)
    until_s = time.monotonic() + 10
    while not (inherited := zygote.environ()) and time.monotonic() < until_s:  # it is just becoming it
        time.sleep(0.01)
    assert (inherited.get("RUNPOD_API_KEY"), inherited["RUNPOD_POD_ID"]) == (None, "not a key")


def test_a_node_that_freezes_while_nobody_keeps_it_is_ended_too(
    backend: LocalBackend, tmp_path: Path
) -> None:
    backend.create(replace(order(1), ttl_s=3.0))
    _agent(tmp_path).suspend()
    started_s = time.monotonic()
    while backend.list(FLEET):
        assert time.monotonic() - started_s < 4
        time.sleep(0.01)


def test_a_frozen_node_is_ended_at_once(backend: LocalBackend, tmp_path: Path) -> None:
    backend.create(order(1))
    _agent(tmp_path).suspend()
    started_s = time.monotonic()
    backend.destroy(order(1).name)
    while backend.list(FLEET):
        time.sleep(0.001)
    assert time.monotonic() - started_s < 0.9  # it does not wait for an answer
