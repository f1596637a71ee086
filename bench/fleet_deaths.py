"""Strike fleets in every way, at random, and count the seconds until no process of what was struck is left.

    python bench/fleet_deaths.py --trials 1173 --at-once 4 --work call --series deaths.jsonl --docs
    python bench/fleet_deaths.py --trials 20 --nodes 1 8 --lease-s 3
    python bench/fleet_deaths.py --only 17 --seed 3       # the trial of that number again

Every node is busy: with a loop of Python, or, so that a machine can bear several fleets at once, with a call
that keeps the interpreter's lock and takes no core; and with a child in a session of its own that is deaf to
SIGTERM and has a child itself. What is struck, how, when, and how large the fleet is follow from the seed.
A long series takes hours: it goes on where it was interrupted when its outcomes are kept in a file.
Processes are found by the fleet's mark in their environment, by somebody who is no part of the fleet. Nodes
live on this machine, or each on a machine of its own with its own network where this one can make such
(Linux, root): there links are cut.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
import os
import random
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import suppress
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from subprocess import CalledProcessError

import psutil
from measure import machine, table, write_section

from rackrate.errors import FleetError
from rackrate.testing import namespaces
from rackrate.testing.busy import AGENT, HOME, SCHEDULER, Busy, How, Place, Work, living, seconds_until_gone

GRACE_S = 1.0
"""Beyond the lease."""
PATIENCE_S = 30.0
NODE = "node"
LONGEST_BOOT_S = 4.0
"""After the start of the owner a fleet that boots is struck within so many seconds."""
PAIR = "two parts, one after the other"
BOOTING = "one part, while the fleet boots"
UNBORN_S = 1.0
"""Of a fleet that boots nothing must be seen for so long: what was ordered before may be born after."""
ASKED_FOR = ("owner", "keeper", SCHEDULER, NODE, HOME)
"""Parts whose deaths are drawn more often than others'."""
TIMES_ASKED_FOR, TIMES_MIXED = 6, 2
"""How often in a round one of those is drawn; and two parts, and a fleet that boots. All others once."""

METHOD = """{n} trials, drawn by a seed, of {days}: a fleet of {least} to {most} nodes, lease {lease_s:g} s,
every node busy with {work} and a child in a session of its own that ignores SIGTERM and has a child itself;
{at_once} at once. After a random part of a lease something is struck: killed is SIGKILL,
frozen is SIGSTOP, cut is its network port unplugged. The time is counted from the last strike until no
process of any node is left, the scheduler's among them; of a struck node, until none of that node is. Where a
link is cut, and in every third trial else, nodes are machines of their own (namespaces of this host); else
they are processes of this one. *Home* cut is the owner's machine without network: all nodes are cut off and
the keeper is frozen, so that nobody else can end them. The promise is the lease and {grace_s:g} s."""

WORK = {
    "loop": "a Python loop that takes a core",
    "call": "a call into C that never gives the interpreter's lock back",
}

KINDS: dict[str, tuple[tuple[str, How], tuple[Place, ...]]] = {
    "owner killed": (("owner", "killed"), ("local", "emulated")),
    "owner frozen": (("owner", "frozen"), ("local", "emulated")),
    "keeper killed": (("keeper", "killed"), ("local", "emulated")),
    "keeper frozen": (("keeper", "frozen"), ("local", "emulated")),
    "gate killed": (("gate", "killed"), ("emulated",)),
    "gate frozen": (("gate", "frozen"), ("emulated",)),
    "home cut": ((HOME, "cut"), ("emulated",)),
    "scheduler killed": ((SCHEDULER, "killed"), ("local", "emulated")),
    "scheduler frozen": ((SCHEDULER, "frozen"), ("local", "emulated")),
    "scheduler's agent killed": ((AGENT, "killed"), ("local", "emulated")),
    "scheduler's agent frozen": ((AGENT, "frozen"), ("local", "emulated")),
    "zygote killed": (("zygote", "killed"), ("local",)),
    "node killed": ((NODE, "killed"), ("local", "emulated")),
    "node frozen": ((NODE, "frozen"), ("local", "emulated")),
    "node cut": ((NODE, "cut"), ("emulated",)),
}
"""What is struck and how, and where nodes live to whom that can happen."""


@dataclass(frozen=True)
class Trial:
    """What is done to one fleet.

    Attributes:
        kind: under what it is counted.
        place: where its nodes live.
        nodes: how many.
        lease_s: of the fleet.
        strikes: parts and what happens to them, in order.
        delay_s: before the first, since all are busy or, of a fleet that boots, since there is one.
        gap_s: between two.
        seed: says which node is struck.
    """

    kind: str
    place: Place
    nodes: int
    lease_s: float
    strikes: tuple[tuple[str, How], ...]
    delay_s: float
    gap_s: float
    seed: int

    def __str__(self) -> str:
        struck = ", ".join(f"{part} {how}" for part, how in self.strikes)
        when = f"after {self.delay_s:.2f} s" + (f" and {self.gap_s:.2f} s" if len(self.strikes) > 1 else "")
        return f"{self.kind} ({struck} {when}; {self.nodes} {self.place} nodes, lease {self.lease_s:g} s)"


