"""The history of a fleet: what is in the file, and whoever reads along."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from rackrate.fleet.history import Events, History


def read(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_what_json_lacks_is_null(tmp_path: Path) -> None:
    history = History(tmp_path / "events")
    history.take("a", 0, [{"step": 1, "loss": float("nan")}, {"step": 2, "loss": float("inf")}])
    history.close()
    assert [line["loss"] for line in read(tmp_path / "events")] == [None, None]


def test_points_are_numbered_by_source_and_what_comes_twice_is_dropped(tmp_path: Path) -> None:
    history = History(tmp_path / "events")
    assert history.take("a", 0, [{"step": 1}, {"step": 2}]) == (2, [{"step": 1}, {"step": 2}])
    assert history.take("b", 0, [{"step": 1}]) == (1, [{"step": 1}])
    assert history.take("a", 1, [{"step": 2}, {"step": 3}]) == (3, [{"step": 3}])
    history.close()
    found = [(line["source"], line["seq"], line["step"]) for line in read(tmp_path / "events")]
    assert found == [("a", 0, 1), ("a", 1, 2), ("b", 0, 1), ("a", 2, 3)]


WRITER = """
import sys
from pathlib import Path
from rackrate.fleet.history import History
history = History(Path(sys.argv[1]))
first = int(sys.argv[2])
print("up", flush=True)
while True:
    history.take("a", first, [{"step": first + n, "loss": 0.5} for n in range(100)])
    first += 100
    print(first, flush=True)
"""


def test_a_keeper_that_is_killed_while_it_writes_loses_and_doubles_nothing(tmp_path: Path) -> None:
    path, n_acknowledged = tmp_path / "events", 0
    for _ in range(3):
        words = [sys.executable, "-c", WRITER, str(path), str(n_acknowledged)]
        with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as writer:
            assert writer.stdout
            for _ in range(20):
                line = writer.stdout.readline()
            os.kill(writer.pid, signal.SIGKILL)
            rest = writer.stdout.read().splitlines()
            n_acknowledged = int(next((one for one in reversed(rest) if one), line))
    History(path).close()
    lines = read(path)
    assert [line["seq"] for line in lines] == list(range(len(lines)))
    assert [line["step"] for line in lines] == list(range(len(lines)))
    assert len(lines) >= n_acknowledged > 5000


def test_a_late_reader_gets_all_and_a_torn_line_only_when_it_is_whole(tmp_path: Path) -> None:
    path, over = tmp_path / "events", threading.Event()
    path.write_bytes(b'{"step":1}\n{"st')
    reader = Events(path, over.is_set, poll_s=0.001)
    assert next(reader) == {"step": 1}
    assert reader.arrived() == []
    with path.open("ab") as out:
        out.write(b'ep":2}\n')
    assert next(reader) == {"step": 2}
    over.set()
    assert list(reader) == []


def test_a_coroutine_reads_along_and_the_loop_goes_on(tmp_path: Path) -> None:
    path, over = tmp_path / "events", threading.Event()

    async def watch() -> list[dict[str, Any]]:
        return [event async for event in Events(path, over.is_set, poll_s=0.001)]

    async def both() -> list[dict[str, Any]]:
        watching = asyncio.ensure_future(watch())
        history = History(path)
        for first in range(3):
            history.take("a", first, [{"step": first}])
            await asyncio.sleep(0)
        history.close()
        over.set()
        return await watching

    assert [event["step"] for event in asyncio.run(both())] == [0, 1, 2]


def test_a_reader_of_what_never_comes_ends_with_the_fleet(tmp_path: Path) -> None:
    assert list(Events(tmp_path / "none", lambda: True)) == []


def test_a_long_history_is_read_in_parts_and_in_order(tmp_path: Path) -> None:
    history = History(tmp_path / "events")
    history.take("a", 0, [{"step": step, "loss": 1.0} for step in range(20_000)])
    history.close()
    reader = Events(tmp_path / "events", lambda: True)
    assert [event["seq"] for event in reader] == list(range(20_000))


FULL = """
import json, resource, signal, sys
from pathlib import Path
from rackrate.fleet.history import History
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
points = [{"step": n} for n in range(100)]
history = History(Path(sys.argv[1]))
resource.setrlimit(resource.RLIMIT_FSIZE, (1000, resource.RLIM_INFINITY))
try:
    history.take("a", 0, points[:60])
except OSError:
    print("no room")
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
history.take("b", 0, points[:1])
n, new = history.take("a", 0, points)
print(n, [point["step"] for point in new] == list(range(100)))
"""


@pytest.mark.skipif(sys.platform != "linux", reason="a limit of a file's size")
def test_a_disk_that_was_full_for_a_while_tears_and_doubles_nothing(tmp_path: Path) -> None:
    words = [sys.executable, "-c", FULL, str(tmp_path / "events")]
    done = subprocess.run(words, capture_output=True, text=True, timeout=30, check=True)
    assert done.stdout == "no room\n100 True\n"
    lines = [(line["source"], line["seq"]) for line in read(tmp_path / "events")]
    assert lines == [*(("a", n) for n in range(60)), ("b", 0), *(("a", n) for n in range(60, 100))]
