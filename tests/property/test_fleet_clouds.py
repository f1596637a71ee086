"""A real keeper against clouds that do several things wrong at once: in the end nothing is billed.

The cloud answers over HTTP and bills by its own meter; its machines are names that call home as nodes do.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rackrate.errors import FleetError
from rackrate.fleet import billing, opening
from rackrate.fleet.backends.runpod import RUNPOD, RunPod
from rackrate.fleet.backends.vast import VAST, Vast
from rackrate.fleet.folder import Folder, new_folder
from rackrate.fleet.keeper import Keeper
from rackrate.fleet.ledger import MICROUSD
from rackrate.fleet.lines import Line
from rackrate.fleet.spec import Spec
from rackrate.testing.clouds import Cloud, Faults, RunPodCloud, VastCloud
from rackrate.testing.spending import L40S, WithHead

CLOUDS: dict[str, Any] = {"runpod": (RunPodCloud, RUNPOD, RunPod), "vast": (VastCloud, VAST, Vast)}
SETTLE_S, OPEN_S, PATIENCE_S = 0.8, 1.5, 60.0
OFF_S = 2.5
"""By so much a node's bill may be longer than the cloud's: a begun second, and a look at the listing."""
OFF_USD = {"runpod": 0.01, "vast": 0.02}
"""By so much the sum of 64 nodes may be off: Vast bills a GPU before its node has called home."""

faults = st.builds(
    Faults,
    n_create_500_but_makes=st.integers(0, 1),
    n_create_500=st.integers(0, 1),
    n_error=st.integers(0, 1),
    n_mute=st.integers(0, 2),
    n_no_capacity=st.integers(0, 1),
    n_asks_gone=st.integers(0, 2),
    list_lag_s=st.sampled_from([0.0, 0.4]),
    n_deaf_deletes=st.integers(0, 2),
    n_delete_500=st.integers(0, 2),
    n_too_many=st.integers(0, 2),
    pull_s=st.sampled_from([0.0, 0.5]),
    skew_s=st.sampled_from([0.0, -3600.0]),
)


class Names:
    """A ground on which a machine is only a name."""

    def __init__(self) -> None:
        self._names: set[str] = set()

    def start(self, name: str, env: Mapping[str, str]) -> None:
        assert env
        self._names.add(name)

    def names(self) -> frozenset[str]:
        return frozenset(self._names)

    def stop(self, name: str) -> None:
        self._names.discard(name)


@contextmanager
def _kept(
    rental: Any, nodes: int, list_s: float = 0.05, **more: Any
) -> Iterator[tuple[Folder, threading.Thread]]:
    """Run a keeper in a thread until its fleet is over."""
    rental.settle_s, rental.list_s = SETTLE_S, list_s
    rate = rental.quote(L40S)
    folder = new_folder()
    waiting = rate.waiting_microusd_per_hour
    spec = Spec(
        folder.fleet,
        str(folder.path),
        nodes=nodes,
        **{"boot_timeout_s": 2.0, "lease_s": 3.0} | more,
        usd_per_node_hour=rate.microusd_per_hour / MICROUSD,
        waiting_usd_per_node_hour=None if waiting is None else waiting / MICROUSD,
        opened_at_s=time.time(),
    )
    spec.write(folder.spec)
    backend = WithHead(rental, folder.path)

    async def keep() -> None:
        await Keeper(folder, spec, backend).run()

    thread = threading.Thread(target=asyncio.run, args=(keep(),))
    thread.start()
    while not folder.keeper.exists():
        thread.join(0.005)
    yield folder, thread
    thread.join(PATIENCE_S)
    assert not thread.is_alive(), "the fleet does not end"


def _live(cloud: Cloud, folder: Folder, until_s: float, is_over: Callable[[], bool]) -> None:
    """Call home for the head and for every machine that runs, until an instant."""
    with Line(str(folder.keeper)) as line, suppress(OSError, FleetError):
        while time.monotonic() < until_s and not is_over():
            line.ask("renew", 5, node=f"rr-{folder.fleet}-head", address="tcp://127.0.0.1:1", is_busy=True)
            for one in list(cloud.machines):
                if one.state == "running" and not one.is_mute:
                    line.ask("renew", 5, node=one.name, is_ready=True)
            time.sleep(0.05)
        line.ask("close", 5, why="the test is over")


@pytest.mark.timeout(400)
@pytest.mark.parametrize("name", CLOUDS)
@given(wrong=faults, nodes=st.integers(1, 3))
@settings(max_examples=6, suppress_health_check=list(HealthCheck), print_blob=True)
def test_whatever_a_cloud_does_wrong_nothing_is_billed_when_the_keeper_has_ended(
    name: str, wrong: Faults, nodes: int
) -> None:
    with _rented(name) as (cloud, rental):
        with _kept(rental, nodes) as (folder, thread):
            cloud.faults = wrong
            _live(cloud, folder, time.monotonic() + OPEN_S, lambda: not thread.is_alive())
        assert cloud.billed() == []
        _compare(cloud, folder, wrong)


def _usd(cloud: Cloud, folder: Folder) -> tuple[float, float]:
    """Return the ledger and the cloud's bill of a fleet that is over."""
    return opening.settled(folder).spent_usd, cloud.bill_microusd() / MICROUSD


@contextmanager
def _rented(name: str) -> Iterator[tuple[Cloud, Any]]:
    kind, provider, open_rental = CLOUDS[name]
    with tempfile.TemporaryDirectory() as home, kind(Names()) as cloud:
        there = {"XDG_DATA_HOME": home, provider.url_variable: cloud.url, provider.key_variable: cloud.key}
        with mock.patch.dict(os.environ, there):
            yield cloud, open_rental()


@pytest.mark.timeout(200)
@pytest.mark.parametrize("name", CLOUDS)
def test_the_ledger_of_64_nodes_is_near_the_bill_and_the_bill_is_the_provider_s(name: str) -> None:
    with _rented(name) as (cloud, rental):
        with _kept(rental, 64, rental.list_s, boot_timeout_s=60.0, lease_s=20.0) as (folder, _):
            _live(cloud, folder, time.monotonic() + 60, lambda: _all_ran_for_s(cloud, 64) > 3)
        assert len(cloud.machines) == 64
        ledger, bill = _usd(cloud, folder)
        said = billing.read(folder.bill)
    assert bill > 0.03
    assert abs(ledger - bill) < OFF_USD[name]
    assert said
    assert len(said.microusd) == 64
    assert abs(sum(said.microusd.values()) - cloud.bill_microusd()) <= 2 * 64  # a cent is 10,000


def _all_ran_for_s(cloud: Cloud, n: int) -> float:
    """Return for how long so many machines have run, all of them."""
    since_s = [one.running_s for one in list(cloud.machines) if one.running_s is not None]
    return time.monotonic() - max(since_s) if len(since_s) == n else 0.0


def _compare(cloud: Cloud, folder: Folder, wrong: Faults) -> None:
    """Hold the ledger against the cloud's bill, machine by machine."""
    ledger = {one["node"]: one["usd"] for one in opening.settled(folder).nodes}
    bill: dict[str, float] = dict.fromkeys(ledger, 0.0)
    for one in cloud.machines:
        bill[one.name] += one.meter.microusd(time.monotonic()) / MICROUSD
    usd_per_s = max(stock.usd_per_hour for stock in cloud.stock.values()) / 3600
    for node, usd in bill.items():
        assert ledger[node] >= usd - usd_per_s, f"{node} costs more than the ledger has"
        assert ledger[node] <= usd + (OFF_S + wrong.list_lag_s) * usd_per_s, f"{node} costs less"
