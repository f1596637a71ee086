"""Collect prices on a schedule beside the site, each time in a process of its own.

A collection that stumbles, hangs or is killed takes no page with it, and one that outlives a killed site
ends by itself. Who collects what at the same time elsewhere is settled by the locks of the archive.
"""

from __future__ import annotations

import json
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Self


class Schedule:
    """Collects now and then every so often, from `with` to its end.

    Args:
        every_s: from the end of a collection to the next.
        data: where the market is; None for the default.
        say: writes a line for who started the site.
    """

    def __init__(self, every_s: float, data: str | None, say: Callable[[str], None]) -> None:
        self._every_s = every_s
        self._command = [sys.executable, "-m", "rackrate", "market", "collect", "--json"]
        self._command += ["--data", data] if data else []
        self._say = say
        self._is_over = threading.Event()
        self._lock = threading.Lock()
        self._process: subprocess.Popen[str] | None = None
        self._thread = threading.Thread(target=self._run, name="schedule")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._is_over.set()
            if self._process:
                self._process.terminate()
        self._thread.join()

    def _run(self) -> None:
        while not self._is_over.is_set():
            self._collect()
            self._is_over.wait(self._every_s)

    def _collect(self) -> None:
        with self._lock:
            if self._is_over.is_set():
                return
            self._process = subprocess.Popen(  # noqa: S603 - our own command
                self._command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
            )
        said, _ = self._process.communicate()
        if not self._is_over.is_set():
            self._say(summary(said, self._process.returncode))


def summary(said: str, status: int) -> str:
    """Return in a line what a collection said of itself as JSON; errors of it stand in its own words above.

    Args:
        said: its answer.
        status: exit status.
    """
    try:
        outcomes = json.loads(said)["data"]
    except (ValueError, KeyError):
        return f"collection ended with status {status}, prices stay as they were"
    return "collected: " + "; ".join(filter(None, (_good(outcomes), *_failed(outcomes))))


def _good(outcomes: Sequence[Mapping[str, Any]]) -> str:
    good = [done for done in outcomes if done["outcome"] == "ok"]
    return f"{sum(done['rows'] for done in good):,} offers of {len(good)} sources"


def _failed(outcomes: Sequence[Mapping[str, Any]]) -> list[str]:
    failed = [done for done in outcomes if done["outcome"] == "failed"]
    return [f"{done['source']} failed ({done['code']}: {done['says']})" for done in failed]
