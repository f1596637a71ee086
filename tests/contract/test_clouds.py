"""What renting must do whatever the cloud does wrong: nothing is lost, made twice or told."""

from __future__ import annotations

import json
import math
import pickle
import time
import traceback
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

import rackrate
from rackrate.errors import AuthRejected, MissingCredential, ProviderDown, ProviderError, RateLimited
from rackrate.fleet.backends.base import Machine, NoMoney, NoNode, NotNow, Order
from rackrate.fleet.backends.rented import RentedBackend
from rackrate.fleet.quoting import quoted
from rackrate.fleet.renting import asked_of

FLEET = "c10d5eed"
L40S = Machine(image="example/worker:1", gpu="l40s", n_gpus=1)


def until(is_so: Callable[[], bool], patience_s: float = 10.0) -> None:
    """Wait until it is so."""
    started_s = time.monotonic()
    while not is_so():
        assert time.monotonic() - started_s < patience_s, "it never was so"
        time.sleep(0.01)


@pytest.fixture
def make(account: Any, tmp_path: Path) -> Iterator[Callable[[], RentedBackend]]:
    """Open the account as processes do that know nothing of each other."""
    opened: list[RentedBackend] = []

    def backend() -> RentedBackend:
        rental = account.rental()
        rental.list_s = 0.0  # every look is a fresh one, so that a test need not wait
        opened.append(RentedBackend(rental, tmp_path))
        return opened[-1]

    yield backend
    for one in opened:
        one.close()


@pytest.fixture
def order(keeper: Any) -> Callable[..., Order]:
    def numbered(number: int, machine: Machine | None = L40S, ttl_s: float = 30.0) -> Order:
        name = f"rr-{FLEET}-{number}"
        return Order(name, FLEET, "worker", str(keeper.path), ttl_s=ttl_s, longest_s=60, machine=machine)

    return numbered


def names(account: Any) -> list[str]:
    return sorted(one.name for one in account.cloud.machines if one.state != "ended")


def asked(account: Any, method: str) -> list[str]:
    return [one.request.path for one in account.cloud.exchanges if one.request.method == method]


def test_a_machine_boots_the_order_and_calls_home(account: Any, make: Any, order: Any, keeper: Any) -> None:
    make().create(order(1))
    until(lambda: bool(keeper.heard))
    assert keeper.heard[0]["node"] == order(1).name
    assert keeper.heard[0]["machine"] == account.cloud.machines[0].id
    assert account.cloud.billed() == [order(1).name]


def test_the_gpu_is_named_as_the_provider_does(account: Any, make: Any, order: Any) -> None:
    make().create(order(1))
    assert "L40S" in account.cloud.machines[0].stock.gpu_id


def test_a_create_that_fails_but_makes_is_found_and_ended(account: Any, make: Any, order: Any) -> None:
    account.cloud.faults.n_create_500_but_makes = 1
    backend = make()
    with pytest.raises(ProviderError) as raised:
        backend.create(order(1))
    assert not isinstance(raised.value, NoNode)
    assert backend.list(FLEET) == {order(1).name}
    backend.destroy(order(1).name)
    assert account.cloud.billed() == []


def test_who_ends_a_machine_says_whether_there_was_one(account: Any, make: Any, order: Any) -> None:
    account.cloud.faults.n_create_500, account.cloud.faults.n_create_500_but_makes = 1, 0
    backend = make()
    with pytest.raises(ProviderError):
        backend.create(order(1))
    assert backend.destroy(order(1).name) is False
    account.cloud.faults.n_create_500_but_makes = 1
    with pytest.raises(ProviderError):
        backend.create(order(2))
    assert backend.destroy(order(2).name) is True
    assert make().destroy(order(2).name) is False  # who comes later knows nothing of it


def test_what_is_asked_again_after_such_a_failure_is_made_once(account: Any, make: Any, order: Any) -> None:
    account.cloud.faults.n_create_500_but_makes = 1
    backend = make()
    with pytest.raises(ProviderError):
        backend.create(order(1))
    backend.create(order(1))
    make().create(order(1))
    assert names(account) == [order(1).name]


def test_two_machines_of_one_name_are_both_ended(account: Any, make: Any, order: Any) -> None:
    account.cloud.faults.list_lag_s = 60  # so that the second order cannot see the first
    for backend in (make(), make()):
        backend.create(order(1))
    assert names(account) == [order(1).name] * 2
    account.cloud.faults.list_lag_s = 0
    make().destroy(order(1).name)
    assert account.cloud.billed() == []


def test_a_delete_that_lies_leaves_the_node_listed_until_one_does_not(
    account: Any, make: Any, order: Any
) -> None:
    backend = make()
    backend.create(order(1))
    account.cloud.faults.n_deaf_deletes = 2
    for _ in range(2):
        backend.destroy(order(1).name)
        assert backend.list(FLEET) == {order(1).name}
    backend.destroy(order(1).name)
    assert backend.list(FLEET) == frozenset()


