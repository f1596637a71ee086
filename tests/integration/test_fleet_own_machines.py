"""Whole fleets in containers with networks of their own, and on a host by a real OpenSSH server.

What dies here is the keeper: nobody destroys anything any more, so what ends the nodes is their lease.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest

import rackrate
from rackrate.errors import BootFailed, UsageError
from rackrate.fleet import command, opening, tree
from rackrate.fleet.backends.base import Backend
from rackrate.fleet.backends.container import ContainerBackend
from rackrate.fleet.backends.hosts import Host
from rackrate.fleet.backends.ssh import SshBackend
from rackrate.fleet.folder import all_folders

pytestmark = pytest.mark.timeout(240)
LEASE_S = 5.0
Open = Callable[..., rackrate.Fleet]


@pytest.fixture(params=["container", "ssh"])
def place(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def asked(place: str, request: pytest.FixtureRequest, tmp_path: Path) -> dict[str, Any]:
    """Return what a fleet of the place is asked for with."""
    if place == "container":
        image, at = (request.getfixturevalue(name) for name in ("node_image", "containers_at"))
        return {"image": image, "at": at}
    file = tmp_path / "rack.toml"
    file.write_text(as_toml(request.getfixturevalue("ssh_server").host(slots=2)))
    return {"hosts": str(file)}


def as_toml(host: Host) -> str:
    named = {name: getattr(host, name) for name in ("address", "python", "key", "known_hosts")}
    return "\n".join(["[[host]]", f"slots = {host.slots}", *(f'{k} = "{v}"' for k, v in named.items()), ""])


@pytest.fixture
def open_fleet(place: str, asked: dict[str, Any]) -> Iterator[Open]:
    """Open fleets; look afterwards that nothing of them is left."""

    def opened(**more: Any) -> rackrate.Fleet:
        return rackrate.Fleet(backend=place, boot_timeout_s=100, **asked, **more)

    yield opened
    left = [folder.fleet for folder in all_folders() if tree.marked(folder.fleet) or folder.keeper.exists()]
    assert left == []


@pytest.fixture
def stranger(place: str, asked: dict[str, Any], tmp_path: Path) -> Iterator[Backend]:
    """Return a way to list nodes for who never made one."""
    from rackrate.fleet.backends.hosts import read_hosts  # noqa: PLC0415 - beside its only use

    there: Backend = (
        ContainerBackend(tmp_path)
        if place == "container"
        else SshBackend(tmp_path, read_hosts([asked["hosts"]]))
    )
    yield there
    there.close()


def test_tasks_run_there_and_nothing_stays(
    place: str, open_fleet: Open, stranger: Backend, tmp_path: Path
) -> None:
    (tmp_path / "sent.py").write_text("print('sent')")
    with open_fleet(nodes=2, lease_s=20, sync=[tmp_path / "sent.py"]) as fleet:
        names = {node["node"] for node in fleet.status().data["nodes"]}

        def where(_: int) -> tuple[str, int]:  # in here, so that it travels whole
            time.sleep(0.2)  # so that both nodes get a share
            return socket.gethostname(), os.getpid()

        found = fleet.client.gather(fleet.map(where, range(8)))
        hosts = {host for host, _ in found}
        assert hosts == (names if place == "container" else {socket.gethostname()})
        assert len({pid for _, pid in found}) == 2 or place == "container"
        assert stranger.list(fleet.id) == names
        heard: list[str] = []
        code = "import os; print('RACKRATE_ORDER' in os.environ)"
        ran = command.run(fleet, ["python3", "-c", code], lambda _, line: heard.append(line))
        assert ([one.code for one in ran], heard) == ([0, 0], ["False", "False"])
        command.run(fleet, ["python3", "-m", "sent"], lambda _, line: heard.append(line), on_one=True)
        assert heard[2:] == ["sent"]
        assert "Registered to" in fleet.logs(min(names))
        fleet_id = fleet.id
    assert stranger.list(fleet_id) == frozenset()


@pytest.mark.alone
def test_nodes_whose_keeper_was_killed_end_with_their_lease(open_fleet: Open, stranger: Backend) -> None:
    fleet = open_fleet(nodes=1, lease_s=LEASE_S)
    try:
        (keeper,) = (one for one in tree.marked(fleet.id) if "rackrate.fleet.keeping" in one.cmdline())
        os.kill(keeper.pid, signal.SIGKILL)
        killed_s = time.monotonic()
        while stranger.list(fleet.id):
            assert time.monotonic() - killed_s <= LEASE_S + 1.0 + stranger.settle_s
            time.sleep(0.05)
    finally:
        opening.reap(fleet.folder)
        fleet.close()


@pytest.mark.parametrize("place", ["ssh"], indirect=True)
def test_an_agent_that_is_killed_on_a_host_leaves_nothing_there(open_fleet: Open) -> None:
    """A container ends with its first process; a host goes on."""

    def have_deaf_child() -> tuple[int, int]:  # in here, so that it travels whole
        code = "import signal, time; signal.signal(15, signal.SIG_IGN); time.sleep(600)"
        return os.getppid(), subprocess.Popen([sys.executable, "-c", code], start_new_session=True).pid

    with open_fleet(nodes=1, lease_s=20) as fleet:
        agent, child = map(psutil.Process, fleet.submit(have_deaf_child).result())
        agent.kill()
        assert psutil.wait_procs([child], timeout=5)[1] == []


def test_no_secret_of_an_order_stands_in_a_process_list(open_fleet: Open) -> None:
    with open_fleet(nodes=1, lease_s=20) as fleet:
        key = fleet.folder.key.read_text().splitlines()[1]
        lines = []
        for process in psutil.process_iter():
            try:
                lines.append(" ".join(process.cmdline()))
            except psutil.Error:
                continue
        assert any("rackrate" in line for line in lines)
        assert not [
            line for line in lines if "RACKRATE_ORDER=" in line or "PRIVATE KEY" in line or key in line
        ]


def test_a_host_that_nobody_reaches_is_one_error_and_soon() -> None:
    with socket.socket() as taken:  # and nobody listens
        taken.bind(("127.0.0.1", 0))
        host = f"nobody@127.0.0.1:{taken.getsockname()[1]}"
        began_s = time.monotonic()
        with pytest.raises(BootFailed, match=f"no host takes it: {host}: not reached"):
            rackrate.Fleet(backend="ssh", hosts=host)
    assert time.monotonic() - began_s < 30  # and not as long as one waits for nodes that may be there
    (folder,) = all_folders()
    assert opening.status(folder).phase == "closed"
    assert tree.marked(folder.fleet) == []


def test_an_image_that_is_not_there_is_one_error(node_image: str) -> None:
    missing = node_image.rpartition(":")[0] + ":none"
    with pytest.raises(BootFailed, match="starts no container of") as caught:
        rackrate.Fleet(backend="container", image=missing)
    assert missing in caught.value.message


def test_an_image_without_what_a_node_needs_says_so_in_its_log(node_image: str, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    (tmp_path / "bin/sh").write_bytes(Path("/bin/sh").read_bytes())
    bare = node_image.rpartition(":")[0] + "-bare:1"
    packed = subprocess.run(["tar", "-C", tmp_path, "-c", "bin"], capture_output=True, check=True).stdout
    subprocess.run(["podman", "import", "-", bare], input=packed, capture_output=True, check=True)
    try:
        with pytest.raises(BootFailed):
            rackrate.Fleet(backend="container", image=bare, boot_timeout_s=30)
        (folder,) = all_folders()
        assert "python3" in opening.log_of(folder, "1")
    finally:
        subprocess.run(["podman", "rmi", "--force", bare], capture_output=True, check=True)


def test_a_machine_without_an_engine_is_one_error(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UsageError, match="no podman and no docker"):
        rackrate.Fleet(backend="container", image="me/work:1")
    assert all_folders() == []


def test_a_container_without_an_image_is_one_error() -> None:
    with pytest.raises(UsageError, match="none is named"):
        rackrate.Fleet(backend="container")
    assert all_folders() == []
