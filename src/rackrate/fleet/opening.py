"""How is a fleet brought up, and how does one wait for it?

A fleet is opened by starting its keeper, which does the rest. Whoever waits asks the keeper, which answers
when something has changed: nothing is looked at in a loop.
"""

from __future__ import annotations

import json
import math
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterable, Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import psutil

from rackrate.errors import (
    AuthRejected,
    BootFailed,
    EngineMismatch,
    FleetClosed,
    FleetError,
    RackrateError,
    UnknownName,
    UsageError,
    nearest,
)
from rackrate.fleet import environment, journal, quoting, sync, tree
from rackrate.fleet.backends import BOOT_S, USUAL_BOOT_S, open_backend
from rackrate.fleet.backends.base import CONSOLE, LOG, Backend
from rackrate.fleet.folder import Folder, home, new_folder
from rackrate.fleet.node import Change, NodeState
from rackrate.fleet.spec import Spec
from rackrate.fleet.state import KEEPER_DIED, Lifecycle, Phase
from rackrate.fleet.status import MISMATCH, Cost, Status, status_of

Keeper = subprocess.Popen[bytes]

_KEEPER_S = 20.0
"""For the keeper to answer its first question."""
_WAIT_S = 2.0
_LIST_S = 1.0
_REAP_S = 120.0
"""For a provider to end nodes that it was asked to destroy, and to answer."""


def spec_of(folder: Folder, *, is_owned: bool, **asked: Any) -> Spec:
    """Return what is asked for, checked; an owned fleet lives for this process.

    Raises:
        BadQuantity, UnknownName, OverBudget: what was asked for cannot be.
    """
    me = psutil.Process()
    asked = {"boot_timeout_s": BOOT_S.get(asked.get("backend", ""), USUAL_BOOT_S), **asked}
    owner = {"owner_pid": me.pid, "owner_since_s": me.create_time()} if is_owned else {}
    return Spec(
        fleet=folder.fleet,
        folder=str(folder.path),
        opened_at_s=time.time(),
        cwd=os.getcwd(),  # noqa: PTH109 - a string is what goes into the spec
        path=(*sync.roots(asked.get("sync", ())), *sys.path),
        **owner,
        **asked,
    )


def open_fleet(
    *, is_owned: bool, env: Mapping[str, str] | Iterable[str] = (), **asked: Any
) -> tuple[Folder, Keeper]:
    """Start the keeper of a new fleet; return at once.

    Raises:
        BadQuantity, UnknownName, OverBudget: what was asked for cannot be; nothing was made.
        NoNode, ProviderError: the provider says no; nothing was made.
    """
    env = _values(env)
    asked |= {"env": tuple(sorted(env)), "versions": environment.versions()}
    nowhere = Folder(home() / "new")
    spec_of(nowhere, is_owned=is_owned, **asked).check_place()  # so that nothing is made in vain
    asked = quoting.quoted(asked)
    spec_of(nowhere, is_owned=is_owned, **asked)  # at the price that is asked now
    folder = new_folder()
    spec = spec_of(folder, is_owned=is_owned, **asked)
    try:
        if spec.sync and spec.backend != "local":
            sync.collect(spec.sync, folder.sync)
        spec.write(folder.spec)
        keeper = _start_keeper(folder)
    except BaseException:
        shutil.rmtree(folder.path)
        raise
    try:
        from rackrate.fleet import tls  # noqa: PLC0415 - heavy: the keeper starts meanwhile

        tls.write_key(folder.key, spec.fleet, timedelta(hours=spec.max_hours))
    except BaseException:
        keeper.kill()
        keeper.wait()
        raise
    finally:
        _tell(keeper, env)
    return folder, keeper


def _start_keeper(folder: Folder) -> Keeper:
    """Start the keeper of a fleet: it gets all ready, and begins when it is told the environment."""
    with folder.log.open("ab") as log:
        return subprocess.Popen(  # noqa: S603 - ourselves
            [sys.executable, "-m", "rackrate.fleet.keeping", str(folder.path)],
            stdin=subprocess.PIPE,
            stdout=log,
            stderr=log,
            env=os.environ | {tree.MARK: folder.fleet},
            start_new_session=True,
        )


def _tell(keeper: Keeper, env: Mapping[str, str]) -> None:
    """Tell a keeper the values of the variables that tasks see; of one that is dead its end is seen later."""
    if keeper.stdin:
        with suppress(BrokenPipeError), keeper.stdin:
            keeper.stdin.write(json.dumps(env).encode())


def _values(env: Mapping[str, str] | Iterable[str]) -> dict[str, str]:
    """Return variables with their values, those that are only named with what they have here.

    Raises:
        UsageError: one is named that is not set here, or cannot be set anywhere.
    """
    if isinstance(env, Mapping):
        for name, value in env.items():
            if not (isinstance(name, str) and isinstance(value, str)) or not name or "=" in name:
                hint = 'give names and texts: env={"WIDTH": "64"}'
                raise UsageError(f"env: {name!r}: {value!r} is no variable", hint=hint)
        return dict(env)
    try:
        return {name: os.environ[name] for name in ([env] if isinstance(env, str) else env)}
    except KeyError as error:
        hint = "set it, or give env={name: value}"
        raise UsageError(f"env: {error.args[0]} is not set here", hint=hint) from None


