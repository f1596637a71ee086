"""Nodes on instances of Vast.ai, by its published API.

Who rents there takes one *ask*, an offer of one machine that is gone when it is taken: so an order looks
for the cheapest asks that do, and takes the first that is still there. An instance bears the node's
name as its label. Vast starts the bill of the disk with the instance, that of the GPU when it runs, and
stops neither while an instance is merely stopped: only destroying it ends the bill.
"""

from __future__ import annotations

import json
import math
import re
import shlex
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rackrate.catalog.aliases import match_gpu, nominal_vram_gib
from rackrate.errors import AuthRejected, ProviderDown, ProviderError
from rackrate.fleet.backends import DESTROY_S, KEYS
from rackrate.fleet.backends.api import Api, Json, Provider
from rackrate.fleet.backends.base import BOOT, Machine, NoNode, Order
from rackrate.fleet.backends.rented import Charge, RentedBackend
from rackrate.fleet.ledger import MICROUSD, Rate
from rackrate.units import GB_PER_GIB

if TYPE_CHECKING:
    from rackrate.fleet.spec import Spec

VAST = Provider("Vast.ai", "https://console.vast.ai", "RACKRATE_VAST_URL", KEYS["vast"])
_MIB_PER_GIB = 1024
_MEMORY_TOLERANCE = 0.1
"""A driver shows less memory than the data sheet says, and some hosts round."""
_MOST_OFFERS = 200
_TRIES = 5
"""Asks that one order tries to take: each may be gone when it is tried."""
_TAKEN = (404, 410)
_NO_USER = 404
_PAGE = 25
_CHARGES = 500
"""On a page, the most that there may be."""
_DAY_S = 86400
"""By so much its clock may be ahead."""
_COUNTRY = re.compile(r"\b[A-Z]{2}\b")
"""In a place as lists write it: `Quebec, CA`."""


def open_backend(spec: Spec) -> RentedBackend:
    """Return the backend of a fleet on machines of Vast.ai."""
    return RentedBackend(Vast(), Path(spec.folder))


def open_rental() -> Vast:
    """Open the API.

    Raises:
        MissingCredential: the environment has no key.
    """
    return Vast()


