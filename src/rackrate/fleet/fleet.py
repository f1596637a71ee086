"""The fleet as its owner has it: open it, give it work, watch it, leave it."""

from __future__ import annotations

import os
import weakref
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from importlib import import_module
from inspect import iscoroutinefunction
from os import PathLike
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, NoReturn, Self

from rackrate.errors import BadQuantity, FleetClosed, UsageError
from rackrate.fleet import opening, renting
from rackrate.fleet.backends.hosts import as_named
from rackrate.fleet.folder import Folder, find_folder, running_folder
from rackrate.fleet.history import Events
from rackrate.fleet.state import Phase
from rackrate.fleet.status import Cost, Status
from rackrate.fleet.tasks import Contained
from rackrate.looping import aside, is_in_loop, to_its_end

if TYPE_CHECKING:
    from distributed import Client, Future

    from rackrate.fleet.rules import Rule
    from rackrate.fleet.study import Space
    from rackrate.fleet.sweep import Function, Sweep

_CLOSE_S = 15.0


class Fleet:
    """Nodes that live while this process wants them.

    The constructor returns when they work; where an event loop runs, in a coroutine or a notebook, it returns
    at once, and the block or the first use waits. Also for `async with`, which never holds up the loop.

    With two numbers of nodes it is a pool: it grows with its work and gives each node back that idles. Else
    all idle together. They end when the block is left, `close` is called, this process
    ends in whatever way, it is frozen for longer than the lease, the fleet is idle, its time is over or its
    budget is committed: whichever comes first.

    Args:
        what: a plan or an offer: it says which machine, where and at what price, and how many.
        nodes: how many, or at least and at most: `(0, 8)`; by default those of the plan, or one.
        backend: where they live; by default the provider of the plan or offer, or `local`: processes on this
            machine.
        image: OCI image that machines boot, where they boot one.
        threads: tasks at once, a node.
        memory_gib: at which a node's worker is killed; None for no limit.
        gpus: that a node has to itself; by default nodes on one machine share its GPUs evenly, one each.
        budget_usd: the most that all may cost, counted to their end; None for no limit.
        usd_per_node_hour: what an hour of a node costs you; by default what the plan or offer says, or 0.
        max_hours: after which the fleet ends in any case.
        idle_s: seconds without work until it ends, or a node of a pool does; None for never.
        lease_s: seconds after which a node ends that hears nothing from you.
        boot_timeout_s: seconds in which a node must come up; by default a minute, or 15 where it is rented.
        at: `host:port` at which nodes that are other machines reach this one; a port of 0 is any free one.
        env: variables that tasks see, with their values, or the names of some that are set here.
        sync: packages, modules and folders of modules that nodes are to have as they are here.
        hosts: machines of your own for the backend `ssh`: each `user@host:port`, or a file of TOML.
        preload: modules that nodes of this machine share: imported once, before the nodes are forked.
        tls: that both ends of every link prove who they are. A fleet without does not exist, on this machine
            either: its links carry pickles, and whoever is let in by them runs code as you.

    Raises:
        BadQuantity: a number that cannot be.
        UnknownName: no such backend.
        UsageError: what is given is neither a plan nor an offer, or there is to be no TLS.
        OverBudget: the budget does not pay for one node.
        BootFailed: the nodes do not come up; nothing is left of them.
        EngineMismatch: they run other versions than you do; nothing is left of them.

    Example:
        >>> import rackrate
        >>> with rackrate.Fleet(nodes=2, lease_s=30) as fleet:
        ...     sum(fleet.client.gather(fleet.map(lambda x: x * x, range(4))))
        14
    """

    def __init__(  # noqa: PLR0913 - all but the first are keywords
        self,
        what: Any = None,
        *,
        nodes: int | tuple[int, int] | None = None,
        backend: str = "",
        image: str = "",
        threads: int = 1,
        memory_gib: float | None = None,
        gpus: int | None = None,
        budget_usd: float | None = None,
        usd_per_node_hour: float | None = None,
        max_hours: float = 12.0,
        idle_s: float | None = 600.0,
        lease_s: float = 10.0,
        boot_timeout_s: float | None = None,
        at: str = "",
        env: Mapping[str, str] | Iterable[str] = (),
        sync: str | PathLike[str] | Iterable[str | PathLike[str]] = (),
        hosts: Iterable[str] = (),
        preload: str | Iterable[str] = (),
        tls: bool = True,
    ) -> None:
        if not tls:
            hint = "leave `tls` out: each fleet makes its own keys, there is nothing to set up"
            raise UsageError(f"tls={tls!r}: who reaches a link without it runs code on nodes", hint=hint)
        self._client: Client | None = None
        self._pid = os.getpid()
        self._is_up = False
        least, most = _bounds(nodes)
        given = {
            "nodes": least,
            "nodes_max": most,
            "backend": backend or None,
            "usd_per_node_hour": usd_per_node_hour,
            "boot_timeout_s": boot_timeout_s,
        }
        said = renting.asked_of(what, image=image)
        said |= {name: value for name, value in given.items() if value is not None}
        self.folder, self._keeper = opening.open_fleet(
            is_owned=True,
            **said,
            threads=threads,
            memory_gib=memory_gib,
            gpus=gpus,
            budget_usd=budget_usd,
            max_hours=max_hours,
            idle_s=idle_s,
            lease_s=lease_s,
            at=at,
            env=env,
            sync=tuple(str(Path(path).resolve()) for path in _each(sync)),
            hosts=as_named(hosts),
            preload=_each(preload),
        )
        self._end: Callable[[], Any] = weakref.finalize(self, _end, self.folder, self._keeper, os.getpid())
        if not is_in_loop():
            self._come_up()

    def _come_up(self) -> None:
        """Wait until the nodes work, the first time."""
        if self._is_up:
            return
        try:
            import_module("rackrate.fleet.engine")  # while the nodes come up
            opening.wait_ready(self.folder, self._keeper)
        except BaseException:
            self._end()
            raise
        self._is_up = True

    @classmethod
    def attach(cls, fleet: str = "") -> Self:
        """Return a fleet that another process opened; leaving it does not end it.

        Args:
            fleet: its id, or the beginning of it; empty for the one of `rackrate fleet run`, or the only one.

        Raises:
            UnknownName: no such fleet.
            UsageError: none is named, and not one runs.
            FleetClosed: it has ended.
        """
        self = cls.__new__(cls)
        self._client = None
        self._pid = os.getpid()
        self._is_up = True
        self.folder = find_folder(fleet) if fleet else running_folder()
        self._end = _nothing
        self._open_status()
        return self

    @property
    def id(self) -> str:
        """Its name on this machine, for `rackrate fleet` and `attach`."""
        return self.folder.fleet

    @property
    def client(self) -> Client:
        """An ordinary Dask client of it.

        Raises:
            FleetClosed: it has ended.
            UsageError: this process was forked from the one that opened it.
        """
        from rackrate.fleet import engine  # noqa: PLC0415 - heavy, and not wanted where one only looks

        if os.getpid() != self._pid:
            hint = f'rackrate.Fleet.attach("{self.id}") makes links of its own'
            raise UsageError(f"the links of fleet {self.id} do not survive a fork", hint=hint)
        self._come_up()
        found = self._open_status()
        if self._client is None:
            self._client = engine.connect(found.address, self.folder.key)
        return self._client

    def _open_status(self) -> Status:
        found = self.status()
        if found.phase != Phase.OPEN:
            raise FleetClosed(f"fleet {self.id} has ended: {found.why}", hint="open a new one")
        return found

    def submit(self, function: Callable[..., Any], *args: Any, **kwargs: Any) -> Future[Any]:
        """Have a function run on a node; return its future. The same call twice runs twice.

        Raises:
            UsageError: the function, or what it is given, cannot be sent to another process.
            FleetClosed: the fleet has ended.
        """
        with _sendable(function):
            return self.client.submit(_contained(function, kwargs), *args, **{"pure": False, **kwargs})

    def map(
        self, function: Callable[..., Any], *iterables: Iterable[Any], **kwargs: Any
    ) -> list[Future[Any]]:
        """Have a function run for each element; return the futures in their order.

        Raises:
            UsageError: the function, or what it is given, cannot be sent to another process.
            FleetClosed: the fleet has ended.
        """
        with _sendable(function):
            futures: list[Future[Any]] = self.client.map(
                _contained(function, kwargs), *map(list, iterables), **{"pure": False, **kwargs}
            )
            return futures

    def sweep(  # noqa: PLR0913 - all but two are keywords
        self,
        function: Function,
        space: Space | Sequence[Mapping[str, Any]],
        *,
        metric: str,
        minimise: bool = True,
        prune: Rule | str | None = None,
        sampler: Any = None,
        trials: int | None = None,
        tries: int = 3,
        seed: int = 0,
        name: str = "",
    ) -> Sweep:
        """Run a function with many parameters; return at once with what shows how it goes.

        Inside of the function `rackrate.fleet.report` sends the metric and `rackrate.fleet.checkpoint` keeps
        what another attempt goes on from. Return values are not kept: what is to stay is in a checkpoint.

        Args:
            function: called with a mapping of parameters.
            space: a list of mappings, or a mapping from names to a list of choices or a `Range`.
            metric: that the function reports; the last value counts.
            minimise: whether less is better.
            prune: stops trials early: `asha`, `median`, or one of `Asha` and `Median` with its settings.
            sampler: of Optuna, for a space; None for TPE.
            trials: how many; None for the whole list, or 64 of a space.
            tries: attempts that a trial has before it has failed.
            seed: of the default sampler.
            name: under which it goes on if it is begun again, also after this process has died.

        Raises:
            FleetClosed: the fleet has ended.
            UsageError: the function cannot travel; or under this name another sweep was begun.
        """
        from rackrate.fleet import sweep  # noqa: PLC0415 - who only submits does not need it

        self._come_up()
        asked = sweep.asked(
            function,
            space,
            metric=metric,
            minimise=minimise,
            prune=prune,
            sampler=sampler,
            trials=trials,
            tries=tries,
            seed=seed,
            name=name,
        )
        return sweep.start(self, asked)

    async def gather(self, futures: Iterable[Future[Any]]) -> list[Any]:
        """Return the results of futures, while the event loop goes on.

        Raises:
            FleetClosed: the fleet has ended.
        """
        results: list[Any] = await aside(self.client.gather, list(futures))
        return results

    def events(self) -> Events:
        """Return what tasks report: all that was, then what comes, until the fleet has ended.

        For `for` and for `async for`. Each event has `at` (Unix time), `node`, `task`, `step` and the values,
        and the process that it comes from (`source`) with its number there (`seq`): none is lost or doubled.
        """
        self._come_up()
        return Events(self.folder.events, lambda: not self.folder.keeper.exists())

    def plot(self, metric: str | None = None) -> Any:
        """Return what has been reported as an Altair chart, a line a task.

        Args:
            metric: that is drawn; by default the first that was reported.

        Raises:
            NoAnswer: nothing of it has been reported.
            UsageError: the chart packages are not installed.
        """
        from rackrate import chart  # noqa: PLC0415 - an extra
        from rackrate.fleet.view import View  # noqa: PLC0415

        view = View(self.folder)
        view.look()
        return chart.reported(view.rows(metric), f"fleet {self.id}")

    def status(self) -> Status:
        """Return how it stands: nodes and their states, money, time left."""
        return opening.status(self.folder)

    def cost(self) -> Cost:
        """Return what it has cost, node by node: as reckoned, and as billed where nodes are rented.

        Of a fleet that is over the provider is asked anew until its bill is final.
        """
        return opening.cost(self.folder)

    def scale(self, nodes: int, *, wait: bool = True) -> Status:
        """Have more or fewer nodes; the newest go first, when they have handed over what they hold.

        A pool is none from then on: it has the number that was said.

        Args:
            nodes: how many there are to be.
            wait: whether to return when they work.

        Raises:
            BadQuantity: no number of nodes.
            FleetClosed: the fleet has ended.
        """
        self._come_up()
        opening.scale(self.folder, nodes)
        return opening.wait_ready(self.folder) if wait else self.status()

    def logs(self, node: str | int) -> str:
        """Return what a node wrote.

        Args:
            node: its name, or the number at its end.

        Raises:
            UnknownName: no such node.
        """
        return opening.log_of(self.folder, str(node))

    def close(self) -> None:
        """End it, and return when nothing of it is left but logs and history; of an attached one, let go.

        Interrupted, it ends all the same. In a process that was forked from this one it does nothing.
        """
        if os.getpid() != self._pid:
            return
        try:
            self._disconnect()
        finally:
            self._end()

    def _disconnect(self) -> None:
        client, self._client = self._client, None
        if client is not None:
            from rackrate.fleet import engine  # noqa: PLC0415 - it is loaded

            with suppress(Exception):  # of a fleet that is over there is nothing to take leave of
                engine.disconnect(client, is_over=not self.folder.keeper.exists())

    def __enter__(self) -> Self:
        self._come_up()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    async def __aenter__(self) -> Self:
        try:
            await aside(lambda: self.client)
        except BaseException:
            await to_its_end(self.close)
            raise
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await to_its_end(self.close)

    def __reduce__(self) -> NoReturn:
        hint = "inside of a task, `rackrate.fleet.report` needs no fleet"
        raise UsageError("a Fleet cannot be sent to a node", hint=hint)

    def __repr__(self) -> str:
        return f"<Fleet {self.id}>"

    def _repr_html_(self) -> str:
        return self.status()._repr_html_()


