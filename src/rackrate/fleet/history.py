"""What has been reported, from the first number on: how is it kept, and how does one read along?

One JSON object a line, appended and never changed. Each bears the process that it came from and its number
there, so the file itself says what has arrived: whoever takes it up after a crash counts its lines,
drops a torn last one, and asks for nothing twice. What was acknowledged is in the file; what was not is sent
again. A reader has a place in the file and nothing else: it starts at the first event, however late it
comes, and a slow one holds up nobody.
"""

from __future__ import annotations

import json
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from math import isfinite
from pathlib import Path
from typing import Any, Self

Event = dict[str, Any]

OWN = frozenset({"source", "seq", "at", "node", "task", "sweep", "trial", "attempt"})
"""What an event has beside its step and its values, without being told."""

_strict = json.JSONEncoder(separators=(",", ":"), allow_nan=False)
_CHUNK = 1 << 18
"""Bytes read at a look: some thousand events, so that no look takes long."""


class History:
    """The file of a fleet's events, open for writing; one that was there is taken up where it ends."""

    def __init__(self, path: Path) -> None:
        self._n_seen = _taken_up(path)
        self._file = path.open("ab", buffering=0)
        self._owed = bytearray()
        self._untold: dict[str, list[Event]] = {}

    def take(self, source: str, first: int, points: list[Event]) -> tuple[int, list[Event]]:
        """Write the points that are new; return how many of the source there are now, and the new ones.

        What finds no room on the disk is owed: it goes first when the source sends it again, from where it
        was torn, so that nobody who reads along sees a line twice.

        Args:
            source: the process that they come from.
            first: number of the first of them in that process.
            points: as the process made them.

        Raises:
            OSError: they are not all in the file.
        """
        n_seen = self._n_seen.get(source, 0)
        new = points[max(n_seen - first, 0) :]
        start = max(n_seen, first)
        for seq, point in enumerate(new, start):
            self._owed += _line_of({"source": source, "seq": seq, **point})
        self._n_seen[source] = max(n_seen, first + len(points))
        self._untold.setdefault(source, []).extend(new)
        while self._owed:
            del self._owed[: self._file.write(self._owed)]
        return self._n_seen[source], self._untold.pop(source)

    def close(self) -> None:
        """Close the file."""
        self._file.close()


def _taken_up(path: Path) -> dict[str, int]:
    """Return how many events of each source a history holds; cut off a line that a crash tore."""
    n_seen: dict[str, int] = {}
    if not path.exists():
        return n_seen
    with path.open("r+b") as file:
        n_bytes = 0
        for line in file:
            if not line.endswith(b"\n"):
                break
            n_bytes += len(line)
            event = json.loads(line)
            n_seen[event["source"]] = event["seq"] + 1
        file.truncate(n_bytes)
    return n_seen


def _line_of(point: Event) -> bytes:
    """Write an event as a line; NaN and infinity, which JSON lacks, as null."""
    try:
        text = _strict.encode(point)
    except ValueError:
        plain = {k: None if isinstance(v, float) and not isfinite(v) else v for k, v in point.items()}
        text = _strict.encode(plain)
    return text.encode() + b"\n"


class Events(Iterator[Event], AsyncIterator[Event]):
    """Every event of a history, then those that come, until it is over: for `for` and for `async for`.

    Args:
        path: the file; it need not exist yet.
        is_over: tells whether nothing will be written any more.
        poll_s: seconds between two looks.
    """

    def __init__(self, path: Path, is_over: Callable[[], bool], poll_s: float = 0.05) -> None:
        self._path = path
        self._is_over = is_over
        self._poll_s = poll_s
        self._at = 0
        self._rest = b""
        self._ready: deque[Event] = deque()
        self._is_ended = False

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> Event:
        while not self._ready:
            if self._is_ended:
                raise StopIteration
            if not self._look():
                time.sleep(self._poll_s)
        return self._ready.popleft()

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> Event:
        import asyncio  # noqa: PLC0415 - it is loaded, and whoever opens a fleet need not wait for it

        while not self._ready:
            if self._is_ended:
                raise StopAsyncIteration
            await asyncio.sleep(0 if self._look() else self._poll_s)
        return self._ready.popleft()

    def arrived(self) -> list[Event]:
        """Return what is there and was not returned yet, without waiting for more."""
        while self._look():
            pass
        found = list(self._ready)
        self._ready.clear()
        return found

    def _look(self) -> bool:
        """Read on; tell whether there is to be no waiting before the next look."""
        was_over = self._is_over()  # before the look: what was written until then is read
        data = self._read()
        self._at += len(data)
        *whole, self._rest = (self._rest + data).split(b"\n")
        self._ready.extend(map(json.loads, whole))
        self._is_ended = was_over and not data
        return bool(data)

    def _read(self) -> bytes:
        try:
            with self._path.open("rb") as file:
                file.seek(self._at)
                return file.read(_CHUNK)
        except FileNotFoundError:
            return b""
