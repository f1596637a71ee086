"""How is a fleet stopped from a page while its owner is busy and hears nothing? The keeper listens.

A notebook's widget speaks to the kernel, and a kernel that computes answers when it is done. So the keeper
opens a port on the loopback address that takes one request and nothing else: `POST /stop` with a token
that is made for this fleet, held in memory only, and gone with it. Without the token nothing is stopped or
told, whichever page asks.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Callable
from contextlib import suppress

_HOST = "127.0.0.1"
_LONGEST = 8192
_PATIENCE_S = 5.0


class Button:
    """A port of its own on the loopback address.

    Args:
        press: is called when somebody with the token asks.
    """

    def __init__(self, press: Callable[[], object]) -> None:
        self._press = press
        self._token = secrets.token_urlsafe(24)
        self._server: asyncio.Server | None = None
        self._url = ""

    async def told(self) -> dict[str, str]:
        """Return where it is and the token; it is opened when it is first asked for."""
        if self._server is None:
            self._server = await asyncio.start_server(self._serve, _HOST, 0, limit=_LONGEST)
            self._url = f"http://{_HOST}:{self._server.sockets[0].getsockname()[1]}/stop"
        return {"url": self._url, "token": self._token}

    def close(self) -> None:
        """Close the port."""
        if self._server is not None:
            self._server.close()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(_PATIENCE_S):
                is_right = await self._is_right(reader)
                status = "200 OK" if is_right else "403 Forbidden"
                writer.write(
                    f"HTTP/1.1 {status}\r\nAccess-Control-Allow-Origin: *\r\n"
                    "Content-Length: 0\r\nConnection: close\r\n\r\n".encode()
                )
                await writer.drain()
                if is_right:
                    self._press()
        except (OSError, ValueError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # it hung up, is slow, or speaks no HTTP
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _is_right(self, reader: asyncio.StreamReader) -> bool:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1")
        request, *fields = head.split("\r\n")
        named = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in fields)}
        n_bytes = min(int(named.get("content-length", "0")), _LONGEST)
        body = await reader.readexactly(n_bytes)
        is_asked = request.startswith("POST /stop ")
        return is_asked and secrets.compare_digest(body, self._token.encode())
