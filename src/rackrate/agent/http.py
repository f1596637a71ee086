"""The tools over HTTP: an ASGI application that answers each message for itself.

There are no sessions: every tool only reads, so nothing has to be remembered from one message to the next.
Answers are JSON, never a stream.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, MutableMapping
from functools import partial
from typing import TYPE_CHECKING, Any

from anyio import to_thread

if TYPE_CHECKING:
    from collections.abc import Awaitable

    from starlette.applications import Starlette

    from rackrate.agent.server import Turn
    from rackrate.market.store import Store

    Scope = MutableMapping[str, Any]
    Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
    Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


class AgentApp:
    """Answers messages of the protocol; the packages that it needs are loaded for the first of them.

    Who may ask is for whoever stands before it to say.

    Args:
        path: that it answers under.
        market: returns the prices to answer from.
        in_turn: asks a question when its turn comes.
    """

    def __init__(self, path: str, market: Callable[[], Store | None], in_turn: Turn) -> None:
        self._path = path
        self._market = market
        self._in_turn = in_turn
        self._make: Callable[[], Starlette] | None = None
        self._loading = threading.Lock()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one message."""
        make = self._make
        if make is None:
            make = await to_thread.run_sync(self._load)
        # An application of the SDK lives as long as its sessions. Here that is one message: the site has no
        # start and end of its own to hang a longer life on, and making one takes less than a millisecond.
        app = make()
        async with app.router.lifespan_context(app):
            await app(scope, receive, send)

    def _load(self) -> Callable[[], Starlette]:
        with self._loading:
            if self._make is None:
                from mcp.server import transport_security  # noqa: PLC0415 - over a second

                from rackrate.agent.server import make_server  # noqa: PLC0415 - likewise

                anybody = transport_security.TransportSecuritySettings(enable_dns_rebinding_protection=False)
                self._make = partial(
                    make_server(self._market, self._in_turn).streamable_http_app,
                    streamable_http_path=self._path,
                    stateless_http=True,
                    json_response=True,
                    transport_security=anybody,
                )
            return self._make
