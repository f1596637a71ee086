"""Nodes on machines of one's own, reached by SSH: nothing is installed there and nothing stays but the nodes.

The keeper holds one connection to each host. Over it go the questions to the host's slots, and where the
fleet's gate listens on the loopback address of home, the links of the nodes come back through it: a port of
the host's own loopback address leads to the gate, so neither home nor host need an open port. When the
connection is lost the nodes have what is left of their lease, and the keeper connects again.

A host must show the key that `known_hosts` has for it. There is no password, and no agent is forwarded.
"""

from __future__ import annotations

import asyncio
import json
import shlex
import sys
import threading
import time
from collections.abc import Coroutine
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import asyncssh

from rackrate.errors import FleetError
from rackrate.fleet.backends import DESTROY_S, reach
from rackrate.fleet.backends.base import CONSOLE, NoNode, Order
from rackrate.fleet.backends.hosts import Host, read_hosts

if TYPE_CHECKING:
    from rackrate.fleet.spec import Spec

T = TypeVar("T")

_OLDEST_PYTHON = (3, 11)
_NEEDED = ("rackrate", "distributed", "cryptography", "psutil")
_LOOK = (
    "import importlib.util as u, json, sys; print(json.dumps([list(sys.version_info[:2]),"
    f" [name for name in {_NEEDED!r} if u.find_spec(name) is None]]))"
)
"""What a host is asked first; any Python 3 can answer."""
_CONNECT_S = 10.0
_CALL_S = 30.0
_ALIVE_S = 2.0
"""Between two questions to a host that says nothing; after three the connection is given up."""
_FAREWELL_S = 1.0
"""For the slots to say why they end."""
_SLOTS = "rackrate.fleet.backends.slots"
_NOT_FOUND = 127
"""Exit status of a shell that finds no such program."""


def open_backend(spec: Spec) -> SshBackend:
    """Return the backend of a fleet on hosts."""
    return SshBackend(Path(spec.folder), read_hosts(spec.hosts))


