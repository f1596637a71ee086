"""Emulated machines are machines: apart from each other and from this host, and gone without a trace."""

from __future__ import annotations

import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import psutil
import pytest

from rackrate.errors import FleetError
from rackrate.fleet import tls
from rackrate.fleet.backends.base import Order
from rackrate.fleet.identity import Identity
from rackrate.testing import namespaces
from rackrate.testing.machines import Machines

FLEET = "e3a7ed00"

isolated = pytest.mark.skipif(
    not namespaces.are_possible(), reason="machines with a network of their own need Linux, root and iproute2"
)


@pytest.fixture
def machines(tmp_path: Path) -> Iterator[Machines]:
    machines = Machines(tmp_path / "machines")
    yield machines
    machines.close()
    assert machines.names() == frozenset()
    link = f"rr{(tmp_path / 'machines' / 'nursery').read_text()}"
    until_s = time.monotonic() + 20
    while link in psutil.net_if_addrs():  # of a nursery that was killed the kernel removes it in its own time
        assert time.monotonic() < until_s
        time.sleep(0.05)


def boot(machines: Machines, path: Path, number: int) -> str:
    """Boot a machine whose gate does not answer: it lives for its first lease."""
    name = f"rr-{FLEET}-{number}"
    if not (path / "key").exists():
        tls.write_key(path / "key", FLEET, timedelta(hours=1))
    identity = tls.node_identity(Identity.read(path / "key"), name, timedelta(hours=1)).to_pem()
    order = Order(name, FLEET, "worker", f"{machines.address}:1", 120.0, 120.0, identity=identity)
    machines.start(name, order.to_env())
    return name


def first(machines: Machines, name: str) -> psutil.Process:
    return psutil.Process(machines._pid_and_number(name)[0])


def test_what_one_process_starts_another_finds_and_stops(machines: Machines, tmp_path: Path) -> None:
    names = {boot(machines, tmp_path, number) for number in (1, 2, 3)}
    stranger = Machines(tmp_path / "machines")
    assert stranger.names() == names
    gone = min(names)
    below = [first(machines, gone), *first(machines, gone).children(recursive=True)]
    stranger.stop(gone)
    stranger.stop(gone)
    assert stranger.names() == names - {gone}
    assert psutil.wait_procs(below, timeout=2)[1] == []


@isolated
def test_a_machine_shares_neither_network_nor_processes_nor_name(machines: Machines, tmp_path: Path) -> None:
    one, other = (first(machines, boot(machines, tmp_path, number)).pid for number in (1, 2))
    for kind in ("net", "pid", "mnt", "uts", "ipc"):
        spaces = {Path(f"/proc/{pid}/ns/{kind}").readlink() for pid in (one, other, psutil.Process().pid)}
        assert len(spaces) == 3, kind


@isolated
def test_sixty_four_boot_before_one_could_be_rented(machines: Machines, tmp_path: Path) -> None:
    assert machines.are_isolated  # the nursery is there
    started_s = time.monotonic()
    names = {boot(machines, tmp_path, number) for number in range(64)}
    assert machines.names() == names
    assert time.monotonic() - started_s < 30  # that a host may need which runs other tests too


def test_a_frozen_machine_can_still_be_stopped(machines: Machines, tmp_path: Path) -> None:
    name = boot(machines, tmp_path, 1)
    machines.freeze(name)
    assert first(machines, name).status() == psutil.STATUS_STOPPED
    machines.stop(name)
    assert machines.names() == frozenset()


def test_a_machine_without_an_order_ends_and_says_why(machines: Machines) -> None:
    machines.start("lost", {})
    while "lost" in machines.names():
        time.sleep(0.01)
    assert "Error" in machines.log("lost").read_text()


def test_a_dead_nursery_is_said(machines: Machines, tmp_path: Path) -> None:
    assert machines.address
    psutil.Process(int((tmp_path / "machines" / "nursery").read_text())).kill()
    with pytest.raises(FleetError, match="nursery"):
        machines.start("late", {})
