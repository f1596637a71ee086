"""Whole fleets on emulated clouds: real machines, a real keeper, and a bill that must end."""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest

from rackrate import Fleet
from rackrate.errors import AuthRejected, OverBudget, UsageError
from rackrate.fleet import billing, opening, tree
from rackrate.fleet.backends import KEYS
from rackrate.fleet.backends.api import Provider
from rackrate.fleet.backends.base import Machine
from rackrate.fleet.backends.runpod import RUNPOD, RunPod
from rackrate.fleet.backends.vast import VAST, Vast
from rackrate.fleet.folder import Folder, all_folders
from rackrate.fleet.ledger import MICROUSD
from rackrate.fleet.tasks import task
from rackrate.testing.clouds import Cloud, RunPodCloud, VastCloud
from rackrate.testing.machines import Machines

CLOUDS: dict[str, tuple[Any, Provider]] = {"runpod": (RunPodCloud, RUNPOD), "vast": (VastCloud, VAST)}
RENTALS: dict[str, Any] = {"runpod": RunPod, "vast": Vast}
L40S = Machine(image="example/worker:1", gpu="l40s", n_gpus=1)
LATE_S = 30.0
"""By so much a dead keeper's ledger may be above the bill: a reaper starts, and the machine is busy."""


def until(is_so: Callable[[], bool], patience_s: float = 60.0) -> None:
    """Wait until it is so."""
    started_s = time.monotonic()
    while not is_so():
        assert time.monotonic() - started_s < patience_s, "it never was so"
        time.sleep(0.05)


@dataclass(frozen=True)
class Site:
    """A cloud, and how a fleet is opened in it."""

    name: str
    cloud: Cloud
    address: str

    def asked(self, **more: Any) -> dict[str, Any]:
        asked = {"backend": self.name, "at": f"{self.address}:0", "machine": L40S, "lease_s": 3.0}
        return asked | {"max_hours": 0.1} | more