def wait_ready(folder: Folder, keeper: Keeper | None = None) -> Status:
    """Return when every node that could be ordered works.

    Raises:
        BootFailed: the fleet ended before; the message says why.
    """
    until = time.monotonic() + _KEEPER_S
    after = -1
    while True:
        found = folder.ask("status", after=after, wait_s=_WAIT_S)
        if found is None:
            if time.monotonic() > until or (keeper and keeper.poll() is not None):
                raise _boot_failed(folder)
            time.sleep(0.01)
            continue
        until = time.monotonic()  # it has answered: from now on its silence is its death
        after = found["n_changes"]
        if found["phase"] != Phase.OPEN:
            raise _boot_failed(folder, found)
        if found["address"] and found["is_up"]:
            return Status(found)


def _boot_failed(folder: Folder, found: dict[str, Any] | None = None) -> BootFailed:
    """Say why a fleet did not come up, with the last words of the node or keeper that failed."""
    if found is None:
        with suppress(Exception):
            found = settled(folder).data
    if found is None or found["why"] == KEEPER_DIED:
        said = folder.log.read_text(errors="replace").strip().splitlines() or ["it wrote nothing"]
        return BootFailed(f"fleet {folder.fleet}: {KEEPER_DIED}: {said[-1]}", hint=f"see {folder.log}")
    reasons = [
        line.partition(": ")[2] for node in found["nodes"] for line in node["story"] if "ending" in line
    ]
    reason = f" ({reasons[0]})" if reasons else ""
    if found["why"].startswith(MISMATCH):
        packages = " ".join(
            f"{name}=={at}" for name, at in environment.versions().items() if name != "python"
        )
        hint = f"install {packages} and the same Python in the image, or its versions here"
        return EngineMismatch(f"fleet {folder.fleet}: {found['why']}", hint=hint)
    hint = f"`rackrate fleet logs {folder.fleet}` shows what the nodes wrote"
    return BootFailed(f"fleet {folder.fleet} did not come up: {found['why']}{reason}", hint=hint)


def settled(folder: Folder) -> Status:
    """Return how a fleet without a keeper stands, from its journal.

    Raises:
        DataError: the journal is missing or damaged.
    """
    spec = Spec.read(folder.spec)
    life, entries = recovered(folder, spec)
    at_s = max((entry.get("at_s", 0.0) for entry in entries), default=0.0)
    closed = [entry for entry in entries if entry["what"] == "closed"]
    if closed:
        life.phase, life.why = Phase.CLOSED, closed[-1]["why"]
    return Status({"n_changes": 0, "address": None, "is_busy": False, **status_of(life, spec, at_s)})


def recovered(folder: Folder, spec: Spec) -> tuple[Lifecycle, list[journal.Entry]]:
    """Return the life of a fleet as its journal has it, and the journal.

    Raises:
        DataError: the journal is missing or damaged.
    """
    entries = journal.read(folder.journal)
    changes = [Change.from_dict(entry) for entry in entries if entry["what"] == "node"]
    return Lifecycle.recovered(spec.fleet, spec.policy(), changes, time.time() - spec.opened_at_s), entries


def status(folder: Folder) -> Status:
    """Return how a fleet stands: as its keeper says, or as the journal has it where that is dead."""
    found = keeper_says(folder)
    return Status(found) if found else settled(folder)


def keeper_says(folder: Folder) -> dict[str, Any] | None:
    """Return what the keeper says, once it has begun; None where it is dead."""
    until = time.monotonic() + _KEEPER_S
    while (found := folder.ask("status")) is None and time.monotonic() < until:
        has_begun = folder.journal.exists() and folder.journal.stat().st_size > 0
        if has_begun or not tree.marked(folder.fleet):
            return folder.ask("status")  # it may have begun since
        time.sleep(0.01)
    return found


def cost(folder: Folder) -> Cost:
    """Return what a fleet has cost; of one that is over the provider is asked until its bill is final."""
    from rackrate.fleet import billing  # noqa: PLC0415 - who opens a fleet need not wait for it

    spec = Spec.read(folder.spec)
    data, ended_at = keeper_says(folder), None
    if data is None:
        data, now = settled(folder).data, time.time()
        ended_at = spec.opened_at_s + data["age_s"] if data["phase"] == Phase.CLOSED else now
    return Cost(data, billing.latest(spec, folder.bill, ended_at))


def scale(folder: Folder, n: int) -> None:
    """Have more or fewer nodes.

    Raises:
        BadQuantity: no number of nodes.
        FleetClosed: the fleet has ended.
    """
    Spec.read(folder.spec).scaled(n)
    if folder.ask("scale", n=n) is None:
        raise FleetClosed(f"fleet {folder.fleet} has ended: {settled(folder).why}", hint="open a new one")


