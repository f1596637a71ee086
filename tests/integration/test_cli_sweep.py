"""`rackrate sweep`, as one types it."""

from __future__ import annotations

import os
import pty
import re
import shlex
import subprocess
import sys
from pathlib import Path
from typing import Any
from xml.etree import ElementTree as ET

import pytest

from rackrate.fleet import opening
from rackrate.fleet.folder import all_folders
from rackrate.fleet.sweeping import sweep_folder

ROOT = Path(__file__).resolve().parents[2]
FILE = """
from beside import N_STEPS
from rackrate.fleet import Range

{names}

def train(params):
    from rackrate import fleet
    for step in range(1, N_STEPS + 1):
        fleet.report(step, loss=params["floor"] + 1 / step)
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    (tmp_path / "beside.py").write_text("N_STEPS = 8\n")
    path = tmp_path / "task.py"
    path.write_text(FILE.format(names="VARIANTS = [{'floor': float(n)} for n in (3, 1, 2, 0)]"))
    return path


def test_a_file_is_swept_and_nothing_is_left_but_the_results(cli: Any, file: Path, tmp_path: Path) -> None:
    svg = tmp_path / "curves.svg"
    words = [
        "sweep",
        str(file),
        "--nodes",
        "2",
        "--usd-per-node-hour",
        "3.6",
        "--prune",
        "asha:first=2,eta=2",
    ]
    ran = cli(*words, "--name", "once", "--svg", str(svg), "--json")
    assert ran.code == 0, ran.err
    rows = ran.json["data"]
    assert [row["floor"] for row in rows] == [3.0, 1.0, 2.0, 0.0]
    assert rows[3]["state"] == "done"
    assert {row["state"] for row in rows} == {"done", "pruned"}
    assert ran.json["goal"]["rule"] == {"rule": "asha", "first": 2, "eta": 2, "least": None}
    said = "".join(ET.fromstring(svg.read_text(encoding="utf-8")).itertext())  # noqa: S314 - we wrote it
    assert "best loss 0.1250" in said
    assert [opening.reap(folder) for folder in all_folders()] == [0]
    table = cli(*words, "--name", "once", "--csv").out.splitlines()
    assert table[0].startswith("trial,state,value,step,floor,attempts,node")
    assert table[1].startswith("3,done,0.125,8,0.0,1,")


def test_the_commands_of_the_how_to_do_what_it_says(
    cli: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = (ROOT / "docs/how-to/sweep.md").read_text(encoding="utf-8")
    code = re.search(r"```python\n(# train.py\n.*?)```", text, re.DOTALL)
    commands = re.findall(r"^    rackrate (sweep train.py .*)$", text, re.MULTILINE)
    assert code
    assert len(commands) == 2
    monkeypatch.chdir(tmp_path)
    Path("train.py").write_text(code[1], encoding="utf-8")
    whole, pruned = (cli(*shlex.split(command), "--json").json["data"] for command in commands)
    assert [row["state"] for row in whole] == ["done"] * 12
    assert {row["state"] for row in pruned} == {"done", "pruned"}
    best = [
        min((row for row in rows if row["state"] == "done"), key=value_of)["width"]
        for rows in (whole, pruned)
    ]
    assert best == [128, 128]
    assert Path("curves.svg").read_text(encoding="utf-8").startswith("<svg")
    assert [len(row["curve_steps"]) for row in whole] == [40] * 12


def value_of(row: dict[str, Any]) -> float:
    return float(row["value"])


def test_on_a_terminal_nodes_curves_and_trials_are_seen_and_the_results_go_where_they_are_sent(
    file: Path, tmp_path: Path
) -> None:
    """What is drawn goes to the terminal, the results into the file that the output is sent to."""
    go = tmp_path / "go"
    held = f"    import pathlib, time\n    while not pathlib.Path({str(go)!r}).exists(): time.sleep(0.02)\n"
    file.write_text(file.read_text() + held)
    terminal, other = pty.openpty()
    words = ["sweep", str(file), "--nodes", "2", "--name", "seen", "--csv"]
    env = {**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "LINES": "40"}
    command = [sys.executable, "-m", "rackrate", *words]
    with (
        (tmp_path / "out.csv").open("wb") as out,
        subprocess.Popen(command, stdout=out, stderr=other, env=env) as sweeping,
    ):
        os.close(other)
        shown = b""
        try:
            while not (b"sweep seen: 2 running" in shown and "█".encode() in shown):
                shown += os.read(terminal, 65536)
        finally:
            go.touch()
        shown += rest_of(terminal)
    os.close(terminal)
    assert sweeping.returncode == 0, shown.decode()
    text = shown.decode()
    assert "2 of 2 nodes ready" in text
    assert "1 ready" in text
    rows = (tmp_path / "out.csv").read_text().splitlines()
    assert rows[0].startswith("trial,state,value,step,floor,attempts,node")
    assert len(rows) == 5
    assert [opening.reap(folder) for folder in all_folders()] == [0]


def rest_of(terminal: int) -> bytes:
    """Return what is still written to a terminal."""
    found = b""
    try:
        while part := os.read(terminal, 65536):
            found += part
    except OSError:  # the other end is closed
        pass
    return found


def test_a_space_is_sampled(cli: Any, file: Path) -> None:
    file.write_text(FILE.format(names="SPACE = {'floor': Range(0.5, 1.0)}"))
    ran = cli("sweep", str(file), "--trials", "3", "--json")
    assert [0.5 <= row["floor"] <= 1 for row in ran.json["data"]] == [True] * 3


@pytest.mark.parametrize(
    ("text", "words", "code", "error", "says"),
    [
        ("VARIANTS = [{}]", [], 2, "usage", "has no train"),
        ("def train(p): pass", [], 2, "usage", "has neither VARIANTS nor SPACE"),
        ("import nowhere_at_all", [], 2, "usage", "cannot be loaded: ModuleNotFoundError"),
        ("raise SystemExit(4)", [], 2, "usage", "cannot be loaded: SystemExit: 4"),
        (
            "import threading\nL = threading.Lock()\nVARIANTS = [{}]\ndef train(p): L",
            [],
            2,
            "not-picklable",
            "lock",
        ),
        ("VARIANTS = [{'a': 1}]\ndef train(p): pass", [], 2, "no-metric", "reported no loss"),
        (
            "VARIANTS = [{'a': 1}]\ndef train(p): pass",
            ["--prune", "asha:etta=2"],
            2,
            "bad-quantity",
            "no settings",
        ),
        ("VARIANTS = [{'a': 1}]\ndef train(p): pass", ["--nodes", "-1"], 2, "bad-quantity", "nodes -1"),
        ("VARIANTS = [{'a': 1}]\ndef train(p): 1 / 0", ["--tries", "1"], 3, "no-answer", "has a loss"),
    ],
)
def test_what_is_wrong_is_one_sentence(
    cli: Any, tmp_path: Path, text: str, words: list[str], code: int, error: str, says: str
) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(text + "\n")
    ran = cli("sweep", str(path), *words, "--json")
    assert (ran.code, ran.json["error"]["code"]) == (code, error)
    assert says in ran.json["error"]["detail"]
    assert [opening.reap(folder) for folder in all_folders()] == [0] * len(all_folders())


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", ()),
        ("VARIANTS = []\ndef train(p): pass", ()),
        ("VARIANTS = [{'a': 1}]\ndef train(p): pass", ("--prune", "ahsa")),
        ("VARIANTS = [{'a': 1}]\ndef train(p): pass", ("--trials", "0")),
        ("VARIANTS = [{'a': 1}]\ndef train(p): pass", ("--name", "Over Night")),
    ],
)
def test_before_money_is_spent_the_file_and_the_words_are_looked_at(
    cli: Any, tmp_path: Path, text: str, words: tuple[str, ...]
) -> None:
    path = tmp_path / "wrong.py"
    path.write_text(text)
    assert cli("sweep", str(path), *words).code == 2
    assert all_folders() == []
    assert not sweep_folder("x").parent.exists()
