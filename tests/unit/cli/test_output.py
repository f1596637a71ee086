"""Progress and note: on a terminal only, on stderr only, and gone when done."""

from __future__ import annotations

import io
import itertools
import sys
import time

import click
import pytest

from rackrate.cli import main, output
from rackrate.errors import UsageError
from rackrate.report.block import Block, Text


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


class Words:
    def to_dict(self) -> dict[str, str]:
        return {"said": "ä"}

    def blocks(self) -> list[Block]:
        return [Text("title", ("line",))]


def test_progress_is_silent_in_a_pipe(capsys: pytest.CaptureFixture[str]) -> None:
    with output.progress("reading") as tick:
        for _ in range(5000):
            tick()
    assert capsys.readouterr() == ("", "")


@pytest.mark.parametrize(("seconds", "is_shown"), [(0.05, False), (0.3, True)])
def test_progress_shows_a_count_once_it_takes_long(
    seconds: float,
    is_shown: bool,  # noqa: FBT001 - a parameter of the test
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Terminal()
    clock = itertools.count(0, seconds)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setenv("TERM", "xterm")
    with output.progress("reading") as tick:
        for _ in range(3000):
            tick()
    assert ("reading: 3,000 rows" in screen.getvalue()) is is_shown
    assert screen.getvalue().endswith("\r\033[K") is is_shown


def test_progress_of_few_but_slow_things_looks_at_the_clock_more_often(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    screen = Terminal()
    clock = itertools.count(0, 0.3)
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    monkeypatch.setenv("TERM", "xterm")
    with output.progress("judging", "models", every=10) as tick:
        for _ in range(30):
            tick()
    assert "judging: 30 models" in screen.getvalue()


def test_progress_is_silent_on_a_dumb_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    screen = Terminal()
    monkeypatch.setattr(sys, "stderr", screen)
    monkeypatch.setenv("TERM", "dumb")
    with output.progress("reading") as tick:
        tick()
    assert screen.getvalue() == ""


def test_an_answer_without_a_table_is_no_csv(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(UsageError):
        output.emit(Words(), "csv")
    output.emit(Words(), "json")
    output.emit(Words(), "md")
    output.emit(Words(), None)
    assert capsys.readouterr().out.split() == [
        "{",
        '"said":',
        '"ä"',
        "}",
        "##",
        "title",
        "-",
        "line",
        "title",
        "line",
    ]


def test_the_first_screen_starts_with_examples_and_lists_each_command_once() -> None:
    text = main.get_help(click.Context(main, info_name="rackrate"))
    assert text.index("rackrate gpu l40s") < text.index("Options:")
    listed = text.partition("Commands:")[2].split("\n")
    names = [line.split()[0] for line in listed if line.strip()]
    assert names == main.list_commands(click.Context(main))


def test_every_line_of_the_first_screen_is_the_commands_own() -> None:
    ctx = click.Context(main)
    for name in main.list_commands(ctx):
        command = main.get_command(ctx, name)
        assert command is not None
        assert command.name == name
    assert main.get_command(ctx, "nothing") is None
