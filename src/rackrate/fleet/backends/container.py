"""Nodes as containers of this machine: an OCI image a node, run by podman or docker.

What belongs to which fleet is written on the containers as labels, so that any process lists and
destroys them, and a name is taken by the engine itself, so that one name is one node. Each container is
the child of a client of the engine that writes what the node writes into the node's log; when the client
is killed the node lives on, and when the node ends nothing of it is left but the log.

An order goes into a container by the environment of that client: on its command line stands the name of
the variable alone. Where the fleet's gate listens on the loopback address, containers share the network of
this machine; where it has an address that they reach (`at`), each has a network of its own.
"""

from __future__ import annotations

import os
import re
import subprocess
import threading
import time
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate.errors import FleetError
from rackrate.fleet import tree
from rackrate.fleet.backends import DESTROY_S, reach
from rackrate.fleet.backends.base import BOOT, CONSOLE, NoNode, Order
from rackrate.fleet.backends.engines import find_engine, quirks

if TYPE_CHECKING:
    from rackrate.fleet.spec import Spec

_FLEET_LABEL = "rackrate.fleet"
_GPUS_LABEL = "rackrate.gpus"
_CDI = (Path("/etc/cdi"), Path("/var/run/cdi"))
_CDI_KIND = "nvidia.com/gpu"
_CDI_NAME = re.compile(r"""["']?name["']?:\s*["']?(\d+)["']?\s*[,\n}]""")
_REFUSED = 125
"""Exit status of an engine that did not come to run the container."""
_OVER = ("exited", "dead", "removing")
"""States in which nothing of a container runs any more; what else there is differs between engines."""
_CALL_S = 60.0
"""For an answer of the engine to a listing or a removal."""
_LOOK_S = 0.02


def open_backend(spec: Spec) -> ContainerBackend:
    """Return the backend of a fleet in containers.

    Raises:
        UsageError: nothing here runs containers.
    """
    return ContainerBackend(Path(spec.folder))


