"""A row of a plan as a dstack service."""

from __future__ import annotations

from typing import Any

from rackrate.catalog.gpu import load_gpu
from rackrate.plan.answer import Row
from rackrate.plan.exports.names import gpu_in, provider_in
from rackrate.plan.exports.server import PORT, SHM_GIB, TOKEN, Server
from rackrate.plan.terms import disk_gb

DEARER = 1.1  # than planned, at most: prices move between a plan and its run


def dstack(row: Row, server: Server) -> list[dict[str, Any]]:
    """Return the service."""
    memory_gb = load_gpu(row.taken_as).memory_gib.value
    service: dict[str, Any] = {
        "type": "service",
        "name": server.name,
        "image": server.software.image,
        "env": [TOKEN],
        "commands": [server.command],
        "port": PORT,
        "model": server.weights,
        "resources": {
            "gpu": {"name": gpu_in("dstack", row), "memory": f"{memory_gb:g}GB", "count": row.count},
            "shm_size": f"{SHM_GIB}GB",
            "disk": f"{disk_gb(row.weights_gib):.0f}GB..",
        },
        "replicas": row.machines,
        "spot_policy": "spot" if row.kind == "spot" else "on-demand",
        "max_price": round(row.usd_per_machine_hour * DEARER, 4),
    }
    backend = provider_in("dstack", row)
    if backend:
        service["backends"] = [backend]
    return [service]
