"""What on this machine runs containers, and what does it need to be told here?"""

from __future__ import annotations

import os
import resource
import shutil
from contextlib import suppress
from pathlib import Path

from rackrate.errors import UsageError

ENGINES = ("podman", "docker")
_LOWER = 16384
"""A limit of files and processes that is below what podman leaves itself; a node needs far less."""
_CAP_SYS_RESOURCE = 24  # linux/capability.h


def find_engine(engine: str = "") -> str:
    """Return the path of an engine.

    Raises:
        UsageError: there is none.
    """
    for name in [engine] if engine else ENGINES:
        if path := shutil.which(name):
            return path
    hint = "install podman or docker, or use another backend"
    raise UsageError(
        f"no {engine or ' and no '.join(ENGINES)} on the PATH: nothing runs containers", hint=hint
    )


def quirks(engine: str) -> list[str]:
    """Return flags without which podman starts nothing on some machines.

    Its default runtime, crun, refuses a machine that has both kinds of control groups. Root without the
    right to raise limits may not set one to its own highest value either, which is what podman asks for.
    """
    if engine != "podman":
        return []
    flags = []
    if Path("/sys/fs/cgroup/unified").is_dir() and shutil.which("runc"):
        flags += ["--runtime", "runc"]
    if os.geteuid() == 0 and not _may_raise_limits():
        for name, limit in (("nofile", resource.RLIMIT_NOFILE), ("nproc", resource.RLIMIT_NPROC)):
            most = resource.getrlimit(limit)[1]
            lower = _LOWER if most == resource.RLIM_INFINITY else min(most - 1, _LOWER)
            flags += ["--ulimit", f"{name}={lower}:{lower}"]
    return flags


def _may_raise_limits() -> bool:
    with suppress(OSError):
        for line in Path("/proc/self/status").read_text("ascii").splitlines():
            if line.startswith("CapEff:"):
                return bool(int(line.split()[1], 16) >> _CAP_SYS_RESOURCE & 1)
    return True