def test_a_delete_that_fails_is_an_error_and_the_next_one_works(account: Any, make: Any, order: Any) -> None:
    backend = make()
    backend.create(order(1))
    account.cloud.faults.n_delete_500 = 1
    with pytest.raises(ProviderError):
        backend.destroy(order(1).name)
    backend.destroy(order(1).name)
    assert account.cloud.billed() == []


@pytest.mark.alone
def test_too_many_requests_mean_not_now_and_are_not_repeated_too_early(
    account: Any, make: Any, order: Any
) -> None:
    account.cloud.faults.n_too_many, account.cloud.faults.retry_after_s = 1, 2
    backend = make()
    with pytest.raises(NotNow) as raised:
        backend.create(order(1))
    assert raised.value.again_s == 2
    n_asked = len(account.cloud.exchanges)
    with pytest.raises(RateLimited):
        backend.list(FLEET)
    assert len(account.cloud.exchanges) == n_asked, "it was asked before its time"
    started_s = time.monotonic()
    until(lambda: _is_taken(backend, order(1)))
    assert 1.0 < time.monotonic() - started_s < 4
    assert names(account) == [order(1).name]


def _is_taken(backend: RentedBackend, order: Order) -> bool:
    try:
        backend.create(order)
    except NotNow:
        return False
    return True


def _no_capacity(cloud: Any) -> None:
    cloud.faults.n_no_capacity = 1


def _broke(cloud: Any) -> None:
    cloud.faults.is_broke = True


def _other_key(cloud: Any) -> None:
    cloud.key = "another"


REFUSALS: dict[str, tuple[Callable[[Any], None], Machine | None, str]] = {
    "no capacity": (_no_capacity, L40S, "available|no ask"),
    "no money": (_broke, L40S, "balance|credit"),
    "key": (_other_key, L40S, "key"),
    "GPU that it does not rent": (lambda _: None, Machine(image="i", gpu="mi300x", n_gpus=1), "mi300x"),
    "no image": (lambda _: None, Machine(gpu="l40s", n_gpus=1), "image"),
    "no machine": (lambda _: None, None, "machine"),
    "dearer than allowed": (
        lambda _: None,
        Machine(image="i", gpu="l40s", n_gpus=1, most_usd_per_hour=0.1),
        "USD an hour",
    ),
}


@pytest.mark.parametrize("case", REFUSALS)
def test_a_refusal_is_one_sentence_and_costs_nothing(account: Any, make: Any, order: Any, case: str) -> None:
    spoil, machine, words = REFUSALS[case]
    spoil(account.cloud)
    with pytest.raises(NoNode, match=words) as raised:
        make().create(order(1, machine))
    assert "\n" not in raised.value.message
    assert isinstance(raised.value, NoMoney) == (case == "no money")
    assert account.cloud.billed() == []


def test_a_spot_machine_is_refused_by_runpod_and_bid_for_at_vast(account: Any, make: Any, order: Any) -> None:
    spot = Machine(image="i", gpu="l40s", n_gpus=1, is_spot=True)
    if account.provider.name == "RunPod":
        with pytest.raises(NoNode, match="spot"):
            make().create(order(1, spot))
    else:
        make().create(order(1, spot))
        assert account.cloud.machines[0].asked["price"] == 0.31


def test_the_offer_that_is_named_is_taken_first(account: Any, make: Any, order: Any) -> None:
    named = {"RunPod": "community", "Vast.ai": "7000005"}[account.provider.name]
    make().create(order(1, Machine(image="i", gpu="l40s", n_gpus=1, offer=named)))
    (path,) = asked(account, "PUT") or [account.cloud.machines[0].asked.get("cloud")]
    assert path in ("COMMUNITY", "/api/v0/asks/7000005")


def test_an_offer_that_is_gone_is_no_reason_to_give_up(account: Any, make: Any, order: Any) -> None:
    account.cloud.faults.n_asks_gone = 2
    make().create(order(1))
    assert names(account) == [order(1).name]


def test_what_is_quoted_is_what_is_billed(account: Any, make: Any, order: Any) -> None:
    rental = account.rental()
    rate = rental.quote(L40S)
    rental.close()
    make().create(order(1))
    until(lambda: account.cloud.machines[0].state == "running")
    meter = account.cloud.machines[0].meter
    assert rate.microusd_per_hour == pytest.approx(sum(span.microusd_per_hour for span in meter.spans), abs=2)


def test_a_key_that_is_missing_is_said_before_anything(account: Any, monkeypatch: Any) -> None:
    monkeypatch.delenv(account.provider.key_variable)
    with pytest.raises(MissingCredential, match=account.provider.key_variable):
        account.rental()
    assert account.cloud.exchanges == []


