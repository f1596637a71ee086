"""How does a worker meet the rest of its fleet from a machine that nobody can reach? Through its own door.

The door is a process of the node beside its agent, so that no stream holds up the lease. It keeps one
connection to the gate, on which it is told who wants to reach the worker; for each such stream it dials out
once. A port of the loopback address takes the streams that the worker opens: their first line says where
to, and the gate lets through what leads to the fleet. On a socket in the node's folder the worker and its
tasks ask:

- `address`: what stands for the worker at home, and the port for its streams;
- `serve`: here is the port of the worker; until then streams to it wait;
- everything else is passed on to the keeper, through the gate, line by line.

When the gate hangs up the door ends, and with it the node: its streams are broken.
"""

from __future__ import annotations

import asyncio
import json
import socket
import sys
from contextlib import suppress

from rackrate.fleet.identity import Identity
from rackrate.fleet.lines import LONGEST, encode
from rackrate.fleet.splice import Ends, keep_alive, splice

_RETRY_S = 0.5
_HOST = "127.0.0.1"


class Door:
    """The door of one node.

    Args:
        gate: its address.
        identity: the node's.
    """

    def __init__(self, gate: str, identity: Identity) -> None:
        self._gate, _, self._gate_port = gate.rpartition(":")
        self._identity = identity
        self._context = identity.client_context()
        self._address: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._worker: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._port = 0
        self._streams: set[asyncio.Task[None]] = set()

    async def run(self, listening: socket.socket) -> None:
        """Stand open until the gate hangs up."""
        lines = await asyncio.start_unix_server(self._serve, sock=listening, limit=LONGEST)
        streams = await asyncio.start_server(self._dial, _HOST, 0)
        self._port = streams.sockets[0].getsockname()[1]
        reader, writer = await self._reach_gate()
        writer.write(encode({"do": "listen"}))
        self._address.set_result(json.loads(await reader.readline())["address"])
        while line := await reader.readline():
            task = asyncio.ensure_future(self._take(json.loads(line)["number"]))
            self._streams.add(task)
            task.add_done_callback(self._streams.discard)
        for server in (lines, streams):
            server.close()

    async def _reach_gate(self) -> Ends:
        """Return a connection to the gate; when there is none the lease of the node ends the trying."""
        while True:
            try:
                return await self._dial_gate()
            except OSError as error:
                sys.stderr.write(f"door: the gate at {self._gate}:{self._gate_port}: {error}\n")
                await asyncio.sleep(_RETRY_S)

    async def _dial_gate(self) -> Ends:
        reader, writer = await asyncio.open_connection(
            self._gate, int(self._gate_port), ssl=self._context, limit=LONGEST
        )
        keep_alive(writer)
        if not self._identity.is_authority(writer.get_extra_info("ssl_object")):
            writer.close()
            raise ConnectionError("it is not the gate of this fleet")
        return reader, writer

    async def _take(self, number: int) -> None:
        """Bring a stream from the gate to the worker."""
        with suppress(OSError):
            port = await asyncio.shield(self._worker)
            gate = await self._dial_gate()
            gate[1].write(encode({"do": "take", "number": number}))
            await splice(gate, await asyncio.open_connection(_HOST, port))

    async def _dial(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Bring a stream of the worker's to the gate, which reads where it is to lead."""
        try:
            gate = await self._dial_gate()
        except OSError:
            writer.close()
        else:
            await splice((reader, writer), gate)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve the worker or one of its tasks."""
        try:
            while line := await reader.readline():
                message = json.loads(line)
                match message["do"]:
                    case "address":
                        writer.write(
                            encode({"address": await asyncio.shield(self._address), "port": self._port})
                        )
                    case "serve":
                        self._worker.set_result(message["port"])
                        writer.write(encode({}))
                    case _:
                        gate = await self._dial_gate()
                        gate[1].write(line)
                        await splice((reader, writer), gate)
                        return
        except OSError:
            pass  # either end hung up
        finally:
            writer.close()


def run(gate: str, identity: Identity, listening: socket.socket) -> None:
    """Keep the door of a node until the gate hangs up.

    Args:
        gate: its address.
        identity: the node's.
        listening: where the worker and its tasks ask: they may do so before this runs.
    """

    async def stand() -> None:
        await Door(gate, identity).run(listening)

    asyncio.run(stand())
