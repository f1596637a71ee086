"""Measure how much GPU memory models need: inference, training, adapters, quantised weights.

    python bench/gpu/measure_memory.py --out bench/gpu/results/mine.csv

Random weights from published configurations, nothing is downloaded. Every group of cases runs in a
process of its own, forked before CUDA starts, so that a crash or an out-of-memory error loses one case
and each case begins on an empty card. Rows are written as they come; progress goes to stderr.
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from itertools import groupby
from pathlib import Path
from typing import Any

from cases import Case, every, listed, quick
from results import Table

SEED = 20261122
PACKAGES = ("transformers", "torch", "peft", "bitsandbytes")
CASE_LIMIT_S = 150
SETTLE_S = 5.0  # how long the driver may take to clear up after a process
SETTLED_BYTES = 16 * 2**20


class Driver:
    """What the driver says of GPU 0, through NVML; all zero in a dry run.

    Attributes:
        name: the GPU's product name.
        version: of the driver.
    """

    def __init__(self, *, dry: bool) -> None:
        self.name, self.version, self._handle = "none", "none", None
        self._nvml: Any = None
        if not dry:
            import pynvml  # noqa: PLC0415 - a dry run needs no driver

            pynvml.nvmlInit()
            self._nvml, self._handle = pynvml, pynvml.nvmlDeviceGetHandleByIndex(0)
            self.name = str(pynvml.nvmlDeviceGetName(self._handle))
            self.version = str(pynvml.nvmlSystemGetDriverVersion())
        self.idle_bytes = self.used_bytes()

    def used_bytes(self) -> int:
        """Bytes in use on the whole card."""
        return int(self._nvml.nvmlDeviceGetMemoryInfo(self._handle).used) if self._nvml else 0

    def wait_idle(self) -> int:
        """Wait until the card is as empty as at the start, and return what is in use then, bytes."""
        until = time.monotonic() + SETTLE_S
        while self.used_bytes() > self.idle_bytes + SETTLED_BYTES and time.monotonic() < until:
            time.sleep(0.02)
        return self.used_bytes()


class Parent:
    """The writing side: forks a child a group, answers its questions to the driver, writes its rows.

    Attributes:
        failed: names of the cases that crashed or hung.
    """

    def __init__(self, options: argparse.Namespace) -> None:
        from measuring import child, preload  # noqa: PLC0415 - imports torch, so only once the environment is set

        self._measure, self._preload = child, preload
        self._options = options
        self._driver = Driver(dry=options.dry_run)
        self._table = Table(options.out)
        self._began = time.monotonic()
        self.failed: list[str] = []
        self._facts = {
            "engine": engine(self._driver.version),
            "gpu": self._driver.name,
            "date": f"{datetime.now(UTC):%Y-%m-%d}",
        }

    def run(self, cases: Sequence[Case]) -> int:
        """Measure the cases in order until the time is up, and return how many were begun."""
        begun = 0
        self._preload(cases)
        for _, grouped in groupby(cases, key=lambda case: case.group):
            left = list(grouped)
            while left and time.monotonic() - self._began < self._options.limit_s:
                done = self._group(left)
                begun += done
                left = left[done:]
        return begun

    def _group(self, group: Sequence[Case]) -> int:
        """Run cases in one child; return how many it got through, the one that it died of included."""
        context = multiprocessing.get_context("fork")
        ours, theirs = context.Pipe()
        before = self._driver.wait_idle()
        child = context.Process(target=self._measure, args=(theirs, group, self._options, self._facts))
        child.start()
        theirs.close()
        begun, name, ended = 0, "", "died"
        while ours.poll(CASE_LIMIT_S):
            try:
                kind, what = ours.recv()
            except EOFError:
                break
            if kind == "device":
                ours.send(max(self._driver.used_bytes() - before, 0))
            elif kind == "begin":
                begun, name = begun + 1, what
                self._say(name)
            elif kind in {"done", "failed"}:
                ended = kind if kind == "done" else str(what)
                break
            else:
                self._table.add(what)
        else:
            ended = f"nothing for {CASE_LIMIT_S} s"
        if ended != "done":
            self.failed.append(name)
            self._say(f"{name} FAILED: {ended}")
            child.kill()
        child.join()
        return begun

    def _say(self, text: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {text}", file=sys.stderr, flush=True)


def engine(driver: str) -> str:
    """Return the versions that a measurement depends on."""
    names = []
    for package in PACKAGES:
        try:
            names.append(f"{package} {version(package)}")
        except PackageNotFoundError:
            continue
    return ", ".join([*names, f"driver {driver}"])


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--out", type=Path, default=Path("memory.csv"), help="CSV file to write")
    parser.add_argument("--only", help="cases whose name contains one of these, comma-separated")
    parser.add_argument("--skip", help="no cases whose name contains one of these, comma-separated")
    parser.add_argument("--cases", type=Path, help="JSON lines of cases, as draw_limits.py writes them")
    parser.add_argument("--quick", action="store_true", help="a sample of the cases")
    parser.add_argument("--list", action="store_true", help="print the cases' names and stop")
    parser.add_argument("--limit-s", type=float, default=1e9, help="begin no group after this many seconds")
    parser.add_argument("--seed", type=int, default=SEED)
    parser.add_argument("--dry-run", action="store_true", help="tiny models on the CPU, all figures 0")
    return parser.parse_args(arguments)


def _chosen(options: argparse.Namespace) -> Iterator[Case]:
    only = options.only.split(",") if options.only else [""]
    skip = options.skip.split(",") if options.skip else []
    for case in listed(options.cases) if options.cases else quick() if options.quick else every():
        if any(word in case.slug for word in only) and not any(word in case.slug for word in skip):
            yield case


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what the command line asks for; return 1 if any case failed for want of anything but memory."""
    options = _options(arguments)
    cases = list(_chosen(options))
    if options.list:
        print("\n".join(case.slug for case in cases))
        return 0
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    os.environ.setdefault("PYTORCH_NVML_BASED_CUDA_CHECK", "1")  # asking for a GPU must not start CUDA
    parent = Parent(options)
    begun = parent.run(cases)
    print(f"{begun} of {len(cases)} cases; failed: {parent.failed or 'none'}", file=sys.stderr)
    return 1 if parent.failed else 0


if __name__ == "__main__":
    sys.exit(main())
