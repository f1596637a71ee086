"""How do 64 nodes start in the time that one takes? They are forked from a process that has it all loaded.

The zygote imports the engine once, freezes what it has for the garbage collector (a collection would
write to every page and end the sharing), and forks a node for each order that comes in on its standard
input. It stays single-threaded: a fork copies one thread. It adopts what an agent that was killed leaves
behind and kills it. When its input ends it waits for its nodes, which have leases, and exits.
"""

from __future__ import annotations

import fcntl
import json
import os
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from importlib import import_module
from pathlib import Path

from rackrate.errors import UsageError
from rackrate.fleet import tree
from rackrate.fleet.backends import forking, gpus
from rackrate.fleet.backends.agent import Agent, Engine
from rackrate.fleet.backends.base import ALIVE, LOG, NoNode, Order
from rackrate.fleet.lease import Freeze

SCRATCH = "scratch"


def main(folder: Path, preload: Sequence[str]) -> None:
    """Fork nodes, with folders in `folder` and shared modules, until the input ends and they are gone."""
    with forking.loading():
        from rackrate.fleet import engine  # noqa: PLC0415 - this is the load that is shared

        _preload(preload)
    tree.adopt_orphans()
    agents: dict[int, Order] = {}
    places: dict[str, int] = {}
    gpus_here = gpus.here()
    freezes: dict[int, Freeze] = {}
    is_rehearsed = False
    for lines in forking.turns(lambda: bool(agents)):
        for line in lines:
            order = Order.from_dict(json.loads(line))
            if order.tls and not is_rehearsed:  # the first is the head's: by then there is a key
                _rehearse(engine.rehearse, order.tls, folder)
                is_rehearsed = True
            trouble = "" if _has_keeper() else "the keeper that ordered it is dead or frozen"
            if not trouble and all(order.name != one.name for one in agents.values()):
                try:
                    env = _place(order, agents.values(), places, gpus_here)
                    agents[_fork(folder / order.name, order, engine.run, env)] = order
                except NoNode as error:
                    trouble = error.message
                except OSError as error:  # no room for one more; those that are there need their zygote
                    trouble = f"{type(error).__name__}: {error}"
            with suppress(BrokenPipeError):  # a dead keeper: its nodes have leases
                os.write(1, json.dumps({"trouble": trouble}).encode() + b"\n")
        _end_frozen(agents, freezes)
        _bury(agents)


def _has_keeper() -> bool:
    """Tell whether somebody waits for the node: a lease begins with it, however old its order is."""
    return not forking.is_hung_up() and not tree.is_frozen(os.getppid())


def _place(
    order: Order, others: Iterable[Order], places: dict[str, int], gpus_here: tuple[str, ...]
) -> dict[str, str]:
    """Give a node that works a place, and return the variables that say which GPUs are those of the place.

    Raises:
        NoNode: there are too few.
    """
    if order.role == "head":
        return {}
    names = {one.name for one in others}
    for gone in places.keys() - names:
        del places[gone]
    places[order.name] = gpus.lowest_free(set(places.values()))
    return gpus.visible_at(places[order.name], order.n_gpus, gpus_here)


def _preload(modules: Sequence[str]) -> None:
    """Import what the nodes are to share.

    Raises:
        UsageError: there is no such module, or it starts threads: these would be missing in every node.
    """
    for module in modules:
        try:
            import_module(module)
        except ImportError as error:
            raise UsageError(f"{module} cannot be preloaded: {error}") from error
        names = [thread.name for thread in threading.enumerate()]
        if len(names) > 1:
            hint = "import it inside of the function"
            raise UsageError(f"{module} cannot be preloaded: it starts {names[1:]}", hint=hint)


def _rehearse(play: Callable[[str, Path], None], tls: str, folder: Path) -> None:
    """Have the engine do once what every node will do; if it fails, nodes say in their own logs why."""
    try:
        with tempfile.TemporaryDirectory(dir=folder) as scratch:
            play(tls, Path(scratch))
    except Exception as error:  # noqa: BLE001 - without it nodes need more time, that is all
        sys.stderr.write(f"rehearsal: {type(error).__name__}: {error}\n")
    forking.share()


def _end_frozen(agents: Mapping[int, Order], freezes: dict[int, Freeze]) -> None:
    """Kill agents that are frozen for too much of their lease: the keeper, which would too, may be dead."""
    now = time.monotonic()
    for pid in freezes.keys() - agents.keys():
        del freezes[pid]
    for pid, order in agents.items():
        freeze = freezes.setdefault(pid, Freeze())
        if freeze.is_over(now, order.ttl_s, is_frozen=tree.is_frozen(pid)):
            os.kill(pid, signal.SIGKILL)


def _bury(agents: dict[int, Order]) -> None:
    """Collect the dead; when there are any, kill what they leave."""
    n_dead = 0
    with suppress(ChildProcessError):
        while pid := os.waitpid(-1, os.WNOHANG)[0]:
            agents.pop(pid, None)
            n_dead += 1
    if n_dead:
        tree.end_children(keep=frozenset(agents))


def _fork(folder: Path, order: Order, engine: Engine, env: Mapping[str, str]) -> int:
    """Fork the agent of a node and return its process id; the node's lock is held before there is a node."""
    (folder / SCRATCH).mkdir(parents=True, exist_ok=True)
    alive = os.open(folder / ALIVE, os.O_RDWR | os.O_CREAT, 0o600)
    fcntl.flock(alive, fcntl.LOCK_EX)  # waits for whoever just looks whether it is held
    pid = os.fork()
    if pid:
        os.close(alive)  # the child's copy holds the lock
        return pid
    try:
        os.write(alive, str(os.getpid()).encode())
        os.environ.update(env)
        _be_agent(folder, order, engine)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the log must have it
        sys.stderr.write(f"{type(error).__name__}: {error}\n")
    finally:
        os._exit(0)


def _be_agent(folder: Path, order: Order, engine: Engine) -> None:
    """Become a node: a session, a log, a scratch folder of its own, and nothing of the zygote's."""
    forking.leave(folder / LOG)
    os.chdir(order.cwd)
    os.environ["RACKRATE_NODE"] = order.name
    os.environ["RACKRATE_KEEPER"] = order.keeper
    os.environ["TMPDIR"] = tempfile.tempdir = str(folder / SCRATCH)
    sys.path[:0] = [entry for entry in order.path if entry not in sys.path]
    Agent(order, engine).run()


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:])
