"""An agent that fails leaves as little as one that ends."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from rackrate.fleet import tree

NODE = """
import subprocess, sys, time
from rackrate.fleet.backends.agent import Agent
from rackrate.fleet.backends.base import Order

def engine(order, address, say):
    deaf = "import os, signal, time; signal.signal(15, signal.SIG_IGN); os.fork(); time.sleep(600)"
    subprocess.Popen([sys.executable, "-c", deaf], start_new_session=True)
    time.sleep(0.5)
    say({"is_ready": True})
    time.sleep(600)

Agent(Order("rr-a6e27000-1", "a6e27000", "worker", sys.argv[1], 30.0, 60.0), engine).run()
"""


@contextmanager
def keeper(path: Path, answers: list[dict[str, object]]) -> Iterator[list[dict[str, object]]]:
    """Answer so often, then nothing; yield what was asked."""
    heard: list[dict[str, object]] = []

    def answer() -> None:
        link, _ = server.accept()
        with link, link.makefile("rwb") as stream:
            for line in stream:
                heard.append(json.loads(line))
                if answers:
                    stream.write(json.dumps(answers.pop(0)).encode() + b"\n")
                    stream.flush()

    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        answering = threading.Thread(target=answer)
        answering.start()
        yield heard
        answering.join()


@pytest.fixture
def mark(monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv(tree.MARK, os.urandom(4).hex())
    return os.environ[tree.MARK]


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
def test_an_agent_that_does_not_understand_its_keeper_ends_all_it_has(tmp_path: Path, mark: str) -> None:
    grant: dict[str, object] = {"ttl_s": 30, "address": "here", "is_draining": False}
    with keeper(tmp_path / "keeper", [grant, {"what": "ever"}]) as heard:
        done = subprocess.run(
            [sys.executable, "-c", NODE, str(tmp_path / "keeper")],
            capture_output=True,
            text=True,
            timeout=30,
            check=True,
        )
    assert "its agent failed (KeyError: 'ttl_s')" in done.stderr
    assert heard[1]["is_ready"] is True
    assert heard[2]["do"] == "ended"
    assert tree.marked(mark) == []


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
def test_a_node_that_cannot_write_its_log_ends_all_the_same(tmp_path: Path, mark: str) -> None:
    with (
        keeper(tmp_path / "keeper", [{"refused": "nobody wants it"}]) as heard,
        Path("/dev/full").open("w") as full,
    ):
        words = [sys.executable, "-c", NODE, str(tmp_path / "keeper")]
        subprocess.run(words, stderr=full, timeout=30, check=False)
    assert [one["do"] for one in heard] == ["renew", "ended"]
    assert tree.marked(mark) == []


def test_a_frozen_process_is_told_from_one_that_works_and_from_one_that_is_gone() -> None:
    with subprocess.Popen(["sleep", "600"]) as process:
        assert not tree.is_frozen(process.pid)
        psutil.Process(process.pid).suspend()
        while psutil.Process(process.pid).status() != psutil.STATUS_STOPPED:
            pass
        assert tree.is_frozen(process.pid)
        process.kill()
    assert not tree.is_frozen(process.pid)
