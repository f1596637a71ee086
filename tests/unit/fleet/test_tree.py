"""Ending a tree of processes: children, grandchildren in sessions of their own, orphans, the deaf."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rackrate.fleet import tree

RUNAWAYS = """
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
if os.fork() == 0:                                  # a child
    if os.fork() == 0:
        os.setsid()                                 # a grandchild in a session of its own ...
        if os.fork():
            os._exit(0)                             # ... whose parent is dead
        time.sleep(600)
    time.sleep(600)
time.sleep(600)
"""
PARENT = """
import os, subprocess, sys, time
from rackrate.fleet import tree
{prepare}
null = subprocess.DEVNULL
line = [sys.executable, "-c", sys.argv[1]]
child = subprocess.Popen(line, start_new_session={alone}, stdout=null, stderr=null)
time.sleep(0.5)
print(len(tree.marked(os.environ[tree.MARK])), flush=True)
{end}
print(len(tree.marked(os.environ[tree.MARK])), flush=True)
"""


def run(prepare: str, end: str, *, alone: bool = False) -> list[int]:
    """Start runaways below a process that ends them; return how many there were before and after."""
    code = textwrap.dedent(PARENT.format(prepare=prepare, end=end, alone=alone))
    done = subprocess.run(
        [sys.executable, "-c", code, RUNAWAYS],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    return [int(line) for line in done.stdout.split()]


@pytest.fixture(autouse=True)
def mark(monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Mark what a test starts, and end what it leaves."""
    name = os.urandom(4).hex()
    monkeypatch.setenv(tree.MARK, name)
    yield name
    for process in tree.marked(name):
        process.kill()


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
@pytest.mark.parametrize("alone", [False, True])
def test_an_adopting_process_ends_all_that_is_below_it(*, alone: bool) -> None:
    assert run("tree.adopt_orphans()", "tree.end_children(child.pid)", alone=alone) == [3, 0]


def test_what_is_kept_stays_with_all_below_it() -> None:
    assert run("tree.adopt_orphans()", "tree.end_children(keep=frozenset({child.pid}))") == [3, 2]


def test_a_fleet_is_found_by_its_mark_alone(mark: str) -> None:
    code = "import os, time; os.setsid(); time.sleep(600)"
    with subprocess.Popen([sys.executable, "-c", code]) as one:
        time.sleep(0.2)
        assert [process.pid for process in tree.marked(mark)] == [one.pid]
        assert (one.pid, mark) in [(process.pid, fleet) for process, fleet in tree.all_marked()]
        assert tree.marked("0ther") == []
        one.kill()
    assert tree.marked(mark) == []


def is_alive(pid: int) -> bool:
    """Tell whether a process runs; one that is dead and not yet collected does not."""
    try:
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


@pytest.mark.skipif(sys.platform != "linux", reason="the signal of a dead parent is Linux's")
def test_a_process_dies_with_its_parent(tmp_path: Path) -> None:
    pid_file = tmp_path / "pid"
    code = f"""
import os, pathlib, time
from rackrate.fleet import tree
if os.fork() == 0:
    tree.die_with_parent()
    pathlib.Path({str(pid_file)!r}).write_text(str(os.getpid()))
    time.sleep(600)
while not pathlib.Path({str(pid_file)!r}).exists():
    time.sleep(0.01)
time.sleep(0.1)
os.kill(os.getpid(), 9)
"""
    subprocess.run([sys.executable, "-c", code], check=False, timeout=30)
    time.sleep(0.2)
    assert not is_alive(int(pid_file.read_text()))


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
def test_what_a_child_leaves_that_is_already_dead_is_found_too() -> None:
    """An agent that was killed is dead before its orphans are looked for; another child is kept."""
    kill = "kept = subprocess.Popen(['sleep', '600']); child.kill(); time.sleep(0.3)"
    end = f"{kill}; tree.end_children(keep=frozenset({{kept.pid}})); kept.kill(); kept.wait()"
    assert run("tree.adopt_orphans()", end) == [3, 0]


ROUNDS = """
import os, time
from rackrate.fleet import tree
tree.adopt_orphans()
n_missed = 0
for _ in range(100):
    read, write = os.pipe()
    child = os.fork()
    if child == 0:
        os.setpgid(0, 0)
        _ballast = b"x" * (30 << 20)                # it takes a while to die
        if os.fork() == 0:
            os.setsid()
            os.fork()
            os.write(write, b"x")
            time.sleep(60)
        time.sleep(60)
    got = b""
    while len(got) < 2:
        got += os.read(read, 2)
    tree.end_children(child)
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        continue
    n_missed += 1
    tree.end_children()
print(n_missed)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux lets a process adopt orphans")
def test_orphans_of_a_child_that_dies_while_it_is_looked_for_are_found() -> None:
    """Seen in one of 30 such ends: what was read as the child's was nobody's when the child was collected."""
    done = subprocess.run([sys.executable, "-c", ROUNDS], capture_output=True, text=True, check=True)
    assert done.stdout == "0\n"


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells a process's children")
def test_children_are_found_the_same_way_where_the_kernel_does_not_tell_them() -> None:
    code = "import subprocess, sys; subprocess.run([sys.executable, '-c', 'import time; time.sleep(600)'])"
    with subprocess.Popen([sys.executable, "-c", code]) as child:
        time.sleep(0.5)
        seen = tree._seen_children()
        assert child.pid in seen(os.getpid())
        assert len(seen(child.pid)) == 1
        for pid in (os.getpid(), child.pid, 2**22 + 1):
            assert sorted(tree._told_children(pid)) == sorted(seen(pid))
        tree.end_tree(psutil.Process(child.pid))
