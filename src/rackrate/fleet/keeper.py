"""Who keeps the fleet when the owner is busy, frozen or dead?

The keeper: one process beside the owner, in a session of its own, that imports nothing heavy. It watches the
owner, drives the life of the fleet (`state`), writes the journal, asks the backend, grants leases, takes
events and answers questions. When the fleet is over, so is the keeper. It never runs work: nothing that
a task or the scheduler does can hold up a lease.

The owner is *seen* while its process is there and not stopped: a notebook that computes for an hour
without a breath is alive, one that was killed is seen to be within a quarter of a second, one that is
frozen has nine tenths of its lease to come back: the last is for ending its nodes, all at once.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from typing import Any

from rackrate.errors import FleetError, InternalError, RackrateError
from rackrate.fleet import tree
from rackrate.fleet.backends import KEYS, local, open_backend
from rackrate.fleet.backends.base import LOG, Backend, NoMoney, NoNode, NotNow, Order
from rackrate.fleet.backends.roll import Roll
from rackrate.fleet.billing import Bill
from rackrate.fleet.button import Button
from rackrate.fleet.event import (
    Closed,
    Create,
    Created,
    CreateFailed,
    Destroy,
    Destroyed,
    DestroyFailed,
    Ended,
    Event,
    Grant,
    Listed,
    OwnerSeen,
    Refuse,
    Renewed,
    Scaled,
    Tick,
    Worked,
)
from rackrate.fleet.folder import Folder
from rackrate.fleet.gatehouse import GateProcess
from rackrate.fleet.history import History
from rackrate.fleet.journal import Journal
from rackrate.fleet.lease import ENDING_FRAC, Freeze
from rackrate.fleet.lines import LONGEST, Message, encode
from rackrate.fleet.node import NodeState
from rackrate.fleet.owner import owner_state
from rackrate.fleet.pool import Demand
from rackrate.fleet.spec import TICK_S, Spec
from rackrate.fleet.state import Lifecycle, Phase, Policy
from rackrate.fleet.status import MISMATCH, status_of
from rackrate.fleet.sweeping import Sweeps

_LIST_S = 1.0
"""Between two listings; while the fleet closes it is `_CLOSING_S`."""
_CLOSING_S = 0.02
_BILL_S = 600.0
"""Between two looks at the provider's bill."""
_LONGEST_WAIT_S = 30.0
LONGEST_LOG = 64 << 20
"""Bytes of a log that are kept of a node on another machine."""


def _paced(policy: Policy, backend: Backend) -> Policy:
    """Return a policy that takes the backend's time."""
    return replace(policy, settle_s=backend.settle_s, retry_s=max(policy.retry_s, backend.list_s))


