"""What does a cluster do with pods? It places and boots them, ends them at their deadline, removes them.

A pod is a real machine of this host (`Ground`), booted when a node has room, its image is there and the
Secret that its environment comes from exists. As a machine does not tell how its program ended, a pod that
ends by itself has Succeeded. Times are real. The scheduler's and the kubelet's states are kept as far as
`kubectl` and a fleet look at them.
"""

from __future__ import annotations

import base64
import copy
import threading
import time
import uuid
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any

from rackrate.testing.clouds.cloud import Ground
from rackrate.testing.clouds.faults import Faults

Json = dict[str, Any]
Key = tuple[str, str]
"""Namespace and name."""

GPU, PRODUCT = "nvidia.com/gpu", "nvidia.com/gpu.product"
_TICK_S = 0.02
_LIVES = ("Pending", "Running")


@dataclass(frozen=True, slots=True)
class Node:
    """A machine of the cluster.

    Attributes:
        name: of it.
        product: label of its GPU; empty for none.
        n_gpus: how many it has.
    """

    name: str
    product: str = ""
    n_gpus: int = 0

    def to_json(self) -> Json:
        """Return it as the API has it."""
        labels = {PRODUCT: self.product} if self.product else {}
        return {
            "apiVersion": "v1",
            "kind": "Node",
            "metadata": {"name": self.name, "uid": self.name, "labels": labels},
            "status": {"capacity": {GPU: str(self.n_gpus)}},
        }


@dataclass
class Pod:
    """A pod.

    Attributes:
        data: as the API has it.
        uid: its id, and its machine's name.
        bound_s: when it was placed; None before.
        is_booted: whether its machine was started.
        is_mute: whether nothing runs in it.
        is_deleting: whether it is to be removed.
    """

    data: Json
    uid: str
    bound_s: float | None = None
    is_booted: bool = False
    is_mute: bool = False
    is_deleting: bool = False

    @property
    def phase(self) -> str:
        """Return its phase."""
        return str(self.data["status"]["phase"])

    @property
    def n_gpus(self) -> int:
        """Return how many GPUs it takes."""
        return int(self._container.get("resources", {}).get("limits", {}).get(GPU, 0))

    @property
    def products(self) -> set[str] | None:
        """Return the labels of GPUs that it may have; None for any."""
        found = self.data["spec"].get("affinity", {}).get("nodeAffinity", {})
        terms = found.get("requiredDuringSchedulingIgnoredDuringExecution", {}).get("nodeSelectorTerms", [])
        tests = [test for term in terms for test in term["matchExpressions"] if test["key"] == PRODUCT]
        return {value for test in tests for value in test["values"]} if tests else None

    @property
    def secrets(self) -> list[str]:
        """Return the Secrets that its environment comes from."""
        return [one["secretRef"]["name"] for one in self._container.get("envFrom", [])]

    @property
    def image(self) -> str:
        """Return its image."""
        return str(self._container["image"])

    @property
    def _container(self) -> Json:
        container: Json = self.data["spec"]["containers"][0]
        return container


