"""Who hands out the work and does it? Dask distributed, and this is the one module that knows.

Its defaults are made for a few long-lived workers: an idle one burns 4 % of a core on profiles and ticks
that nobody looks at. `QUIET` turns that off. There is no dashboard, and
no page without the fleet's key: links are TLS in both directions, on the loopback address.

A worker on another machine listens on that machine's own loopback address, is known to the fleet by the
address that stands for it at home, and opens every link through the door of its node.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import ssl
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import cached_property, lru_cache, partial
from pathlib import Path
from typing import Any

import dask
import distributed
from distributed import Client, Scheduler, Security, get_worker
from distributed.comm.addressing import get_address_host_port
from distributed.comm.registry import backends as comms
from distributed.comm.tcp import TLSBackend, TLSConnector
from distributed.diagnostics import nvml

from rackrate.fleet import events
from rackrate.fleet.backends.agent import Say
from rackrate.fleet.backends.base import Order
from rackrate.fleet.identity import Identity
from rackrate.fleet.lines import Line, encode

QUIET: dict[str, Any] = {
    "distributed.worker.profile.enabled": False,
    "distributed.admin.tick.interval": "1s",
    "distributed.admin.tick.cycle": "5s",
    "distributed.admin.system-monitor.interval": "10s",
    "distributed.comm.timeouts.connect": "60s",
    "distributed.scheduler.http.routes": [],
    "distributed.worker.http.routes": [],
}
"""Source: `docs/decisions/0003-processes-of-a-fleet.md`: 64 idle workers, 1.05 cores without, 0.07 with."""

_ALONE: dict[str, Any] = {
    "distributed.scheduler.preload": [],
    "distributed.worker.preload": [],
    "distributed.admin.system-monitor.gil.enabled": False,
}
"""For a rehearsal: what a user has loaded, and what starts a thread, is for the workers themselves."""

_LOUD = (
    "distributed.batched",
    "distributed.client",
    "distributed.protocol.core",
    "distributed.protocol.pickle",
)
"""Loggers that write tracebacks of what the owner gets as an error: a fleet that is over, say."""

_HOST = "127.0.0.1"
_CONNECT_S = 20.0
"""For a client to reach the head. One that is lost is gone for good; so long its results are waited for."""
_PATIENCE_S = 5.0
_WATCH_S = 0.5
"""Between two looks of the head at whether there is work."""


class _Links(Security):
    """What links show and ask for: the same in every role, made once, and shared by all that is forked."""

    @cached_property
    def _dialling(self) -> dict[str, Any]:
        return dict(super().get_connection_args("worker"))

    @cached_property
    def _listening(self) -> dict[str, Any]:
        return dict(super().get_listen_args("worker"))

    def get_connection_args(self, role: str) -> dict[str, Any]:
        """Return what a dialling end needs, for the engine to add to."""
        del role
        return dict(self._dialling)

    def get_listen_args(self, role: str) -> dict[str, Any]:
        """Return what a listening end needs, for the engine to add to."""
        del role
        return dict(self._listening)


class Worker(distributed.Worker):
    """A worker without a page: each of its ports asks for the fleet's key."""

    def start_http_server(self, *args: Any, **kwargs: Any) -> None:
        """Open none."""


@lru_cache(maxsize=1)  # a process is of one fleet, or an owner that has done with the last
def security(path: str | Path) -> _Links:
    """Return what every link of the fleet shows and asks for."""
    identity = Identity.read(Path(path))
    roles = {f"tls_{role}_key": identity.key for role in ("client", "scheduler", "worker")}
    roles |= {f"tls_{role}_cert": identity.certificate for role in ("client", "scheduler", "worker")}
    return _Links(require_encryption=True, tls_ca_file=identity.authority, **roles)


def connect(address: str, key: Path) -> Client:
    """Return a client of a fleet's scheduler; it becomes nobody's default."""
    for name in _LOUD:
        logging.getLogger(name).setLevel(logging.CRITICAL + 1)
    with dask.config.set(QUIET):
        return Client(address, security=security(key), set_as_default=False, timeout=_CONNECT_S)


def disconnect(client: Client, *, is_over: bool) -> None:
    """Have every worker send what it has still to report, unless the fleet is over, and close a client."""
    if not is_over:
        with suppress(OSError, TimeoutError):
            client.run(events.flush, on_error="ignore")
    client.close(timeout=_PATIENCE_S)


def names(client: Client) -> list[str]:
    """Return the names of the nodes whose workers work, by number."""
    workers = client.scheduler_info(n_workers=-1)["workers"].values()
    return sorted((worker["name"] for worker in workers), key=lambda name: (len(name), name))


def tell(topic: str, message: Any) -> None:
    """Say something from inside a task to who has subscribed to a topic, in the order that it is said."""
    get_worker().log_event(topic, message)


@contextmanager
def heard(client: Client, topic: str, hear: Callable[[Any], None]) -> Iterator[None]:
    """Hear what tasks tell: all that a task has told is heard before its result is there."""
    client.subscribe_topic(topic, lambda event: hear(event[1]))
    try:
        yield
    finally:
        client.unsubscribe_topic(topic)


def run(order: Order, address: str, say: Say) -> None:
    """Run the engine's process of a node until it is told to stop (SIGTERM)."""
    dask.config.set(QUIET)
    asyncio.run(_head(order, say) if order.role == "head" else _worker(order, address, say))


