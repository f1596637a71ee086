"""What may be asked of a fleet, where it keeps its files, and what its owner is seen to be."""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import psutil
import pytest
from cryptography import x509

from rackrate.errors import BadQuantity, DataError, OverBudget, UnknownName, UsageError
from rackrate.fleet import folder as folders
from rackrate.fleet import opening, tls
from rackrate.fleet.backends.base import Order
from rackrate.fleet.folder import Folder, all_folders, find_folder, new_folder, running_folder
from rackrate.fleet.identity import Identity
from rackrate.fleet.listing import listing
from rackrate.fleet.owner import owner_state
from rackrate.fleet.spec import Spec

SPEC = Spec("f1ee7", "/tmp/f1ee7", nodes=4, memory_gib=1.5, path=("/a", "/b"))  # noqa: S108 - never opened


def test_a_spec_reads_back_as_it_was_written(tmp_path: Path) -> None:
    SPEC.write(tmp_path / "spec")
    assert Spec.read(tmp_path / "spec") == SPEC


@pytest.mark.parametrize(
    ("asked", "value"),
    [
        ({"nodes": -1}, "-1"),
        ({"nodes": 1001}, "1001"),
        ({"nodes": True}, "True"),
        ({"nodes": "4"}, "'4'"),
        ({"threads": 0}, "0"),
        ({"lease_s": 0.5}, "0.5"),
        ({"max_hours": 0}, "0"),
        ({"max_hours": float("inf")}, "inf"),
        ({"memory_gib": 0}, "0"),
        ({"idle_s": 0}, "0"),
        ({"budget_usd": float("nan")}, "nan"),
    ],
)
def test_a_number_that_cannot_be_is_named_with_those_that_can(asked: dict[str, Any], value: str) -> None:
    with pytest.raises(BadQuantity) as caught:
        replace(SPEC, **asked)
    (name,) = asked
    assert f"{name} {value}" in caught.value.message
    assert caught.value.hint.startswith("give ")


def test_a_budget_pays_for_one_node_to_its_end_or_nothing_is_begun() -> None:
    dear = {"usd_per_node_hour": 36.0, "lease_s": 10.0}  # a cent a second, 10 + 2 + 0.25 s: 13 begun seconds
    assert replace(SPEC, budget_usd=0.13, **dear).policy().budget.limit_microusd == 130_000
    with pytest.raises(OverBudget) as caught:
        replace(SPEC, budget_usd=0.12, **dear)
    assert "0.1300 USD" in caught.value.hint
    assert replace(SPEC, nodes=0, budget_usd=0.0, **dear).nodes == 0
    with pytest.raises(OverBudget):  # which takes longer to destroy
        replace(SPEC, budget_usd=0.13, backend="runpod", **dear)


def test_an_order_bears_lease_and_end_so_that_a_node_alone_ends_too() -> None:
    order = replace(SPEC, max_hours=2).order("rr-f1ee7-1", "worker", age_s=3600)
    assert (order.ttl_s, order.longest_s, order.memory_bytes) == (10, 3600, 1_610_612_736)
    assert Order.from_dict(json.loads(json.dumps(order.to_dict()))) == order


def test_a_folder_is_its_users_alone_and_found_by_the_beginning_of_its_id() -> None:
    one = new_folder()
    assert one.path.stat().st_mode & 0o777 == 0o700
    assert all_folders() == []  # without a spec it is none yet
    SPEC.write(one.spec)
    assert [folder.fleet for folder in all_folders()] == [one.fleet]
    assert find_folder(one.fleet[:4]) == one
    with pytest.raises(UnknownName) as caught:
        find_folder("nope")
    assert caught.value.code == "unknown-fleet"


def test_a_fleet_whose_spec_is_damaged_hides_no_other() -> None:
    for name, text in (("torn", '{"fleet": "to'), ("newer", '{"fleet": "newer", "colour": "red"}')):
        (folders.home() / name).mkdir(parents=True)
        (folders.home() / name / "spec").write_text(text)
        with pytest.raises(DataError, match=f"the fleet {name} cannot be read"):
            opening.status(find_folder(name))
    assert listing().to_dict()["data"] == []


