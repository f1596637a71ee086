"""A row of a plan as a SkyPilot task; with several machines, as a service of SkyServe.

The token is one of the task's secrets, which SkyPilot neither shows nor stores in the clear; who launches it
passes it: `--secret HF_TOKEN`.
"""

from __future__ import annotations

import shlex
from typing import Any

from rackrate.plan.answer import Row
from rackrate.plan.exports.names import gpu_in, provider_in
from rackrate.plan.exports.server import PORT, TOKEN, Server
from rackrate.plan.terms import disk_gb


def skypilot(row: Row, server: Server) -> list[dict[str, Any]]:
    """Return the task."""
    resources: dict[str, Any] = {
        "accelerators": f"{gpu_in('skypilot', row)}:{row.count}",
        "ports": PORT,
        "disk_size": int(disk_gb(row.weights_gib)),
    }
    cloud = provider_in("skypilot", row)
    if cloud:
        # Regions of marketplaces are places in words, which SkyPilot does not take.
        is_code = row.region and " " not in row.region and "," not in row.region
        resources["infra"] = f"{cloud}/{row.region}" if is_code else cloud
    if row.kind == "spot":
        resources["use_spot"] = True
    task: dict[str, Any] = {"name": server.name, "resources": resources, "secrets": {TOKEN: ""}}
    if row.machines > 1:
        task["service"] = {"readiness_probe": "/health", "replicas": row.machines}
    package = shlex.quote(server.software.package)
    task["setup"] = f"uv pip install --system {package} || pip install {package}\n"
    task["run"] = server.command
    return [task]
