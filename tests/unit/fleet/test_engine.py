"""What is rehearsed before nodes are forked leaves nothing behind that a fork would copy or lose."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from datetime import timedelta
from pathlib import Path

from rackrate.fleet import engine, tls

_REHEARSE = """
import gc, json, os, sys, threading
from pathlib import Path
from distributed import Worker
from distributed.diagnostics import nvml
from distributed.versions import _version_cached
from rackrate.fleet import engine
before = set(os.listdir("/proc/self/fd"))
engine.rehearse(sys.argv[1], Path(sys.argv[2]))
gc.collect()
print(json.dumps({
    "threads": threading.active_count(),
    "files": len(set(os.listdir("/proc/self/fd")) - before),
    "workers": len(Worker._instances),
    "gpus": nvml.NVML_STATE.name,
    "looked_up": _version_cached.cache_info().currsize,
}))
"""


def test_a_rehearsal_leaves_neither_threads_nor_files_nor_workers(tmp_path: Path) -> None:
    tls.write_key(tmp_path / "key", "10ca1001", timedelta(hours=1))
    (tmp_path / "scratch").mkdir()
    words = [sys.executable, "-c", _REHEARSE, str(tmp_path / "key"), str(tmp_path / "scratch")]
    (tmp_path / "pynvml.py").write_text("def nvmlInit(): open(__file__ + '.looked', 'w').close()\n")
    env = os.environ | {  # what is for the workers: a module of the user's, GPUs
        "DASK_DISTRIBUTED__WORKER__PRELOAD": "no_such_module",
        "PYTHONPATH": os.pathsep.join([str(tmp_path), os.environ.get("PYTHONPATH", "")]),
    }
    said = subprocess.run(words, env=env, capture_output=True, text=True, check=True)
    left = json.loads(said.stdout)
    assert left.pop("looked_up") > 0  # a worker did come up: it said which versions it runs
    assert not (tmp_path / "pynvml.py.looked").exists()
    assert left == {"threads": 1, "files": 0, "workers": 0, "gpus": "UNINITIALIZED"}
    assert said.stderr == ""


def test_every_link_gets_words_of_its_own_and_all_the_same_context(tmp_path: Path) -> None:
    tls.write_key(tmp_path / "key", "10ca1002", timedelta(hours=1))
    links = engine.security(tmp_path / "key")
    first, second = links.get_connection_args("scheduler"), links.get_connection_args("worker")
    first["handshake_overrides"] = {}  # as the scheduler does
    assert "handshake_overrides" not in second
    assert first["ssl_context"] is second["ssl_context"]
    assert links.get_listen_args("worker")["ssl_context"] is not first["ssl_context"]
