"""The store under fire: writers killed, two at once, disks full, folders read-only, lists in motion.

All of it with real processes and real files; nothing is patched.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rackrate.errors import ImportRejected
from rackrate.market.filter import OfferFilter, order_by
from rackrate.market.ingest import import_list
from rackrate.market.store import Store, manifest

Rows = Callable[..., Counter[tuple[str, ...]]]
N_STORES = 5
N_KILLS = 20  # of each store
N_OFFERS = 12

TAKE = """
import sys
from pathlib import Path
from rackrate.errors import RackrateError
from rackrate.market.ingest import import_list
"""

# Forks a warm process for each import and has it killed: at a random time of it, at the moment in which
# a file is written that the manifest does not name yet, or just after that moment.
KILLER = (
    TAKE
    + """
import os, random, signal, time
import rackrate.market.importers.gpurentalprices
store, scratch, lists = map(Path, sys.argv[1:4])
rng = random.Random(sys.argv[4])

def start(folder, path, on_file):
    if pid := os.fork():
        return pid
    import_list(folder, path, form="gpurentalprices", on_file=on_file)
    os._exit(0)

def at_file(n):
    seen = []
    def on_file(name):
        seen.append(name)
        if len(seen) == n:
            os.kill(os.getpid(), signal.SIGKILL)
    return on_file

paths = sorted(lists.iterdir())
before = time.perf_counter()
os.waitpid(start(scratch, paths[0], None), 0)
duration = time.perf_counter() - before
for n, path in enumerate(paths):
    read, write = os.pipe()
    pid = start(store, path, (lambda name: os.write(write, b"x"), at_file(1), at_file(2), None)[n % 4])
    os.close(write)
    if n % 4 == 3:
        time.sleep(rng.uniform(0, duration))
    elif n % 4 == 0:
        os.read(read, 1)
        time.sleep(rng.uniform(0, duration / 20))
    if n % 4 in (0, 3):
        os.kill(pid, signal.SIGKILL)
    os.close(read)
    _, status = os.waitpid(pid, 0)
    print(path.name, os.WIFSIGNALED(status), flush=True)
    sys.stdin.readline()
