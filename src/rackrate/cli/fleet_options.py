"""The words in which a fleet is asked for on the command line, and what they mean to `fleet`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click

F = TypeVar("F", bound=Callable[..., Any])

_ONE = (
    ("nodes", int, None, "How many; of a pool, at least.  [default: 1, or the plan's]"),
    ("nodes-max", int, None, "Up to which a pool grows with its work.  [default: no pool]"),
    (
        "backend",
        str,
        None,
        "Where they live: local, container, ssh, kubernetes, ...  [default: local, or the plan's]",
    ),
    ("image", str, "", "OCI image that a node's machine boots."),
    ("at", str, "", "HOST:PORT at which nodes that are other machines reach this one."),
    ("threads", int, 1, "Tasks at once, a node."),
    ("memory-gib", float, None, "At which a node's worker is killed.  [default: no limit]"),
    ("gpus", int, None, "That a node has to itself.  [default: nodes share those of their machine]"),
    ("budget-usd", float, None, "The most that all may cost, to their end.  [default: no limit]"),
    (
        "usd-per-node-hour",
        float,
        None,
        "What an hour of a node costs you.  [default: 0, or the plan's]",
    ),
    ("max-hours", float, 1.0, "After which all ends in any case."),
    ("idle-s", float, 600.0, "Seconds without work until all ends; of a pool, a node."),
    ("lease-s", float, 10.0, "Seconds after which a node ends that hears nothing."),
    ("boot-timeout-s", float, None, "Seconds in which a node must come up.  [default: 60; rented ones 900]"),
)
_MANY = (
    ("host", "hosts", "USER@HOST:PORT or a file of TOML: a machine of yours, for the backend ssh."),
    ("env", "env", "Name of a variable that is set here and that tasks are to see."),
    ("sync", "sync", "Package, module or folder that nodes are to have as it is here."),
)


def fleet_options(command: F) -> F:
    """Give a command the options of a fleet."""
    for name, parameter, says in reversed(_MANY):
        command = click.option(f"--{name}", parameter, multiple=True, help=says)(command)
    for name, kind, default, says in reversed(_ONE):
        shown = default not in {None, ""}
        command = click.option(f"--{name}", type=kind, default=default, show_default=shown, help=says)(
            command
        )
    return command


def of_owner(
    *, nodes: int | None, nodes_max: int | None, backend: str | None, **options: Any
) -> dict[str, Any]:
    """Return what the options ask of `rackrate.Fleet`."""
    size = nodes if nodes_max is None else (nodes or 0, nodes_max)
    return options | {"nodes": size, "backend": backend or ""}


def asked_for(*, image: str, hosts: tuple[str, ...], sync: tuple[str, ...], **options: Any) -> dict[str, Any]:
    """Return what the options ask of `opening.open_fleet`; what is not said is left to its defaults."""
    from rackrate.fleet.backends.base import Machine  # noqa: PLC0415 - start-up
    from rackrate.fleet.backends.hosts import as_named  # noqa: PLC0415 - start-up

    left_open = ("nodes", "backend", "usd_per_node_hour", "boot_timeout_s")
    said = {name: value for name, value in options.items() if name not in left_open or value is not None}
    paths = tuple(str(Path(path).resolve()) for path in sync)
    return said | {"machine": Machine(image=image), "hosts": as_named(hosts), "sync": paths}
