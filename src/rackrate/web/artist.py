"""Charts drawn in a process of their own, which ends when nobody wants one.

Altair and the renderer of Vega take more memory than all the rest of the site, and a chart is drawn once for
each state of the data. So answers go to a child through a pipe, pickled, and SVG comes back. The child ends
when its pipe does, so it never outlives the site, and by itself when it was idle for a while.
"""

from __future__ import annotations

import pickle
import select
import struct
import subprocess
import sys
import threading
from contextlib import suppress
from typing import IO, Any, BinaryIO, cast

from rackrate import chart
from rackrate.errors import DataError, RackrateError

IDLE_S = 30.0
LONGEST_S = 20.0
_LENGTH = struct.Struct("<Q")


class Artist:
    """Keeps the child while there is something to draw."""

    def __init__(self) -> None:
        self._child: subprocess.Popen[bytes] | None = None
        self._lock = threading.Lock()

    @property
    def pid(self) -> int | None:
        """Return the child's number; None where there is none."""
        child = self._child
        return child.pid if child and child.poll() is None else None

    def draw(self, name: str, *of: Any) -> str:
        """Return a chart as SVG text, or as what it is drawn from.

        Args:
            name: of a function of `rackrate.chart` that returns text.
            of: what it takes.

        Raises:
            RackrateError: as that function does.
            DataError: the child ended twice without an answer.
        """
        asked = pickle.dumps((name, of))
        with self._lock:
            for _ in range(2):  # one that was about to end for idleness may take the first question with it
                try:
                    found = self._ask(asked)
                except (OSError, EOFError):
                    self._end()
                    continue
                if isinstance(found, RackrateError):
                    raise found
                return str(found)
        raise DataError("the chart could not be drawn", hint="try again in a moment", code="busy")

    def start(self) -> None:
        """Start the child, so that the first reader need not wait for it."""
        with self._lock:
            self._started()

    def close(self) -> None:
        """End the child."""
        with self._lock:
            self._end()

    def _ask(self, asked: bytes) -> Any:
        child = self._started()
        to, back = cast("BinaryIO", child.stdin), cast("BinaryIO", child.stdout)
        late = threading.Timer(LONGEST_S, child.kill)
        late.start()
        try:
            _write(to, asked)
            return pickle.loads(_read(back))  # noqa: S301 - from our own child
        finally:
            late.cancel()

    def _started(self) -> subprocess.Popen[bytes]:
        if self._child is None or self._child.poll() is not None:
            self._end()
            self._child = subprocess.Popen(
                [sys.executable, "-m", "rackrate.web.artist"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                start_new_session=True,  # Ctrl-C is for the site, which then closes the pipe
            )
        return self._child

    def _end(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        for pipe in filter(None, (child.stdin, child.stdout)):
            with suppress(OSError):  # what was not yet written has no reader
                pipe.close()
        child.kill()
        child.wait()


ARTIST = Artist()
"""The one of this process."""


def draw(name: str, *of: Any) -> str:
    """Return what a function of `rackrate.chart` does, called by this process's artist."""
    return ARTIST.draw(name, *of)


def main() -> None:
    """Draw what comes in until the pipe ends, or nothing comes for a while."""
    taken, given = sys.stdin.buffer, sys.stdout.buffer
    sys.stdout = sys.stderr  # a library that prints must not write into the pipe
    while select.select([taken], [], [], IDLE_S)[0]:
        try:
            name, of = pickle.loads(_read(taken))  # noqa: S301 - from our own parent
        except EOFError:
            return
        try:
            found: Any = getattr(chart, name)(*of)
        except RackrateError as error:
            found = error
        _write(given, pickle.dumps(found))


def _read(pipe: IO[bytes]) -> bytes:
    """Return the next message.

    Raises:
        EOFError: the pipe has ended.
    """
    head = pipe.read(_LENGTH.size)
    if len(head) < _LENGTH.size:
        raise EOFError
    size = _LENGTH.unpack(head)[0]
    body = pipe.read(size)
    if len(body) < size:
        raise EOFError
    return body


def _write(pipe: IO[bytes], body: bytes) -> None:
    pipe.write(_LENGTH.pack(len(body)) + body)
    pipe.flush()


if __name__ == "__main__":
    main()
