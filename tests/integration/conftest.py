"""What these tests share: a command run in this process, Python in one of its own, the rows of a store."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import duckdb
import pytest

from rackrate.cli import status
from rackrate.market.store import Store

NOW = "2026-08-22T12:00:00+00:00"
"""The day of the newest list of the bundled sample, so that no test speaks of its age by accident."""


@dataclass(frozen=True)
class Ran:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Read stdout as JSON that any reader takes: without NaN and Infinity."""
        return json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))


Run = Callable[..., Ran]


@pytest.fixture
def cli(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Run:
    """Run a command in this process."""
    monkeypatch.setenv("RACKRATE_NOW", NOW)

    def run(*args: str) -> Ran:
        capsys.readouterr()
        code = status(list(args))
        said = capsys.readouterr()
        return Ran(code, said.out, said.err)

    return run


@pytest.fixture
def process() -> Run:
    """Run Python in a process of its own, with the environment of this test."""

    def run(*args: str, **env: str) -> Ran:
        done = subprocess.run(
            [sys.executable, *args],
            capture_output=True,
            text=True,
            encoding="utf-8",
            env={**os.environ, "RACKRATE_NOW": NOW, **env},
            timeout=60,
            check=False,
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    return run


Interrupt = Callable[[Callable[[], Any], str], None]


@pytest.fixture
def interrupted() -> Iterator[Interrupt]:
    """Call something in this thread, and press Ctrl-C when it has come into a function of ours of a name."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    here = threading.get_ident()

    def press(inside: str) -> None:
        until_s = time.monotonic() + 30
        while time.monotonic() < until_s:
            frames = [frame for frame, _ in traceback.walk_stack(sys._current_frames()[here])]
            ours = [frame for frame in frames if frame.f_globals["__name__"].startswith("rackrate.")]
            if inside in {frame.f_code.co_name for frame in ours}:
                return signal.pthread_kill(here, signal.SIGINT)
            time.sleep(0.01)
        return None

    def call(function: Callable[[], Any], inside: str) -> None:
        thread = threading.Thread(target=press, args=[inside])
        thread.start()
        with pytest.raises(KeyboardInterrupt):
            function()
        thread.join()

    yield call
    signal.signal(signal.SIGINT, before)


Rows = Callable[..., Counter[tuple[str, ...]]]


@pytest.fixture
def rows() -> Rows:
    """Read the multiset of the rows of a table that a store's manifest names, as texts."""

    def read(store: Path, table: str = "offers", columns: str = "*") -> Counter[tuple[str, ...]]:
        paths = [str(store / file.name) for file in Store.open(store, store).files if file.table == table]
        if not paths:
            return Counter()
        with duckdb.connect() as con:
            found = con.execute(f"SELECT {columns} FROM read_parquet(?)", [paths]).fetchall()  # noqa: S608
        return Counter(tuple(str(value) for value in row) for row in found)

    return read
