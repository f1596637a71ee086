"""How does the keeper keep the gate? As a process of its own, started before the first node is ordered."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING

from rackrate.fleet import tree
from rackrate.fleet.backends.base import Backend, NoNode, Order
from rackrate.fleet.folder import Folder
from rackrate.fleet.gate import NAMED
from rackrate.fleet.spec import Spec

if TYPE_CHECKING:
    from rackrate.fleet.identity import Identity

_ANYWHERE = "127.0.0.1:0"
_OPEN_S = 20.0


class GateProcess:
    """The gate of a fleet, and what it says who may come in.

    Args:
        folder: of the fleet.
        spec: what was asked for.
        backend: where the nodes live that it lets in.
    """

    def __init__(self, folder: Folder, spec: Spec, backend: Backend) -> None:
        self._address: asyncio.Future[str] = asyncio.Future()
        self._backend = backend
        self._folder = folder
        self._spec = spec
        self._process: asyncio.subprocess.Process | None = None
        self._authority: Identity | None = None

    @property
    def has_ended(self) -> bool:
        """Tell whether its process was there and is no more."""
        return self._process is not None and self._process.returncode is not None

    @property
    def is_frozen(self) -> bool:
        """Tell whether its process is there and stopped."""
        return self._process is not None and tree.is_frozen(self._process.pid)

    async def open(self) -> None:
        """Start it and learn the address that it got.

        Raises:
            NoNode: it cannot listen there; so will say all orders.
        """
        at = self._spec.at or await asyncio.to_thread(lambda: self._backend.at) or _ANYWHERE
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "rackrate.fleet.gate", str(self._folder.path), at),
            *([NAMED] if self._spec.at else []),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        said = b""
        if self._process.stdout:
            with suppress(TimeoutError):
                said = await asyncio.wait_for(self._process.stdout.readline(), _OPEN_S)
        if not said:
            refusal = NoNode(f"the gate cannot listen at {at}", hint=f"see {self._folder.log}")
            self._address.set_exception(refusal)
            raise refusal
        self._address.set_result(said.decode().strip())

    async def order(self, name: str, age_s: float) -> Order:
        """Return the order of a node on another machine, with a certificate in its name, once it can call."""
        from rackrate.fleet import tls  # noqa: PLC0415 - no fleet on one machine needs it here
        from rackrate.fleet.identity import Identity  # noqa: PLC0415

        self._authority = self._authority or Identity.read(self._folder.key)
        valid = timedelta(hours=self._spec.max_hours)
        address = await asyncio.shield(self._address)
        identity = tls.node_identity(self._authority, name, valid)
        return self._spec.order_away(name, age_s, address, identity.to_pem())

    async def close(self) -> None:
        """End it."""
        if self._process is not None:
            with suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()
