"""How fast is the site: kept pages, 304 and small JSON under wrk; pages made anew; sizes and memory.

    python bench/web.py               # a minute; wrk from Debian
    python bench/web.py --docs        # writes its section of docs/benchmarks.md
    python bench/web.py --docs --data DIR      # of another market, such as that of year.py: a section more

wrk shares the machine with the server, so a figure is of both together. Beside each
page stands the CPU time of making it anew, which a site that keeps nothing would take for every reader.
"""

from __future__ import annotations

import argparse
import gzip
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from measure import machine, table, write_section

from rackrate.market.store import Store

SECONDS, CONNECTIONS = 8, 32
N_ANEW = 10
KEPT = (
    ("page of a GPU, compressed", "/gpus/l40s", "Accept-Encoding: gzip"),
    ("page of a GPU, 304", "/gpus/l40s", "If-None-Match: *"),
    ("small JSON of the API", "/api/v1/gpus/l40s/spread", "Accept: application/json"),
)
PAGES = (
    ("/", "sort"),
    ("/gpus/l40s", "kind"),
    ("/gpus/l40s/instances", "kind"),
    ("/gpus/l40s/models", "q"),
    ("/offers?gpu=l40s", "sort"),
    ("/models/llama-3.1-70b/on/l40s", "task"),
)
"""Pages with a field that means nothing when it is blank: it makes the address another one."""

FIRST = "/gpus/h100-sxm"
"""A page that none of the others has asked for."""

LOOK_S, IDLE_CPU_S = 3.0, 0.05
"""A server that takes less CPU from look to look is idle."""


def main() -> None:
    """Measure, print, and with --docs write the section of docs/benchmarks.md."""
    parser = argparse.ArgumentParser(description="How fast is the site?")
    parser.add_argument("--docs", action="store_true", help="write the result into docs/benchmarks.md")
    parser.add_argument("--data", metavar="DIR", help="another market, such as that of year.py")
    asked = parser.parse_args()
    if not shutil.which("wrk"):
        sys.exit("wrk is missing: apt-get install wrk")
    command = [sys.executable, "-m", "rackrate", "serve", "--port", "0", "--rate", "0"]
    command += ["--data", asked.data] if asked.data else []
    title = f"The site: {_n_days(asked.data)} days of prices" if asked.data else "The site"
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as server:
        try:
            text = "\n\n".join((f"## {title}", *_report(server)))
        finally:
            server.terminate()
    print(text)
    if asked.docs:
        write_section(title, text)


def _n_days(folder: str) -> int:
    """Count the days of which a market has prices."""
    market = Store.open(Path(folder), Path(folder))
    return len({at[:10] for (_, at), (_, listing) in market.live().items() if listing.is_dated})


def _report(server: subprocess.Popen[str]) -> Iterator[str]:
    """Yield the paragraphs of the report, from a server that is starting."""
    assert server.stderr
    address = next(found[1] for line in server.stderr if (found := re.search(r"listening on (\S+)", line)))
    yield machine("starlette", "uvicorn", "jinja2")
    _until_idle(server.pid)
    ready_s = _cpu_s(server.pid)
    _fetch(f"{address}{FIRST}")
    first_s = _cpu_s(server.pid) - ready_s
    rows, drawing = [], 0.0
    for path, field in PAGES:
        body = _fetch(address + path)
        _fetch(
            f"{address}{path}{'&' if '?' in path else '?'}{field}="
        )  # the first one loads more than itself
        anew = _anew_cpu_s(server.pid, address + path, field)
        sizes = (len(body), len(gzip.compress(body, 6)))
        drawing = max(drawing, *map(_memory_mib, _children(server.pid)), 0.0)
        rows.append([f"`{path}`", *(f"{size / 1e3:.1f}" for size in sizes), f"{anew * 1e3:.0f}"])
    yield table(["page", "HTML KB", "compressed KB", "made anew, CPU ms"], rows)
    yield f"Kept answers under wrk, {SECONDS} s, 1 thread, {CONNECTIONS} connections, beside the server:"
    rows = []
    for name, path, header in KEPT:
        _fetch(address + path)
        rows.append([name, *_wrk(address + path, header)])
    yield table(["kept answer", "requests/s", "p50", "p99"], rows)
    yield (
        f"Memory of the server after that: {_memory_mib(server.pid):.0f} MiB. Charts are drawn by a process "
        f"of its own, which took {drawing:.0f} MiB and ends when nobody wants one for a while. Its time is "
        "not in the table: the history of a GPU is drawn once for each state of the data, other charts with "
        f"their page. Getting ready took {ready_s:.1f} s of CPU; the first page of a GPU after that, which "
        f"nobody had asked for, {first_s * 1e3:.0f} ms."
    )


def _until_idle(pid: int) -> None:
    """Wait until the server has made ready what it makes ready in the background."""
    last = -1.0
    while (now := _cpu_s(pid)) - last > IDLE_CPU_S:
        last = now
        time.sleep(LOOK_S)


def _fetch(address: str) -> bytes:
    with urllib.request.urlopen(address, timeout=120) as answer:  # noqa: S310 - our own server
        return bytes(answer.read())


def _anew_cpu_s(pid: int, address: str, field: str) -> float:
    """Return the server's CPU time for a page that is not kept."""
    before = _cpu_s(pid)
    for number in range(1, N_ANEW + 1):
        _fetch(f"{address}{'&' if '?' in address else '?'}{field}={'+' * number}")
    return (_cpu_s(pid) - before) / N_ANEW


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def _children(pid: int) -> list[int]:
    """Return the processes that the server started."""
    tasks = Path(f"/proc/{pid}/task").glob("*/children")
    return [int(child) for task in tasks for child in task.read_text(encoding="ascii").split()]


def _memory_mib(pid: int) -> float:
    status = Path(f"/proc/{pid}/status").read_text(encoding="ascii")
    return int(re.findall(r"VmRSS:\s+(\d+)", status)[0]) / 1024


def _wrk(address: str, header: str) -> list[str]:
    """Return requests a second, median and 99th percentile."""
    time.sleep(0.5)
    line = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", "-H", header, address]
    said = subprocess.run(line, capture_output=True, text=True, check=True).stdout
    rate = re.findall(r"Requests/sec:\s+([\d.]+)", said)[0]
    p50, p99 = (re.findall(rf"^ +{share}% +(\S+)$", said, re.MULTILINE)[0] for share in (50, 99))
    if "Non-2xx" in said:
        sys.exit(f"answers other than 200: {said}")
    return [f"{float(rate):,.0f}", p50, p99]


if __name__ == "__main__":
    main()