class SshBackend:
    """Nodes in the slots of hosts.

    Args:
        folder: of the fleet; what nodes wrote is copied below `nodes/`.
        hosts: the machines.
    """

    at = ""
    destroy_s = DESTROY_S["ssh"]
    list_s = 0.0
    settle_s = 0.0
    n_calls = 8

    def __init__(self, folder: Path, hosts: tuple[Host, ...]) -> None:
        self._nodes = folder / "nodes"
        self._links = [_Link(host) for host in hosts]
        self._placed: dict[str, _Link] = {}  # or perhaps: its order was sent
        self._has_ordered = False
        self._placing = threading.Lock()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="ssh", daemon=True)
        self._thread.start()

    def create(self, order: Order) -> None:
        """Start a node in a free slot, on the host that has most of them.

        Raises:
            NoNode: every slot is taken, or no host can be used.
        """
        with self._placing:  # else two that look at once take the same host
            self._has_ordered = True
            reasons = self._run(self._create(order))
        if order.name not in self._placed:
            raise NoNode(f"{order.name}: no host takes it: {'; '.join(reasons)}")

    async def _create(self, order: Order) -> list[str]:
        """Place an order; return why hosts did not take it."""
        states = await asyncio.gather(*(_state(link, order.fleet) for link in self._links))
        free = [(state, link) for state, link in zip(states, self._links, strict=True) if state is not None]
        free.sort(
            key=lambda pair: (order.name not in pair[0]["names"], pair[0]["n_taken"] - pair[1].host.slots)
        )
        reasons = [link.trouble for link in self._links if link.trouble]
        for _, link in free:
            sent = await link.reachable(order)
            self._placed[order.name] = link
            link.longest_ttl_s = max(link.longest_ttl_s, order.ttl_s)
            said = await link.ask({"do": "start", "order": sent.to_dict(), "n_slots": link.host.slots})
            if said["is_there"]:
                return reasons
            del self._placed[order.name]
            reasons.append(f"{link.host.address}: {said['why']}")
        return reasons

    def list(self, fleet: str) -> frozenset[str]:
        """Return the names of a fleet's nodes on all hosts.

        A host that has been silent for two leases has no node any more: nobody could renew one. So has a
        host that this process placed nothing on.

        Raises:
            FleetError: a host does not answer that may have nodes.
        """
        states = self._run(_all_states(self._links, fleet))
        for link, state in zip(self._links, states, strict=True):
            if state is None and self._may_have_nodes(link):
                raise FleetError(link.trouble)
        return frozenset(name for state in states if state is not None for name in state["names"])

    def _may_have_nodes(self, link: _Link) -> bool:
        if not self._has_ordered:
            return True  # of what others placed there we know nothing
        return link in self._placed.values() and time.monotonic() < link.seen_s + 2 * link.longest_ttl_s

    def destroy(self, name: str) -> bool:
        """End a node, wherever it is; hosts do not say whether they had it.

        Raises:
            FleetError: the host that has it does not answer, or any where nobody knows.
        """
        links = [self._placed[name]] if name in self._placed else self._links
        self._fetch_log(name)
        self._run(_all_asked(links, {"do": "end", "name": name}))
        return True

    def billed(self, fleet: str, since_at: float) -> None:
        """Return nothing: nobody bills these nodes one by one."""

    def logs(self, name: str) -> Path:
        """Return the file with what the node wrote, as of now where its host answers."""
        self._fetch_log(name)
        return self._nodes / name / CONSOLE

    def _fetch_log(self, name: str) -> None:
        links = [self._placed[name]] if name in self._placed else self._links
        try:
            texts = [answer["log"] for answer in self._run(_all_asked(links, {"do": "log", "name": name}))]
        except FleetError as error:
            sys.stderr.write(f"log of {name}: {error.message}\n")
            return
        log = self._nodes / name / CONSOLE
        log.parent.mkdir(parents=True, exist_ok=True)
        log.write_text("".join(texts), "utf-8")

    def close(self) -> None:
        """Close the connections."""
        self._run(_all_closed(self._links))
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    def _run(self, coroutine: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result()


_Session = tuple[asyncssh.SSHClientConnection, "asyncssh.SSHClientProcess[str]"]
"""A connection and the slots at its other end."""


class _Link:
    """The connection to one host, opened when it is needed and again after it was lost.

    Attributes:
        host: the machine.
        trouble: why it could not be used when it was last asked; empty if it could.
        seen_s: when it last answered, on this process's clock.
        longest_ttl_s: of the leases that nodes there began with.
    """

    def __init__(self, host: Host) -> None:
        self.host = host
        self.trouble = ""
        self.seen_s = time.monotonic()
        self.longest_ttl_s = 0.0
        self._session: _Session | None = None
        self._asking = asyncio.Lock()
        self._gates: dict[tuple[str, int], int] = {}

    async def ask(self, question: dict[str, Any]) -> dict[str, Any]:
        """Ask the host's slots.

        Raises:
            NoNode: the host cannot be used.
            FleetError: it does not answer, or with a failure.
        """
        async with self._asking:
            _, slots = await self._open()
            try:
                slots.stdin.write(json.dumps(question) + "\n")
                line = await asyncio.wait_for(slots.stdout.readline(), _CALL_S)
                answer: dict[str, Any] = json.loads(line)
            except (OSError, TimeoutError, ValueError, asyncssh.Error) as error:
                said = await self._hang_up()
                raise FleetError(f"{self.host.address}: no answer: {said or error}") from error
        self.seen_s, self.trouble = time.monotonic(), ""
        return answer

    async def reachable(self, order: Order) -> Order:
        """Return an order whose keeper can be reached from the host."""
        if not reach.is_loopback(order.keeper):
            return order
        gate_host, _, port = order.keeper.rpartition(":")
        gate = (gate_host, int(port))
        async with self._asking:
            if gate not in self._gates:
                connection, _ = await self._open()
                listener = await connection.forward_remote_port("127.0.0.1", 0, *gate)
                self._gates[gate] = listener.get_port()
        return replace(order, keeper=f"127.0.0.1:{self._gates[gate]}")

    async def close(self) -> None:
        """Close the connection."""
        async with self._asking:
            await self._hang_up()

    async def _hang_up(self) -> str:
        """Drop the connection; return the last that the host said of what went wrong."""
        if self._session is None:
            return ""
        connection, slots = self._session
        self._session = None
        said = ""
        with suppress(TimeoutError, OSError, asyncssh.Error):
            slots.stdin.write_eof()
            said = await asyncio.wait_for(slots.stderr.read(), _FAREWELL_S)
        connection.abort()
        await connection.wait_closed()
        return _last_line(said)

    async def _open(self) -> _Session:
        """Return the connection, with ways back to gates as they were, and the slots at its other end."""
        if self._session is None or self._session[0].is_closed():
            connection = await self._connected()
            try:
                await self._look(connection)
                for gate, port in self._gates.items():
                    await connection.forward_remote_port("127.0.0.1", port, *gate)
                python = shlex.quote(self.host.python)
                self._session = connection, await connection.create_process(f"{python} -m {_SLOTS}")
            except BaseException:
                connection.abort()
                await connection.wait_closed()
                raise
        return self._session

    async def _connected(self) -> asyncssh.SSHClientConnection:
        try:
            return await asyncssh.connect(
                **self.host.where(),
                **_keys(self.host),
                agent_forwarding=False,
                preferred_auth="publickey",
                connect_timeout=_CONNECT_S,
                keepalive_interval=_ALIVE_S,
            )
        except asyncssh.HostKeyNotVerifiable as error:
            raise NoNode(
                f"{self.host.address}: its key {await self._fingerprint()} is not in {self.host.known_hosts}",
                hint="compare it with `ssh-keygen -lf` on the machine itself, then add it with ssh-keyscan",
            ) from error
        except asyncssh.PermissionDenied as error:
            raise NoNode(
                f"{self.host.address}: it takes none of the keys that were offered",
                hint="name the private key in a file of hosts: key = ...",
            ) from error
        except (OSError, asyncssh.Error) as error:
            raise NoNode(f"{self.host.address}: not reached: {error}") from error

    async def _fingerprint(self) -> str:
        where = self.host.where()
        key = await asyncssh.get_server_host_key(where["host"], where.get("port", ()))
        return str(key.get_fingerprint()) if key else "(none shown)"

    async def _look(self, connection: asyncssh.SSHClientConnection) -> None:
        """See to it that the host can run a node.

        Raises:
            NoNode: it cannot, and why.
        """
        words = (self.host.python, "-c", _LOOK)
        try:
            said = await connection.run(shlex.join(words), check=False, timeout=_CALL_S)
        except (OSError, asyncssh.Error) as error:
            raise FleetError(f"{self.host.address}: no answer: {error}") from error
        where = self.host.address
        if said.exit_status == _NOT_FOUND:
            raise NoNode(
                f"{where}: it has no {self.host.python}", hint="name one: python = ... in a file of hosts"
            )
        if said.exit_status != 0:
            raise NoNode(f"{where}: {self.host.python} does not run: {_last_line(said.stderr)}")
        version, missing = json.loads(_last_line(said.stdout))
        if tuple(version) < _OLDEST_PYTHON:
            has, needs = (".".join(map(str, found)) for found in (version, _OLDEST_PYTHON))
            raise NoNode(f"{where}: {self.host.python} is Python {has}; a node needs {needs} or newer")
        if missing:
            raise NoNode(
                f"{where}: {self.host.python} lacks {', '.join(missing)}",
                hint=f"run `{self.host.python} -m pip install 'rackrate[fleet]'` there",
            )


def _keys(host: Host) -> dict[str, Any]:
    """Return what a connection is to show, and what it is to be shown: never nothing at all."""
    known = Path(host.known_hosts).expanduser()
    keys: dict[str, Any] = {"client_keys": [str(Path(host.key).expanduser())]} if host.key else {}
    return keys | {"known_hosts": str(known) if known.exists() else asyncssh.import_known_hosts("")}


async def _state(link: _Link, fleet: str) -> dict[str, Any] | None:
    """Return what a host says of its slots; None, with the trouble kept, where it does not answer."""
    try:
        return await link.ask({"do": "list", "fleet": fleet})
    except FleetError as error:
        link.trouble = error.message + (f" ({error.hint})" if error.hint else "")
        return None


async def _all_states(links: list[_Link], fleet: str) -> list[dict[str, Any] | None]:
    return await asyncio.gather(*(_state(link, fleet) for link in links))


async def _all_asked(links: list[_Link], question: dict[str, Any]) -> list[dict[str, Any]]:
    """Ask all; raise what the first raised when all have answered or failed."""
    answers = await asyncio.gather(*(link.ask(question) for link in links), return_exceptions=True)
    for answer in answers:
        if isinstance(answer, BaseException):
            raise answer
    return [answer for answer in answers if not isinstance(answer, BaseException)]


async def _all_closed(links: list[_Link]) -> None:
    await asyncio.gather(*(link.close() for link in links))


def _last_line(text: Any) -> str:
    return "".join(str(text or "").strip().splitlines()[-1:])