def rehearse(tls: str, scratch: Path) -> None:
    """Let a head and a worker come up and go, so that what is forked from this process finds it done.

    What a worker does for the first time it imports, compiles, caches and looks up on the disk: most of the
    time and of the memory of its own that it would else need. It starts no thread, which a fork would lose,
    and runs nothing of the user's.

    Args:
        tls: file with certificate and key.
        scratch: folder for what it writes.
    """
    alone = {**QUIET, **_ALONE, "temporary-directory": str(scratch)}
    with dask.config.set(alone), _unheard(), _unseen_gpus():
        asyncio.run(_rehearse(tls, str(scratch)))


@contextmanager
def _unseen_gpus() -> Iterator[None]:
    """Have the engine not look at GPUs, which it does from a thread: each worker begins with its own."""
    state, nvml.NVML_STATE = nvml.NVML_STATE, nvml.NVMLState.DISABLED_CONFIG
    try:
        yield
    finally:
        nvml.NVML_STATE = state


@contextmanager
def _unheard() -> Iterator[None]:
    """Have nobody read what is written to the log."""
    log = os.dup(2)
    with Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 2)
    try:
        yield
    finally:
        os.dup2(log, 2)
        os.close(log)


async def _rehearse(tls: str, scratch: str) -> None:
    order = Order(name="", fleet="", role="worker", keeper="", ttl_s=0.0, longest_s=0.0, tls=tls)
    async with _scheduler(order) as scheduler, _engine_worker(order, scheduler.address, scratch):
        pass


def _scheduler(order: Order) -> Scheduler:
    return Scheduler(
        host=_HOST, port=0, protocol="tls://", security=security(order.tls), dashboard_address=f"{_HOST}:0"
    )


def _engine_worker(order: Order, address: str, scratch: str, contact: str | None = None) -> Worker:
    return Worker(
        address,
        name=order.name,
        nthreads=order.n_threads,
        host=_HOST,
        protocol="tls://",
        security=security(order.tls),
        local_directory=scratch,
        memory_limit=order.memory_bytes,  # 0: none, and no look at it ten times a second
        dashboard=False,
        contact_address=contact,
    )


def _stopped() -> asyncio.Event:
    """Return an event that SIGTERM sets; what tasks fork has no part in that."""
    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    hold, let = partial(_mask, signal.SIG_BLOCK), partial(_mask, signal.SIG_UNBLOCK)
    os.register_at_fork(before=hold, after_in_parent=let, after_in_child=_forget_signals)
    return stopped


def _forget_signals() -> None:
    """Have SIGTERM end a forked process; else it would end the node, by the pipe that both have open."""
    signal.set_wakeup_fd(-1)
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    _mask(signal.SIG_UNBLOCK)  # one that came meanwhile ends it now


def _mask(how: signal.Sigmasks) -> None:
    signal.pthread_sigmask(how, {signal.SIGTERM})


async def _head(order: Order, say: Say) -> None:
    stopped = _stopped()
    async with _scheduler(order) as scheduler:
        say({"is_ready": True, "address": scheduler.address})
        told: dict[str, Any] = {}
        while not stopped.is_set():
            news = _news(scheduler)
            if news != told:
                say(news)
                told = news
            await asyncio.wait([asyncio.ensure_future(stopped.wait())], timeout=_WATCH_S)


def _news(scheduler: Scheduler) -> dict[str, Any]:
    """Return what the keeper is to know of the work."""
    busy = [str(worker.name) for worker in scheduler.workers.values() if worker.processing]
    n_running = sum(len(worker.processing) for worker in scheduler.workers.values())
    n_tasks = n_running + len(scheduler.queued) + len(scheduler.unrunnable)
    return {
        "worked": scheduler.transition_counter,
        "is_busy": n_tasks > 0,
        "n_tasks": n_tasks,
        "busy": busy,
        "holds_results": any(worker.nbytes for worker in scheduler.workers.values()),
    }


async def _worker(order: Order, address: str, say: Say) -> None:
    stopped = _stopped()
    events.task_name = _task
    door = Line(os.environ["RACKRATE_KEEPER"]) if order.identity else None
    contact = _use_door(door, order.ttl_s) if door else None
    async with _engine_worker(order, address, os.environ["TMPDIR"], contact) as worker:
        if door and worker.listener:
            _, port = get_address_host_port(worker.listener.listen_address)
            door.ask("serve", order.ttl_s, port=port)
            door.close()
        say({"is_ready": True})
        await asyncio.wait(
            [asyncio.ensure_future(stopped.wait()), asyncio.ensure_future(worker.finished())],
            return_when=asyncio.FIRST_COMPLETED,
        )
        if stopped.is_set():
            await asyncio.to_thread(events.flush)
            await worker.close_gracefully()


class _DoorClient:
    """Opens streams through the door of this node, as its connector opens them to an address."""

    def __init__(self, port: int) -> None:
        self._port = port

    async def connect(
        self, host: str, port: int, *, max_buffer_size: int, ssl_options: ssl.SSLContext
    ) -> Any:
        """Return a stream to an address of the fleet: the same TLS from end to end as without a door."""
        stream = await TLSConnector.client.connect(_HOST, self._port, max_buffer_size=max_buffer_size)
        await stream.write(encode({"do": "dial", "to": f"{host}:{port}"}))
        return await stream.start_tls(server_side=False, ssl_options=ssl_options)


def _use_door(line: Line, patience_s: float) -> str:
    """Have every link of this process go through the door; return the address that stands for it at home."""
    door = line.ask("address", patience_s)
    connector = type("DoorConnector", (TLSConnector,), {"client": _DoorClient(door["port"])})
    comms["tls"] = type("DoorBackend", (TLSBackend,), {"_connector_class": connector})()
    return f"tls://{door['address']}"


def _task() -> str:
    """Return the name of the task that this thread runs."""
    try:
        return str(get_worker().get_current_task())
    except ValueError:  # no task: a thread that one started
        return ""
