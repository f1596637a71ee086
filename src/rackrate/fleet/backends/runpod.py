"""Nodes on pods of RunPod, by its REST API v2.

A pod has the node's name, the order in its environment and the agent as its only program. RunPod has no
time limit and no spot pods in this version; what ends a pod that nobody wants is the agent in it, with the
key that RunPod gives each pod for itself (`inside`).

Compute and disk are billed by the second, without a minimum; what the disk of a container costs stands in the
catalog (`rackrate providers show runpod`).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate.catalog.aliases import match_gpu
from rackrate.catalog.provider import find_provider
from rackrate.errors import ProviderDown, nearest
from rackrate.fleet.backends import DESTROY_S, KEYS
from rackrate.fleet.backends.api import Api, Json, Provider
from rackrate.fleet.backends.base import BOOT, Machine, NoNode, Order
from rackrate.fleet.backends.rented import Charge, RentedBackend
from rackrate.fleet.ledger import MICROUSD, Rate
from rackrate.units import GB_PER_GIB, HOURS_PER_MONTH

if TYPE_CHECKING:
    from rackrate.fleet.spec import Spec

RUNPOD = Provider("RunPod", "https://api.runpod.io", "RACKRATE_RUNPOD_URL", KEYS["runpod"])
_SECURE, _COMMUNITY = "SECURE", "COMMUNITY"
"""Tiers: RunPod's own data centres, unless the offer names the hosts of others."""
_ENDED = "TERMINATED"


def open_backend(spec: Spec) -> RentedBackend:
    """Return the backend of a fleet on machines of RunPod."""
    return RentedBackend(RunPod(), Path(spec.folder))


def open_rental() -> RunPod:
    """Open the API.

    Raises:
        MissingCredential: the environment has no key.
    """
    return RunPod()


class RunPod:
    """RunPod's API, as far as nodes need it.

    Raises:
        MissingCredential: the environment has no key.
    """

    name = RUNPOD.name
    url_variable = RUNPOD.url_variable
    settle_s = 30.0
    list_s = 5.0
    destroy_s = DESTROY_S["runpod"]
    n_calls = 4

    def __init__(self) -> None:
        self._api = Api(RUNPOD)
        self._gpu_ids: dict[str, str] = {}

    def quote(self, machine: Machine, n: int = 1) -> Rate:
        """Return the list price of such a pod, disk included; it does not depend on how many there are.

        Raises:
            NoNode: no such pod can be made now.
        """
        del n
        cloud = _check(machine)
        query = {"include": "AVAILABILITY", "product": "POD", "count": machine.n_gpus or 1, "cloud": cloud}
        gpu = self._gpu(machine, query)
        if gpu.get("availability", "NONE") == "NONE":
            raise NoNode(f"RunPod has no {gpu['id']} free in {cloud}", hint="try another GPU, or later")
        usd_per_gb_month = find_provider("runpod").storage_usd_per_gb_month.value or 0.0
        disk_usd_per_hour = _disk_gb(machine) * usd_per_gb_month / HOURS_PER_MONTH
        usd_per_hour = gpu["price"][cloud.lower()] * (machine.n_gpus or 1) + disk_usd_per_hour
        return Rate(math.ceil(usd_per_hour * MICROUSD))

    def make(self, order: Order, machine: Machine) -> str:
        """Make a pod that boots the order."""
        cloud = _check(machine)
        if machine.gpu not in self._gpu_ids:
            self._gpu_ids[machine.gpu] = self._gpu(machine, {})["id"]
        body: Json = {
            "name": order.name,
            "image": machine.image,
            "args": " ".join(BOOT),
            "env": order.to_env(),
            "disk": _disk_gb(machine),
            "cloud": cloud,
            "gpu": {"id": self._gpu_ids[machine.gpu], "count": machine.n_gpus or 1},
        }
        if machine.region:
            body["dataCenterIds"] = [machine.region]
        pod = self._api.ask("POST", "/v2/pods", body=body)
        if "id" not in pod:
            raise ProviderDown(f"RunPod made {order.name}, but its answer has no id")
        limit = machine.most_usd_per_hour
        if limit and pod.get("cost", 0.0) > limit:
            self.end(pod["id"])
            raise NoNode(f"RunPod asks {pod['cost']} USD an hour for {order.name}, more than {limit:g}")
        return str(pod["id"])

    def all(self) -> Iterator[tuple[str, str]]:
        """Return every pod that is not terminated; its API knows no pages."""
        for pod in self._api.ask("GET", "/v2/pods")["pods"]:
            if pod["status"] != _ENDED:
                yield pod["name"], pod["id"]

    def end(self, machine_id: str) -> None:
        """Terminate a pod."""
        self._api.ask("DELETE", f"/v2/pods/{machine_id}")

    def charges(self, since_at: float) -> Iterator[Charge]:
        """Return what pods have cost, a charge a pod and day."""
        start = datetime.fromtimestamp(since_at, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        query = {"startTime": start, "bucketSize": "day"}
        for record in self._api.ask("GET", "/v2/billing/pods", query=query)["records"]:
            yield Charge(record["podId"], "", record["totalAmount"])

    def cheapest(self) -> tuple[Machine, str]:
        """Return the cheapest pod with a GPU that is free, without an image, and RunPod's name of its GPU."""
        query = {"include": "AVAILABILITY", "product": "POD"}
        gpus = self._api.ask("GET", "/v2/catalog/gpus", query=query)["gpus"]
        free = [gpu for gpu in gpus if gpu["secure"] and gpu.get("availability", "NONE") != "NONE"]
        if not free:
            raise NoNode("RunPod has no GPU free")
        gpu = min(free, key=lambda one: (one["price"]["secure"], one["id"]))
        return Machine(gpu=gpu["id"], n_gpus=1, disk_gib=5), gpu["id"]

    def close(self) -> None:
        """Hang up."""
        self._api.close()

    def _gpu(self, machine: Machine, query: Json) -> Json:
        """Return RunPod's entry of a GPU, asked for by our slug or by its own id."""
        gpus = self._api.ask("GET", "/v2/catalog/gpus", query=query)["gpus"]
        for gpu in gpus:
            if machine.gpu in (gpu["id"], _slug(gpu)):
                return dict(gpu)
        near = nearest(machine.gpu, [slug for slug in map(_slug, gpus) if slug])
        hint = f"it has {', '.join(near)}" if near else ""
        raise NoNode(f"RunPod rents no {machine.gpu}", hint=hint)


def _slug(gpu: Json) -> str | None:
    return match_gpu(gpu["id"], provider="runpod", vram_gib=gpu["memory"]).slug


def _check(machine: Machine) -> str:
    """Return the tier to rent in, or say why there will be no pod."""
    if machine.is_spot:
        raise NoNode("RunPod rents no spot pods by its API v2", hint="ask for on_demand")
    if not machine.image or not machine.gpu:
        raise NoNode("a pod needs an image and a GPU", hint="name the image, and an offer or a plan")
    return _COMMUNITY if _COMMUNITY in machine.offer.upper() else _SECURE


def _disk_gb(machine: Machine) -> int:
    return math.ceil(machine.disk_gib * GB_PER_GIB)
