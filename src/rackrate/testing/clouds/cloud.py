"""What is the same in every emulated cloud: a server, machines that boot, a meter each, and faults.

A cloud answers on loopback. What it rents is real: for each machine `Ground.start` boots one on this host
with the environment that the order asked for. What it does wrong, it does because a test switched that on.
"""

from __future__ import annotations

import json
import secrets
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Protocol, Self
from urllib.parse import parse_qsl, urlsplit

from rackrate.testing.clouds.faults import Faults
from rackrate.testing.clouds.meter import Meter

Json = dict[str, Any]

_TICK_S = 0.02
_LOOPBACK = "127.0.0.1"


class Ground(Protocol):
    """Where machines run: `rackrate.testing.machines.Machines`, or anything like it."""

    def start(self, name: str, env: Mapping[str, str]) -> None:
        """Boot a machine."""

    def names(self) -> frozenset[str]:
        """Return the machines that live."""

    def stop(self, name: str) -> None:
        """Kill all that is in a machine."""


@dataclass(frozen=True, slots=True)
class Stock:
    """A GPU that a cloud rents.

    Attributes:
        gpu_id: in the provider's words.
        memory_gb: of one.
        usd_per_hour: of one.
        n_free: machines that can still be rented.
    """

    gpu_id: str
    memory_gb: int
    usd_per_hour: float
    n_free: int = 1000


@dataclass
class Rented:
    """A machine as the cloud has it.

    Attributes:
        id: the cloud's.
        name: the customer's.
        asked: the body of the order.
        env: of its first process.
        key: by which it may end itself, and nothing else.
        stock: what it is.
        created_s: when it was ordered.
        starts_s: when its image is there.
        state: `making`, `running`, `exited`, `error` or `ended`.
        is_mute: whether nothing boots.
        running_s: when it ran first.
        ended_s: when it was destroyed.
        meter: what it costs.
    """

    id: str
    name: str
    asked: Json
    env: dict[str, str]
    stock: Stock
    created_s: float
    starts_s: float
    state: str = "making"
    is_mute: bool = False
    key: str = field(default_factory=lambda: secrets.token_urlsafe(18))
    running_s: float | None = None
    ended_s: float | None = None
    meter: Meter = field(default_factory=Meter)


@dataclass(frozen=True)
class Request:
    """What a cloud is asked."""

    method: str
    path: str
    query: dict[str, str]
    body: Json | None
    token: str

    @classmethod
    def of(cls, asked: BaseHTTPRequestHandler) -> Request:
        """Read what a client sent; a body that is no JSON is none."""
        split = urlsplit(asked.path)
        length = int(asked.headers.get("Content-Length") or 0)
        body: Json | None = None
        with suppress(ValueError):
            body = json.loads(asked.rfile.read(length)) if length else None
        scheme, _, token = asked.headers.get("Authorization", "").partition(" ")
        query = dict(parse_qsl(split.query))
        return cls(asked.command, split.path, query, body, token if scheme == "Bearer" else "")


@dataclass(frozen=True)
class Reply:
    """What it answers."""

    status: int
    body: Json | None = None
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Exchange:
    """A request and its answer, to be held against the provider's document; without the key."""

    request: Request
    reply: Reply


class Refusal(Exception):
    """The answer is this one, whatever else was to be done."""

    def __init__(self, reply: Reply) -> None:
        super().__init__(reply.status)
        self.reply = reply