@pytest.fixture(params=CLOUDS)
def site(request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    """Run a cloud whose machines are machines of their own where this host can make them."""
    machines = Machines(tmp_path / "ground")
    kind, provider = CLOUDS[request.param]
    with kind(machines, address=machines.address) as cloud:
        monkeypatch.setenv(provider.url_variable, cloud.url)
        monkeypatch.setenv(provider.key_variable, cloud.key)
        yield Site(request.param, cloud, machines.address)
    machines.close()


def holders(fleet: str, key: str) -> list[int]:
    """Return the processes of a fleet in whose environment a key stands."""
    return [one.pid for one in tree.marked(fleet) if key in Path(f"/proc/{one.pid}/environ").read_text()]


def test_a_fleet_works_on_rented_machines_and_leaves_no_bill_behind(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, keeper = opening.open_fleet(is_owned=True, nodes=2, **site.asked())
    try:
        opening.wait_ready(folder, keeper)
        fleet = Fleet.attach(folder.fleet)
        assert [future.result() for future in fleet.map(lambda n: n * n, range(4))] == [0, 1, 4, 9]
        assert len(site.cloud.billed()) == 2
        assert holders(folder.fleet, site.cloud.key) == [keeper.pid]
        fleet.client.close()
    finally:
        opening.end(folder, "the test is over", 15, keeper)
    assert opening.status(folder).why == "the test is over"  # and not reaped, though a listing takes longer
    assert site.cloud.billed() == []
    _check_money(site, folder, monkeypatch)
    assert site.cloud.key not in "".join(
        path.read_text(errors="replace") for path in folder.path.rglob("*") if path.is_file()
    )


def test_a_function_that_names_a_gpu_runs_where_that_is_rented(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, variable in KEYS.items():
        if name != site.name:
            monkeypatch.delenv(variable, raising=False)

    @task(gpu="l40s", image=L40S.image, at=f"{site.address}:0", nodes=1, lease_s=3.0)
    def square(number: int) -> int:
        return number * number

    assert square(4) == 16
    assert (len(site.cloud.machines), square.fleet.status().usd_per_hour > 0) == (1, True)
    square.close()
    assert site.cloud.billed() == []


def test_nodes_of_this_machine_do_not_see_the_key_of_an_account(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(VAST.key_variable, "a-key-that-nobody-may-see")
    folder, keeper = opening.open_fleet(is_owned=True, nodes=1)
    try:
        opening.wait_ready(folder, keeper)
        assert len(tree.marked(folder.fleet)) > 2
        assert holders(folder.fleet, "a-key-that-nobody-may-see") == [keeper.pid]
    finally:
        opening.end(folder, "the test is over", 30, keeper)


class Striker:
    """Kills a process at a moment of its talk with a cloud."""

    def __init__(self, what: str, moment: str) -> None:
        self.victim: subprocess.Popen[Any] | None = None
        self.has_struck = False
        self._what, self._moment = what, moment

    def __call__(self, moment: str, request: Any) -> None:
        if (_what(request), moment) == (self._what, self._moment) and self.victim and not self.has_struck:
            self.victim.kill()
            self.has_struck = True


def _what(request: Any) -> str:
    """Return what a provider is asked for."""
    if request.method == "DELETE":
        return "destroy"
    if "bundles" in request.path or "catalog" in request.path:
        return "look"
    return "list" if request.method == "GET" else "create"


MOMENTS = {
    "it has seen what is for rent": ("look", "done"),
    "an order is at the provider": ("create", "asked"),
    "a machine is made": ("create", "done"),
    "it has a listing": ("list", "done"),
    "the provider is asked to destroy": ("destroy", "asked"),
    "a machine is destroyed": ("destroy", "done"),
}


def _has_written(folder: Folder, state: str) -> bool:
    return folder.journal.exists() and f'"{state}"' in folder.journal.read_text()


def _reaped(site: Site, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Reap a fleet once: then nothing is billed, the journal knows it, and ledger and bill are right."""
    _hurry(site, monkeypatch)
    opening.reap(folder)
    assert site.cloud.billed() == []
    found = opening.status(folder)
    assert (found.phase, found.why) == ("closed", "reaped")
    assert {node["state"] for node in found.nodes} <= {"gone"}
    _check_money(site, folder, monkeypatch)


def _hurry(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    """Believe listings sooner than the provider's own."""
    monkeypatch.setattr(RENTALS[site.name], "settle_s", 1.0)
    monkeypatch.setattr(RENTALS[site.name], "list_s", 0.0)


def _check_money(site: Site, folder: Folder, monkeypatch: pytest.MonkeyPatch) -> None:
    """Hold the ledger and the bill that is read against the cloud's meter, machine by machine."""
    monkeypatch.setattr(billing, "FINAL_S", 0.0)
    cost = opening.cost(folder)
    bill_usd = site.cloud.bill_microusd() / MICROUSD
    assert cost.usd == pytest.approx(bill_usd, abs=1e-5)  # a thousandth of a cent
    assert cost.to_dict()["bill"]["is_final"]
    reckoned = {node["node"]: node["usd"] for node in cost.to_dict()["nodes"]}
    usd_per_s = max(stock.usd_per_hour for stock in site.cloud.stock.values()) / 3600
    for one in site.cloud.machines:
        usd = one.meter.microusd(time.monotonic()) / MICROUSD
        assert usd - usd_per_s <= reckoned[one.name] <= usd + LATE_S * usd_per_s


@pytest.mark.parametrize("moment", MOMENTS)
def test_a_keeper_killed_while_it_talks_to_the_provider_loses_nothing(
    site: Site, moment: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.cloud.faults.n_mute = 100  # so that no machine ends itself: it is the reaper that must find it
    site.cloud.watch = striker = Striker(*MOMENTS[moment])
    folder, striker.victim = opening.open_fleet(is_owned=True, nodes=2, **site.asked())
    if MOMENTS[moment][0] == "destroy":
        until(lambda: len(site.cloud.billed()) == 2)
        folder.ask("close", why="the test says so")
    until(lambda: striker.has_struck)
    striker.victim.wait()
    _reaped(site, folder, monkeypatch)


def test_a_keeper_killed_before_it_hears_that_a_machine_was_made_in_spite_of_a_fault_loses_nothing(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.cloud.faults.n_mute, site.cloud.faults.n_create_500_but_makes = 100, 2
    site.cloud.watch = striker = Striker("create", "done")
    folder, striker.victim = opening.open_fleet(is_owned=True, nodes=2, **site.asked())
    until(lambda: striker.has_struck)
    striker.victim.wait()
    assert site.cloud.billed()
    _reaped(site, folder, monkeypatch)


@pytest.mark.parametrize("moment", [("destroy", "asked"), ("destroy", "done")])
def test_a_reaper_that_is_killed_loses_nothing_either(
    site: Site, moment: tuple[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    site.cloud.faults.n_mute = 100
    folder, keeper = opening.open_fleet(is_owned=True, nodes=2, **site.asked())
    until(lambda: len(site.cloud.billed()) == 2)
    keeper.kill()
    keeper.wait()
    site.cloud.watch = striker = Striker(*moment)
    words = [sys.executable, "-m", "rackrate", "fleet", "reap"]
    striker.victim = subprocess.Popen(words)
    until(lambda: striker.has_struck)
    striker.victim.wait()
    _reaped(site, folder, monkeypatch)


@pytest.mark.parametrize("state", ["intent", "requested", "ending"])
def test_a_keeper_killed_after_it_wrote_down_what_it_does_loses_nothing(
    site: Site, state: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.cloud.faults.n_mute = 100
    folder, keeper = opening.open_fleet(is_owned=True, nodes=2, **site.asked())
    if state == "ending":
        until(lambda: _has_written(folder, "requested"))
        folder.ask("close", why="the test says so")
    until(lambda: _has_written(folder, state))
    keeper.kill()
    keeper.wait()
    _reaped(site, folder, monkeypatch)


def test_a_provider_that_fails_while_it_is_reaped_is_asked_until_it_does_not(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.cloud.faults.n_mute = 100
    folder, keeper = opening.open_fleet(is_owned=True, nodes=2, **site.asked())
    until(lambda: len(site.cloud.billed()) == 2)
    keeper.kill()
    keeper.wait()
    site.cloud.faults.n_delete_500, site.cloud.faults.n_deaf_deletes = 1, 1
    _reaped(site, folder, monkeypatch)


def test_a_machine_without_a_keeper_asks_for_its_end_until_it_is_ended(site: Site) -> None:
    folder, keeper = opening.open_fleet(is_owned=True, nodes=2, **site.asked())
    try:
        opening.wait_ready(folder, keeper)
        site.cloud.faults.n_deaf_deletes = 4  # two of each machine, where they take turns
        keeper.kill()
        keeper.wait()
        until(lambda: site.cloud.billed() == [])
        assert site.cloud.faults.n_deaf_deletes == 0
    finally:
        opening.reap(folder)


def test_what_a_provider_asks_is_what_the_budget_is_reckoned_with(site: Site) -> None:
    with pytest.raises(OverBudget, match="does not pay for one node"):
        opening.open_fleet(is_owned=True, nodes=1, budget_usd=0.001, **site.asked())
    assert site.cloud.machines == []


def test_a_wrong_key_is_said_before_a_fleet_is_made(site: Site) -> None:
    site.cloud.key = "another"
    with pytest.raises(AuthRejected):
        opening.open_fleet(is_owned=True, nodes=1, **site.asked())
    assert all_folders() == []


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ({"at": ""}, "cannot reach its loopback address"),
        ({"machine": replace(L40S, image="")}, "an image: none is named"),
        ({"machine": replace(L40S, gpu="")}, "a GPU: none is named"),
    ],
)
def test_what_no_machine_could_work_with_is_said_before_one_is_rented(
    site: Site, asked: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words):
        opening.open_fleet(is_owned=True, **site.asked(**asked))
    assert site.cloud.exchanges == []
    assert all_folders() == []


def test_the_doctor_rents_nothing_unless_it_is_told_to(site: Site, cli: Any) -> None:
    said = cli("fleet", "doctor", "--provider", site.name, "--json")
    assert said.code == 0, said.err
    assert "not done" in said.json["data"][-1]["result"]
    assert site.cloud.machines == []


def test_the_doctor_watches_a_machine_end_itself(
    site: Site, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _hurry(site, monkeypatch)
    drill = ("--live", "--image", "example/worker:1", "--lease-s", "1")
    said = cli("fleet", "doctor", "--provider", site.name, *drill, "--json")
    assert said.code == 0, said.err
    found = {row["step"]: row["result"] for row in said.json["data"]}
    assert found["self-destruct"] == "it ended itself"
    assert said.json["meta"]["notes"] == [
        "this was an emulator: tested against the specification, not the cloud"
    ]
    assert site.cloud.billed() == []
    assert len(site.cloud.machines) == 1


def test_the_doctor_destroys_a_machine_that_does_not_end_itself(
    site: Site, cli: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    _hurry(site, monkeypatch)
    site.cloud.faults.n_mute = 1
    drill = ("--live", "--image", "i", "--lease-s", "1", "--max-usd", "0.0009")
    said = cli("fleet", "doctor", "--provider", site.name, *drill, "--json")
    found = {row["step"]: row["result"] for row in said.json["data"]}
    assert found["self-destruct"].startswith("FAILED")
    assert site.cloud.billed() == []


def test_a_drill_that_the_money_does_not_pay_for_is_refused(site: Site, cli: Any) -> None:
    drill = ("--live", "--image", "i", "--max-usd", "0.0001")
    said = cli("fleet", "doctor", "--provider", site.name, *drill, "--json")
    assert said.json["error"]["code"] == "over-budget"
    assert site.cloud.machines == []