def test_a_fleet_that_finds_no_room_on_the_disk_leaves_nothing() -> None:
    code = (
        "import resource, rackrate\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (100, 100))\n"
        "try: rackrate.Fleet()\n"
        "except OSError: print('no room')\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert ran.stdout == "no room\n"
    assert list(folders.home().iterdir()) == []


def test_a_beginning_that_fits_two_fleets_names_both() -> None:
    for name in ("ab000001", "ab000002"):
        (folders.home() / name).mkdir(parents=True)
        SPEC.write(folders.home() / name / "spec")
    with pytest.raises(UnknownName, match="it fits 2") as caught:
        find_folder("ab")
    assert set(caught.value.nearest) == {"ab000001", "ab000002"}
    with pytest.raises(UsageError, match="no fleets run"):
        running_folder()
    for name in ("ab000001", "ab000002"):
        (folders.home() / name / "keeper").touch()
    with pytest.raises(UsageError, match="2 fleets run"):
        running_folder()


def test_the_fleet_of_the_environment_goes_first(monkeypatch: pytest.MonkeyPatch) -> None:
    one = new_folder()
    SPEC.write(one.spec)
    monkeypatch.setenv("RACKRATE_FLEET", one.fleet)
    assert running_folder() == one


def test_a_path_too_long_for_a_socket_is_told_before_anything_is_made(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / ("long" * 30)))
    with pytest.raises(BadQuantity, match="too long"):
        new_folder()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_whose_keeper_is_dead_answers_nothing(tmp_path: Path) -> None:
    assert Folder(tmp_path).ask("status") is None


def test_the_key_of_a_fleet_is_secret_young_and_fits_its_certificate(tmp_path: Path) -> None:
    path = tmp_path / "key"
    tls.write_key(path, "f1ee7", timedelta(hours=3))
    assert path.stat().st_mode & 0o777 == 0o600
    identity = Identity.read(path)
    read = x509.load_pem_x509_certificate(identity.certificate.encode())
    assert datetime.now(UTC) < read.not_valid_after_utc <= datetime.now(UTC) + timedelta(hours=4)
    both = tmp_path / "both"
    both.write_text(identity.key + identity.certificate)
    ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT).load_cert_chain(both)  # raises when they do not belong together
    with pytest.raises(FileExistsError):
        tls.write_key(path, "f1ee7", timedelta(hours=3))


def test_an_owner_is_seen_frozen_or_ended() -> None:
    with subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]) as process:
        owner = psutil.Process(process.pid)
        spec = replace(SPEC, owner_pid=owner.pid, owner_since_s=owner.create_time())
        assert owner_state(spec) == "seen"
        assert owner_state(replace(spec, owner_since_s=owner.create_time() - 60)) == "ended"  # another one
        owner.suspend()
        time.sleep(0.1)
        assert owner_state(spec) == "frozen"
        owner.resume()
        time.sleep(0.1)
        assert owner_state(spec) == "seen"
        owner.kill()
        time.sleep(0.2)
        assert owner_state(spec) == "ended"  # not collected yet
    assert owner_state(spec) == "ended"
    assert owner_state(SPEC) == "seen"
    assert owner_state(replace(SPEC, owner_pid=os.getpid(), owner_since_s=0.0)) == "ended"


@pytest.mark.parametrize(("backend", "seconds"), [("local", 60.0), ("runpod", 900.0), ("ssh", 120.0)])
def test_a_node_has_the_time_to_boot_that_its_place_takes(
    backend: str, seconds: float, tmp_path: Path
) -> None:
    folder = Folder(tmp_path / "f")
    assert opening.spec_of(folder, is_owned=False, backend=backend).boot_timeout_s == seconds
    assert opening.spec_of(folder, is_owned=False, backend=backend, boot_timeout_s=7).boot_timeout_s == 7
