"""How does one run a program on the nodes of a fleet, hear it, and take home what it made?

The program runs as a task, in a folder of its own in the node's scratch folder. What it writes comes back
line by line while it runs, its files when it has ended. It is below the node's agent like all that a task
starts, and ends with the node in any case.
"""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from rackrate.errors import FleetError, UsageError

if TYPE_CHECKING:
    from distributed import Client, Future

    from rackrate.fleet.fleet import Fleet

Hear = Callable[[str, str], None]
"""Is told the name of a node and a line that its program wrote."""

_LOOK_S = 2.0
"""Between two looks whether the node is still there."""
NO_PROGRAM = 127
"""Exit status of a program that is not there, as shells have it."""


@dataclass(frozen=True, slots=True)
class Ran:
    """What a program on a node came to.

    Attributes:
        node: its name.
        code: exit status.
        files: what it made that was asked for, packed as tar.
    """

    node: str
    code: int
    files: bytes


def run(
    fleet: Fleet, command: Sequence[str], hear: Hear, *, on_one: bool = False, collect: Sequence[str] = ()
) -> list[Ran]:
    """Run a program on the nodes that work and return when it has ended on all.

    Args:
        fleet: whose nodes.
        command: program and arguments.
        hear: is told every line as it comes.
        on_one: whether one node is enough.
        collect: patterns of files to take home, below the folder that the program ran in.

    Raises:
        UsageError: a pattern leads out of that folder.
        FleetClosed: the fleet has ended.
        FleetError: a node was lost while its program ran.
    """
    from rackrate.fleet import engine  # noqa: PLC0415 - heavy

    for pattern in collect:
        if Path(pattern).is_absolute() or ".." in Path(pattern).parts:
            raise UsageError(
                f"{pattern!r} leads out of the folder of the program", hint="name files below it"
            )
    client = fleet.client
    names = engine.names(client)[: 1 if on_one else None]
    topic = f"output-{os.urandom(4).hex()}"
    with engine.heard(client, topic, lambda message: hear(*message)):
        futures = [
            client.submit(_run_here, tuple(command), name, topic, tuple(collect), workers=[name], pure=False)
            for name in names
        ]
        return [_awaited(client, name, future) for name, future in zip(names, futures, strict=True)]


def _awaited(client: Client, node: str, future: Future[Ran]) -> Ran:
    """Return what a program came to.

    Raises:
        FleetError: its node was lost; no other does its work.
    """
    from rackrate.fleet import engine  # noqa: PLC0415 - it is loaded

    hint = f"`rackrate fleet logs` with {node.rpartition('-')[2]} shows what it wrote"
    while True:
        try:
            return future.result(timeout=_LOOK_S)
        except TimeoutError:
            if node not in engine.names(client):
                raise FleetError(f"{node} ended while its program ran", hint=hint) from None
        except Exception as error:  # whatever the engine makes of a fleet that is over
            raise FleetError(f"{node}: no answer: {type(error).__name__}: {error}", hint=hint) from error


def _run_here(command: tuple[str, ...], node: str, topic: str, collect: tuple[str, ...]) -> Ran:
    """Run the program on this node."""
    from rackrate.fleet import engine  # noqa: PLC0415 - it is loaded where a task runs

    with tempfile.TemporaryDirectory() as folder:
        try:
            program = subprocess.Popen(  # noqa: S603 - what the user asked for
                command,
                cwd=folder,
                env=os.environ | _modules(),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                errors="replace",
            )
        except OSError as error:
            engine.tell(topic, (node, f"{command[0]}: {error.strerror}"))
            return Ran(node, NO_PROGRAM, b"")
        with program:
            for line in program.stdout or ():
                engine.tell(topic, (node, line.rstrip("\n")))
        return Ran(node, program.returncode, _packed(Path(folder), collect))


def _modules() -> dict[str, str]:
    """Return what lets a Python of the program find the modules that were sent with the fleet."""
    sent = Path(os.environ["TMPDIR"]).parent / "code"  # as `boot` lays them down
    paths = [str(sent), *filter(None, [os.environ.get("PYTHONPATH")])]
    return {"PYTHONPATH": os.pathsep.join(paths)} if sent.is_dir() else {}


def _packed(folder: Path, patterns: Sequence[str]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        for path in sorted({path for pattern in patterns for path in folder.glob(pattern)}):
            tar.add(path, path.relative_to(folder))
    return out.getvalue()


def unpack(ran: Ran, folder: Path) -> list[Path]:
    """Write the files of a node below a folder and return them; what leads out of it is refused."""
    with tarfile.open(fileobj=io.BytesIO(ran.files)) as tar:
        tar.extractall(folder, filter="data")
        return [folder / member.name for member in tar.getmembers() if member.isfile()]
