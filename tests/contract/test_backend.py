"""What every backend must do, whatever it rents: the contract of `rackrate.fleet.backends.base`."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.contract.conftest import Gate

from rackrate.fleet import tree
from rackrate.fleet.backends.base import Backend, Machine, Order
from rackrate.fleet.backends.container import ContainerBackend
from rackrate.fleet.backends.kubeconfig import read_cluster
from rackrate.fleet.backends.kubernetes import KubernetesBackend
from rackrate.fleet.backends.local import LocalBackend
from rackrate.fleet.backends.rented import RentedBackend
from rackrate.fleet.backends.ssh import SshBackend
from rackrate.fleet.gate import NAMED
from rackrate.testing.machines import MachineBackend, Machines

FLEET = os.urandom(4).hex()  # its own in each process: two may look at one list of containers
L40S = Machine(image="example/worker:1", gpu="l40s", n_gpus=1)
PATIENCE_S = 20.0

Make = Callable[[], Backend]


def until(is_so: Callable[[], bool], patience_s: float = PATIENCE_S) -> float:
    """Wait until it is so; return the seconds it took."""
    started = time.monotonic()
    while not is_so():
        assert time.monotonic() - started < patience_s, "it never was so"
        time.sleep(0.01)
    return time.monotonic() - started


PLACES = ("local", "emulated", "container", "ssh", "kubernetes")
CLOUDS = ("runpod", "vast")


class CloudBackend(RentedBackend):
    """Machines of an emulated cloud, whose consoles a test may read."""

    def __init__(self, account: Any, machines: Machines, folder: Path) -> None:
        rental = account.rental()
        rental.list_s = 0.0  # every look is a fresh one, so that a test need not wait
        super().__init__(rental, folder)
        self._account = account
        self._machines = machines

    @property
    def at(self) -> str:
        return f"{self._machines.address}:0"

    def create(self, order: Order) -> None:
        """Return when the machine runs, so that a test may take the time from there."""
        super().create(order)
        until(lambda: all(one.state != "making" for one in self._account.cloud.machines))

    def logs(self, name: str) -> Path:
        machine = next(one for one in self._account.cloud.machines if one.name == name)
        return self._machines.log(machine.id)


class PodBackend(KubernetesBackend):
    """Pods of an emulated cluster."""

    def __init__(self, server: Any, folder: Path) -> None:
        super().__init__(read_cluster(), folder)
        self._pods_there = server.pods
        self.at = f"{server.pods.ground.address}:0"

    def create(self, order: Order) -> None:
        """Return when the pod runs, so that a test may take the time from there."""
        super().create(order)
        until(lambda: all(pod.phase != "Pending" for pod in self._pods_there.now.values()))


@pytest.fixture(params=[*PLACES, *CLOUDS])
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def opened(
    place: str, request: pytest.FixtureRequest, open_account: Any, tmp_path: Path
) -> Iterator[Callable[[Path, str], Backend]]:
    """Open a place, with a folder of its own and the fleet."""
    match place:
        case "local":
            yield LocalBackend
        case "emulated":
            yield MachineBackend
        case "container":
            yield lambda folder, _: ContainerBackend(folder)
        case "ssh":
            host = request.getfixturevalue("ssh_server").host(slots=3)
            yield lambda folder, _: SshBackend(folder, (host,))
        case "kubernetes":
            cluster = request.getfixturevalue("cluster")
            yield lambda folder, _: PodBackend(cluster, folder)
        case cloud:
            machines = Machines(tmp_path / "ground")
            account = open_account(cloud, machines, address=machines.address)
            yield lambda folder, _: CloudBackend(account, machines, folder)
            machines.close()


@pytest.fixture
def at(place: str, request: pytest.FixtureRequest) -> str:
    """Return where nodes of the place reach this machine; empty for what the place says itself."""
    return str(request.getfixturevalue("containers_at")) if place == "container" else ""


@pytest.fixture
def boot_s(place: str) -> float:
    """Return how long a node of the place may boot on a busy machine: its lease begins when it has."""
    return {"container": 10.0, "ssh": 5.0}.get(place, 0.0)


@pytest.fixture
def machine(place: str, request: pytest.FixtureRequest) -> Machine | None:
    """Return what a node's machine is to be, where it is one."""
    if place == "container":
        return Machine(image=request.getfixturevalue("node_image"))
    return L40S if place in (*CLOUDS, "kubernetes") else None


@pytest.fixture
def made() -> list[Backend]:
    """Return the backends that a test made."""
    return []


@pytest.fixture
def make(
    opened: Callable[[Path, str], Backend], made: list[Backend], tmp_path: Path, keeper: Any
) -> Iterator[Make]:
    """Make backends of one kind for one fleet; each is as a process that knows nothing of the others."""
    del keeper  # it must outlive the nodes

    def backend() -> Backend:
        made.append(opened(tmp_path, FLEET))
        return made[-1]

    yield backend
    for one in made:
        for name in one.list(FLEET):
            one.destroy(name)
    for one in made:
        one.close()
    until(lambda: not tree.marked(FLEET))


