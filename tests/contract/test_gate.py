"""Who may come in at a fleet's gate, and what may each say? A stranger nothing, a node what is its own."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.contract.conftest import FakeKeeper, Gate

from rackrate.errors import FleetError
from rackrate.fleet import sync, tls
from rackrate.fleet.gate import NAMED
from rackrate.fleet.identity import Identity
from rackrate.fleet.lines import Line, encode

ONE, OTHER = "rr-c0117ac7-1", "rr-c0117ac7-2"


@pytest.fixture(autouse=True)
def is_open(gate: Gate) -> None:
    gate.open()


@pytest.fixture
def line(gate: Gate) -> Iterator[Line]:
    """Connect as the agent of a node."""
    with Line(gate.address, gate.identity(ONE)) as line:
        yield line


def stream(gate: Gate, node: str, **said: Any) -> ssl.SSLSocket:
    """Connect as a node's door and say the first line."""
    link = gate.identity(node).dial(gate.address, 5)
    link.sendall(encode(said))
    return link


def read(link: socket.socket) -> bytes:
    """Return one line."""
    said = b""
    while not said.endswith(b"\n") and (part := link.recv(1)):
        said += part
    return said


def test_a_node_renews_its_lease_through_the_gate(line: Line, keeper: FakeKeeper) -> None:
    for _ in range(3):
        assert line.ask("renew", 5, node=ONE)["ttl_s"] == keeper.ttl_s
    assert [said["node"] for said in keeper.heard] == [ONE] * 3


@pytest.mark.parametrize(
    ("do", "said"),
    [
        ("renew", {"node": OTHER}),
        ("ended", {"node": OTHER, "why": "I say so"}),
        ("mismatched", {"node": OTHER, "why": "I say so"}),
        ("environment", {"node": OTHER}),
        ("events", {"source": f"{OTHER}/1/ab", "first": 0, "points": []}),
        ("events", {"source": f"{ONE}/1/ab", "first": 0, "points": [{"node": OTHER}]}),
        ("sweep-begin", {"name": "s", "node": OTHER, "number": 0}),
        ("sweep-save", {"name": "s", "node": OTHER, "number": 0, "attempt": 1, "part": ""}),
        ("sweep-load", {"name": "s", "node": OTHER, "number": 0, "at_byte": 0}),
        ("sweep-open", {"name": "s", "node": ONE, "goal": {}}),
        ("scale", {"n": 1000}),
        ("close", {"why": "I say so"}),
        ("status", {}),
    ],
)
def test_what_is_not_a_nodes_own_never_reaches_the_keeper(
    line: Line, keeper: FakeKeeper, do: str, said: dict[str, Any]
) -> None:
    with pytest.raises(FleetError) as caught:
        line.ask(do, 5, **said)
    assert caught.value.code == "not-allowed"
    assert keeper.heard == []


def without_certificate(_: Gate) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    return context


def of_another_fleet(gate: Gate) -> ssl.SSLContext:
    path = gate.folder.path / "other"
    tls.write_key(path, "0therf1ee7", timedelta(hours=1))
    node = tls.node_identity(Identity.read(path), ONE, timedelta(hours=1))
    context = node.client_context()
    context.verify_mode = ssl.CERT_NONE
    return context


def with_one_that_a_node_signed(gate: Gate) -> ssl.SSLContext:
    forged = tls.node_identity(gate.identity(ONE), OTHER, timedelta(hours=1))
    own = gate.identity(ONE)
    return Identity(forged.key, forged.certificate + own.certificate, own.authority).client_context()


def with_an_old_one(gate: Gate) -> ssl.SSLContext:
    fleet = Identity.read(gate.folder.key)
    return tls.node_identity(fleet, ONE, timedelta(hours=-2)).client_context()


def say_renew(address: str, context: ssl.SSLContext) -> None:
    """Ask for a lease, whoever one is, and raise when one is cut off."""
    host, _, port = address.rpartition(":")
    with (
        socket.create_connection((host, int(port)), 5) as plain,
        context.wrap_socket(plain) as link,
    ):
        link.sendall(encode({"do": "renew", "node": ONE}))
        if link.recv(1) == b"":
            raise ConnectionResetError


@pytest.mark.parametrize(
    "context", [without_certificate, of_another_fleet, with_one_that_a_node_signed, with_an_old_one]
)
def test_a_stranger_is_cut_off_before_it_is_heard(
    gate: Gate, keeper: FakeKeeper, context: Callable[[Gate], ssl.SSLContext]
) -> None:
    with pytest.raises((ssl.SSLError, ConnectionError)):
        say_renew(gate.address, context(gate))
    assert keeper.heard == []


def test_a_node_takes_no_other_node_for_the_gate(gate: Gate) -> None:
    other = gate.identity(OTHER).server_context()
    with socket.create_server(("127.0.0.1", 0)) as server:

        def pretend() -> None:
            plain, _ = server.accept()
            with other.wrap_socket(plain, server_side=True) as link:
                link.recv(1)

        thread = threading.Thread(target=pretend)
        thread.start()
        with pytest.raises(ConnectionError, match="not the gate"):
            gate.identity(ONE).dial(f"127.0.0.1:{server.getsockname()[1]}", 5)
        thread.join(5)


