"""Time things fairly, say on which machine, and keep a section of docs/benchmarks.md."""

from __future__ import annotations

import gc
import os
import platform
import re
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

DOCS = Path(__file__).resolve().parents[1] / "docs" / "benchmarks.md"
TITLE = "# Benchmarks\n\nWritten by the scripts in `bench/`; `make bench` measures again.\n"

BLOCK = 8


@dataclass(frozen=True, slots=True)
class Timing:
    """What repeated runs of one thing took.

    Attributes:
        wall_s: wall time of each run, seconds.
        cpu_s: CPU time of each run, all threads of the process, seconds.
    """

    wall_s: tuple[float, ...]
    cpu_s: tuple[float, ...]

    @property
    def wall_median_s(self) -> float:
        """Median wall time, seconds."""
        return statistics.median(self.wall_s)

    @property
    def cpu_median_s(self) -> float:
        """Median CPU time, seconds."""
        return statistics.median(self.cpu_s)


def side_by_side(things: Mapping[str, Callable[[], object]], n_runs: int) -> dict[str, Timing]:
    """Time several things in turn, so that what else the machine does meets all of them alike.

    Each is called once before, and then `n_runs` times, in blocks of up to `BLOCK`: a block is what a
    process does that asks one tool again and again. The garbage collector is off, as in `timeit`.
    """
    for thing in things.values():
        thing()
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in things}
    gc.collect()
    gc.disable()
    try:
        for done in range(0, n_runs, BLOCK):
            for name, thing in things.items():
                taken[name].extend(_once(thing) for _ in range(min(BLOCK, n_runs - done)))
    finally:
        gc.enable()
    return {name: _timing(runs) for name, runs in taken.items()}


def _once(thing: Callable[[], object]) -> tuple[float, float]:
    wall, cpu = time.perf_counter(), time.process_time()
    thing()
    return time.perf_counter() - wall, time.process_time() - cpu


def commands(
    lines: Mapping[str, Sequence[str]], n_runs: int, env: Mapping[str, str] | None = None
) -> dict[str, Timing]:
    """Time whole processes in turn, from start to exit, each once before and then `n_runs` times."""
    taken: dict[str, list[tuple[float, float]]] = {name: [] for name in lines}
    for number in range(n_runs + 1):
        for name, line in lines.items():
            run = _process(line, env)
            if number:
                taken[name].append(run)
    return {name: _timing(runs) for name, runs in taken.items()}


def _process(line: Sequence[str], env: Mapping[str, str] | None) -> tuple[float, float]:
    wall, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(line, check=True, capture_output=True, env=env)
    wall, after = time.perf_counter() - wall, resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def _timing(runs: Sequence[tuple[float, float]]) -> Timing:
    wall, cpu = zip(*runs, strict=True)
    return Timing(wall, cpu)


def machine(*packages: str) -> str:
    """Name the machine, the versions, the day and the load, as one line of Markdown."""
    names = ", ".join(f"{package} {version(package)}" for package in packages)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    return (
        f"{os.cpu_count()} cores of {_cpu_model()}, {platform.system()}; "
        f"Python {platform.python_version()}, {names}; {datetime.now(UTC):%Y-%m-%d}; "
        f"load average {load} at the end of the run."
    )


def _cpu_model() -> str:
    try:
        found = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text("utf-8"), re.MULTILINE)
    except OSError:
        found = None
    return found[1].strip() if found else platform.processor() or platform.machine()


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a Markdown table."""
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def ms(seconds: float) -> str:
    """Write seconds as milliseconds."""
    return f"{seconds * 1e3:,.1f} ms" if seconds < 0.1 else f"{seconds * 1e3:,.0f} ms"  # noqa: PLR2004


def write_section(name: str, text: str, path: Path = DOCS) -> None:
    """Put `text` between the marks of section `name`, at the end when it is new."""
    start, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    doc = (path.read_text("utf-8") if path.exists() else "") or TITLE
    section = f"{start}\n{text.strip()}\n{end}"
    pattern = re.compile(f"{re.escape(start)}.*?{re.escape(end)}", re.DOTALL)
    if not pattern.search(doc):
        doc = f"{doc.rstrip()}\n\n{section}\n"
    path.write_text(pattern.sub(lambda _: section, doc), "utf-8")
