"""How do machines that can only dial out belong to a fleet? They all dial one port: the gate's.

Who shows no certificate of the fleet is refused before a byte is read. A node's certificate names it, and
what it says is held against that name. The first line of a connection says what it is for:

- `listen`: the node's door waits here to be told of streams. The gate opens an address at home that stands
  for the node's worker, and answers with it; who connects there is heralded to the door by a number.
- `take`: the door has dialled for such a number; from here on bytes are passed on.
- `dial`: the worker wants a stream to an address at home: the scheduler's, or one that stands for another
  worker.
- everything else is a question to the keeper, as are the lines that follow: those that a node may ask are
  passed on.

Streams are passed on unread: Dask's own mutual TLS goes from end to end inside. The gate is a process of
its own, so that no stream holds up the keeper. It keeps nothing: when it dies, so do all streams, and the
fleet ends.
"""

from __future__ import annotations

import asyncio
import errno
import itertools
import json
import os
import socket
import sys
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rackrate.errors import FleetError, RackrateError
from rackrate.fleet import sync, tree
from rackrate.fleet.folder import Folder
from rackrate.fleet.identity import Identity, name_of
from rackrate.fleet.lines import LONGEST, Message, encode
from rackrate.fleet.splice import Ends, keep_alive, splice

HOME = "127.0.0.1"
"""Where scheduler, client and the addresses that stand for workers are."""
NAMED = "named"
"""Argument that says: the user named the address, which may be that of a machine in front of this one."""
_ALL = "0.0.0.0"  # noqa: S104 - it stays behind mutual TLS
_OF_A_NODE = frozenset(
    {"renew", "ended", "mismatched", "events", "environment"}
    | {"sweep-begin", "sweep-end", "sweep-save", "sweep-load"}
)
"""What a node may ask the keeper, about itself."""
_FIRST_LINE_S = 10.0
_TAKE_S = 30.0
"""For a door to dial back: a slow handshake, and no longer."""


class NotAllowed(FleetError):
    """A node asked for what is not its own."""

    code = "not-allowed"


@dataclass
class _Node:
    """A node whose door waits here.

    Attributes:
        name: of the node.
        herald: the connection on which the door is told of streams.
        address: that stands for its worker at home.
        waiting: who connected there and was not yet fetched, by number.
    """

    name: str
    herald: asyncio.StreamWriter
    address: str = ""
    waiting: dict[int, asyncio.Future[Ends]] = field(default_factory=dict)


