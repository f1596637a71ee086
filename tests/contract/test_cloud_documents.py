"""Every request that we send and every answer of the emulators, held against what the providers publish.

The documents are read where they stand beside this clone, and are no part of it.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from openapi_core.exceptions import OpenAPIError

from rackrate.errors import ProviderError
from rackrate.fleet.backends.base import Machine, NoNode, Order
from rackrate.fleet.backends.rented import RentedBackend
from rackrate.testing.clouds.cloud import Exchange, Reply, Request
from rackrate.testing.clouds.documents import Document

FLEET = "d0c5"
L40S = Machine(image="example/worker:1", gpu="l40s", n_gpus=1)


@pytest.fixture
def published(account: Any, shared: Path) -> Document:
    return Document(shared / "data" / "openapi", account.provider, account.cloud.json_type)


@pytest.fixture
def backend(account: Any, tmp_path: Path) -> Iterator[RentedBackend]:
    rental = account.rental()
    rental.list_s = 0.0
    one = RentedBackend(rental, tmp_path)
    yield one
    one.close()


def order(number: int, machine: Machine = L40S) -> Order:
    name = f"rr-{FLEET}-{number}"
    return Order(name, FLEET, "worker", "127.0.0.1:1", ttl_s=1, longest_s=2, machine=machine)


def _lives(_account: Any, backend: RentedBackend) -> None:
    backend._rental.quote(L40S)  # type: ignore[attr-defined]
    for number in range(30):  # more than a page
        backend.create(order(number))
    backend.list(FLEET)
    backend.destroy(order(1).name)
    backend.list(FLEET)
    assert len(backend.billed(FLEET, time.time())) == 30


def _faults(account: Any, backend: RentedBackend) -> None:
    faults = account.cloud.faults
    for number, spoil in enumerate(("n_create_500_but_makes", "n_create_500", "n_no_capacity"), 20):
        setattr(faults, spoil, 1)
        with suppress(ProviderError, NoNode):
            backend.create(order(number))
    faults.n_asks_gone = 1
    backend.create(order(7))
    faults.n_error = 1
    backend.create(order(8))
    backend.list(FLEET)
    faults.is_broke = True
    with suppress(NoNode):
        backend.create(order(9))
    (machine_id,) = backend._find(order(7).name)
    backend.destroy(order(7).name)
    with suppress(ProviderError):
        backend._rental.end(machine_id)  # type: ignore[attr-defined]


def _too_many(account: Any, backend: RentedBackend) -> None:
    account.cloud.faults.n_too_many = 1
    with suppress(ProviderError):
        backend.list(FLEET)


def _wrong_key(account: Any, backend: RentedBackend) -> None:
    account.cloud.key = "another"
    for call in (
        lambda: backend.list(FLEET),
        lambda: backend._rental.quote(L40S),
        lambda: backend.create(order(1)),
        lambda: backend.billed(FLEET, time.time()),
    ):
        with suppress(ProviderError, NoNode):
            call()


STORIES: dict[str, Callable[[Any, RentedBackend], None]] = {
    "lives": _lives,
    "faults": _faults,
    "too many": _too_many,
    "wrong key": _wrong_key,
}


@pytest.mark.parametrize("story", STORIES)
def test_all_that_is_asked_and_answered_is_as_published(
    account: Any, published: Document, backend: RentedBackend, story: str
) -> None:
    account.cloud.faults.n_mute = 100
    STORIES[story](account, backend)
    assert account.cloud.exchanges
    for one in account.cloud.exchanges:
        published.check_request(one)
        published.check_response(one)


def test_what_the_document_does_not_have_is_found(account: Any, published: Document) -> None:
    """Else the test above might pass whatever is sent."""
    path = {"RunPod": "/v2/pods", "Vast.ai": "/api/v0/asks/7"}[account.provider.name]
    method = {"RunPod": "POST", "Vast.ai": "PUT"}[account.provider.name]
    request = Request(method, path, {}, {"image": 7, "interruptible": True}, "x")
    bad = Exchange(request, Reply(200, {"id": 7, "success": "perhaps"}))
    with pytest.raises(OpenAPIError):
        published.check_request(bad)
    with pytest.raises(OpenAPIError):
        published.check_response(bad)
    assert published.trouble(bad, is_ours=True) != published.trouble(bad, is_ours=False) != ""


SPOILED: dict[str, list[tuple[str, str, dict[str, str], Any]]] = {
    "RunPod": [
        ("POST", "/v2/pods", {}, {"name": "n", "image": "i", "gpu": {"id": "NVIDIA L40S"}, "disk": 0}),
        ("POST", "/v2/pods", {}, {"name": "n", "image": "i", "gpu": {"id": []}}),
        ("POST", "/v2/pods", {}, {"name": "n", "image": "i", "gpu": {"id": "NVIDIA L40S"}, "disk": True}),
        ("POST", "/v2/pods", {}, {"name": "n", "image": "i", "gpu": {"id": "NVIDIA L40S"}, "cloud": ""}),
        ("GET", "/v2/billing/pods", {"startTime": "soon"}, None),
    ],
    "Vast.ai": [
        ("GET", "/api/v1/instances", {"limit": "many"}, None),
        ("GET", "/api/v1/instances", {"select_cols": "{"}, None),
        ("PUT", "/api/v0/asks/x", {}, {"image": []}),
        ("PUT", "/api/v0/asks/7", {}, {"image": "i", "label": 7}),
    ],
}


def test_nonsense_is_refused_as_published_and_nothing_is_made(account: Any, published: Document) -> None:
    for method, path, query, body in SPOILED[account.provider.name]:
        reply = account.cloud.handle(Request(method, path, query, body, account.cloud.key))
        assert 400 <= reply.status < 500
    for one in account.cloud.exchanges:
        published.check_response(one)
    assert account.cloud.machines == []


def test_the_emulated_runpod_refuses_a_field_that_is_not_published(account: Any) -> None:
    if account.provider.name != "RunPod":
        pytest.skip("Vast's document allows any field")
    api = account.rental()._api
    body = {"name": "n", "image": "i", "gpu": {"id": "NVIDIA L40S"}, "interruptible": True}
    with pytest.raises(ProviderError, match="interruptible") as raised:
        api.ask("POST", "/v2/pods", body=body)
    api.close()
    assert raised.value.status == 422
    assert account.cloud.machines == []
