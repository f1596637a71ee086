"""`rackrate fleet`, as one types it."""

from __future__ import annotations

import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from typing import Any

import psutil
import pytest

from rackrate.fleet import opening, tree
from rackrate.fleet.folder import all_folders

CODE = """
import rackrate
with rackrate.Fleet.attach() as fleet:
    print(sum(fleet.client.gather(fleet.map(lambda x: x * x, range(10)))))
raise SystemExit(7)
"""


@pytest.fixture(autouse=True)
def nothing_stays() -> Iterator[None]:
    """Look that no fleet of a test is left."""
    yield
    left = [folder.fleet for folder in all_folders() if opening.reap(folder)]
    assert left == []


def test_up_look_scale_down(cli: Any) -> None:
    up = cli("fleet", "up", "--nodes", "2", "--max-hours", "0.1", "--json").json
    name = up["fleet"]
    assert [node["state"] for node in up["nodes"]] == ["ready", "ready"]
    assert 300 < up["left_s"] <= 360
    listed = cli("fleet", "ls", "--json").json["data"]
    assert [(one["fleet"], one["phase"], one["n_ready"]) for one in listed] == [(name, "open", 2)]
    assert "2 of 2 wanted nodes work" in cli("fleet", "status").out
    assert cli("fleet", "scale", name[:5], "1", "--json").json["wanted"] == 1
    assert "Start worker" in cli("fleet", "logs", name, "1").out
    assert (
        cli("fleet", "cost", name, "--csv").out.splitlines()[0]
        == "node,state,billed_s,usd,least_usd,bill_usd"
    )
    assert cli("fleet", "reap", "--json").json["data"] == []  # what has a keeper is left alone
    down = cli("fleet", "down", "--json").json
    assert (down["phase"], down["why"]) == ("closed", "it was told to end")
    assert {node["state"] for node in down["nodes"]} == {"gone"}
    assert cli("fleet", "scale", name, "3").code == 5


def test_run_brings_up_runs_and_takes_down_and_exits_as_the_command(process: Any) -> None:
    words = ["-m", "rackrate", "fleet", "run", "--nodes", "2", "--", sys.executable, "-c", CODE]
    ran = process(*words)
    assert (ran.code, ran.out, ran.err) == (7, "285\n", "")
    (folder,) = all_folders()
    assert opening.status(folder).why == "its command has ended"


def test_reap_ends_what_a_dead_keeper_left(cli: Any) -> None:
    name = cli("fleet", "up", "--nodes", "1", "--lease-s", "60", "--json").json["fleet"]
    for one in tree.marked(name):
        if "rackrate.fleet.keeping" in " ".join(one.cmdline()):
            one.kill()
            psutil.wait_procs([one], timeout=5)
    assert "fleet reap" in cli("fleet", "ls").out
    (reaped,) = cli("fleet", "reap", "--json").json["data"]
    assert reaped["fleet"] == name
    assert reaped["n_processes"] >= 4
    assert tree.marked(name) == []
    assert cli("fleet", "status", name, "--json").json["why"] == "reaped"


TOLD = """
from rackrate import Fleet
def tell():
    from rackrate import fleet
    for step in range(40):
        fleet.report(step, loss=1 / (step + 1))
with Fleet.attach() as fleet:
    fleet.submit(tell).result()
"""


def test_watch_tells_in_a_pipe_what_is_new_and_ends_with_the_fleet(process: Any) -> None:
    name = process("-m", "rackrate", "fleet", "up", "--lease-s", "5", "--csv")
    assert name.code == 0
    (folder,) = all_folders()
    with subprocess.Popen(
        [sys.executable, "-m", "rackrate", "fleet", "watch"], stdout=subprocess.PIPE, text=True
    ) as watching:
        assert watching.stdout
        assert "open, 1 of 1 nodes ready, 0.0000 USD" in watching.stdout.readline()
        assert process("-c", TOLD).code == 0
        process("-m", "rackrate", "fleet", "down")
        said = watching.stdout.read().splitlines()
    assert watching.returncode == 0
    assert "closed: it was told to end" in said[-1]
    assert "40 reports, last loss 0.025" in said[-1]
    again = process("-m", "rackrate", "fleet", "watch", folder.fleet)
    assert again.out.splitlines() == said[-1:]


WATCH = """
import signal, sys
signal.signal(signal.SIGINT, signal.default_int_handler)  # ignored where the tests run in the background
from rackrate.cli import status
sys.exit(status(["fleet", "watch"]))
"""


def test_watch_draws_nodes_and_curves_on_a_terminal(process: Any) -> None:
    process("-m", "rackrate", "fleet", "up", "--nodes", "2", "--lease-s", "5", "--max-hours", "0.1")
    terminal, other = pty.openpty()
    words = [sys.executable, "-c", WATCH]
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100"}
    with subprocess.Popen(words, stdout=other, stderr=other, env=env) as watching:
        os.close(other)
        assert process("-c", TOLD).code == 0
        shown = b""
        while "█".encode() not in shown:
            shown += os.read(terminal, 65536)
        watching.send_signal(signal.SIGINT)
        while b"goes on" not in shown:
            shown += os.read(terminal, 65536)
    os.close(terminal)
    text = shown.decode(errors="replace")
    assert "2 of 2 nodes ready" in text
    assert "1 ready" in text
    assert watching.returncode == 0
    (folder,) = all_folders()
    assert opening.status(folder).phase == "open"
    process("-m", "rackrate", "fleet", "down")


@pytest.mark.parametrize(
    ("args", "code", "error"),
    [
        (["up", "--nodes", "-3"], 2, "bad-quantity"),
        (["up", "--backend", "runpot"], 2, "unknown-backend"),
        (["up", "--budget-usd", "0.01", "--usd-per-node-hour", "90"], 6, "over-budget"),
        (["status", "n0ne"], 2, "unknown-fleet"),
        (["status"], 2, "usage"),
        (["scale", "n0ne", "2"], 2, "unknown-fleet"),
        (["down", "n0ne"], 2, "unknown-fleet"),
    ],
)
def test_what_cannot_be_is_one_error_with_its_code(args: list[str], code: int, error: str, cli: Any) -> None:
    ran = cli("fleet", *args, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (code, error)


def test_a_command_that_is_none_is_told_and_leaves_nothing(cli: Any) -> None:
    ran = cli("fleet", "run", "--", "no-such-program")
    assert ran.code == 2
    assert "no-such-program" in ran.err