class Gate:
    """The gate of one fleet."""

    def __init__(self, folder: Folder) -> None:
        self._folder = folder
        self._identity = Identity.read(folder.key)
        self._nodes: dict[str, _Node] = {}
        self._head = ""
        self._numbers = itertools.count()

    async def open(self, host: str, port: int, *, may_be_elsewhere: bool = False) -> asyncio.Server:
        """Listen at an address of this machine, and nowhere else.

        Args:
            host: where machines dial.
            port: the same; 0 for any.
            may_be_elsewhere: whether `host` may be that of a machine in front of this one, which passes on
                what it gets: then this one listens on all its addresses, and says so.

        Raises:
            OSError: it cannot listen there.
        """
        context = self._identity.server_context()
        options: dict[str, Any] = {"ssl": context, "ssl_handshake_timeout": _FIRST_LINE_S, "limit": LONGEST}
        here = _ALL if may_be_elsewhere and not await asyncio.to_thread(_is_here, host) else host
        server = await asyncio.start_server(self._serve, here, port, **options)
        if here != host:
            port = server.sockets[0].getsockname()[1]
            sys.stderr.write(
                f"gate: {host} is no address of this machine: port {port} is open on all it has,"
                " to nodes with a certificate of this fleet\n"
            )
        return server

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection, whatever it is for."""
        try:
            keep_alive(writer)
            name = name_of(writer.get_extra_info("ssl_object"))
            line = await asyncio.wait_for(reader.readline(), _FIRST_LINE_S)
            await self._begin(name, line, (reader, writer))
        except RackrateError as error:
            with suppress(OSError):
                writer.write(encode({"error": error.to_problem()}))
                await writer.drain()
        except (OSError, ValueError, KeyError, TypeError, TimeoutError) as error:
            if not isinstance(error, OSError):  # who hangs up is no news
                sys.stderr.write(f"gate: not understood: {type(error).__name__}: {error}\n")
        finally:
            writer.close()

    async def _begin(self, name: str, line: bytes, ends: Ends) -> None:
        message = json.loads(line)
        match message["do"]:
            case "listen":
                await self._listen(name, ends)
            case "take":
                await self._take(name, int(message["number"]), ends)
            case "dial":
                await self._dial(message["to"], ends)
            case _:
                await self._ask(name, line, ends)

    async def _listen(self, name: str, ends: Ends) -> None:
        """Stand for a node's worker at home while its door is connected."""
        node = _Node(name, ends[1])

        async def arrived(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await self._fetch(node, (reader, writer))

        server = await asyncio.start_server(arrived, HOME, 0)
        node.address = f"{HOME}:{server.sockets[0].getsockname()[1]}"
        self._nodes[node.address] = node
        try:
            ends[1].write(encode({"address": node.address}))
            while await ends[0].read(1024):  # it says nothing more, and ends with the node
                pass
        finally:
            del self._nodes[node.address]
            server.close()
            for waiting in node.waiting.values():
                waiting.cancel()

    async def _fetch(self, node: _Node, ends: Ends) -> None:
        """Have a node's door come for a stream, and pass on what goes through it."""
        number = next(self._numbers)
        waiting = node.waiting[number] = asyncio.get_running_loop().create_future()
        try:
            node.herald.write(encode({"number": number}))
            other = await asyncio.wait_for(waiting, _TAKE_S)
            await splice(ends, other)
        except (OSError, TimeoutError, asyncio.CancelledError):
            ends[1].close()
        finally:
            node.waiting.pop(number, None)

    async def _take(self, name: str, number: int, ends: Ends) -> None:
        """Give a stream to the door that comes for it, when it is that of the node that was called."""
        for node in self._nodes.values():
            if number in node.waiting and node.name == name:
                node.waiting.pop(number).set_result(ends)
                await ends[1].wait_closed()
                return
        raise NotAllowed(f"{name}: no stream {number} waits for this node", hint="")

    async def _dial(self, to: str, ends: Ends) -> None:
        """Connect a worker with the scheduler or with another worker."""
        if node := self._nodes.get(to):
            await self._fetch(node, ends)
            return
        if to != await self._head_address():
            raise NotAllowed(
                f"{to} is no address of this fleet", hint="a node reaches its scheduler and workers"
            )
        host, _, port = to.rpartition(":")
        await splice(ends, await asyncio.open_connection(host, int(port)))

    async def _head_address(self) -> str:
        if not self._head:
            found = await asyncio.to_thread(self._folder.ask, "status")
            self._head = ((found or {}).get("address") or "").removeprefix("tls://")
        return self._head

    async def _ask(self, name: str, line: bytes, ends: Ends) -> None:
        """Pass on to the keeper what a node may ask, line by line."""
        to_keeper = await asyncio.open_unix_connection(self._folder.keeper, limit=LONGEST)
        try:
            while line:
                ends[1].write(await self._answered(name, line, to_keeper))
                await ends[1].drain()
                line = await ends[0].readline()
        finally:
            to_keeper[1].close()

    async def _answered(self, name: str, line: bytes, to_keeper: Ends) -> bytes:
        message = json.loads(line)
        if message["do"] == "file":
            return encode(sync.part_of(self._folder.sync, message))
        problem = _refusal(name, message)
        if problem:
            return encode({"error": problem.to_problem()})
        to_keeper[1].write(line)
        await to_keeper[1].drain()
        answer = await to_keeper[0].readline()
        if not answer:
            raise ConnectionError("the keeper hung up")
        return answer


def _refusal(name: str, message: Message) -> NotAllowed | None:
    """Say why a node may not ask that; None where it may."""
    do = message["do"]
    if do not in _OF_A_NODE:
        return NotAllowed(f"{name} may not {do}", hint=f"a node may {', '.join(sorted(_OF_A_NODE))}")
    if do == "events":
        is_own = message["source"].startswith(f"{name}/")
        is_own = is_own and all(point["node"] == name for point in message["points"])
    else:
        is_own = message["node"] == name
    return None if is_own else NotAllowed(f"{name} may speak for no other node", hint="")


def _is_here(host: str) -> bool:
    """Tell whether an address is one of this machine's own.

    Raises:
        OSError: it is no address, or no name of one.
    """
    family, kind, proto, _, address = socket.getaddrinfo(host, 0, type=socket.SOCK_STREAM)[0]
    with socket.socket(family, kind, proto) as probe:
        try:
            probe.bind(address)
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                return False
            raise
    return True


async def run(folder: Folder, host: str, port: int, *, is_named: bool) -> None:
    """Keep the gate until the keeper, at the other end of the standard input, is gone."""
    server = await Gate(folder).open(host, port, may_be_elsewhere=is_named)
    sys.stdout.write(f"{host}:{server.sockets[0].getsockname()[1]}\n")
    sys.stdout.flush()
    reader = asyncio.StreamReader()
    await asyncio.get_running_loop().connect_read_pipe(
        lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
    )
    await reader.read()
    server.close()


if __name__ == "__main__":
    tree.die_with_parent()
    _host, _, _port = sys.argv[2].rpartition(":")
    asyncio.run(run(Folder(Path(sys.argv[1])), _host, int(_port), is_named=sys.argv[3:] == [NAMED]))
    os._exit(0)  # without waiting for streams