def trials(n: int, seed: int, sizes: tuple[int, int], lease_s: float, *, is_root: bool) -> Iterator[Trial]:
    """Yield trials: rounds of every kind in an order of the seed, pairs and fleets that boot among them."""
    chance = random.Random(seed)  # noqa: S311 - no secret
    kinds = [kind for kind, (_, places) in KINDS.items() if is_root or "local" in places]
    round_ = [PAIR, BOOTING] * TIMES_MIXED
    for kind in kinds:
        round_ += [kind] * (TIMES_ASKED_FOR if KINDS[kind][0][0] in ASKED_FOR else 1)
    order: list[str] = []
    for _ in range(n):
        order = order or chance.sample(round_, len(round_))
        yield _trial(order.pop(), kinds, chance, chance.randint(*sizes), lease_s, is_root=is_root)


def _trial(
    kind: str, kinds: Sequence[str], chance: random.Random, nodes: int, lease_s: float, *, is_root: bool
) -> Trial:
    """Draw the rest of a trial of a kind."""
    ending = [one for one in kinds if KINDS[one][0][0] != NODE]
    drawn = [kind if kind in KINDS else chance.choice(ending)]
    places = set(KINDS[drawn[0]][1]) if is_root else {"local"}
    if kind == PAIR:
        others = [one for one in ending if one != drawn[0] and places.intersection(KINDS[one][1])]
        drawn.append(chance.choice(others))
        places.intersection_update(KINDS[drawn[1]][1])
    every: tuple[Place, ...] = ("local", "local", "emulated")
    place = chance.choice([place for place in every if place in places])
    strikes = tuple(KINDS[one][0] for one in drawn)
    delay_s = chance.uniform(0, LONGEST_BOOT_S if kind == BOOTING else lease_s / 2)
    gap_s, seed = chance.uniform(0, lease_s), chance.getrandbits(32)
    return Trial(kind, place, nodes, lease_s, strikes, delay_s, gap_s, seed)


def run(trial: Trial, keep: Path, work: Work = "loop") -> float | None:
    """Bring up a fleet, strike it, and leave nothing; return the seconds, None when something stayed.

    What was too late, or never came up, has its logs kept.

    Raises:
        FleetError: it does not come up; nothing was struck.
    """
    busy = Busy.open(trial.nodes, trial.lease_s, trial.place, work)
    try:
        if trial.kind != BOOTING:
            busy.wait_busy()
        time.sleep(trial.delay_s)
        busy.look_for([part for part, _ in trial.strikes])
        look = busy.of_nodes
        for number, (part, how) in enumerate(trial.strikes):
            time.sleep(trial.gap_s if number else 0)
            if part == NODE:
                part = random.Random(trial.seed).choice(busy.numbers())  # noqa: PLW2901, S311 - no secret
                node = busy.of_node(part)
                look = partial(living, node)
            with suppress(psutil.NoSuchProcess, CalledProcessError):  # the first strike was its end
                busy.strike(part, how)
        seconds, left = seconds_until_gone(look, PATIENCE_S, UNBORN_S if trial.kind == BOOTING else 0.0)
    except FleetError:
        _keep(busy, trial, busy.of_nodes(), keep)
        raise
    else:
        if left or seconds > trial.lease_s + GRACE_S:
            _keep(busy, trial, left, keep)
        return None if left else seconds
    finally:
        busy.close()


def _keep(busy: Busy, trial: Trial, left: Sequence[psutil.Process], keep: Path) -> None:
    """Keep what a trial leaves for whoever looks for its cause."""
    folder = keep / busy.folder.fleet
    shutil.copytree(busy.folder.path, folder, ignore=shutil.ignore_patterns("scratch", "keeper"))
    lines = [str(trial), *(f"{one.pid} {one.status()} {one.cmdline()}" for one in left if one.is_running())]
    (folder / "left").write_text("\n".join(lines))
    sys.stderr.write(f"kept in {folder}\n")


@dataclass(frozen=True)
class Outcome:
    """What became of a trial.

    Attributes:
        kind: under what it is counted.
        trial: in words.
        seconds: until nothing was left; None when something stayed.
        day: when.
    """

    kind: str
    trial: str
    seconds: float | None
    day: str