class Cloud:
    """An emulated cloud; a provider's module says how it speaks and bills.

    Args:
        ground: where its machines run.
        stock: what it rents.
        faults: what it does wrong.
        address: of this host as the machines reach it.

    Attributes:
        key: of the account.
        machines: all that were ever rented.
        exchanges: all that was asked and answered.
        watch: is told of each request, `asked` before anything is done and `done` before it is answered.
    """

    json_type = "application/json"

    def __init__(
        self,
        ground: Ground,
        stock: tuple[Stock, ...],
        faults: Faults | None = None,
        address: str = _LOOPBACK,
    ) -> None:
        self.faults = faults or Faults()
        self.stock = {one.gpu_id: one for one in stock}
        self.key = secrets.token_urlsafe(24)
        self.machines: list[Rented] = []
        self.exchanges: list[Exchange] = []
        self.watch: Callable[[str, Request], None] = lambda _moment, _request: None
        self._ground = ground
        self._started_s, self._started_at = time.monotonic(), datetime.now(UTC)
        self._lock = threading.RLock()
        self._is_over = threading.Event()
        self._servers = [_Server((host, 0), _Handler, self) for host in {_LOOPBACK: 0, address: 0}]
        self._threads = [
            threading.Thread(target=server.serve_forever, args=(_TICK_S,), name="cloud")
            for server in self._servers
        ]
        self._threads.append(threading.Thread(target=self._keep, name="cloud-machines"))
        for thread in self._threads:
            thread.start()

    @property
    def url(self) -> str:
        """Return where it answers on this machine."""
        return _url(self._servers[0])

    @property
    def url_inside(self) -> str:
        """Return where it answers the machines that it rents out."""
        return _url(self._servers[-1])

    def close(self) -> None:
        """End all: machines, threads, the port."""
        self._is_over.set()
        for server in self._servers:
            server.shutdown()
            server.server_close()
        for thread in self._threads:
            thread.join()
        for one in self.machines:
            self._ground.stop(one.id)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    # What a test asks and does.

    def billed(self) -> list[str]:
        """Return the names of the machines that cost money at this instant."""
        with self._lock:
            return sorted(one.name for one in self.machines if one.meter.is_running)

    def bill_microusd(self) -> int:
        """Return the bill of all machines up to now."""
        with self._lock:
            return sum(one.meter.microusd(time.monotonic()) for one in self.machines)

    def reclaim(self, name: str) -> None:
        """Take a machine back, as spot machines are: all in it is gone, its disk is billed on."""
        with self._lock:
            for one in self._living():
                if one.name == name:
                    self._exit(one, time.monotonic())

    def run_dry(self) -> None:
        """Let the account have no money: machines stop, and no new one is made."""
        with self._lock:
            self.faults.is_broke = True
            for one in self._living():
                self._exit(one, time.monotonic())

    # The cloud's own clock.

    def at(self, instant_s: float) -> datetime:
        """Return an instant as the cloud's clock has it."""
        return self._started_at + timedelta(seconds=instant_s - self._started_s + self.faults.skew_s)

    def instant_s(self, at: datetime) -> float:
        """Return the instant at which the cloud's clock has this time."""
        return (at - self._started_at).total_seconds() + self._started_s - self.faults.skew_s

    def billed_until_s(self) -> float:
        """Return the instant up to which it says what it bills."""
        return time.monotonic() - self.faults.bill_lag_s

    # What a provider's module says.

    def route(self, request: Request) -> Reply:
        """Answer a request."""
        raise NotImplementedError

    def too_many(self) -> Reply:
        """Answer that it was asked too often."""
        raise NotImplementedError

    def fault(self) -> Reply:
        """Answer 500."""
        raise NotImplementedError

    def nonsense(self, request: Request, why: str) -> Reply:
        """Answer that what was asked cannot be read."""
        raise NotImplementedError

    def inside(self, one: Rented) -> dict[str, str]:
        """Return what the cloud itself puts into a machine's environment."""
        raise NotImplementedError

    def meters_at(self, one: Rented, at_s: float) -> None:
        """Start and stop what is billed, given the state that a machine has just come into."""
        raise NotImplementedError

    # What they all do.

    def handle(self, request: Request) -> Reply:
        """Answer a request, and keep both."""
        self.watch("asked", request)
        with self._lock:
            if self.faults.use("n_too_many"):
                reply = self.too_many()
            else:
                try:
                    reply = self.route(request)
                except Refusal as refusal:
                    reply = refusal.reply
                except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
                    reply = self.nonsense(request, f"{type(error).__name__}: {error}")
            self.exchanges.append(Exchange(request, reply))
        self.watch("done", request)
        return reply

    def rent(
        self, machine_id: str, name: str, asked: Json, env: Mapping[str, str], stock: Stock
    ) -> Reply | None:
        """Make a machine; return the answer where a fault makes it another than yes."""
        if self.faults.use("n_create_500"):
            return self.fault()
        now_s = time.monotonic()
        one = Rented(machine_id, name, asked, dict(env), stock, now_s, now_s + self.faults.pull_s)
        one.is_mute = self.faults.use("n_mute")
        if self.faults.use("n_error"):
            one.state = "error"
        self.meters_at(one, now_s)
        self.machines.append(one)
        return self.fault() if self.faults.use("n_create_500_but_makes") else None

    def listed(self) -> list[Rented]:
        """Return the machines as a listing has them, which may be behind."""
        then_s = time.monotonic() - self.faults.list_lag_s
        return [
            one
            for one in self.machines
            if one.created_s <= then_s and not (one.ended_s is not None and one.ended_s <= then_s)
        ]

    def find(self, machine_id: str) -> Rented | None:
        """Return a machine that is not destroyed."""
        return next((one for one in self.machines if one.id == machine_id and one.state != "ended"), None)

    def delete(self, one: Rented) -> Reply | None:
        """Destroy a machine; return the answer where a fault makes it another than yes."""
        if self.faults.use("n_delete_500"):
            return self.fault()
        if not self.faults.use("n_deaf_deletes"):
            now_s = time.monotonic()
            one.state, one.ended_s = "ended", now_s
            self.meters_at(one, now_s)
        return None

    def n_free(self, stock: Stock) -> int:
        """Return how many machines of a kind can still be rented."""
        return stock.n_free - sum(one.stock == stock for one in self._living())

    def _living(self) -> list[Rented]:
        return [one for one in self.machines if one.state in ("making", "running")]

    def _exit(self, one: Rented, at_s: float) -> None:
        one.state = "exited"
        self.meters_at(one, at_s)

    def _keep(self) -> None:
        """Boot machines whose image is there, see those that ended by themselves, kill those destroyed."""
        up: set[str] = set()
        while not self._is_over.wait(_TICK_S):
            with self._lock:
                now_s = time.monotonic()
                due = [one for one in self.machines if one.state == "making" and one.starts_s <= now_s]
                dead = [
                    one for one in self.machines if one.id in up and one.state not in ("making", "running")
                ]
            for one in due:
                self._boot(one, up)
            for one in dead:
                self._ground.stop(one.id)
                up.discard(one.id)
            if up:
                self._see_ends(up, self._ground.names())

    def _boot(self, one: Rented, up: set[str]) -> None:
        if not one.is_mute:
            self._ground.start(one.id, {**one.env, **self.inside(one)})
            up.add(one.id)
        with self._lock:
            if one.state == "making":
                one.state, one.running_s = "running", time.monotonic()
                self.meters_at(one, one.running_s)

    def _see_ends(self, up: set[str], living: frozenset[str]) -> None:
        with self._lock:
            for one in self.machines:
                if one.id in up and one.id not in living:
                    up.discard(one.id)
                    if one.state == "running":
                        self._exit(one, time.monotonic())


def _url(server: _Server) -> str:
    host, port = server.server_address[:2]
    return f"http://{host!s}:{port}"


class _Server(ThreadingHTTPServer):
    daemon_threads = False

    def __init__(self, at: tuple[str, int], handler: Callable[..., Any], cloud: Cloud) -> None:
        super().__init__(at, handler)
        self.cloud = cloud


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def _answer(self) -> None:
        reply = self.server.cloud.handle(Request.of(self))
        data = b"" if reply.body is None else json.dumps(reply.body).encode()
        self.send_response(reply.status)
        if data:
            kind = self.server.cloud.json_type if reply.status >= 400 else "application/json"  # noqa: PLR2004
            self.send_header("Content-Type", kind)
        for name, value in reply.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        with suppress(ConnectionError):  # a client that was killed hears nothing
            self.wfile.write(data)

    do_GET = do_POST = do_PUT = do_DELETE = _answer  # noqa: N815 - the names of http.server

    def log_message(self, *said: object) -> None:
        """Stay silent: what was asked is in `exchanges`."""
