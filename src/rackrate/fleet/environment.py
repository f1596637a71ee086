"""Does a node run what its owner runs, so that what one pickles the other can read? Asked before any work."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version

_PACKAGES = ("rackrate", "distributed", "cloudpickle")
"""Beside the minor version of Python, which pickled code depends on."""


def versions() -> dict[str, str]:
    """Return what this process runs, without loading it."""
    found = {"python": f"{sys.version_info.major}.{sys.version_info.minor}"}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            found[package] = "none"
    return found


def mismatch(owner: Mapping[str, str], node: Mapping[str, str]) -> str:
    """Say what differs between an owner and a node; empty where nothing does."""
    return ", ".join(
        f"{package} {node.get(package, 'none')} on the node and {wanted} here"
        for package, wanted in owner.items()
        if node.get(package) != wanted
    )
