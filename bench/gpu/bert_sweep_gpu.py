"""The demo's task at real BERT sizes on one GPU: curves, and what sharing the card and compiling do.

    PYTHONPATH=src python bench/gpu/bert_sweep_gpu.py --out bench/gpu/results/bert_sweep

Needs PyTorch; tokenizers where there is one. Writes two files, the GPU's name in theirs: `...-curves.csv`,
a row a report, and `...-timings.csv`, a row a variant, and two for each size run alone, eager and compiled.
The task is `examples/bert_sweep`, the very code that a fleet's nodes run. `--dry-run` does it all tiny on
the CPU.
"""

from __future__ import annotations

import argparse
import csv
import multiprocessing
import os
import queue
import re
import sys
import time
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "examples" / "bert_sweep"))

import torch
from bert import Training, Variant
from corpus import prepared

SIZES = {
    "mini": Variant(layers=4, width=256, heads=4),
    "small": Variant(layers=4, width=512, heads=8),
    "medium": Variant(layers=8, width=512, heads=8),
    "base": Variant(layers=12, width=768, heads=12),
}
"""Source: Turc et al., Well-Read Students Learn Better, 2019, table 1; base: Devlin et al., 2019."""
SHAPES = ((128, 64), (512, 16))
RATES = (1e-4, 3e-4, 1e-3)
_TINY = Variant(layers=1, width=16, heads=2, seq=16, batch=4, steps=6, every=2)
_N_TEXTS = 6000
_N_WORDS = 4096