class ContainerBackend:
    """Nodes in containers of this machine.

    Args:
        folder: of the fleet; each node has a log below `nodes/`.
        engine: `podman` or `docker`; empty for the first of them that is on the PATH.
        cdi: folders with descriptions of GPUs.

    Raises:
        UsageError: there is no such engine here.
    """

    at = ""
    destroy_s = DESTROY_S["container"]
    list_s = 0.0
    settle_s = 1.0  # the engine hears of a container's end from a process that it started beside it
    n_calls = 4

    def __init__(self, folder: Path, *, engine: str = "", cdi: tuple[Path, ...] = _CDI) -> None:
        self._nodes = folder / "nodes"
        self._engine = find_engine(engine)
        self._cdi = cdi
        self._clients: dict[str, subprocess.Popen[bytes]] = {}
        self._gpus_lock = threading.Lock()

    def create(self, order: Order) -> None:
        """Start a container; an image that is not here is pulled first.

        Raises:
            NoNode: no image is named or found, the engine refuses, or too few GPUs are free.
        """
        machine = order.machine
        if machine is None or not machine.image:
            raise NoNode(f"{order.name}: a container is made of an image", hint="name one: image=...")
        if machine.n_gpus:
            with self._gpus_lock:  # nobody else may take them before they bear our label
                self._run(order, machine.image, self._gpu_flags(order.name, machine.n_gpus))
        else:
            self._run(order, machine.image, [])

    def _run(self, order: Order, image: str, more: Sequence[str]) -> None:
        """Start the client and return when the container is made; it may still be about to start."""
        node = self._nodes / order.name
        node.mkdir(parents=True, exist_ok=True)
        made = node / f"made-{os.urandom(4).hex()}"
        inside = order.to_env()
        outside = {key: value for key, value in os.environ.items() if key != tree.MARK}
        with (node / CONSOLE).open("ab") as log:
            client = subprocess.Popen(  # noqa: S603 - the engine, without a shell
                [*self._command(order, inside, made), *more, image, *BOOT],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env=outside | inside,
                start_new_session=True,
            )
        while client.poll() is None and not (made.exists() and made.stat().st_size):
            time.sleep(_LOOK_S)
        made.unlink(missing_ok=True)
        if client.returncode is None:
            self._clients[order.name] = client
        elif client.returncode == _REFUSED and order.name not in self.list(order.fleet):
            why = (node / CONSOLE).read_text(errors="replace").strip().splitlines()[-1:]
            raise NoNode(
                f"{order.name}: {self._name} starts no container of {image!r}: {''.join(why)}",
                hint=f"`{self._name} run {image} python3 -m rackrate.fleet.boot` must start",
            )

    def _command(self, order: Order, env: dict[str, str], made: Path) -> Sequence[str]:
        flags = {
            "--name": order.name,
            "--hostname": order.name,
            "--cidfile": str(made),
            "--label": f"{_FLEET_LABEL}={order.fleet}",
            "--stop-timeout": "0",  # `rm --force` is to kill at once
        }
        if reach.is_loopback(order.keeper):
            flags["--network"] = "host"  # no other network leads to it
        if order.memory_bytes:  # the agent ends the node at this; the kernel where it comes too late
            flags["--memory"] = flags["--memory-swap"] = str(order.memory_bytes)
        named = [word for key in env for word in ("--env", key)]
        pairs = [word for flag in flags.items() for word in flag]
        return [self._engine, "run", "--rm", "--sig-proxy=false", *pairs, *named, *quirks(self._name)]

    def list(self, fleet: str) -> frozenset[str]:
        """Return the containers with the fleet's label that are made and are not over."""
        for client in self._clients.values():
            client.poll()  # collects it when it has ended
        wanted = _labelled(_FLEET_LABEL, fleet)
        said = self._ask("ps", "--all", *wanted, *_format("{{.Names}} {{.State}}"))
        return frozenset(name for name, state, *_ in map(str.split, said) if state.lower() not in _OVER)

    def destroy(self, name: str) -> bool:
        """Kill and remove a container; the engine does not say whether there was one.

        Raises:
            FleetError: the engine did not, and the container is there.
        """
        try:
            self._ask("rm", "--force", "--volumes", name)
        except FleetError:
            if name in self._ask("ps", "--all", "--filter", f"name={name}", *_format("{{.Names}}")):
                raise
        return True

    def billed(self, fleet: str, since_at: float) -> None:
        """Return nothing: nobody bills these nodes one by one."""

    def logs(self, name: str) -> Path:
        """Return the file with what the node wrote, and what the engine said of it."""
        return self._nodes / name / CONSOLE

    def close(self) -> None:
        """Let go of the clients; those whose container lives stay with it."""
        for client in self._clients.values():
            if client.poll() is None:
                client.returncode = 0  # it is to outlive this process; else Python warns

    @property
    def _name(self) -> str:
        return Path(self._engine).name

    def _ask(self, *words: str) -> Sequence[str]:
        """Return the lines of an answer of the engine.

        Raises:
            FleetError: it says no, or nothing.
        """
        try:
            said = subprocess.run(  # noqa: S603 - the engine, without a shell
                [self._engine, *words], capture_output=True, text=True, check=False, timeout=_CALL_S
            )
        except subprocess.TimeoutExpired as error:
            raise FleetError(f"{self._name} {words[0]} gave no answer in {_CALL_S:g} s") from error
        if said.returncode:
            raise FleetError(f"{self._name} {words[0]}: {said.stderr.strip()}")
        return said.stdout.splitlines()

    def _gpu_flags(self, name: str, n: int) -> Sequence[str]:
        """Return what gives a container GPUs that no other container of ours has.

        Raises:
            NoNode: too few are free.
        """
        here = _gpus(self._cdi)
        if not here:
            raise NoNode(
                f"{name}: {self._name} knows no GPU of this machine",
                hint="install NVIDIA's container toolkit and describe them with `nvidia-ctk cdi generate`",
            )
        free = sorted(here - self._taken(), key=int)
        if len(free) < n:
            raise NoNode(f"{name}: {n} GPUs are wanted and {len(free)} of {len(here)} are free")
        devices = [word for gpu in free[:n] for word in ("--device", f"{_CDI_KIND}={gpu}")]
        return [*devices, "--label", f"{_GPUS_LABEL}={'+'.join(free[:n])}"]

    def _taken(self) -> set[str]:
        """Return the GPUs that containers of any fleet have."""
        names = self._ask("ps", "--all", *_labelled(_GPUS_LABEL), *_format("{{.Names}}"))
        if not names:
            return set()
        of_each = self._ask("inspect", *_format(f'{{{{index .Config.Labels "{_GPUS_LABEL}"}}}}'), *names)
        return {gpu for gpus in of_each for gpu in gpus.split("+")}


def _labelled(label: str, value: str = "") -> tuple[str, str]:
    return "--filter", f"label={label}" + (f"={value}" if value else "")


def _format(template: str) -> tuple[str, str]:
    return "--format", template


def _gpus(folders: tuple[Path, ...]) -> set[str]:
    """Return the numbers of the GPUs that are described for containers, by the Container Device Interface."""
    found: set[str] = set()
    for folder in folders:
        for path in [*folder.glob("*.yaml"), *folder.glob("*.json")]:
            with suppress(OSError):
                text = path.read_text("utf-8")
                found |= set(_CDI_NAME.findall(text)) if _CDI_KIND in text else set()
    return found