class Series:
    """Outcomes of trials, kept in a file line by line where there is one."""

    def __init__(self, path: Path | None) -> None:
        """Take up what the file has."""
        self._path = path
        lines = path.read_text("utf-8").splitlines() if path and path.exists() else []
        self.outcomes = [Outcome(**json.loads(line)) for line in lines]

    def lacks(self, drawn: Sequence[Trial]) -> list[Trial]:
        """Return the trials of which nothing is known."""
        known = {one.trial for one in self.outcomes}
        return [trial for trial in drawn if str(trial) not in known]

    def add(self, trial: Trial, seconds: float | None) -> None:
        """Keep an outcome."""
        done = Outcome(trial.kind, str(trial), seconds, f"{datetime.now(UTC):%Y-%m-%d}")
        self.outcomes.append(done)
        if self._path:
            with self._path.open("a", encoding="utf-8") as file:
                file.write(json.dumps(asdict(done)) + "\n")


def _run_apart(trial: Trial, keep: Path, work: Work) -> float | FleetError | None:
    """Run a trial whose fleets are in a folder of their own; return an error that says nothing was struck."""
    with tempfile.TemporaryDirectory() as folder:
        os.environ["XDG_DATA_HOME"] = folder
        try:
            return run(trial, keep, work)
        except FleetError as error:
            return error


def run_all(drawn: Sequence[Trial], series: Series, keep: Path, work: Work, at_once: int) -> None:
    """Run trials, some at once, each in a process of its own."""
    spawned = multiprocessing.get_context("spawn")
    with ProcessPoolExecutor(at_once, mp_context=spawned, max_tasks_per_child=1) as pool:
        running = {pool.submit(_run_apart, trial, keep, work): trial for trial in series.lacks(drawn)}
        for done in as_completed(running):
            trial, seconds = running[done], done.result()
            if isinstance(seconds, FleetError):  # a machine that is too busy
                print(drawn.index(trial), f"not counted: {seconds.message}", trial, flush=True)
                continue
            series.add(trial, seconds)
            late = "" if _is_kept(seconds, trial.lease_s) else "LATE "
            print(drawn.index(trial), late + _told(seconds), trial, flush=True)


def _told(seconds: float | None) -> str:
    return "something stayed" if seconds is None else f"{seconds:.2f} s"


def _is_kept(seconds: float | None, lease_s: float) -> bool:
    return seconds is not None and seconds <= lease_s + GRACE_S


def section(outcomes: Sequence[Outcome], method: str, lease_s: float) -> str:
    """Write the section of the benchmarks."""
    header = ["what was struck", "trials", "something left", "median", "longest", "within the promise"]
    rows = []
    for kind in (*KINDS, PAIR, BOOTING):
        runs = [one.seconds for one in outcomes if one.kind == kind]
        well = [seconds for seconds in runs if seconds is not None]
        kept = sum(_is_kept(seconds, lease_s) for seconds in well)
        times = [f"{statistics.median(well):.2f} s", f"{max(well):.2f} s"] if well else ["", ""]
        rows.append([kind, str(len(runs)), str(len(runs) - len(well)), *times, f"{kept} of {len(runs)}"])
    late = [one for one in outcomes if not _is_kept(one.seconds, lease_s)]
    says = f"Within the lease and {GRACE_S:g} s: {len(outcomes) - len(late)} of {len(outcomes)}."
    says += "".join(f" Not so: {one.trial}, {_told(one.seconds)}." for one in late)
    title = f"## Fleet: what is left when parts of it die\n\n{machine('rackrate', 'distributed')}"
    return "\n\n".join((title, method, table(header, rows), says))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--trials", "--n", type=int, default=2 * len(KINDS))
    parser.add_argument("--nodes", type=int, nargs=2, default=(1, 64), metavar=("LEAST", "MOST"))
    parser.add_argument("--lease-s", type=float, default=10.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--work", choices=WORK, default="loop", help="what keeps a node busy")
    parser.add_argument("--at-once", type=int, default=1, help="trials that run at the same time")
    parser.add_argument("--series", type=Path, help="file of outcomes: what it has is not run again")
    parser.add_argument("--only", type=int, help="the number of the one trial to run")
    parser.add_argument("--keep", type=Path, default=Path("late"), help="folder for what was too late")
    parser.add_argument("--docs", action="store_true", help="write the section of docs/benchmarks.md")
    asked = parser.parse_args()
    os.environ.setdefault("PYTHONWARNINGS", "ignore")
    drawn = list(
        trials(asked.trials, asked.seed, tuple(asked.nodes), asked.lease_s, is_root=namespaces.are_possible())
    )
    drawn = drawn if asked.only is None else drawn[asked.only :][:1]
    series = Series(asked.series)
    run_all(drawn, series, asked.keep, asked.work, asked.at_once)
    least, most = asked.nodes
    method = METHOD.format(
        n=len(series.outcomes),
        days=" and ".join(sorted({one.day for one in series.outcomes})),
        least=least,
        most=most,
        lease_s=asked.lease_s,
        grace_s=GRACE_S,
        work=WORK[asked.work],
        at_once=asked.at_once,
    )
    text = section(series.outcomes, method, asked.lease_s)
    print(text)
    if asked.docs:
        write_section("fleet-deaths", text)


if __name__ == "__main__":
    main()