@pytest.fixture
def order(
    place: str, made: list[Backend], gate: Gate, at: str, machine: Machine | None
) -> Callable[..., Order]:
    """Order nodes of the place: those that are other machines call at the gate."""

    def numbered(number: int, ttl_s: float = 30.0, longest_s: float = 60.0) -> Order:
        name = f"rr-{FLEET}-{number}"
        here = Order(name, FLEET, "worker", str(gate.folder.keeper), ttl_s=ttl_s, longest_s=longest_s)
        if place == "local":
            return here
        gate.open(at or made[0].at or "127.0.0.1:0", *([NAMED] if at else []))
        identity = gate.identity(name).to_pem()
        return replace(here, keeper=gate.address, identity=identity, machine=machine)

    return numbered


def test_what_was_created_is_listed_and_what_was_destroyed_is_not(
    make: Make, order: Callable[..., Order]
) -> None:
    backend = make()
    assert backend.list(FLEET) == frozenset()
    names = {order(number).name for number in (1, 2, 3)}
    for number in (1, 2, 3):
        backend.create(order(number))
    assert backend.list(FLEET) == names
    backend.destroy(order(2).name)
    until(lambda: backend.list(FLEET) == names - {order(2).name})


def test_a_name_is_one_node_however_often_it_is_ordered(make: Make, order: Callable[..., Order]) -> None:
    backend = make()
    backend.create(order(1))
    n_processes = len(tree.marked(FLEET))
    backend.create(order(1))
    assert backend.list(FLEET) == {order(1).name}
    assert len(tree.marked(FLEET)) == n_processes


def test_a_destroyed_node_has_ended_as_soon_as_its_place_promises(
    make: Make, order: Callable[..., Order], keeper: Any
) -> None:
    backend = make()
    backend.create(order(1))
    until(lambda: bool(keeper.heard))
    started_s = time.monotonic()
    backend.destroy(order(1).name)
    until(lambda: not backend.list(FLEET))
    assert time.monotonic() - started_s <= backend.destroy_s + backend.settle_s


def test_nobody_bills_a_node_but_who_rents_it(make: Make, place: str) -> None:
    billed = make().billed(FLEET, time.time())
    assert billed == ({} if place in CLOUDS else None)


def test_destroy_may_be_asked_again_and_of_what_is_not_there(make: Make, order: Callable[..., Order]) -> None:
    backend = make()
    backend.destroy(order(7).name)
    backend.create(order(1))
    for _ in range(3):
        backend.destroy(order(1).name)
    until(lambda: not backend.list(FLEET))


def test_another_process_lists_and_destroys_what_this_one_created(
    make: Make, order: Callable[..., Order]
) -> None:
    make().create(order(1))
    stranger = make()
    assert stranger.list(FLEET) == {order(1).name}
    stranger.destroy(order(1).name)
    until(lambda: not stranger.list(FLEET))


@pytest.mark.alone
def test_a_node_asks_for_its_lease_and_lives_on_it(
    make: Make, order: Callable[..., Order], keeper: Any
) -> None:
    backend = make()
    keeper.ttl_s = 1.0
    backend.create(order(1, ttl_s=1.0))
    until(lambda: len(keeper.heard) >= 8)  # 4 in each length of the lease: 2 lengths
    assert {(said["do"], said["node"]) for said in keeper.heard} == {("renew", order(1).name)}
    assert backend.list(FLEET) == {order(1).name}


@pytest.mark.alone
def test_a_node_that_hears_nothing_ends_with_its_lease(
    make: Make, order: Callable[..., Order], keeper: Any
) -> None:
    backend = make()
    keeper.ttl_s = 1.5
    backend.create(order(1, ttl_s=1.5))
    until(lambda: len(keeper.heard) >= 2)
    keeper.is_silent = True
    assert until(lambda: not backend.list(FLEET)) <= 1.5 + 1.0 + backend.settle_s
    assert "its lease has run out" in backend.logs(order(1).name).read_text()


@pytest.mark.alone
def test_a_node_that_never_reaches_anybody_ends_with_its_first_lease(
    make: Make, order: Callable[..., Order], keeper: Any, boot_s: float
) -> None:
    backend = make()
    keeper.is_silent = True
    backend.create(order(1, ttl_s=1.0))
    assert until(lambda: not backend.list(FLEET)) <= boot_s + 1.0 + 1.0 + backend.settle_s


@pytest.mark.alone
def test_a_node_ends_when_its_longest_life_is_over_whatever_it_is_told(
    make: Make, order: Callable[..., Order], keeper: Any, boot_s: float
) -> None:
    backend = make()
    backend.create(order(1, ttl_s=30.0, longest_s=2.0))
    assert until(lambda: not backend.list(FLEET)) <= boot_s + 2.0 + 1.0 + backend.settle_s
    assert keeper.heard
