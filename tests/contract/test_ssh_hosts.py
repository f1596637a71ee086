"""Hosts that cannot be used say why, before any work starts."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from rackrate.fleet.backends.base import NoNode, Order
from rackrate.fleet.backends.hosts import Host
from rackrate.fleet.backends.ssh import SshBackend
from rackrate.testing import sshd

pytestmark = pytest.mark.skipif(sshd.program() is None, reason="OpenSSH's server is not installed")
ORDER = Order("rr-5511-1", "5511", "worker", "127.0.0.1:1", ttl_s=1, longest_s=1)


@pytest.fixture(scope="module")
def host(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    folder = tmp_path_factory.mktemp("sshd")
    with sshd.Sshd(folder, {"PYTHONPATH": ":".join(sys.path), "XDG_DATA_HOME": str(folder / "d")}) as server:
        yield server.host()


@pytest.fixture
def why(tmp_path: Path) -> Callable[[Host], str]:
    """Return why a host takes no node."""

    def refused(host: Host) -> str:
        backend = SshBackend(tmp_path, (host,))
        try:
            with pytest.raises(NoNode) as caught:
                backend.create(ORDER)
        finally:
            backend.close()
        return caught.value.message

    return refused


def test_a_host_whose_key_is_unknown_is_not_trusted(
    host: Host, why: Callable[[Host], str], tmp_path: Path
) -> None:
    said = why(replace(host, known_hosts=str(tmp_path / "none")))
    assert "SHA256:" in said
    assert str(tmp_path / "none") in said


def test_a_host_that_shows_another_key_than_it_should_is_not_trusted(
    host: Host, why: Callable[[Host], str], tmp_path: Path
) -> None:
    other = Path(host.key + ".pub").read_text()
    (tmp_path / "known").write_text(f"[127.0.0.1]:{host.where()['port']} {other}")
    assert "SHA256:" in why(replace(host, known_hosts=str(tmp_path / "known")))


def test_a_key_that_a_host_does_not_know_is_no_way_in(host: Host, why: Callable[[Host], str]) -> None:
    own = Path(host.key).with_name("host")
    assert "none of the keys" in why(replace(host, key=str(own)))


def test_a_host_without_that_python_says_so(host: Host, why: Callable[[Host], str]) -> None:
    assert "has no python9" in why(replace(host, python="python9"))


def test_a_python_without_rackrate_says_so(host: Host, why: Callable[[Host], str], tmp_path: Path) -> None:
    bare = tmp_path / "bare"
    bare.write_text(f'#!/bin/sh\nexec env -u PYTHONPATH {Path(sys.executable).resolve()} -S "$@"\n')
    bare.chmod(0o755)
    assert "lacks rackrate, distributed" in why(replace(host, python=str(bare)))


def test_a_python_that_is_too_old_says_so(host: Host, why: Callable[[Host], str], tmp_path: Path) -> None:
    old = tmp_path / "old"
    old.write_text("#!/bin/sh\necho '[[3, 9], []]'\n")
    old.chmod(0o755)
    assert "is Python 3.9" in why(replace(host, python=str(old)))


def test_a_host_that_is_not_there_says_so(why: Callable[[Host], str]) -> None:
    assert "not reached" in why(Host("127.0.0.1:1"))


def test_a_host_that_nobody_can_ask_is_not_taken_for_an_empty_one(tmp_path: Path) -> None:
    backend = SshBackend(tmp_path, (Host("127.0.0.1:1"),))
    try:
        with pytest.raises(NoNode, match="not reached"):
            backend.destroy("rr-5511-1")
        with pytest.raises(Exception, match="not reached"):
            backend.list("5511")
    finally:
        backend.close()
