"""The demo in small: its corpus, its task, and a sweep over it on real nodes."""

from __future__ import annotations

import csv
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import duckdb
import pytest

import rackrate
from rackrate.fleet.folder import all_folders

torch = pytest.importorskip("torch", reason="the demo trains with PyTorch")
pytest.importorskip("tokenizers", reason="the demo makes WordPiece")
ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "examples" / "bert_sweep"
TINY = {"n_texts": 60, "n_words": 200, "steps": 16, "every": 2, "seq": 16, "batch": 4}


@pytest.fixture
def demo(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """Have the demo's modules at hand, as where its script runs, and a cache of this test's own."""
    monkeypatch.syspath_prepend(DEMO)
    monkeypatch.setenv("BERT_SWEEP_CACHE", str(tmp_path / "cache"))
    n_threads = torch.get_num_threads()
    torch.set_num_threads(1)  # where other tests run beside it, two wait for each other
    yield
    torch.set_num_threads(n_threads)
    for name in ("bert", "claims", "corpus", "sweep"):
        sys.modules.pop(name, None)


@pytest.mark.usefixtures("demo")
def test_claims_keep_their_references_and_refer_back() -> None:
    from claims import patents  # noqa: PLC0415 - on the demo's path

    made = patents(40, seed=7)
    assert made == patents(40, seed=7)
    assert made != patents(40, seed=8)
    assert len({text[:4] for text in made}) == 6, "every field occurs"
    for text in made:
        numbers: dict[str, set[str]] = {}
        for part, number in re.findall(r"(?:an?|the) ([a-z ]+) \((\d+)\)", text):
            numbers.setdefault(part, set()).add(number)
        assert all(len(found) == 1 for found in numbers.values()), text
        for number, claim in re.findall(r"(\d+)\. The [a-z ]+ of claim (\d+)", text):
            assert int(claim) < int(number)
        for low, high in re.findall(r"of (\d+) to (\d+) ", text):
            assert int(low) < int(high)


@pytest.mark.usefixtures("demo")
@pytest.mark.parametrize("kind", ["parquet", "jsonl", "txt", "folder"])
def test_a_corpus_of_ones_own_is_read(tmp_path: Path, kind: str) -> None:
    from corpus import texts  # noqa: PLC0415 - on the demo's path

    wanted = [f"A device number {n}." for n in range(5)]
    path = tmp_path / f"own.{kind}"
    if kind == "parquet":
        duckdb.sql("SELECT unnest(?) AS claims, 1 AS other", params=[wanted]).write_parquet(str(path))
    elif kind == "jsonl":
        path.write_text("\n".join(json.dumps({"text": text}) for text in wanted))
    elif kind == "txt":
        path.write_text("\n\n".join(wanted))
    else:
        path.mkdir()
        for n, text in enumerate(wanted):
            (path / f"{n}.txt").write_text(text)
    assert texts(str(path), 4, 0) == wanted[:4]


@pytest.mark.usefixtures("demo")
def test_a_corpus_that_has_no_texts_is_told(tmp_path: Path) -> None:
    from corpus import prepared, texts  # noqa: PLC0415 - on the demo's path

    wrong = tmp_path / "wrong.jsonl"
    wrong.write_text('{"body": "x"}\n')
    with pytest.raises(ValueError, match="none of text, claims, abstract is in body"):
        texts(str(wrong), 4, 0)
    (tmp_path / "one.txt").write_text("only this\n")
    with pytest.raises(ValueError, match="too small"):
        prepared(str(tmp_path / "one.txt"))


@pytest.mark.usefixtures("demo")
def test_a_corpus_in_an_object_store_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("obstore", reason="S3 goes through obstore")
    server = pytest.importorskip("moto.server", reason="a store to ask: moto")
    from corpus import texts  # noqa: PLC0415 - on the demo's path
    from obstore.store import S3Store  # noqa: PLC0415

    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    try:
        host, port = running.get_host_and_port()
        for name, value in {
            "AWS_ENDPOINT_URL": f"http://{host}:{port}",
            "AWS_ACCESS_KEY_ID": "x",
            "AWS_SECRET_ACCESS_KEY": "x",
            "AWS_REGION": "us-east-1",
        }.items():
            monkeypatch.setenv(name, value)
        import urllib.request  # noqa: PLC0415

        urllib.request.urlopen(urllib.request.Request(f"http://{host}:{port}/patents", method="PUT")).close()
        store = S3Store("patents", client_options={"allow_http": True})
        store.put("claims/a.jsonl", b'{"text": "one"}\n{"text": "two"}\n')
        store.put("other/b.jsonl", b'{"text": "no"}\n')
        assert texts("s3://patents/claims", 10, 0) == ["one", "two"]
    finally:
        running.stop()


@pytest.mark.usefixtures("demo")
def test_loss_falls_and_a_resumed_training_is_the_same() -> None:
    from bert import Training, Variant  # noqa: PLC0415 - on the demo's path
    from corpus import prepared  # noqa: PLC0415

    corpus = prepared(n_texts=60, n_words=200)
    variant = Variant(layers=1, width=32, heads=2, seq=16, batch=8, lr=1e-2, steps=48, every=3)
    whole: dict[int, float] = {}
    kept: list[bytes] = []
    Training(variant, corpus).run(lambda step, loss, _: whole.__setitem__(step, loss), kept.append)
    assert whole[48] < whole[3] - 0.3
    rest: dict[int, float] = {}
    resumed = Training(variant, corpus, saved=kept[0])
    resumed.run(lambda step, loss, _: rest.__setitem__(step, loss), lambda _: None)
    assert rest == pytest.approx({step: loss for step, loss in whole.items() if step > 24})


@pytest.mark.usefixtures("demo")
def test_a_tiny_sweep_of_it_runs_end_to_end() -> None:
    from sweep import train, variants  # noqa: PLC0415 - on the demo's path

    four: list[dict[str, Any]] = [{**variant, **TINY} for variant in variants(4)]
    with rackrate.Fleet(nodes=4, preload=["bert"], boot_timeout_s=90, lease_s=30) as fleet:
        sweep = fleet.sweep(train, four, metric="loss", prune="asha:first=4,eta=2")
        best = sweep.best()
        table = sweep.table()
    assert len({json.dumps(trial.params) for trial in table.trials}) == 4
    assert list(best.curve) == list(range(2, 17, 2))
    for trial in table.trials:
        losses = list(trial.curve.values())
        assert None not in losses
        assert trial.state in ("done", "pruned"), trial.why
        assert losses[0] > best.value  # type: ignore[operator]
    assert sweep.checkpoint(best.number)


def run_script(tmp_path: Path, *words: str) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "BERT_SWEEP_CACHE": str(tmp_path / "cache")}
    command = [sys.executable, str(DEMO / "sweep.py"), *words]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=110, env=env)