def variants(steps: int) -> dict[str, Variant]:
    """Return what is trained, by name; the cheap sizes last, so that the long ones do not end alone."""
    return {
        f"{size}/seq{seq}/lr{rate:g}": replace(
            shape, seq=seq, batch=batch, lr=rate, steps=steps, every=max(steps // 20, 1)
        )
        for size, shape in reversed(SIZES.items())
        for seq, batch in SHAPES
        for rate in RATES
    }


def _sync(device: str) -> None:
    if device == "cuda":
        torch.cuda.synchronize()


def _peak_gib(device: str) -> float:
    return torch.cuda.max_memory_allocated() / 2**30 if device == "cuda" else 0.0


def trained(name: str, variant: Variant, device: str, out: Any) -> dict[str, Any]:
    """Train a variant to its end, put its reports into a queue, and return its timings."""
    corpus = _corpus(device)
    began_s = time.monotonic()
    training = Training(variant, corpus, device)

    def report(step: int, held_out: float, loss: float) -> None:
        out.put(
            {
                "variant": name,
                "step": step,
                "held_out": held_out,
                "loss": loss,
                "s": time.monotonic() - began_s,
            }
        )

    value = training.run(report, lambda _: None)
    _sync(device)
    seconds = time.monotonic() - began_s
    n_tokens = variant.steps * variant.batch * variant.seq
    return {
        "run": "sweep",
        "held_out": value,
        "n_params": training.n_params,
        "seconds": seconds,
        "tokens_per_s": n_tokens / seconds,
        "peak_gib": _peak_gib(device),
    }


def alone(name: str, variant: Variant, device: str, *, is_compiled: bool, n_steps: int) -> dict[str, Any]:
    """Time the steps of a variant that has the card to itself, after the first, which compiles."""
    training = Training(variant, _corpus(device), device, is_compiled=is_compiled)
    began_s = time.monotonic()
    training.step()
    _sync(device)
    first_s = time.monotonic() - began_s
    for _ in range(3):
        training.step()
    _sync(device)
    began_s = time.monotonic()
    for _ in range(n_steps):
        training.step()
    _sync(device)
    seconds = time.monotonic() - began_s
    n_tokens = n_steps * variant.batch * variant.seq
    return {
        "run": "alone compiled" if is_compiled else "alone eager",
        "variant": name,
        "n_params": training.n_params,
        "first_step_s": first_s,
        "seconds": seconds,
        "step_ms": seconds / n_steps * 1000,
        "tokens_per_s": n_tokens / seconds,
        "peak_gib": _peak_gib(device),
    }


def _corpus(device: str) -> Any:
    return (
        prepared(n_texts=_N_TEXTS, n_words=_N_WORDS)
        if device == "cuda"
        else prepared(n_texts=60, n_words=200)
    )


def _work(device: str, jobs: Any, out: Any) -> None:
    """Take jobs until there is none left: a worker, one of several on the card."""
    torch.set_num_threads(1)
    while (job := jobs.get()) is not None:
        kind, name, variant, extra = job
        if device == "cuda":
            torch.cuda.reset_peak_memory_stats()
        try:
            found = (
                trained(name, variant, device, out)
                if kind == "train"
                else alone(name, variant, device, **extra)
            )
        except Exception as error:  # noqa: BLE001 - one that fails must not take the others with it
            found = {"run": kind, "error": f"{type(error).__name__}: {error}"[:300]}
        out.put({"variant": name, **asdict(variant), **found, "is_end": True})


def gather(jobs: list[Any], n_workers: int, device: str, until_s: float) -> list[dict[str, Any]]:
    """Have workers do jobs; return all that they say, until they are done or the time is over."""
    context = multiprocessing.get_context("spawn")
    todo, out = context.Queue(), context.Queue()
    for job in [*jobs, *[None] * n_workers]:
        todo.put(job)
    workers = [context.Process(target=_work, args=(device, todo, out), daemon=True) for _ in range(n_workers)]
    for worker in workers:
        worker.start()
    found: list[dict[str, Any]] = []
    while sum("is_end" in row for row in found) < len(jobs) and time.monotonic() < until_s:
        try:
            found.append(out.get(timeout=1))
        except queue.Empty:
            if not any(worker.is_alive() for worker in workers):
                break
    for worker in workers:
        worker.terminate()
        worker.join()
    return found


def write(path: Path, rows: list[dict[str, Any]], about: dict[str, Any]) -> None:
    """Write rows with what they were measured on; every column that any row has."""
    names = list(dict.fromkeys(name for row in rows for name in row if name != "is_end"))
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.DictWriter(file, [*names, *about], extrasaction="ignore")
        out.writeheader()
        for row in rows:
            short = {name: f"{v:.6g}" if isinstance(v, float) else v for name, v in row.items()}
            out.writerow({**short, **about})


def main() -> int:
    """Measure and write."""
    asks = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asks.add_argument("--out", type=Path, required=True, help="folder of the results")
    asks.add_argument("--workers", type=int, default=6, help="on the card at once")
    asks.add_argument("--steps", type=int, default=300, help="of each variant")
    asks.add_argument("--limit-s", type=float, default=540, help="after which what runs is cut off")
    asks.add_argument("--dry-run", action="store_true", help="tiny, on the CPU")
    asked = asks.parse_args()
    device = "cpu" if asked.dry_run else "cuda"
    if device == "cuda" and not torch.cuda.is_available():
        print("this machine has no GPU that PyTorch can use: --dry-run does it on the CPU", file=sys.stderr)
        return 2
    until_s = time.monotonic() + asked.limit_s
    corpus = _corpus(device)
    name = torch.cuda.get_device_name() if device == "cuda" else "cpu"
    about = {
        "gpu": name,
        "torch": torch.__version__,
        "tokenizer": corpus.tokenizer,
        "n_words": corpus.n_words,
        "workers": asked.workers,
        "precision": "bf16" if device == "cuda" else "fp32",
    }
    asked.out.mkdir(parents=True, exist_ok=True)
    slug = re.sub(r"[^a-z0-9]+", "-", name.lower()).strip("-")
    stem = asked.out / f"{slug}-{datetime.now(UTC):%Y-%m-%d}"

    found = (
        variants(asked.steps) if device == "cuda" else {"tiny/a": _TINY, "tiny/b": replace(_TINY, lr=1e-2)}
    )
    first = {
        one.partition("/")[0]: (one, variant)
        for one, variant in reversed(found.items())
        if "seq512" not in one
    }
    n_steps = 100 if device == "cuda" else 3
    compiled = (False, True) if device == "cuda" else (False,)
    jobs = [
        ("alone", one, variant, {"is_compiled": how, "n_steps": n_steps})
        for one, variant in first.values()
        for how in compiled
    ]
    began_s = time.monotonic()
    timings = gather(jobs, 1, device, until_s)
    print(f"{len(timings)} runs alone: {time.monotonic() - began_s:.0f} s", flush=True)
    write(stem.with_name(stem.name + "-timings.csv"), timings, about)

    began_s = time.monotonic()
    rows = gather(
        [("train", one, variant, {}) for one, variant in found.items()], asked.workers, device, until_s
    )
    wall_s = time.monotonic() - began_s
    ends = [row for row in rows if "is_end" in row]
    reports = [row for row in rows if "is_end" not in row]
    write(
        stem.with_name(stem.name + "-timings.csv"), timings + ends, about | {"sweep_wall_s": round(wall_s, 1)}
    )
    write(stem.with_name(stem.name + "-curves.csv"), reports, about)
    failed = [row for row in timings + ends if "error" in row]
    print(
        f"{len(ends)} of {len(found)} variants by {asked.workers} workers: {wall_s:.0f} s; "
        f"{len(failed)} failed"
    )
    for row in failed:
        print(f"  {row['variant']}: {row['error']}", file=sys.stderr)
    return 0 if len(ends) == len(found) and not any(row["run"] == "train" for row in failed) else 1


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main())
