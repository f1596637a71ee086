"""What does a machine run as its first process? This: `python3 -m rackrate.fleet.boot`.

It finds its order in its environment. It takes it, and the machine's own key, out of its environment before
anything of the user's runs, and starts anew where the kernel still shows what the environment was; compares
what is installed here with what the owner runs; opens the door to the rest of the fleet; and is the node's
agent until the node is over. What the node writes goes home with the lease, and its end is repeated on the
machine's own output, where a provider shows it. Then the machine ends itself, where its provider gave it a
key for that (`inside`). When this process ends, so does the machine.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import NoReturn

from rackrate.errors import FleetError
from rackrate.fleet import door, environment, sync, tree
from rackrate.fleet.backends import inside
from rackrate.fleet.backends.agent import Agent, Say
from rackrate.fleet.backends.base import BOOT, ORDER, Order
from rackrate.fleet.identity import Identity
from rackrate.fleet.lines import Line

_LAST_WORDS_BYTES = 4000


def main() -> None:
    """Be the first process of a machine, from its order to its end."""
    taken = {name: os.environ.pop(name) for name in (ORDER, *inside.KEYS) if name in os.environ}
    if _is_shown():
        _start_anew(taken)
    taken = taken or _handed_over()
    end_machine = inside.farewell({**os.environ, **taken})
    try:
        live(Order.from_env(taken))
    finally:
        end_machine()


def _is_shown() -> bool:
    """Tell whether the kernel shows the environment that this process began with, order and all."""
    with suppress(OSError):
        return f"{ORDER}=".encode() in Path("/proc/self/environ").read_bytes()
    return False


def _start_anew(taken: dict[str, str]) -> NoReturn:
    """Become the same program without order and keys in its environment; they come through a pipe."""
    read, write = os.pipe()
    if os.fork() == 0:  # a pipe holds less than an order may have
        with os.fdopen(write, "w", encoding="utf-8") as out:
            json.dump(taken, out)
        os._exit(0)
    os.close(write)
    os.set_inheritable(read, True)  # noqa: FBT003 - so it is called
    os.execv(sys.executable, [sys.executable, *BOOT[1:], str(read)])  # noqa: S606 - ourselves


def _handed_over() -> dict[str, str]:
    with os.fdopen(int(sys.argv[1]), encoding="utf-8") as handed:
        taken: dict[str, str] = json.load(handed)
    return taken


def live(order: Order) -> None:
    """Be the node of an order until it is over."""
    folder = Path(tempfile.mkdtemp(prefix="rr-"))
    identity = Identity.from_pem(order.identity)
    identity.write(folder / "key")
    order = replace(order, tls=str(folder / "key"))
    log = folder / "log"
    output = _write_to(log)
    _settle(order, folder)
    try:
        with Line(order.keeper, identity) as line:
            _compare(order, line)
        pid = _open_door(order, identity, folder / "door")
        Agent(order, _run_engine, line=Line(order.keeper, identity), log=log, door=pid).run()
    finally:
        _repeat_end(log, output)


def _repeat_end(log: Path, output: int) -> None:
    """Write the end of a log, however long it is, to where perhaps nobody reads: nothing waits for that."""
    with suppress(OSError), log.open("rb") as file:
        file.seek(max(os.fstat(file.fileno()).st_size - _LAST_WORDS_BYTES, 0))
        os.set_blocking(output, False)
        os.write(output, file.read())


def _write_to(log: Path) -> int:
    """Have all that is written here go to a file; return what it went to."""
    output = os.dup(2)
    handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    for target in (1, 2):
        os.dup2(handle, target)
    os.close(handle)
    return output


def _settle(order: Order, folder: Path) -> None:
    """Say to all that runs here where it is."""
    for name in ("scratch", "code"):
        (folder / name).mkdir()
    os.environ[tree.MARK] = order.fleet
    os.environ["RACKRATE_NODE"] = order.name
    os.environ["RACKRATE_KEEPER"] = str(folder / "door")
    os.environ["TMPDIR"] = str(folder / "scratch")
    tempfile.tempdir = None  # it is remembered
    os.chdir(folder / "scratch")


def _compare(order: Order, line: Line) -> None:
    """End here when what runs here is not what the owner runs.

    Raises:
        SystemExit: it is not; the keeper knows why.
    """
    why = environment.mismatch(order.versions, environment.versions())
    if why:
        sys.stderr.write(f"[{order.name}] over: {why}\n")
        with suppress(OSError, FleetError):
            line.ask("mismatched", order.ttl_s, node=order.name, why=why)
        raise SystemExit(1)


def _open_door(order: Order, identity: Identity, path: Path) -> int:
    """Fork the process through which the worker meets its fleet; return its id.

    The worker may be quicker than the door: what it asks waits in the socket, which is there before both.
    """
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    pid = os.fork()
    if pid:
        listening.close()
        return pid
    try:
        tree.die_with_parent()
        door.run(order.keeper, identity, listening)
    except BaseException as error:  # noqa: BLE001 - whatever it is, the log must have it
        sys.stderr.write(f"door: {type(error).__name__}: {error}\n")
    finally:
        os._exit(1)


def _run_engine(order: Order, address: str, say: Say) -> None:
    """Fetch the files of the owner, then run the engine, which only now is loaded: no lease waits for it."""
    if order.is_synced:
        code = Path(os.environ["TMPDIR"]).parent / "code"
        with Line(os.environ["RACKRATE_KEEPER"]) as line:
            sync.fetch(line, Path("~/.cache/rackrate/sync").expanduser(), code)
        sys.path.insert(0, str(code))
    from rackrate.fleet import engine  # noqa: PLC0415 - heavy

    engine.run(order, address, say)


if __name__ == "__main__":
    main()