def test_a_plan_is_quoted_with_the_disk_that_it_needs(account: Any) -> None:
    plan = rackrate.plan("llama-3.1-8b", rps=1, gpu="l40s", provider="runpod").plan
    beside = replace(plan.best.beside, disk_gb=261.0, disk_usd_per_hour=0.25)
    row = replace(plan.best, provider=account.provider.name.lower().removesuffix(".ai"), beside=beside)
    asked = asked_of(replace(plan, rows=(row,)), image=L40S.image)
    assert asked["usd_per_node_hour"] == pytest.approx(row.usd_per_machine_hour + 0.25)
    told = quoted(asked)
    with_20_gib = quoted(asked | {"machine": replace(asked["machine"], disk_gib=20)})
    more_gb = math.ceil(asked["machine"].disk_gib * 2**30 / 1e9) - 22
    assert more_gb in (239, 240)
    usd_per_gb_month = {"runpod": 0.10, "vast": 0.15}[row.provider]
    more_usd = told["usd_per_node_hour"] - with_20_gib["usd_per_node_hour"]
    assert more_usd == pytest.approx(more_gb * usd_per_gb_month / 730, abs=2e-6)


def test_a_wrong_key_is_said_by_a_quote(account: Any) -> None:
    account.cloud.key = "another"
    rental = account.rental()
    with pytest.raises(AuthRejected, match="not taken"):
        rental.quote(L40S)
    rental.close()


def test_a_silent_provider_leaves_everything_open(
    account: Any, make: Any, order: Any, monkeypatch: Any
) -> None:
    monkeypatch.setenv(account.provider.url_variable, "http://127.0.0.1:1")
    with pytest.raises(ProviderDown):
        make().create(order(1))


def test_more_machines_than_a_page_holds_are_all_listed(account: Any, make: Any, order: Any) -> None:
    account.cloud.faults.n_mute = 60
    backend = make()
    for number in range(60):
        backend.create(order(number))
    assert make().list(FLEET) == {order(number).name for number in range(60)}


def test_a_stranger_s_machine_is_neither_listed_nor_touched(account: Any, make: Any, order: Any) -> None:
    other = Order("rr-0ther-1", "0ther", "worker", order(1).keeper, 30.0, 60.0, machine=L40S)
    backend = make()
    backend.create(other)
    backend.create(order(1))
    assert make().list(FLEET) == {order(1).name}
    make().destroy(order(1).name)
    assert names(account) == [other.name]


def test_a_machine_whose_lease_ends_ends_its_own_bill(
    account: Any, make: Any, order: Any, keeper: Any
) -> None:
    keeper.is_silent = True
    make().create(order(1, ttl_s=1.0))
    until(lambda: account.cloud.billed() == [], patience_s=6)
    assert asked(account, "DELETE")


def test_a_machine_s_key_ends_that_machine_and_nothing_else(
    account: Any, make: Any, order: Any, monkeypatch: Any
) -> None:
    backend = make()
    for number in (1, 2):
        backend.create(order(number))
    first, second = account.cloud.machines
    account.cloud.key = "of the account, which no machine has"
    monkeypatch.setenv(account.provider.key_variable, first.key)
    thief = account.rental()
    with pytest.raises(ProviderError):
        list(thief.all())
    with pytest.raises(ProviderError):
        thief.end(second.id)
    thief.end(first.id)
    thief.close()
    assert names(account) == [second.name]


def test_the_account_s_key_reaches_no_machine_no_message_and_no_record(
    account: Any, make: Any, order: Any
) -> None:
    backend = make()
    backend.create(order(1))
    account.cloud.faults.n_delete_500 = 1
    with pytest.raises(ProviderError) as raised:
        backend.destroy(order(1).name)
    told = [
        repr(backend),
        repr(vars(backend)),
        repr(vars(backend._rental)),
        repr(vars(backend._rental._api)),
        "".join(traceback.format_exception(raised.value)),
        pickle.dumps(raised.value).decode("latin-1"),
        json.dumps(order(1).to_dict()),
        repr(account.cloud.machines[0].env | account.cloud.inside(account.cloud.machines[0])),
        json.dumps([one.request.body for one in account.cloud.exchanges]),
    ]
    assert [text for text in told if account.cloud.key in text] == []


def test_a_spot_reclaim_ends_the_node_and_the_disk_is_billed_until_it_is_destroyed(
    account: Any, make: Any, order: Any
) -> None:
    backend = make()
    backend.create(order(1))
    until(lambda: account.cloud.machines[0].state == "running")
    account.cloud.reclaim(order(1).name)
    assert account.cloud.billed() == [order(1).name]
    assert [span.what for span in account.cloud.machines[0].meter.spans if span.to_s is None] == ["disk"]
    assert backend.list(FLEET) == {order(1).name}, "what costs money is listed"
    backend.destroy(order(1).name)
    assert account.cloud.billed() == []
