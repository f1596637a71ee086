"""A program on the nodes: what it writes, what it makes, how it ends."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import rackrate
from rackrate.errors import UsageError
from rackrate.fleet import command


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