class Keeper:
    """The keeper of one fleet.

    Args:
        folder: of the fleet.
        spec: what was asked for.
        backend: where its nodes live.
        home: where its head lives, when nodes are other machines; they then come in through a gate.
        env: values of the variables that tasks see.
    """

    def __init__(
        self,
        folder: Folder,
        spec: Spec,
        backend: Backend,
        home: Backend | None = None,
        env: Message | None = None,
    ) -> None:
        self.folder = folder
        self.spec = spec
        self.life = Lifecycle(spec.fleet, _paced(spec.policy(), backend))
        self.head = f"rr-{spec.fleet}-head"
        self.address: str | None = None
        self.is_busy = False
        self._head_made_s: float | None = None
        self._head_seen_s = 0.0
        self._is_head_ending = False
        self._freeze = Freeze()  # of the gate
        self._is_listing = False
        self._is_list_there = True
        self._backend = backend
        self._home = home or backend
        self._gate = GateProcess(folder, spec, backend) if home else None
        self._env = env or {}
        self._roll = Roll(folder.machines) if spec.backend in KEYS else None
        self._started_s = time.monotonic()
        self._journal = Journal(folder.journal)
        self._history = History(folder.events)
        self._pool = spec.pool()
        self._demand = Demand()
        self._button = Button(lambda: self.handle(Closed("its stop button was pressed")))
        self._sweeps = Sweeps(spec.usd_per_node_hour / spec.threads, has_our_disk=spec.backend == "local")
        self._calls = ThreadPoolExecutor(backend.n_calls, "backend")
        self._orders = ThreadPoolExecutor(backend.n_calls, "orders")  # what ends nodes never waits for these
        self._changed = asyncio.Event()
        self._n_changes = 0
        self._n_worked = 0
        self._trouble = ""
        self._tasks: set[asyncio.Task[None]] = set()

    def age_s(self) -> float:
        """Return the age of the fleet, the clock of its life."""
        return time.monotonic() - self._started_s

    async def run(self) -> None:
        """Keep the fleet until it is over."""
        server = await asyncio.start_unix_server(self._serve, self.folder.keeper, limit=LONGEST)
        self._journal.write([{"what": "opened", **self.spec.to_dict()}])
        try:
            self._do(self._order_head)
            if self._gate:
                self._do(self._open_gate, self._gate)
            listing_at_s = billing_at_s = 0.0
            while self.life.phase is not Phase.CLOSED:
                self._look_at_owner()
                self._look_at_head()
                self._look_at_ways()
                self._end_head()
                self._resize()
                is_patient = self.life.phase is Phase.OPEN or not self._is_list_there
                every_s = _LIST_S if is_patient else _CLOSING_S
                every_s = max(every_s, self._backend.list_s)
                if not self._is_listing and self.age_s() - listing_at_s >= every_s:
                    listing_at_s = self.age_s()
                    self._do(self._list)  # a provider that is slow to answer holds up no lease
                if self.age_s() - billing_at_s >= _BILL_S:
                    billing_at_s = self.age_s()
                    self._do(self._ask_bill)
                await asyncio.sleep(TICK_S if self.life.phase is Phase.OPEN else _CLOSING_S)
            await self._call(self._home.destroy, self.head)  # again: its order may have been under way
            await asyncio.to_thread(tree.end_marked, self.spec.fleet)
            self._journal.write([{"what": "closed", "at_s": self.age_s(), "why": self.life.why}])
            self._mark()
            await self._ask_bill()
            await asyncio.sleep(0)  # whoever waits for the end hears of it
        finally:
            server.close()
            self._button.close()
            self._orders.shutdown()
            self._calls.shutdown()
            if self._gate:
                await self._gate.close()
            for backend in {id(one): one for one in (self._backend, self._home)}.values():
                backend.close()
            self._history.close()
            self._sweeps.close()
            if self._roll:
                self._roll.close()
            self._journal.close()
            self.folder.sweep()

    def handle(self, event: Event) -> Grant | Refuse | None:
        """Let an event happen: write what changed, then do what follows. Returns the answer to a node."""
        step = self.life.handle(event, self.age_s())
        answer = None
        if step.changes:
            self._journal.write(change.to_dict() for change in step.changes)
            self._mark()
        for action in step.actions:
            match action:
                case Create(name):
                    self._do(self._create, name)
                case Destroy(name):
                    self._do(self._destroy, name)
                case Grant() | Refuse():
                    answer = action
        return answer

    def _mark(self) -> None:
        """Wake whoever waits for a change."""
        self._n_changes += 1
        self._changed.set()
        self._changed = asyncio.Event()

    def _do(self, what: Callable[..., Any], *args: Any) -> None:
        task = asyncio.ensure_future(what(*args))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _call(self, function: Callable[..., Any], *args: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._calls, function, *args)

    async def _order_head(self) -> None:
        self._journal.write([{"what": "head", "node": self.head, "at_s": self.age_s()}])
        try:
            await self._call(self._home.create, self.spec.order(self.head, "head", self.age_s()))
            self._head_made_s = self.age_s()
        except Exception as error:  # noqa: BLE001 - whatever a provider raises, the fleet is over
            self.handle(Closed(f"its scheduler does not start: {error}"))

    async def _open_gate(self, gate: GateProcess) -> None:
        try:
            await gate.open()
        except (OSError, FleetError) as error:
            self.handle(Closed(f"its gate does not open: {error}"))

    async def _create(self, name: str) -> None:
        try:
            order = self.spec.order(name, "worker", self.age_s())
            if self._gate:
                order = await self._gate.order(name, self.age_s())
            loop = asyncio.get_running_loop()
            asked_at_s = await loop.run_in_executor(self._orders, self._create_now, order)
        except NotNow as error:
            self.handle(CreateFailed(name, error.message, is_certain=True, again_s=error.again_s))
        except NoNode as error:
            is_final = isinstance(error, NoMoney)
            self.handle(CreateFailed(name, error.message, is_certain=True, is_final=is_final))
        except Exception as error:  # noqa: BLE001 - nobody knows whether there is a node
            self.handle(CreateFailed(name, f"{type(error).__name__}: {error}", is_certain=False))
        else:
            self.handle(Created(name, asked_at_s))

    def _create_now(self, order: Order) -> float:
        """Order a node, unless it was given up while the order waited for its turn; return when."""
        if self.life.nodes[order.name].state is not NodeState.INTENT:
            raise NoNode(f"{order.name} was given up before it was ordered")
        asked_at_s = self.age_s()
        self._backend.create(order)
        return asked_at_s

    async def _destroy(self, name: str) -> None:
        try:
            said_at_s, is_found = await self._call(self._destroy_now, name)
        except Exception as error:  # noqa: BLE001 - it is asked again until the listing lacks the node
            sys.stderr.write(f"destroy {name}: {type(error).__name__}: {error}\n")
            self.handle(DestroyFailed(name))
        else:
            node = self.life.nodes[name]
            before_s = node.destroyed_at_s
            self.handle(Destroyed(name, said_at_s, is_found))
            is_news = node.is_answered and node.destroyed_at_s != before_s
            if is_news and self.life.phase is not Phase.CLOSED:  # for who reaps, should this die
                self._journal.write([{"what": "destroyed", "node": name, "said_at_s": said_at_s}])

    def _destroy_now(self, name: str) -> tuple[float, bool]:
        """Have a node destroyed; return when that was answered, and whether there was one."""
        is_found = self._backend.destroy(name)
        return self.age_s(), is_found

    async def _list(self) -> None:
        asked_at_s = self.age_s()
        self._is_listing = True
        try:
            names = await self._call(self._backend.list, self.spec.fleet)
            at_home = names if self._gate is None else await self._call(self._home.list, self.spec.fleet)
        except Exception as error:  # noqa: BLE001 - no listing proves nothing
            sys.stderr.write(f"list: {type(error).__name__}: {error}\n")
            self._is_list_there = False
            return
        else:
            self._is_list_there = True
        finally:
            self._is_listing = False
        was_head_made = self._head_made_s is not None and self._head_made_s < asked_at_s
        if was_head_made and self.head not in at_home and self.life.phase is Phase.OPEN:
            self.handle(Closed("its scheduler is gone"))
        self.handle(Listed(names - {self.head}, asked_at_s))

    async def _ask_bill(self) -> None:
        """Keep what the provider says that it bills by now; whoever wants to know later asks again."""
        asked_at = time.time()
        try:
            billed = await self._call(self._backend.billed, self.spec.fleet, self.spec.opened_at_s)
            if billed is not None:
                Bill(asked_at, billed).write(self.folder.bill)
        except Exception as error:  # noqa: BLE001 - a fleet needs no bill to end
            sys.stderr.write(f"bill: {type(error).__name__}: {error}\n")

    def _look_at_owner(self) -> None:
        match owner_state(self.spec):
            case "seen":
                self.handle(OwnerSeen())
            case "ended":
                self.handle(Closed("its owner has ended"))
            case "frozen":
                left_s = self.life.owner.left_s(self.age_s())
                is_over = left_s <= self.spec.lease_s * ENDING_FRAC
                self.handle(Closed("the owner is silent") if is_over else Tick())

    def _look_at_ways(self) -> None:
        """End a fleet whose nodes nobody reaches any more, or, here, whose killed nodes nobody sweeps up."""
        if self._gate:
            if self._gate.has_ended:
                self.handle(Closed("its gate died"))
            elif self._freeze.is_over(self.age_s(), self.spec.lease_s, is_frozen=self._gate.is_frozen):
                self.handle(Closed("its gate is frozen"))
        elif isinstance(self._home, local.LocalBackend) and self._home.trouble:
            self.handle(Closed(self._home.trouble))

    def _look_at_head(self) -> None:
        """Wait for the head as for a node: that is no idleness, and it has an end. Then it has its lease."""
        if self.address is not None:
            if self.age_s() - self._head_seen_s > self.spec.lease_s:
                self.handle(Closed("its scheduler is silent for the length of its lease"))
        else:
            patience_s = self.spec.boot_timeout_s
            is_late = self.age_s() > patience_s
            self.handle(Closed(f"its scheduler is not ready after {patience_s:g} s") if is_late else Worked())

    def _end_head(self) -> None:
        """End the head as soon as the fleet closes: it waits for no node, and none for it."""
        if self.life.phase is Phase.CLOSING and not self._is_head_ending:
            self._is_head_ending = True
            self._do(self._call, self._home.destroy, self.head)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answer one connection, line by line."""
        try:
            while line := await reader.readline():
                writer.write(encode(await self._answered(line)))
                await writer.drain()
        except (OSError, ValueError, asyncio.CancelledError):
            pass  # it hung up, or sent what is no line; at the end of the fleet all are cut off
        finally:
            writer.close()

    async def _answered(self, line: bytes) -> Message:
        try:
            question = json.loads(line)
            return await self._answer(question.pop("do"), question)
        except RackrateError as error:
            return {"error": error.to_problem()}
        except (ValueError, KeyError, TypeError) as error:
            return {"error": InternalError(f"not understood: {type(error).__name__}: {error}").to_problem()}

    async def _answer(self, do: str, question: Message) -> Message:
        """Answer who owns the fleet or looks at it; all else comes from a node."""
        match do:
            case "status":
                return await self._status(**question)
            case "button":
                return dict(await self._button.told())
            case "scale":
                self._pool = None  # whoever says how many wants so many
                self.handle(Scaled(question["n"]))
            case "close":
                self.handle(Closed(question["why"]))
                return {"settle_s": self.life.policy.settle_s}
            case _ if do.startswith("sweep-"):
                return self._sweeps.answer(do, **question)
            case _:
                return self._answer_node(do, question)
        return {}

    def _answer_node(self, do: str, question: Message) -> Message:
        match do:
            case "renew":
                return self._renew(question)
            case "events":
                return self._take_events(question)
            case "environment":
                return {"values": self._env}
            case "ended":
                self._keep_log(question)
                self._ended(question["node"], question["why"])
            case "mismatched":
                self.handle(Closed(f"{MISMATCH}: {question['why']}"))
            case _:
                raise InternalError(f"the keeper knows no {do!r}")
        return {}

    def _take_events(self, question: Message) -> Message:
        """Write what a task reports; while there is no room for it, who asks how things stand is told."""
        try:
            n, new = self._history.take(question["source"], question["first"], question["points"])
        except OSError as error:
            self._trouble = f"what tasks report finds no room here: {error.strerror or error}"
            raise
        self._trouble = ""
        return {"n": n, "stop": self._sweeps.take(new)}

    def _renew(self, question: Message) -> Message:
        name = question["node"]
        if name == self.head:
            return self._renew_head(question)
        self._keep_log(question)
        if self._roll and "machine" in question and name in self.life.nodes:
            self._roll.note(name, str(question["machine"]))
        answer = self.handle(Renewed(name, bool(question.get("is_ready"))))
        if isinstance(answer, Grant):
            return {"ttl_s": answer.ttl_s, "address": self.address, "is_draining": answer.is_draining}
        return {"refused": answer.why if answer else "no answer"}

    def _keep_log(self, question: Message) -> None:
        """Write what a node on another machine sent of its log, where it says that it stands."""
        if "log" not in question or question["node"] not in self.life.nodes:
            return
        path = self.folder.nodes / question["node"] / LOG
        path.parent.mkdir(exist_ok=True)
        handle = os.open(path, os.O_WRONLY | os.O_CREAT, 0o600)
        with os.fdopen(handle, "wb") as log:
            if question["log_at"] <= LONGEST_LOG:
                log.seek(question["log_at"])
                log.write(question["log"].encode("latin-1"))

    def _renew_head(self, question: Message) -> Message:
        """Answer the head: it lives while its fleet does, on the owner's lease like every node."""
        if question.get("worked", 0) != self._n_worked or question.get("is_busy"):
            self._n_worked = question.get("worked", 0)
            self.handle(Worked())
        self.is_busy = bool(question.get("is_busy"))
        self._demand = Demand.said(question)
        if self.address is None and "address" in question:
            self.address = question["address"]
            self._mark()
            self.handle(Scaled(self.spec.nodes))
        self._head_seen_s = self.age_s()
        self._resize()
        ttl_s = min(self.spec.lease_s, self.life.owner.left_s(self.age_s()))
        if ttl_s <= 0:
            return {"refused": "the owner is silent"}
        return {"ttl_s": ttl_s, "address": "", "is_draining": False}

    def _resize(self) -> None:
        """Have as many nodes as a pool needs."""
        if self._pool and self.address:
            n = self._pool.wanted(self._demand, self.age_s())
            if n != self.life.wanted:
                self.handle(Scaled(n, self._demand.busy))

    def _ended(self, name: str, why: str) -> None:
        if name != self.head:
            self.handle(Ended(name, why))
        elif self.life.phase is Phase.OPEN:
            self.handle(Closed(f"its scheduler ended: {why}"))

    async def _status(self, after: int = -1, wait_s: float = 0.0) -> Message:
        """Return how things stand, as soon as there are more changes than `after`."""
        if self._n_changes <= after and wait_s > 0:
            with suppress(TimeoutError):  # nothing has changed
                await asyncio.wait_for(self._changed.wait(), min(wait_s, _LONGEST_WAIT_S))
        told = status_of(self.life, self.spec, self.age_s())
        return {
            "n_changes": self._n_changes,
            "address": self.address,
            "is_busy": self.is_busy,
            **told,
            "remark": told["remark"] or self._trouble,
        }


def keep(folder: Folder, home: Backend) -> None:
    """Keep the fleet of a folder, when the values of its environment come on the standard input.

    Args:
        folder: of the fleet.
        home: where its head lives, and its nodes if they live on this machine.
    """
    spec = Spec.read(folder.spec)
    env = json.loads(sys.stdin.read() or "{}")
    is_home = spec.backend == "local"
    backend = home if is_home else open_backend(spec)
    for name in KEYS.values():
        os.environ.pop(name, None)  # the backend has read it: the gate inherits none

    async def run() -> None:
        await Keeper(folder, spec, backend, None if is_home else home, env).run()

    asyncio.run(run())