def test_who_connects_to_a_workers_address_at_home_reaches_that_worker(gate: Gate) -> None:
    with stream(gate, ONE, do="listen") as herald:
        host, _, port = json.loads(read(herald))["address"].rpartition(":")
        with socket.create_connection((host, int(port)), 5) as at_home:
            number = json.loads(read(herald))["number"]
            with stream(gate, ONE, do="take", number=number) as at_node:
                at_home.sendall(b"to the worker\n")
                assert read(at_node) == b"to the worker\n"
                at_node.sendall(b"and back\n")
                assert read(at_home) == b"and back\n"


def test_one_worker_reaches_another(gate: Gate) -> None:
    with stream(gate, ONE, do="listen") as herald:
        address = json.loads(read(herald))["address"]
        with stream(gate, OTHER, do="dial", to=address) as other:
            number = json.loads(read(herald))["number"]
            with stream(gate, ONE, do="take", number=number) as at_node:
                other.sendall(b"hello\n")
                assert read(at_node) == b"hello\n"


def test_a_stream_goes_to_no_other_node_than_the_one_that_was_called(gate: Gate) -> None:
    with stream(gate, ONE, do="listen") as herald:
        host, _, port = json.loads(read(herald))["address"].rpartition(":")
        with socket.create_connection((host, int(port)), 5):
            number = json.loads(read(herald))["number"]
            with stream(gate, OTHER, do="take", number=number) as thief:
                assert json.loads(read(thief))["error"]["code"] == "not-allowed"


def test_a_node_dials_nothing_beside_its_fleet(gate: Gate) -> None:
    with socket.create_server(("127.0.0.1", 0)) as secret:
        address = f"127.0.0.1:{secret.getsockname()[1]}"
        with stream(gate, ONE, do="dial", to=address) as link:
            assert json.loads(read(link))["error"]["code"] == "not-allowed"
        secret.settimeout(0)
        with pytest.raises(BlockingIOError):
            secret.accept()


@pytest.mark.parametrize("is_open", [None])  # opened below
def test_an_address_in_front_of_this_machine_is_listened_for_on_all_and_that_is_said(
    gate: Gate, is_open: None
) -> None:
    del is_open
    gate.open("192.0.2.1:0", NAMED)
    assert f"port {gate.address.rpartition(':')[2]} is open on all it has" in gate.said.read_text()
    host, _, port = gate.address.rpartition(":")
    assert host == "192.0.2.1"
    with gate.identity(ONE).dial(f"127.0.0.1:{port}", 5) as link:
        link.sendall(encode({"do": "renew", "node": ONE}))
        assert "ttl_s" in json.loads(read(link))


@pytest.mark.parametrize("is_open", [None])
def test_nothing_is_opened_on_all_addresses_that_the_user_did_not_name(gate: Gate, is_open: None) -> None:
    del is_open
    gate.open("192.0.2.1:0")
    assert gate.address == ""
    assert "open on all" not in gate.said.read_text()


@pytest.mark.parametrize("is_open", [None])
def test_a_port_that_is_taken_is_no_reason_to_open_it_on_all_addresses(gate: Gate, is_open: None) -> None:
    del is_open
    with socket.create_server(("127.0.0.1", 0)) as taken:
        gate.open(f"127.0.0.1:{taken.getsockname()[1]}", NAMED)
    assert gate.address == ""
    assert "open on all" not in gate.said.read_text()


@pytest.mark.parametrize("is_open", [None])
def test_an_address_of_this_machine_is_the_only_one_that_is_open(gate: Gate, is_open: None) -> None:
    del is_open
    gate.open("127.0.0.1:0", NAMED)
    port = int(gate.address.rpartition(":")[2])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(("127.0.0.2", port), 5)


def test_what_a_stranger_writes_does_not_end_the_gate(gate: Gate, line: Line) -> None:
    host, _, port = gate.address.rpartition(":")
    for noise in (b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01" + bytes(500), b""):
        with socket.create_connection((host, int(port)), 5) as stranger:
            stranger.sendall(noise)
    with gate.identity(OTHER).dial(gate.address, 5) as link:
        link.sendall(b"[1, 2]\n")
        assert read(link) == b""
    assert "ttl_s" in line.ask("renew", 5, node=ONE)


def test_files_come_by_their_content_and_only_once(gate: Gate, line: Line, tmp_path: Path) -> None:
    package = tmp_path / "here" / "mine"
    package.mkdir(parents=True)
    (package / "__init__.py").write_text("ONE = 1\n")
    (package / "table.bin").write_bytes(bytes(range(256)) * 8000)
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "old.pyc").write_bytes(b"old")
    sync.collect([package], gate.folder.sync)
    kept = tmp_path / "kept"
    sync.fetch(line, kept, tmp_path / "first")
    assert (tmp_path / "first/mine/table.bin").read_bytes() == bytes(range(256)) * 8000
    assert sorted(path.name for path in (tmp_path / "first/mine").iterdir()) == ["__init__.py", "table.bin"]
    for path in kept.iterdir():
        path.write_text(f"kept as {path.name}")
    sync.fetch(line, kept, tmp_path / "second")
    assert (tmp_path / "second/mine/__init__.py").read_text().startswith("kept as ")


@pytest.mark.parametrize("name", ["../key", "key", "/etc/passwd", "ab", "A" * 64])
def test_nothing_but_what_was_collected_can_be_read(gate: Gate, line: Line, name: str) -> None:
    sync.collect([], gate.folder.sync)
    with pytest.raises((FleetError, ConnectionError)):
        line.ask("file", 5, name=name, first=0)