@dataclass
class Pods:
    """The pods of a cluster, their Secrets and the nodes that they run on.

    Attributes:
        ground: where their machines run.
        nodes: of the cluster.
        missing: images that no registry has.
        faults: what goes wrong; of it count the creates and deletes that answer 500, too many, and mute.
        now: all pods, by namespace and name.
        secrets: all Secrets.
        changed: is told of each change, and guards all.
        events: all changes: kind, and the pod then.
    """

    ground: Ground
    nodes: tuple[Node, ...] = (Node("cpu"), Node("gpu", "NVIDIA-L40S", 8))
    missing: frozenset[str] = frozenset()
    faults: Faults = field(default_factory=Faults)
    now: dict[Key, Pod] = field(default_factory=dict)
    secrets: dict[Key, Json] = field(default_factory=dict)
    changed: threading.Condition = field(default_factory=threading.Condition)
    events: list[tuple[str, Json]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self._is_over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name="kubelet")
        self._thread.start()

    @property
    def version(self) -> int:
        """Return the number of the last change."""
        return len(self.events)

    @property
    def is_over(self) -> bool:
        """Tell whether the cluster is taken down."""
        return self._is_over.is_set()

    def close(self) -> None:
        """Stop every machine and watch."""
        self._is_over.set()
        self._thread.join()
        with self.changed:
            for pod in self.now.values():
                self.ground.stop(pod.uid)
            self.changed.notify_all()

    def make(self, namespace: str, asked: Json) -> Pod:
        """Take in a pod that is valid and whose name is free."""
        uid = str(uuid.uuid4())
        data = copy.deepcopy(asked) | {"apiVersion": "v1", "kind": "Pod", "status": {"phase": "Pending"}}
        data["metadata"] |= {"namespace": namespace, "uid": uid, "creationTimestamp": _timestamp()}
        with self.changed:
            pod = self.now[namespace, data["metadata"]["name"]] = Pod(data, uid)
            self._tell("ADDED", pod)
        return pod

    def delete(self, pod: Pod) -> None:
        """Mark a pod to be ended and removed."""
        with self.changed:
            if not pod.is_deleting:
                pod.is_deleting = True
                pod.data["metadata"]["deletionTimestamp"] = _timestamp()
                self._tell("MODIFIED", pod)

    def since(self, version: int, until_s: float) -> Iterator[tuple[str, Json]]:
        """Yield changes after a version as they come, until an instant or the end of the cluster."""
        while not self.is_over and (left_s := until_s - time.monotonic()) > 0:
            with self.changed:
                if self.version == version:
                    self.changed.wait(min(left_s, 1.0))
                new = self.events[version:]
            version += len(new)
            yield from new

    def _tell(self, kind: str, pod: Pod) -> None:
        pod.data["metadata"]["resourceVersion"] = str(self.version + 1)
        self.events.append((kind, copy.deepcopy(pod.data)))
        self.changed.notify_all()

    def _set(self, pod: Pod, **status: Any) -> None:
        """Change a pod's status, and tell, unless it is so already."""
        if any(pod.data["status"].get(name) != value for name, value in status.items()):
            pod.data["status"] |= status
            self._tell("MODIFIED", pod)

    def _keep(self) -> None:
        """Do what a scheduler, kubelets and the garbage collector do, until the cluster is taken down."""
        while not self._is_over.wait(_TICK_S):
            living = self.ground.names() if any(pod.is_booted for pod in self.now.values()) else frozenset()
            with self.changed:
                for key, pod in list(self.now.items()):
                    if pod.is_deleting:
                        self._remove(key, pod)
                    elif pod.phase in _LIVES:
                        self._further(key[0], pod, living)

    def _further(self, namespace: str, pod: Pod, living: Iterable[str]) -> None:
        """Bring a pod on its way: from placed to booted, and to its end."""
        deadline_s = pod.data["spec"].get("activeDeadlineSeconds")
        if pod.bound_s is None:
            self._place(pod)
        elif deadline_s is not None and time.monotonic() > pod.bound_s + deadline_s:
            self.ground.stop(pod.uid)
            message = "Pod was active on the node longer than the specified deadline"
            self._set(pod, phase="Failed", reason="DeadlineExceeded", message=message)
        elif not pod.is_booted:
            self._boot(namespace, pod)
        elif pod.uid not in living and not pod.is_mute:
            self._set(pod, phase="Succeeded")

    def _place(self, pod: Pod) -> None:
        for node in self.nodes:
            n_taken = sum(
                other.n_gpus
                for other in self.now.values()
                if other.data["spec"].get("nodeName") == node.name and other.phase in _LIVES
            )
            is_right = pod.products is None or node.product in pod.products
            if is_right and n_taken + pod.n_gpus <= node.n_gpus:
                pod.bound_s = time.monotonic()
                pod.data["spec"]["nodeName"] = node.name
                self._set(pod, startTime=_timestamp(), conditions=[_placed("True")])
                return
        words = f"0/{len(self.nodes)} nodes are available: Insufficient {GPU}."
        self._set(pod, conditions=[_placed("False") | {"reason": "Unschedulable", "message": words}])

    def _boot(self, namespace: str, pod: Pod) -> None:
        if pod.image in self.missing:
            self._wait(pod, "ImagePullBackOff", f'Back-off pulling image "{pod.image}"')
            return
        env: dict[str, str] = {}
        for name in pod.secrets:
            if (namespace, name) not in self.secrets:
                self._wait(pod, "CreateContainerConfigError", f'secret "{name}" not found')
                return
            data = self.secrets[namespace, name]["data"]
            env |= {key: base64.b64decode(value).decode() for key, value in data.items()}
        pod.is_booted = True
        pod.is_mute = self.faults.use("n_mute")
        if not pod.is_mute:
            self.ground.start(pod.uid, env)
        self._set(pod, phase="Running", containerStatuses=[_state("running", {"startedAt": _timestamp()})])

    def _wait(self, pod: Pod, reason: str, message: str) -> None:
        waiting = {"reason": reason, "message": message}
        self._set(pod, containerStatuses=[_state("waiting", waiting)])

    def _remove(self, key: Key, pod: Pod) -> None:
        """End a pod's machine and forget it, with the Secrets that belong to it."""
        self.ground.stop(pod.uid)
        del self.now[key]
        self.secrets = {
            name: secret
            for name, secret in self.secrets.items()
            if not any(owner["uid"] == pod.uid for owner in secret["metadata"].get("ownerReferences", ()))
        }
        self._tell("DELETED", pod)


def _placed(status: str) -> Json:
    return {"type": "PodScheduled", "status": status}


def _state(kind: str, more: Json) -> Json:
    return {"name": "node", "ready": kind == "running", "restartCount": 0, "state": {kind: more}}


def _timestamp() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
