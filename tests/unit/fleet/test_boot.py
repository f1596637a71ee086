"""The first process of a machine, as a machine starts it: alone, with an order in its environment."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import pytest

from rackrate.fleet import boot, environment, tls
from rackrate.fleet.backends.base import BOOT, ORDER, Order
from rackrate.fleet.identity import Identity

NODE = "rr-b007b007-1"


def order_of(tmp_path: Path, **asked: object) -> dict[str, str]:
    """Return the environment of a machine whose gate does not answer."""
    tls.write_key(tmp_path / "fleet", "b007b007", timedelta(hours=1))
    identity = tls.node_identity(Identity.read(tmp_path / "fleet"), NODE, timedelta(hours=1))
    order = Order(NODE, "b007b007", "worker", "127.0.0.1:1", 2.0, 60.0, identity=identity.to_pem())
    data = {**order.to_dict(), **asked}
    return {**os.environ, "TMPDIR": str(tmp_path), **Order.from_dict(data).to_env()}


@pytest.mark.skipif(sys.platform != "linux", reason="the kernel shows environments on Linux")
def test_the_order_leaves_the_environment_and_a_node_without_gate_ends_with_its_lease(tmp_path: Path) -> None:
    command = [sys.executable, *BOOT[1:]]
    with subprocess.Popen(command, env=order_of(tmp_path), stderr=subprocess.PIPE, text=True) as process:
        about, until_s = Path(f"/proc/{process.pid}"), time.monotonic() + 20
        while not (shown := (about / "environ").read_bytes()) or ORDER.encode() in shown:
            assert time.monotonic() < until_s, "it starts anew without its order"
            time.sleep(0.01)
        assert b"PRIVATE KEY" not in shown + (about / "cmdline").read_bytes()
        _, said = process.communicate(timeout=20)
    assert "its lease has run out" in said


def test_a_machine_with_other_versions_says_so_and_ends_before_it_works(tmp_path: Path) -> None:
    versions = {**environment.versions(), "distributed": "2020.1.0"}
    done = subprocess.run(
        [sys.executable, *BOOT[1:]],
        env=order_of(tmp_path, versions=versions),
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert done.returncode == 1
    assert "on the node and 2020.1.0 here" in done.stderr


def test_a_worker_that_is_quicker_than_the_door_waits_for_it(tmp_path: Path) -> None:
    """Seen: three nodes in a row died, each because its worker had asked before the door listened."""
    order = Order.from_env(order_of(tmp_path))
    door = boot._open_door(order, Identity.from_pem(order.identity), tmp_path / "door")
    try:
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(tmp_path / "door"))
    finally:
        os.kill(door, signal.SIGKILL)
        os.waitpid(door, 0)


def test_only_what_differs_is_named() -> None:
    owner = {"python": "3.12", "distributed": "2026.8.0"}
    assert environment.mismatch(owner, owner) == ""
    assert environment.mismatch(owner, {**owner, "python": "3.11"}) == "python 3.11 on the node and 3.12 here"
    assert "none on the node" in environment.mismatch(owner, {"python": "3.12"})


def test_the_end_of_a_log_is_repeated_also_where_nobody_reads(tmp_path: Path) -> None:
    (tmp_path / "log").write_text("first words" + " " * 10_000 + "last words")
    read, write = os.pipe()
    boot._repeat_end(tmp_path / "log", write)
    assert os.read(read, 1 << 16).decode().strip() == "last words"
    with suppress(BlockingIOError):
        while True:
            os.write(write, bytes(4096))
    boot._repeat_end(tmp_path / "log", write)  # returns
    for handle in (read, write):
        os.close(handle)