def test_the_demo_is_a_script_too(tmp_path: Path) -> None:
    curves = tmp_path / "curves.csv"
    few = ("--nodes", "2", "--variants", "2", "--steps", "16", "--prune", "none", "--curves", str(curves))
    done = run_script(tmp_path, *few)
    assert done.returncode == 0, done.stderr
    assert "2 done, 32 steps" in done.stdout
    header, *rows = csv.reader(curves.read_text("utf-8").splitlines())
    assert header == ["trial", "step", "s", "loss"]
    assert [row[:2] for row in rows] == [["0", "8"], ["0", "16"], ["1", "8"], ["1", "16"]]
    assert all(0 <= float(s) < 110 and 1 < float(loss) < 8 for *_, s, loss in rows)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_where_there_is_no_gpu_the_script_says_so_and_opens_nothing(tmp_path: Path) -> None:
    done = run_script(tmp_path, "--device", "cuda")
    assert (done.returncode, done.stderr) == (
        2,
        "this machine has no GPU that PyTorch can use: --device cpu\n",
    )
    assert all_folders() == []


def test_the_script_for_a_gpu_runs_dry_on_a_cpu_without_rackrate(tmp_path: Path) -> None:
    script = ROOT / "bench" / "gpu" / "bert_sweep_gpu.py"
    words = [sys.executable, str(script), "--dry-run", "--workers", "2", "--out", str(tmp_path)]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=110)
    assert done.returncode == 0, done.stderr
    (curves,) = tmp_path.glob("*-curves.csv")
    rows = (
        duckdb.read_csv(str(curves)).project("variant, step, held_out, gpu").order("variant, step").fetchall()
    )
    assert [(row[0], row[1]) for row in rows] == [
        (name, step) for name in ("tiny/a", "tiny/b") for step in (2, 4, 6)
    ]
    assert {row[3] for row in rows} == {"cpu"}
