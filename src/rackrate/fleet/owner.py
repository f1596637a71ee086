"""Is the process that opened a fleet there, stopped, or gone?"""

from __future__ import annotations

from typing import Literal

import psutil

from rackrate.fleet.spec import Spec


def owner_state(spec: Spec) -> Literal["seen", "frozen", "ended"]:
    """Return how the owner's process is; a fleet without one is its own owner, and always seen."""
    if spec.owner_pid is None:
        return "seen"
    try:
        owner = psutil.Process(spec.owner_pid)
        is_other = abs(owner.create_time() - spec.owner_since_s) > 1  # a process id is used again
        status = owner.status()
    except psutil.NoSuchProcess:
        return "ended"
    if is_other or status == psutil.STATUS_ZOMBIE:
        return "ended"
    return "frozen" if status == psutil.STATUS_STOPPED else "seen"
