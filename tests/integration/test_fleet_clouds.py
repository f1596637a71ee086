"""Whole fleets on emulated clouds: real machines, a real keeper, and a bill that must end."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rackrate import Fleet
from rackrate.fleet import opening
from rackrate.fleet.backends.api import Provider
from rackrate.fleet.backends.base import Machine
from rackrate.fleet.backends.runpod import RUNPOD
from rackrate.fleet.backends.vast import VAST
from rackrate.testing.clouds import Cloud, RunPodCloud, VastCloud
from rackrate.testing.machines import Machines

CLOUDS: dict[str, tuple[Any, Provider]] = {"runpod": (RunPodCloud, RUNPOD), "vast": (VastCloud, VAST)}
L40S = Machine(image="example/worker:1", gpu="l40s", n_gpus=1)


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


def test_a_fleet_works_on_rented_machines_and_leaves_no_bill_behind(site: Site) -> None:
    folder, keeper = opening.open_fleet(is_owned=True, nodes=2, **site.asked())
    try:
        opening.wait_ready(folder, keeper)
        fleet = Fleet.attach(folder.fleet)
        assert [future.result() for future in fleet.map(lambda n: n * n, range(4))] == [0, 1, 4, 9]
        assert len(site.cloud.billed()) == 2
        fleet.client.close()
    finally:
        opening.end(folder, "the test is over", 90, keeper)
    assert site.cloud.billed() == []
    assert site.cloud.key not in "".join(
        path.read_text(errors="replace") for path in folder.path.rglob("*") if path.is_file()
    )