"""
)


def snapshot(folder: Path, n: int, *, n_offers: int = N_OFFERS) -> Path:
    """Write the listing of an hour, with one record that is rejected."""
    at = f"2026-08-{1 + n // 24:02d}T{n % 24:02d}:00:00Z"
    offer = {"gpu": "l40s", "kind": "on-demand", "fetched_at": at, "source_url": "https://a.example"}
    offers = [offer | {"provider": f"p{i}", "usd_hr": 1.0 + i / 100} for i in range(n_offers)]
    folder.mkdir(exist_ok=True)
    path = folder / f"{n:03d}.json"
    path.write_text(json.dumps({"generated_at": at, "offers": [*offers, offer | {"provider": "none"}]}))
    return path


def listings(store: Path) -> set[str]:
    """Return the listings of a store, each of them checked to be there whole and once."""
    if not (store / "manifest.json").exists() or not manifest.load(store).files:
        return set()
    opened = Store.open(store, store)
    assert opened.damaged() == []
    names = [snapshot.at for file in opened.files for snapshot in file.snapshots]
    assert {file.rows for file in opened.files} == {N_OFFERS, 1}
    assert len(opened.files) == 2 * len(set(names)) == 2 * len(names)
    return set(names)


def run(script: str, *args: object, **options: Any) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", TAKE + script, *map(str, args)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, **options)


@pytest.fixture
def process() -> Iterator[Any]:
    """Return a function that starts a process of ours; each is ended with the test."""
    started: list[subprocess.Popen[str]] = []

    def start(script: str, *args: object) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", script, *map(str, args)]
        pipe = subprocess.PIPE
        started.append(subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True))
        return started[-1]

    yield start
    for one in started:
        one.kill()
        one.communicate()


@pytest.mark.parametrize("seed", range(N_STORES))
def test_killed_imports_lose_and_double_nothing(tmp_path: Path, process: Any, seed: int, rows: Rows) -> None:
    store, lists = tmp_path / "store", tmp_path / "lists"
    for n in range(N_KILLS):
        snapshot(lists, n)
    killer = process(KILLER, store, tmp_path / "scratch", lists, seed)
    published: set[str] = set()
    n_killed = 0
    for _ in range(N_KILLS):
        name, was_killed = killer.stdout.readline().split()
        n_killed += was_killed == "True"
        names = listings(store)
        assert published <= names, f"{name} lost what was there"
        assert len(names - published) <= 1
        published = names
        killer.stdin.write("\n")
        killer.stdin.flush()
    assert killer.wait(timeout=30) == 0
    assert n_killed >= N_KILLS // 2
    import_list(store, lists, form="gpurentalprices")
    import_list(tmp_path / "calm", lists, form="gpurentalprices")
    for table, n in (("offers", N_OFFERS), ("quarantine", 1)):
        assert rows(store, table) == rows(tmp_path / "calm", table)
        assert rows(store, table).total() == n * N_KILLS
    named = {file.name for file in Store.open(store, store).files} | {"manifest.json", "lock"}
    assert {path.name for path in store.iterdir()} == named


def test_imports_at_once_all_land(tmp_path: Path, process: Any, rows: Rows) -> None:
    store = tmp_path / "store"
    script = TAKE + "import_list(Path(sys.argv[1]), Path(sys.argv[2]), form='gpurentalprices')"
    running = [process(script, store, snapshot(tmp_path / "lists", n)) for n in range(4)]
    assert [one.wait(timeout=60) for one in running] == [0] * 4
    assert Store.open(store, store).damaged() == []
    assert rows(store, "offers", "origin") == {(f"{n:03d}.json",): N_OFFERS for n in range(4)}
    assert rows(store, "quarantine").total() == 4


def test_the_same_list_imported_twice_at_once_lands_once(tmp_path: Path, process: Any, rows: Rows) -> None:
    store, path = tmp_path / "store", snapshot(tmp_path / "lists", 0)
    script = TAKE + "import_list(Path(sys.argv[1]), Path(sys.argv[2]), form='gpurentalprices')"
    running = [process(script, store, path) for _ in range(2)]
    assert [one.wait(timeout=60) for one in running] == [0] * 2
    assert rows(store, "offers").total() == N_OFFERS


def test_a_reader_sees_whole_imports_only_while_a_writer_works(
    tmp_path: Path, process: Any, rows: Rows
) -> None:
    store, lists = tmp_path / "store", tmp_path / "lists"
    for n in range(5):
        snapshot(lists, n)
    import_list(store, lists / "000.json", form="gpurentalprices")
    script = TAKE + (
        "for path in sorted(Path(sys.argv[2]).iterdir()):\n"
        "    import_list(Path(sys.argv[1]), path, form='gpurentalprices')\n"
    )
    writer = process(script, store, lists)
    seen = []
    while writer.poll() is None:
        opened = Store.open(store, store)
        assert opened.find(OfferFilter(), order_by("usd")).n_matching == N_OFFERS
        seen.append(len({snapshot.at for file in opened.files for snapshot in file.snapshots}))
    assert writer.returncode == 0
    assert seen == sorted(seen)
    assert rows(store, "offers").total() == 5 * N_OFFERS


IMPORT = """
try:
    import_list(Path(sys.argv[1]), Path(sys.argv[2]), form="gpurentalprices")
except RackrateError as error:
    print(error.code)
