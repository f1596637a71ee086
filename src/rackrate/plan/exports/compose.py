"""A row of a plan as a Docker Compose file for one of its machines."""

from __future__ import annotations

from typing import Any

from rackrate.plan.answer import Row
from rackrate.plan.exports.server import PORT, TOKEN, Server


def compose(row: Row, server: Server) -> list[dict[str, Any]]:
    """Return the file; it is the same on every machine."""
    devices = [{"driver": "nvidia", "count": row.count, "capabilities": ["gpu"]}]
    service = {
        "image": server.software.image,
        "entrypoint": server.argv,
        "environment": {TOKEN: f"${{{TOKEN}:-}}"},
        "ports": [f"{PORT}:{PORT}"],
        "ipc": "host",
        "restart": "unless-stopped",
        "volumes": ["weights:/root/.cache/huggingface"],
        "healthcheck": {
            "test": ["CMD", "curl", "-fsS", f"http://localhost:{PORT}/health"],
            "interval": "30s",
            "start_period": f"{round(row.start_s) + 300}s",
        },
        "deploy": {"resources": {"reservations": {"devices": devices}}},
    }
    return [{"name": server.name, "services": {"server": service}, "volumes": {"weights": {}}}]
