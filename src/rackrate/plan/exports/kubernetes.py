"""A row of a plan as a Kubernetes Deployment, a pod a machine, behind a Service."""

from __future__ import annotations

from typing import Any

from rackrate.plan.answer import Row
from rackrate.plan.exports.names import gpus_in
from rackrate.plan.exports.server import PORT, SHM_GIB, TOKEN, Server

PRODUCT = "nvidia.com/gpu.product"
PERIOD_S = 10  # between two questions whether a pod is ready


def kubernetes(row: Row, server: Server) -> list[dict[str, Any]]:
    """Return the Deployment and the Service."""
    labels = {"app": server.name}
    gpus = {"nvidia.com/gpu": str(row.count)}
    token = {"secretKeyRef": {"name": "hugging-face", "key": "token", "optional": True}}
    probe = {"httpGet": {"path": "/health", "port": PORT}, "periodSeconds": PERIOD_S}
    container = {
        "name": "server",
        "image": server.software.image,
        "command": server.argv,
        "env": [{"name": TOKEN, "valueFrom": token}],
        "ports": [{"containerPort": PORT}],
        "resources": {"limits": gpus, "requests": gpus},
        "readinessProbe": probe,
        "startupProbe": {**probe, "failureThreshold": round(row.start_s + 600) // PERIOD_S},
        "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],  # noqa: S108 - a memory of its own
    }
    memory = {"medium": "Memory", "sizeLimit": f"{SHM_GIB}Gi"}
    pod = {
        **_on(gpus_in("kubernetes", row)),
        "tolerations": [{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
        "containers": [container],
        "volumes": [{"name": "shm", "emptyDir": memory}],
    }
    deployment = {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": {"name": server.name, "labels": labels},
        "spec": {
            "replicas": row.machines,
            "selector": {"matchLabels": labels},
            "template": {"metadata": {"labels": labels}, "spec": pod},
        },
    }
    service = {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": server.name},
        "spec": {"selector": labels, "ports": [{"port": PORT, "targetPort": PORT}]},
    }
    return [deployment, service]


def _on(products: tuple[str, ...]) -> dict[str, Any]:
    """Return what keeps a pod on nodes with one of some products."""
    if len(products) == 1:
        return {"nodeSelector": {PRODUCT: products[0]}}
    one_of = {"key": PRODUCT, "operator": "In", "values": list(products)}
    terms = {"nodeSelectorTerms": [{"matchExpressions": [one_of]}]}
    return {"affinity": {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}}