def _end(folder: Folder, keeper: opening.Keeper, pid: int) -> None:
    """End a fleet from the process that opened it, and from none that was forked from it."""
    if os.getpid() == pid:
        opening.end(folder, "its owner has left it", _CLOSE_S, keeper)


@contextmanager
def _sendable(function: Callable[..., Any]) -> Iterator[None]:
    """Turn the engine's many words on what cannot be pickled into one error that names it."""
    try:
        yield
    except TypeError as error:
        if "serialize" not in str(error):
            raise
        root = error.__cause__ or error.__context__ or error
        if isinstance(root, UsageError):  # what does not travel says so itself
            raise root from None
        name = getattr(function, "__qualname__", repr(function))
        hint = "make locks, files and connections inside of the function"
        raise UsageError(f"{name} or its arguments cannot be sent to a node: {root}", hint=hint) from error


def _contained(function: Callable[..., Any], asked: Mapping[str, Any]) -> Callable[..., Any]:
    """Return what may be sent to a node; the engine has to see itself what it awaits or keeps as an actor."""
    is_engines = iscoroutinefunction(function) or asked.get("actor")
    return function if is_engines else Contained(function)


def _bounds(nodes: int | tuple[int, int] | None) -> tuple[int | None, int | None]:
    """Return the least and the greatest number of nodes; None where it is not said."""
    if not isinstance(nodes, (tuple, list)):
        return nodes, None
    if len(nodes) != 2:  # noqa: PLR2004
        raise BadQuantity(f"nodes {nodes!r} is no range", hint="give a number, or two: (0, 8)")
    return nodes[0], nodes[1]


def _each(given: Any) -> tuple[Any, ...]:
    """Return what is given one by one: a single name, which is iterable too, as one."""
    return (given,) if isinstance(given, str | PathLike) else tuple(given)


def _nothing() -> None:
    """End nothing."""
