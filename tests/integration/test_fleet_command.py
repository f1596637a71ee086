"""A program on the nodes: what it writes, what it makes, how it ends."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rackrate
from rackrate.errors import FleetError, UsageError
from rackrate.fleet import command
from rackrate.fleet.folder import all_folders


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rackrate.Fleet]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_DATA_HOME", str(tmp_path_factory.mktemp("d")))
        with rackrate.Fleet(nodes=2, lease_s=30) as fleet:
            yield fleet


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_every_line_is_heard_in_its_order_before_the_end(fleet: rackrate.Fleet) -> None:
    heard: dict[str, list[str]] = {}
    code = "for i in range(2000): print(i)\nraise SystemExit(3)"
    ran = command.run(fleet, python(code), lambda node, line: heard.setdefault(node, []).append(line))
    assert [one.code for one in ran] == [3, 3]
    assert sorted(heard) == [one.node for one in ran]
    assert all(lines == [str(i) for i in range(2000)] for lines in heard.values())


def test_one_node_is_enough_where_one_is_asked_for(fleet: rackrate.Fleet) -> None:
    lines: list[tuple[str, str]] = []
    (ran,) = command.run(fleet, python("print(1)"), lambda *said: lines.append(said), on_one=True)
    assert lines == [(ran.node, "1")]


def test_files_come_home_as_they_were(fleet: rackrate.Fleet, tmp_path: Path) -> None:
    code = "import os; os.mkdir('out'); open('out/a', 'w').write('x' * 9); open('b', 'w').write('no')"
    for ran in command.run(fleet, python(code), lambda *_: None, collect=["out/*"]):
        (path,) = command.unpack(ran, tmp_path / ran.node)
        assert path == tmp_path / ran.node / "out/a"
        assert path.read_text() == "x" * 9


def test_a_program_that_is_not_there_is_said_to_be_so(fleet: rackrate.Fleet) -> None:
    lines: list[str] = []
    ran = command.run(fleet, ["no-such-program"], lambda _, line: lines.append(line))
    assert [one.code for one in ran] == [127, 127]
    assert lines == ["no-such-program: No such file or directory"] * 2


@pytest.mark.parametrize("pattern", ["/etc/passwd", "../*"])
def test_nothing_outside_of_its_folder_is_collected(fleet: rackrate.Fleet, pattern: str) -> None:
    with pytest.raises(UsageError):
        command.run(fleet, python("0"), lambda *_: None, collect=[pattern])


def test_a_node_that_ends_while_its_program_runs_is_an_error() -> None:
    with rackrate.Fleet(nodes=1, lease_s=30) as fleet:

        def kill(_: str, line: str) -> None:
            os.kill(int(line), signal.SIGKILL)

        code = "import os, time; print(os.getppid(), flush=True); time.sleep(60)"
        with pytest.raises(FleetError, match=r"-1 ended while its program ran"):
            command.run(fleet, python(code), kill)


def test_a_plan_is_run_and_its_files_come_home(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    cli("plan", "llama-3.1-8b", "--rps", "1", "-o", "plan.json")
    words = ["--backend", "local", "--nodes", "2", "--usd-per-node-hour", "0", "--collect", "*.txt"]
    code = "open('made.txt', 'w').write('made'); print('done'); raise SystemExit(5)"
    ran = cli("run", "plan.json", *words, "--", *python(code))
    assert ran.code == 5
    assert sorted(ran.out.splitlines()) == ["1| done", "2| done"]
    assert [path.read_text() for path in sorted(tmp_path.glob("collected/*/made.txt"))] == ["made"] * 2
    assert [folder.keeper.exists() for folder in all_folders()] == [False]


def test_a_plan_that_is_none_is_one_error(cli: Any, tmp_path: Path) -> None:
    (tmp_path / "plan.json").write_text("{}")
    assert cli("run", str(tmp_path / "plan.json"), "--", "true").code == 2
    assert cli("run", str(tmp_path / "none.json"), "--", "true").code == 2