class Vast:
    """Vast's API, as far as nodes need it.

    Raises:
        MissingCredential: the environment has no key.
    """

    name = VAST.name
    url_variable = VAST.url_variable
    settle_s = 30.0
    list_s = 5.0
    destroy_s = DESTROY_S["vast"]
    n_calls = 2  # it counts what comes too fast

    def __init__(self) -> None:
        self._api = Api(VAST)
        self._lock = threading.Lock()
        self._taken: set[int] = set()

    def quote(self, machine: Machine, n: int = 1) -> Rate:
        """Return the price of the n-th cheapest ask that does, disk included.

        Raises:
            NoNode: there are fewer.
        """
        _check(machine)
        offers = self._offers(machine)
        if len(offers) < n:
            raise NoNode(f"Vast.ai has {len(offers)} asks for {machine.gpu}, not {n}", hint="ask for fewer")
        offer = offers[n - 1]
        waiting = math.ceil(offer["storage_total_cost"] * MICROUSD)
        return Rate(math.ceil(_price(offer, machine) * MICROUSD), waiting_microusd_per_hour=waiting)

    def make(self, order: Order, machine: Machine) -> str:
        """Take the cheapest ask that is still there."""
        _check(machine)
        gone: ProviderError | None = None
        for offer in self._offers(machine)[:_TRIES]:
            with self._lock:
                if offer["id"] in self._taken:
                    continue
                self._taken.add(offer["id"])
            try:
                return self._take(offer, order, machine)
            except ProviderError as error:
                if error.status not in _TAKEN:
                    raise
                gone = error
        raise NoNode(gone.message if gone else "Vast.ai has no ask left that does") from gone

    def _take(self, offer: Json, order: Order, machine: Machine) -> str:
        body: Json = {
            "image": machine.image,
            "label": order.name,
            "disk": _disk_gb(machine),
            "runtype": "args",
            "args": list(BOOT),
            "env": " ".join(f"-e {key}={shlex.quote(value)}" for key, value in order.to_env().items()),
            "target_state": "running",
            "cancel_unavail": True,
        }
        if machine.is_spot:
            body["price"] = machine.most_usd_per_hour or offer["min_bid"]
        answer = self._api.ask("PUT", f"/api/v0/asks/{offer['id']}", body=body, lane="create")
        if "new_contract" in answer:
            return str(answer["new_contract"])
        if answer.get("success") is False:
            raise NoNode(f"Vast.ai: {answer.get('msg') or answer.get('error')}")
        raise ProviderDown(f"Vast.ai made {order.name}, but its answer has no number")

    def all(self) -> Iterator[tuple[str, str]]:
        """Return every instance, page after page; a stopped one is billed too."""
        token: str | None = None
        while True:
            query: Json = {"limit": _PAGE, "select_cols": json.dumps(["id", "label"])}
            if token:
                query["after_token"] = token
            page = self._api.ask("GET", "/api/v1/instances", query=query, lane="list")
            for one in page["instances"]:
                yield one["label"] or "", str(one["id"])
            token = page.get("next_token")
            if not token:
                return

    def end(self, machine_id: str) -> None:
        """Destroy an instance."""
        self._api.ask("DELETE", f"/api/v0/instances/{machine_id}", lane=f"destroy {machine_id}")

    def charges(self, since_at: float) -> Iterator[Charge]:
        """Return what instances have cost, page after page.

        The sum of an instance is published in tenths of a cent; its parts are taken where they are stated:
        these may be finer.
        """
        asked = {
            "day": {"gte": int(since_at), "lte": int(time.time()) + _DAY_S},
            "type": {"in": ["instance"]},
        }
        query: Json = {"select_filters": json.dumps(asked), "limit": _CHARGES}
        while True:
            page = self._api.ask("GET", "/api/v0/charges", query=query)
            for one in page["results"]:
                parts = [part["amount"] for part in one.get("items", ())]
                label = (one.get("metadata") or {}).get("label") or ""
                usd = math.fsum(parts) if parts else one["amount"]
                yield Charge(one["source"].rpartition("-")[2], label, usd)
            if not page.get("next_token"):
                return
            query = query | {"after_token": page["next_token"]}

    def cheapest(self) -> tuple[Machine, str]:
        """Return the cheapest instance for rent, without an image, and Vast's name of its GPU."""
        offers = self._search({"num_gpus": {"eq": 1}}, disk_gb=5)
        if not offers:
            raise NoNode("Vast.ai has no ask")
        offer = offers[0]
        machine = Machine(gpu=str(offer["gpu_name"]), n_gpus=1, disk_gib=5, offer=str(offer["id"]))
        return machine, machine.gpu

    def close(self) -> None:
        """Hang up."""
        self._api.close()

    def _offers(self, machine: Machine) -> list[Json]:
        """Return the asks that do, the cheapest first."""
        asked: Json = {"num_gpus": {"eq": machine.n_gpus or 1}}
        nominal_gib = nominal_vram_gib(machine.gpu)
        if nominal_gib:
            mib = nominal_gib * _MIB_PER_GIB
            asked["gpu_ram"] = {"gte": mib * (1 - _MEMORY_TOLERANCE), "lte": mib * (1 + _MEMORY_TOLERANCE)}
        if machine.region:
            asked["geolocation"] = {"in": _COUNTRY.findall(machine.region) or [machine.region]}
        found = [
            offer
            for offer in self._search(asked, _disk_gb(machine), is_spot=machine.is_spot)
            if machine.gpu in (offer["gpu_name"], _slug(offer))
        ]
        limit = machine.most_usd_per_hour
        cheap = [offer for offer in found if not limit or _price(offer, machine) <= limit]
        if not cheap:
            least = f": the cheapest costs {_price(found[0], machine):.4f} USD an hour" if found else ""
            raise NoNode(
                f"Vast.ai has no ask for {machine.n_gpus or 1} x {machine.gpu}{least}",
                hint="try another GPU, place or price, or later",
            )
        return sorted(cheap, key=lambda offer: str(offer["id"]) != machine.offer)  # the named one first

    def _search(self, asked: Json, disk_gb: int, *, is_spot: bool = False) -> list[Json]:
        body: Json = {
            "type": "bid" if is_spot else "ondemand",
            "verified": {"eq": True},
            "rentable": {"eq": True},
            "rented": {"eq": False},
            "disk_space": {"gte": disk_gb},
            "allocated_storage": disk_gb,
            "order": [["dph_total", "asc"], ["id", "asc"]],
            "limit": _MOST_OFFERS,
            **asked,
        }
        try:
            offers: list[Json] = self._api.ask("POST", "/api/v0/bundles", body=body, lane="search")["offers"]
        except ProviderError as error:
            if error.status == _NO_USER:  # a search says so of a wrong key
                raise AuthRejected(
                    f"the key is not taken: {error.message}", status=_NO_USER, words=error.words
                ) from None
            raise
        return sorted(offers, key=lambda offer: (offer["dph_total"], offer["id"]))


def _slug(offer: Json) -> str | None:
    gib = offer["gpu_ram"] / _MIB_PER_GIB
    return match_gpu(offer["gpu_name"], provider="vast", vram_gib=gib).slug


def _price(offer: Json, machine: Machine) -> float:
    """Return the dollars an hour of an ask, disk included."""
    price: Any = offer["dph_total"]
    if machine.is_spot:
        price = offer["min_bid"] + offer["storage_total_cost"]
    return float(price)


def _check(machine: Machine) -> None:
    if not machine.image or not machine.gpu:
        raise NoNode("an instance needs an image and a GPU", hint="name the image, and an offer or a plan")


def _disk_gb(machine: Machine) -> int:
    return math.ceil(machine.disk_gib * GB_PER_GIB)