"""


def state(store: Path) -> tuple[str, set[str], int]:
    opened = Store.open(store, store)
    assert opened.damaged() == []
    n = opened.find(OfferFilter(), order_by("usd")).n_matching
    return opened.version, {path.name for path in store.iterdir()}, n


@pytest.mark.parametrize("n_bytes", [0, 500, 4096, 9000])
def test_a_disk_that_takes_no_more_leaves_the_store_as_it_was(tmp_path: Path, n_bytes: int) -> None:
    store, lists = tmp_path / "store", tmp_path / "lists"
    import_list(store, snapshot(lists, 0), form="gpurentalprices")
    before = state(store)
    limit = f"import resource; resource.setrlimit(resource.RLIMIT_FSIZE, ({n_bytes}, {n_bytes}))\n"
    done = run(limit + IMPORT, store, snapshot(lists, 1, n_offers=3000))
    assert (done.stdout, done.returncode) == ("disk\n", 0), done.stderr
    assert state(store) == before
    assert import_list(store, lists / "001.json", form="gpurentalprices")[0].n_published == 3000


def test_a_disk_too_full_for_a_first_import_is_told(tmp_path: Path) -> None:
    limit = "import resource; resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
    done = run(limit + IMPORT, tmp_path / "store", snapshot(tmp_path / "lists", 0))
    assert (done.stdout, done.returncode) == ("disk\n", 0), done.stderr


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mount = shutil.which("mount")
    options = ["-t", "tmpfs", "-o", "size=96k", "tmpfs", str(disk)]
    if (
        os.geteuid()
        or not mount
        or subprocess.run([mount, *options], capture_output=True, check=False).returncode
    ):
        pytest.skip("a file system cannot be mounted here")
    yield disk
    subprocess.run(["umount", str(disk)], check=True)


def test_a_full_file_system_leaves_the_store_as_it_was(small_disk: Path, tmp_path: Path) -> None:
    store, lists = small_disk / "store", tmp_path / "lists"
    import_list(store, snapshot(lists, 0), form="gpurentalprices")
    before = state(store)
    done = run(IMPORT, store, snapshot(lists, 1, n_offers=20_000))
    assert (done.stdout, done.returncode) == ("disk\n", 0), done.stderr
    assert state(store) == before


def test_a_folder_that_cannot_be_written_is_refused_and_can_be_read() -> None:
    tmp = Path(tempfile.mkdtemp())
    try:
        tmp.chmod(0o755)
        store, lists = tmp / "store", tmp / "lists"
        import_list(store, snapshot(lists, 0), form="gpurentalprices")
        snapshot(lists, 1)
        store.chmod(0o555)
        script = (
            "import fcntl, os\n"
            "import_list(Path(sys.argv[1]), Path(sys.argv[2]), form='gpurentalprices', is_dry_run=True)\n"
            "os.geteuid() or os.seteuid(65534)\n"
        )
        done = run(script + IMPORT, store, lists / "001.json")
        assert (done.stdout, done.returncode) == ("refused\n", 0), done.stderr
        done = run(script + IMPORT, store / "new" / "folder", lists / "001.json")
        assert (done.stdout, done.returncode) == ("refused\n", 0), done.stderr
        assert state(store)[2] == N_OFFERS
    finally:
        (tmp / "store").chmod(0o755)
        shutil.rmtree(tmp)


def test_a_file_in_the_place_of_the_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "store").write_text("mine")
    done = run(IMPORT, tmp_path / "store", snapshot(tmp_path / "lists", 0))
    assert done.stdout in ("refused\n", "store-broken\n"), done.stderr
    assert (tmp_path / "store").read_text() == "mine"


APPENDER = """
import sys
with open(sys.argv[1], "ab", buffering=0) as out:
    while True:
        out.write(b"\\n")
        print(flush=True) if out.tell() < 300_000 and out.tell() % 2 else None
"""


def test_a_list_that_is_written_to_while_it_is_read_is_rejected(tmp_path: Path, process: Any) -> None:
    path = tmp_path / "list.jsonl"
    record = json.dumps({"at": "2026-08-22", "usd": 1.2})
    path.write_text(f"{record}\n" * 5000)
    columns = 'provider = { value = "a" }\ngpu = { value = "L40S" }\nat = "at"'
    (tmp_path / "m.toml").write_text(f'source = "x"\n[columns]\n{columns}\n[[price]]\nfrom = "usd"\n')
    appender = process(APPENDER, path)
    appender.stdout.readline()
    with pytest.raises(ImportRejected) as caught:
        import_list(tmp_path / "store", path, mapping=tmp_path / "m.toml")
    assert "changed" in caught.value.message
    assert not (tmp_path / "store").exists()
