"""The door for agents: who may ask `/mcp`, and how many at once. What is answered is the agent's own part."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from anyio import CapacityLimiter
from starlette.requests import Request

from rackrate.errors import DataError, Refused, UsageError
from rackrate.web.site import MOST_WAITING, Site

if TYPE_CHECKING:
    from rackrate.web.front import App, Receive, Scope, Send

PATH = "/mcp"
MOST_AT_ONCE = 4

MakeAgent = Callable[[Site], "App"]


class Door:
    """Hands messages of agents on; each is a POST of its own.

    A page of another site must not speak through a visitor's browser to a server on that visitor's machine,
    so a message that comes from a page must come from one of ours. A browser says so by `Origin`, which
    agents lack.
    """

    def __init__(self, agent: App | None, site: Site) -> None:
        self._agent = agent
        self._site = site
        self._turns = CapacityLimiter(MOST_AT_ONCE)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one message.

        Raises:
            RackrateError: why it is not answered.
        """
        if self._agent is None:
            hint = "pip install 'rackrate[agent]'"
            raise UsageError("agents need the package mcp", hint=hint, code="extra")
        origin = Request(scope).headers.get("origin", "")
        if origin and not self._is_ours(origin):
            raise Refused(f"agents are not answered through pages of {origin[:200]}", hint="leave Origin out")
        if self._turns.statistics().tasks_waiting >= MOST_WAITING:
            raise DataError("too many questions wait", hint="try again in a moment", code="busy")
        async with self._turns:
            await self._agent(scope, receive, send)

    def _is_ours(self, origin: str) -> bool:
        try:
            host = urlsplit(origin).hostname or ""
        except ValueError:
            return False
        return host in ("localhost", urlsplit(self._site.address).hostname) or _is_loopback(host)


def _is_loopback(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
