"""Hosts as a user names them."""

from __future__ import annotations

from pathlib import Path

import pytest

from rackrate.errors import RackrateError
from rackrate.fleet.backends.hosts import Host, read_hosts
from rackrate.fleet.backends.reach import is_loopback


@pytest.mark.parametrize(
    ("address", "where"),
    [
        ("gpu1", {"host": "gpu1"}),
        ("me@gpu1.lab", {"host": "gpu1.lab", "username": "me"}),
        ("me@10.0.0.7:2222", {"host": "10.0.0.7", "username": "me", "port": 2222}),
        ("me@[fd00::7]:22", {"host": "fd00::7", "username": "me", "port": 22}),
    ],
)
def test_an_address_is_read_as_ssh_would(address: str, where: dict[str, object]) -> None:
    assert Host(address).where() == where


def test_addresses_and_files_go_together(tmp_path: Path) -> None:
    file = tmp_path / "rack.toml"
    file.write_text('[[host]]\naddress = "a"\nslots = 4\npython = "/opt/python"\n\n[[host]]\naddress = "b"\n')
    assert read_hosts([str(file), "me@c"]) == (
        Host("a", slots=4, python="/opt/python"),
        Host("b"),
        Host("me@c"),
    )


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("", "usage"),
        ("host = 3", "usage"),
        ("[[host]]\nslots = 2", "usage"),
        ('[[host]]\naddress = "a b"', "usage"),
        ("[[host]]\naddress = 7", "usage"),
        ('[[host]]\naddress = "a"\nslots = 0', "bad-quantity"),
        ('[[host]]\naddress = "a"\nslots = true', "bad-quantity"),
        ('[[host]]\naddress = "a"\nslot = 2', "unknown-setting"),
        ('[[host]]\naddress = "a"\nkey = 1', "usage"),
        ('[[host]]\naddress = "a"\n[[host]]\naddress = "a"', "usage"),
        ("[[host", "usage"),
    ],
)
def test_a_file_that_cannot_be_is_one_error(tmp_path: Path, text: str, code: str) -> None:
    file = tmp_path / "rack.toml"
    file.write_text(text)
    with pytest.raises(RackrateError) as caught:
        read_hosts([str(file)])
    assert caught.value.code == code


def test_a_file_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(RackrateError, match=r"none\.toml"):
        read_hosts([str(tmp_path / "none.toml")])


@pytest.mark.parametrize(
    ("address", "is_so"),
    [
        ("127.0.0.1:80", True),
        ("127.3.2.1:80", True),
        ("[::1]:80", True),
        ("localhost:80", True),
        ("10.88.0.1:80", False),
        ("home.example:80", False),
        ("/run/fleet/keeper", False),
    ],
)
def test_only_a_port_of_the_machine_itself_is_loopback(address: str, is_so: bool) -> None:  # noqa: FBT001
    assert is_loopback(address) is is_so
