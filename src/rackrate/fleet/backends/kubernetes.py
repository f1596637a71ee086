"""Nodes on pods of a Kubernetes cluster, by the HTTP API of its server.

A pod has the node's name, which the server makes unique, and labels with fleet and name, by which any
process finds it. Its order is in a Secret that belongs to the pod and goes with it; the pod waits until
that is there. The cluster itself ends a pod when its longest life is over (`activeDeadlineSeconds`), also
where nobody is left to ask. A pod that has ended stays with the server until somebody takes it away: that
is done when it is listed, after its last words were kept.

Of the machine of an order count image, GPU and number: region, offer and kind are those of who rents, and a
cluster states no price. What a GPU is called is read off the labels of the nodes (`nvidia.com/gpu.product`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate.catalog.aliases import match_gpu
from rackrate.errors import ProviderDown, ProviderError
from rackrate.fleet.backends import DESTROY_S
from rackrate.fleet.backends.api import Api, Json
from rackrate.fleet.backends.base import BOOT, CONSOLE, LOG, Machine, NoNode, Order
from rackrate.fleet.backends.kubeconfig import Cluster, read_cluster
from rackrate.fleet.backends.rented import refusals

if TYPE_CHECKING:
    from rackrate.fleet.spec import Spec

FLEET_LABEL, NODE_LABEL = "rackrate.fleet", "rackrate.node"
GPU = "nvidia.com/gpu"
PRODUCT_LABEL = "nvidia.com/gpu.product"
_OVER = ("Succeeded", "Failed")
_GRACE_S = 1
"""From SIGTERM to SIGKILL; with 0 the server would forget a pod before its processes are known to be gone."""
_LAST_LINES = 100
_NOT_FOUND, _CONFLICT, _FAULT = 404, 409, 500


def open_backend(spec: Spec) -> KubernetesBackend:
    """Return the backend of a fleet on pods.

    Raises:
        MissingCredential, UsageError: the kubeconfig leads to no cluster.
    """
    return KubernetesBackend(read_cluster(), Path(spec.folder))


class KubernetesBackend:
    """Nodes on pods of a cluster.

    Args:
        cluster: where it is, and what opens it.
        folder: of the fleet; what pods said is kept below `nodes/`.
    """

    at = ""
    settle_s = 2.0  # a node's kubelet tells of the end of a container a moment later
    destroy_s = DESTROY_S["kubernetes"]
    list_s = 1.0
    n_calls = 4

    def __init__(self, cluster: Cluster, folder: Path) -> None:
        self._api = Api(cluster)
        self._nodes = folder / "nodes"
        self._listed: set[str] = set()
        self._pods = f"/api/v1/namespaces/{cluster.namespace}/pods"
        self._secrets = f"/api/v1/namespaces/{cluster.namespace}/secrets"

    def create(self, order: Order) -> None:
        """Make a pod and give it its order; of a name that is there, only the order where it lacks.

        Raises:
            NotNow: the server was asked too often; nothing was made.
            NoNode: the server refuses, in its words: a quota, rights, an image or a name that is none.
        """
        machine = order.machine
        if machine is None or not machine.image:
            raise NoNode(f"{order.name}: a pod is made of an image", hint="name one: image=...")
        with refusals():
            products = self._products(machine)
            uid = self._made(_pod(order, machine, products))
        self._hand_over(order, uid)

    def _made(self, pod: Json) -> str:
        """Return the id of the pod of this name, made now or before."""
        name = pod["metadata"]["name"]
        try:
            found = self._api.ask("POST", self._pods, body=pod)
        except ProviderError as error:
            if error.status != _CONFLICT:
                raise
            found = self._there(name)
        try:
            return str(found["metadata"]["uid"])
        except (KeyError, TypeError) as error:
            raise ProviderDown(f"the cluster made {name}, but its answer has no uid") from error

    def _there(self, name: str) -> Json:
        """Return a pod that is there: whatever is said instead is no refusal of it."""
        try:
            return self._api.ask("GET", f"{self._pods}/{name}")
        except ProviderError as error:
            raise ProviderDown(f"{name} is there, and nobody says what it is: {error.message}") from error

    def _hand_over(self, order: Order, uid: str) -> None:
        """Make the Secret that a pod waits for; a pod that must not have one is destroyed."""
        try:
            self._api.ask("POST", self._secrets, body=_secret(order, uid))
        except ProviderError as error:
            if error.status == _CONFLICT:
                return  # it has it
            if 0 < error.status < _FAULT:
                self.destroy(order.name)
                with refusals():
                    raise
            raise

    def list(self, fleet: str) -> frozenset[str]:
        """Return the pods with the fleet's label that have not ended; those that have are taken away."""
        query = {"labelSelector": f"{FLEET_LABEL}={fleet}"}
        names = set()
        for pod in self._api.ask("GET", self._pods, query=query)["items"]:
            name = pod["metadata"]["name"]
            self._listed.add(name)
            if pod.get("status", {}).get("phase") in _OVER:
                self.destroy(name)
            else:
                names.add(name)
        return frozenset(names)

    def destroy(self, name: str) -> bool:
        """Have a pod ended and removed, and its Secret with it."""
        self._keep_words(name)
        try:
            self._api.ask("DELETE", f"{self._pods}/{name}", body={"gracePeriodSeconds": _GRACE_S})
        except ProviderError as error:
            if error.status != _NOT_FOUND:
                raise
            return name in self._listed
        return True

    def billed(self, fleet: str, since_at: float) -> None:
        """Return nothing: nobody bills these nodes one by one."""

    def logs(self, name: str) -> Path:
        """Return the file with what the pod said last, as far as it did not write home."""
        return self._nodes / name / CONSOLE

    def close(self) -> None:
        """Hang up; nodes stay."""
        self._api.close()

    def _keep_words(self, name: str) -> None:
        """Keep what the cluster and the pod say, of a node that never wrote home itself: why, most of all."""
        node = self._nodes / name
        if (node / LOG).exists():
            return
        said: list[str] = []
        with suppress(ProviderError):  # of a pod that is gone, or says nothing to us, there are no words
            said += _remarks(self._api.ask("GET", f"{self._pods}/{name}"))
            said.append(self._api.text(f"{self._pods}/{name}/log", query={"tailLines": _LAST_LINES}))
        if any(said):
            node.mkdir(parents=True, exist_ok=True)
            (node / CONSOLE).write_text("\n".join(said), "utf-8")

    def _products(self, machine: Machine) -> Sequence[str]:
        """Return what nodes with this GPU call it; empty where no GPU is wanted.

        Raises:
            NoNode: no node of the cluster has it.
        """
        if not machine.gpu:
            return []
        nodes = self._api.ask("GET", "/api/v1/nodes", query={"labelSelector": PRODUCT_LABEL})["items"]
        labels = {node["metadata"]["labels"][PRODUCT_LABEL] for node in nodes}
        slugs = {label: match_gpu(label).slug for label in labels}
        hits = sorted(label for label, slug in slugs.items() if slug == machine.gpu)
        if not hits:
            there = ", ".join(sorted(slug or label for label, slug in slugs.items()))
            hint = f"they have {there}" if there else f"none has the label {PRODUCT_LABEL}"
            raise NoNode(f"no node of the cluster has {machine.gpu}", hint=hint)
        return hits