def log_of(folder: Folder, node: str) -> str:
    """Return what a node wrote, or what its machine said where it never came to write.

    Args:
        folder: of the fleet.
        node: its name, or what stands behind the last dash of it: a number, or `head`.

    Raises:
        UnknownName: no such node.
    """
    names = sorted(path.name for path in (folder.path / "nodes").glob("*/"))
    hits = [name for name in names if node in (name, name.rpartition("-")[2])]
    if not hits:
        raise UnknownName("node", node, nearest(node, names) or names[:3])
    log, console = (folder.path / "nodes" / hits[0] / name for name in (LOG, CONSOLE))
    return (log if log.exists() or not console.exists() else console).read_text(errors="replace")


def end(folder: Folder, why: str, patience_s: float, keeper: Keeper | None = None) -> None:
    """Have a fleet ended and return when no process of it is left; what is deaf is killed.

    Args:
        folder: of the fleet.
        why: for its story.
        patience_s: for the keeper.
        keeper: where it is a child of this process, to be collected.
    """
    until = time.monotonic() + patience_s
    with suppress(OSError):
        answer = folder.ask("close", why=why) or {}
        until += answer.get("settle_s", 0.0)  # a listing has to bear the end out
        while folder.keeper.exists() and time.monotonic() < until:
            time.sleep(0.01)
    while tree.marked(folder.fleet):
        if time.monotonic() > until or folder.keeper.exists():
            reap(folder)
        time.sleep(0.01)
    if keeper:
        keeper.wait()


def let_live(keeper: Keeper) -> None:
    """Let go of a keeper that is to outlive this process; else Python warns that it was not waited for."""
    keeper.returncode = 0


def reap(folder: Folder) -> int:
    """End everything of a fleet whose keeper is dead or does not answer; return how many processes it was.

    Here it is found by its mark, elsewhere by the provider's listing, also where the journal is lost. What it
    does is written into the journal, where there is one that can be written.

    Raises:
        FleetError, OSError: the provider does not answer, or lists them still: they may be there.
    """
    n = tree.end_marked(folder.fleet, math.inf)
    spec = Spec.read(folder.spec)
    began_s = time.time() - spec.opened_at_s
    ended_s = {} if spec.backend == "local" else _reap_away(spec)
    folder.sweep()
    if not folder.journal.exists():  # its keeper died before it ordered anything
        _close_journal(folder, Lifecycle(spec.fleet, spec.policy()), 0.0, 0.0, {})
        return n + len(ended_s)
    life, entries = recovered(folder, spec)
    if not any(entry["what"] == "closed" for entry in entries):
        said_s = {one["node"]: one["said_at_s"] for one in entries if one["what"] == "destroyed"}
        _close_journal(folder, life, time.time() - spec.opened_at_s, began_s, said_s | ended_s)
    return n + len(ended_s)


def _reap_away(spec: Spec) -> dict[str, float]:
    """Destroy what a provider lists of a fleet, until it lists none for longer than its list may lag.

    Returns:
        The age of the fleet at which each was destroyed for the last time.
    """
    backend = open_backend(spec)
    ended_s: dict[str, float] = {}
    empty_since_s: float | None = None
    until_s = time.monotonic() + _REAP_S + backend.settle_s
    try:
        while empty_since_s is None or time.monotonic() - empty_since_s < backend.settle_s:
            try:
                names = _destroyed(backend, spec.fleet)
            except (OSError, RackrateError) as error:
                if isinstance(error, AuthRejected) or time.monotonic() > until_s:
                    raise
                empty_since_s = None  # nobody knows
            else:
                ended_s |= dict.fromkeys(names, time.time() - spec.opened_at_s)
                if names and time.monotonic() > until_s:
                    listed = ", ".join(sorted(names))
                    raise FleetError(f"still listed: {listed}", hint="end them at the provider's console")
                empty_since_s = (empty_since_s or time.monotonic()) if not names else None
            time.sleep(max(backend.list_s, _LIST_S) if backend.settle_s else 0)
    finally:
        backend.close()
    return ended_s


def _destroyed(backend: Backend, fleet: str) -> frozenset[str]:
    """Have all destroyed that is listed of a fleet; return what it was."""
    names = backend.list(fleet)
    for name in names:
        backend.destroy(name)
    return names


def _close_journal(
    folder: Folder, life: Lifecycle, at_s: float, began_s: float, ended_s: Mapping[str, float]
) -> None:
    """Write that the nodes of a fleet are gone.

    Args:
        folder: of the fleet.
        life: as the journal has it.
        at_s: age of the fleet.
        began_s: age at which nodes were looked for: what was not there is billed no longer.
        ended_s: age at which nodes were destroyed, of those where that is known.
    """
    left = [node for node in life.nodes.values() if node.state is not NodeState.GONE]
    changes = []
    for node in left:
        if node.state is not NodeState.ENDING:
            changes.append(node.move(NodeState.ENDING, at_s, "reaped"))
        until_s = node.line().from_s if node.is_refused else began_s
        changes.append(node.move(NodeState.GONE, at_s, "reaped", ended_s.get(node.name, until_s)))
    with journal.Journal(folder.journal) as out:
        out.write(
            [*(change.to_dict() for change in changes), {"what": "closed", "at_s": at_s, "why": "reaped"}]
        )
