"""A provider's own bill: what it says, how it is read, and what a fleet makes of it."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from rackrate.errors import ProviderDown, ProviderError
from rackrate.fleet.backends.base import Machine, Order
from rackrate.fleet.backends.rented import RentedBackend
from rackrate.testing.clouds import RunPodCloud
from rackrate.testing.clouds.cloud import Reply

FLEET = "b111b111"
L40S = Machine(image="example/worker:1", gpu="l40s", n_gpus=1)


@pytest.fixture
def make(account: Any, tmp_path: Path) -> Iterator[Callable[[], RentedBackend]]:
    """Open the account as processes do that share nothing but the fleet's folder."""
    opened: list[RentedBackend] = []

    def backend() -> RentedBackend:
        rental = account.rental()
        rental.list_s = 0.0
        opened.append(RentedBackend(rental, tmp_path))
        return opened[-1]

    account.cloud.faults.n_mute = 1000
    yield backend
    for one in opened:
        one.close()


def order(number: int, fleet: str = FLEET) -> Order:
    return Order(f"rr-{fleet}-{number}", fleet, "worker", "127.0.0.1:1", 30.0, 60.0, machine=L40S)


def until(is_so: Callable[[], bool]) -> None:
    started_s = time.monotonic()
    while not is_so():
        assert time.monotonic() - started_s < 10, "it never was so"
        time.sleep(0.01)


def run(account: Any, backend: RentedBackend, *numbers: int) -> None:
    """Rent machines, let them run for a part of a second, and destroy them."""
    for number in numbers:
        backend.create(order(number))
    until(lambda: all(one.state != "making" for one in account.cloud.machines))
    for number in numbers:
        backend.destroy(order(number).name)


def metered(account: Any) -> dict[str, int]:
    """Return what the cloud's own meters have, micro-USD."""
    return {one.name: one.meter.microusd(time.monotonic()) for one in account.cloud.machines}


def test_what_is_billed_is_what_the_meters_have(account: Any, make: Any) -> None:
    backend = make()
    run(account, backend, 1, 2, 3)
    billed = backend.billed(FLEET, time.time())
    assert billed.keys() == {order(number).name for number in (1, 2, 3)}
    for name, microusd in metered(account).items():
        assert microusd > 100
        assert abs(billed[name] - microusd) <= 1  # the meter rounds up, the bill does not


def test_a_machine_that_nobody_lists_any_more_is_found_on_the_bill_by_another_process(
    account: Any, make: Any
) -> None:
    account.cloud.faults.n_create_500_but_makes = 1
    first = make()
    with pytest.raises(ProviderError):
        first.create(order(1))
    first.list(FLEET)  # only here is its number heard of
    first.destroy(order(1).name)
    assert list(make().billed(FLEET, time.time())) == [order(1).name]


def test_two_machines_of_one_name_are_one_sum(account: Any, make: Any) -> None:
    account.cloud.faults.list_lag_s = 60  # so that the second order cannot see the first
    for backend in (make(), make()):
        run(account, backend, 1)
    both = sum(one.meter.microusd(time.monotonic()) for one in account.cloud.machines)
    assert len(account.cloud.machines) == 2
    assert abs(make().billed(FLEET, time.time())[order(1).name] - both) <= 2


def test_the_bill_of_a_stranger_is_nobody_s_of_ours(account: Any, make: Any) -> None:
    backend = make()
    run(account, backend, 1)
    backend.create(order(1, "0ther"))
    assert list(backend.billed(FLEET, time.time())) == [order(1).name]


def test_a_bill_that_is_behind_lacks_what_was_last(account: Any, make: Any) -> None:
    backend = make()
    account.cloud.faults.bill_lag_s = 60.0
    run(account, backend, 1)
    assert not backend.billed(FLEET, time.time())
    account.cloud.faults.bill_lag_s = 0.0
    assert backend.billed(FLEET, time.time())


@pytest.mark.parametrize("skew_s", [-3600.0, 3600.0])
def test_a_clock_that_is_off_hides_no_bill(account: Any, make: Any, skew_s: float) -> None:
    account.cloud.faults.skew_s = skew_s
    backend = make()
    run(account, backend, 1)
    assert backend.billed(FLEET, time.time())[order(1).name] > 100


def test_what_runs_over_midnight_is_one_sum(account: Any, make: Any) -> None:
    cloud = account.cloud
    to_midnight_s = 86400 - time.time() % 86400
    cloud.faults.skew_s = to_midnight_s - 0.3  # its day ends while the machine runs
    backend = make()
    backend.create(order(1))
    until(lambda: cloud.at(time.monotonic()).hour == 0)
    backend.destroy(order(1).name)
    (microusd,) = metered(account).values()
    assert abs(backend.billed(FLEET, time.time())[order(1).name] - microusd) <= 2


def test_machines_behind_the_first_page_of_a_bill_are_billed_too(account: Any, make: Any) -> None:
    backend = make()
    run(account, backend, 1, 2)
    (one, _) = account.cloud.machines
    account.cloud.machines += [replace(one, id=str(number), name="") for number in range(600)]
    assert backend.billed(FLEET, time.time()).keys() == {order(1).name, order(2).name}


def test_a_bill_that_cannot_be_read_is_an_error_of_the_provider_s(
    account: Any, make: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    nonsense = {"records": [{}], "results": [{"source": 7}]}
    monkeypatch.setattr(account.cloud, "route", lambda _: Reply(200, nonsense))
    with pytest.raises(ProviderDown, match="cannot be read"):
        make().billed(FLEET, time.time())


def test_the_sum_of_an_instance_is_in_tenths_of_a_cent_and_its_parts_are_not(account: Any, make: Any) -> None:
    if isinstance(account.cloud, RunPodCloud):
        pytest.skip("RunPod does not round what it bills")
    backend = make()
    run(account, backend, 1)
    (charge,) = account.cloud._charges({"select_filters": '{"day": {"gte": 0, "lte": 9e9}}'}).body["results"]
    assert charge["amount"] == round(charge["amount"], 3)
    parts = math.fsum(part["amount"] for part in charge["items"])
    assert abs(charge["amount"] - parts) > 1e-6
    assert abs(backend.billed(FLEET, 0.0 + 86400)[order(1).name] / 1e6 - parts) < 1e-6