def _pod(order: Order, machine: Machine, products: Sequence[str]) -> Json:
    """Return a pod for the server: the agent as its only program, nothing of the cluster's in its reach."""
    limits: Json = {"memory": str(order.memory_bytes)} if order.memory_bytes else {}
    spec: Json = {
        "restartPolicy": "Never",
        "activeDeadlineSeconds": max(math.ceil(order.longest_s), 1),
        "terminationGracePeriodSeconds": _GRACE_S,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
    }
    if machine.gpu:
        limits[GPU] = str(machine.n_gpus or 1)
        spec["tolerations"] = [{"key": GPU, "operator": "Exists", "effect": "NoSchedule"}]
        spec["affinity"] = {"nodeAffinity": _one_of(products)}
    spec["containers"] = [
        {
            "name": "node",
            "image": machine.image,
            "command": list(BOOT),
            "envFrom": [{"secretRef": {"name": order.name}}],
            "resources": {"limits": limits},
            "securityContext": {"allowPrivilegeEscalation": False},
        }
    ]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": _metadata(order), "spec": spec}


def _one_of(products: Sequence[str]) -> Json:
    test = {"key": PRODUCT_LABEL, "operator": "In", "values": list(products)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [test]}]}
    return {"requiredDuringSchedulingIgnoredDuringExecution": terms}


def _secret(order: Order, uid: str) -> Json:
    """Return the Secret with an order; it ends with the pod that it belongs to."""
    owner = {"apiVersion": "v1", "kind": "Pod", "name": order.name, "uid": uid}
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": _metadata(order) | {"ownerReferences": [owner]},
        "immutable": True,
        "stringData": order.to_env(),
    }


def _metadata(order: Order) -> Json:
    labels = {FLEET_LABEL: order.fleet, NODE_LABEL: order.name, "app.kubernetes.io/managed-by": "rackrate"}
    return {"name": order.name, "labels": labels}


def _remarks(pod: Json) -> list[str]:
    """Return why a pod waits or ended, in the cluster's words: no image, no room, its deadline."""
    status = pod.get("status", {})
    states = [state for one in status.get("containerStatuses", ()) for state in one.get("state", {}).values()]
    found = [status, *status.get("conditions", ()), *states]
    return [f"{one['reason']}: {one.get('message', '')}" for one in found if one.get("reason")]
