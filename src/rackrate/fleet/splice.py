"""How are two connections made one? What comes in on either goes out on the other, until one of them ends."""

from __future__ import annotations

import asyncio
import socket
from contextlib import suppress

Ends = tuple[asyncio.StreamReader, asyncio.StreamWriter]
"""Both directions of a connection."""

_PART = 1 << 18
"""Bytes at a time: the turn that one stream takes while others wait."""
_SILENCE_S = 30
"""After which a connection without traffic is probed: whoever translates addresses forgets silent ones."""


async def splice(one: Ends, other: Ends) -> None:
    """Pass on bytes both ways until an end closes; then both are closed."""
    ways = [
        asyncio.ensure_future(_pass_on(one[0], other[1])),
        asyncio.ensure_future(_pass_on(other[0], one[1])),
    ]
    try:
        await asyncio.wait(ways, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for way in ways:
            way.cancel()
        await asyncio.gather(*ways, return_exceptions=True)
        for _, writer in (one, other):
            writer.close()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    with suppress(OSError):  # it hung up in the middle: so the stream is over
        while data := await reader.read(_PART):
            writer.write(data)
            await writer.drain()


def keep_alive(writer: asyncio.StreamWriter) -> None:
    """Have the kernel probe a connection that is silent."""
    link: socket.socket = writer.get_extra_info("socket")
    link.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
    for option in ("TCP_KEEPIDLE", "TCP_KEEPINTVL"):
        if hasattr(socket, option):
            link.setsockopt(socket.IPPROTO_TCP, getattr(socket, option), _SILENCE_S)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
