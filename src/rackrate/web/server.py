"""Run the site until it is told to stop."""

from __future__ import annotations

import signal
import socket
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext

import uvicorn

from rackrate.errors import RackrateError, UsageError
from rackrate.web.agents import MakeAgent
from rackrate.web.app import create_app
from rackrate.web.artist import ARTIST
from rackrate.web.prepare import Preparation
from rackrate.web.schedule import Schedule
from rackrate.web.site import Site

LONGEST_IDLE_S = 15
MOST_AT_ONCE = 512
LOOK_EVERY_S = 60


def run(  # noqa: PLR0913 - each is what the command line lets one say
    host: str,
    port: int,
    *,
    address: str,
    per_minute: int,
    data: str | None,
    say: Callable[[str], None],
    is_public: bool,
    collect_every_s: float | None = None,
    make_agent: MakeAgent | None = None,
) -> None:
    """Serve until interrupted.

    Args:
        host: address to listen on.
        port: port; 0 for any that is free.
        address: how the site is reached, without a slash at the end; empty for host and port.
        per_minute: new answers that a client may ask for.
        data: where the market is; None for the default.
        say: writes a line for who started it.
        is_public: whether other machines reach it.
        collect_every_s: from one collection of prices to the next; None for none.
        make_agent: makes what answers agents of a site; None where their package is missing.

    Raises:
        UsageError: the address cannot be listened on.
    """
    listening = _listen(host, port)
    number = listening.getsockname()[1]
    shown = f"[{host}]" if ":" in host else host
    site = Site(data, address or f"http://{shown}:{number}")
    settings = uvicorn.Config(
        create_app(site, per_minute=per_minute, make_agent=make_agent),
        log_level="warning",
        access_log=False,
        server_header=False,
        timeout_keep_alive=LONGEST_IDLE_S,
        limit_concurrency=MOST_AT_ONCE,
        lifespan="off",
    )
    if is_public:
        say("open to other machines, reading only: pages, /api/v1, /mcp, feeds, /healthz, /readyz, /metrics")
    site.look()
    try:
        store = site.market()
        say(f"prices of {store.newest:%Y-%m-%d %H:%M} UTC" if store.newest else "the prices give no date")
    except RackrateError as error:
        say(f"no prices yet, pages answer 503: {error.message}")
    say(f"listening on http://{shown}:{number}")
    server = uvicorn.Server(settings)
    # uvicorn ends by raising the signal that ended it; as an exception it ends what runs beside it too.
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    beside = nullcontext() if collect_every_s is None else Schedule(collect_every_s, data, say)
    try:
        with Preparation(site), beside, _following(site):
            server.run(sockets=[listening])
    finally:
        ARTIST.close()


@contextmanager
def _following(site: Site) -> Iterator[None]:
    """Keep the mirror of a shared market up to date beside the pages, none of which waits for it."""
    if not site.home.address:
        yield
        return
    is_over = threading.Event()

    def follow() -> None:
        while not is_over.wait(LOOK_EVERY_S):
            site.look()

    thread = threading.Thread(target=follow, name="mirror", daemon=True)  # a request may be under way
    thread.start()
    try:
        yield
    finally:
        is_over.set()


def _listen(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        found = socket.socket(family)
        found.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        found.bind((host, port))
        found.listen(256)
    except OSError as error:
        hint = "another --port, or 0 for any that is free"
        raise UsageError(f"cannot listen on {host}:{port}: {error.strerror or error}", hint=hint) from None
    return found
