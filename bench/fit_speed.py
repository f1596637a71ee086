"""How fast does the memory model answer? One question after the other, and thousands at once.

python bench/fit_speed.py [--docs]

one question   `sizing.fits` and `to_dict`: verdict, terms, longest context, most at once. Every question is
               another one; the models of the questions are loaded before, as in a service.
at once        `estimate` on a grid of contexts x concurrencies, as a planner asks it
import         what `import rackrate.fit` takes, and that neither torch nor NumPy comes with it
"""

from __future__ import annotations

import argparse
import random
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from measure import machine, ms, table, write_section
from score_table import quantile

from rackrate.fit.estimate import estimate
from rackrate.fit.setup import Load
from rackrate.sizing import Wish, find_card, find_weights, fits, setup_for

SEED = 20261102
N_QUESTIONS = 1000
GOAL_S, GOAL_PER_S = 0.001, 10_000
MODELS = (
    "llama-3.1-70b", "llama-3.3-70b", "qwen2.5-32b", "qwen2.5-72b", "qwen3-32b", "qwen3.5-35b-a3b",
    "gemma-3-27b", "yi-34b", "code-llama-34b", "deepseek-r1-distill-qwen-14b",
)  # fmt: skip
GPUS = ("l40s", "l40s:2", "h100-sxm", "h100-sxm:4", "a100-80gb-sxm:2", "l4", "h200-sxm", "rtx-4090:2")
CASES = (
    ("vLLM", "llama-3.1-70b", "h100-sxm:4", Wish()),
    ("vLLM, sliding windows", "gemma-3-27b", "h100-sxm", Wish()),
    ("vLLM, recurrent layers", "qwen3.5-35b-a3b", "h100-sxm", Wish()),
    ("transformers", "qwen2.5-32b", "l40s:2", Wish(engine="transformers")),
    ("llama.cpp", "qwen2.5-32b", "l40s", Wish(engine="llama.cpp", precision="q4_k_m")),
    ("full fine-tune, ZeRO-3", "llama-3.1-70b", "h100-sxm:8", Wish(task="full")),
    ("QLoRA", "llama-3.1-70b", "h100-sxm", Wish(task="qlora")),
    ("encoder", "bert-large-uncased", "l4", Wish()),
    ("diffusion", "flux.1-schnell", "l40s", Wish()),
    ("Whisper", "whisper-large-v3", "l4", Wish()),
)
CONTEXTS = np.arange(256, 32_769, 256)
CONCURRENCIES = np.arange(1, 101)
N_RUNS = 7


@dataclass(frozen=True)
class Question:
    """One question, unlike all others.

    Attributes:
        model: slug.
        gpu: name with a count.
        context: tokens.
        concurrency: sequences at once.
        precision: of the weights.
    """

    model: str
    gpu: str
    context: int
    concurrency: int
    precision: str


def questions(n: int) -> list[Question]:
    """Return `n` different questions, always the same ones."""
    chance = random.Random(SEED)  # noqa: S311 - a benchmark's mix, no secret
    found: dict[Question, None] = {}
    while len(found) < n:
        found[
            Question(
                chance.choice(MODELS), chance.choice(GPUS), 256 * chance.randint(1, 128),
                chance.randint(1, 64), chance.choice(("bf16", "fp8", "int4", "nf4")),
            )
        ] = None  # fmt: skip
    return list(found)


def ask(question: Question) -> dict[str, object]:
    """Answer a question in full."""
    answer = fits(
        question.model, question.gpu, context=question.context, concurrency=question.concurrency,
        precision=question.precision,
    )  # fmt: skip
    return answer.to_dict()


def one_by_one(n: int) -> list[float]:
    """Return the seconds that each of `n` different questions takes; models and cards are loaded."""
    for model in MODELS:
        for gpu in GPUS:
            ask(Question(model, gpu, 100, 1, "bf16"))
    taken = []
    for question in questions(n):
        start = time.perf_counter()
        ask(question)
        taken.append(time.perf_counter() - start)
    return taken


def at_once(model: str, gpu: str, wish: Wish) -> float:
    """Return how many loads a second one call of `estimate` on a grid answers; best of `N_RUNS`."""
    weights, (card, n_gpus) = find_weights(model), find_card(gpu)
    setup = setup_for(weights, n_gpus, wish)
    load = Load(*np.meshgrid(CONTEXTS, CONCURRENCIES))
    best = float("inf")
    for _ in range(N_RUNS):
        start = time.perf_counter()
        total = estimate(weights.arch, card, setup, load).total
        np.broadcast_to(total.gib + total.sigma_gib, load.context.shape)
        best = min(best, time.perf_counter() - start)
    return float(load.context.size) / best


def disagreements(model: str, gpu: str, wish: Wish) -> int:
    """Return at how many of some points of the grid an array says other than a number."""
    weights, (card, n_gpus) = find_weights(model), find_card(gpu)
    setup = setup_for(weights, n_gpus, wish)
    contexts, sequences = np.meshgrid(CONTEXTS[::31], CONCURRENCIES[::33])
    together = estimate(weights.arch, card, setup, Load(contexts, sequences)).total.gib
    together = np.broadcast_to(together, contexts.shape)
    return sum(
        abs(float(estimate(weights.arch, card, setup, Load(int(context), int(n))).total.gib) - both) > 1e-9  # noqa: PLR2004 - GiB
        for context, n, both in zip(contexts.flat, sequences.flat, together.flat, strict=True)
    )


def heavy_imports() -> list[str]:
    """Return which of torch, transformers and NumPy come with the whole of `rackrate.fit`."""
    code = (
        "import sys, pkgutil, importlib, rackrate.fit as f\n"
        "[importlib.import_module(m.name) for m in pkgutil.walk_packages(f.__path__, 'rackrate.fit.')]\n"
        "print(*(m for m in ('torch', 'transformers', 'numpy') if m in sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    return done.stdout.split()


def report(n_questions: int = N_QUESTIONS) -> str:
    """Measure all of it and return it as Markdown."""
    taken = one_by_one(n_questions)
    median = quantile(taken, 0.5)
    rows = []
    for name, model, gpu, wish in CASES:
        per_s = at_once(model, gpu, wish)
        met = "met" if per_s >= GOAL_PER_S else "missed"
        rows.append([name, f"{model} on {gpu}", f"{per_s:,.0f}", met, str(disagreements(model, gpu, wish))])
    heavy = heavy_imports()
    met = "met" if median < GOAL_S else "missed"
    one = (
        f"One question: {ms(median)} in the median, {ms(quantile(taken, 0.9))} at the 90th percentile (goal "
        f"1 ms: {met}). {n_questions:,} different questions, {len(MODELS)} models on {len(GPUS)} "
        "configurations; each answer has verdict, terms, longest context and most sequences at once."
    )
    grid = (
        f"At once, a grid of {len(CONTEXTS)} contexts x {len(CONCURRENCIES)} concurrencies (goal "
        f"{GOAL_PER_S:,} a second):"
    )
    loads = table(["set-up", "case", "loads a second", "goal", "differ from one by one"], rows)
    imports = f"`import rackrate.fit` loads {', '.join(heavy) or 'neither torch, transformers nor NumPy'}."
    return f"## Does it fit: speed\n\n{one}\n\n{grid}\n\n{loads}\n\n{imports}"


def main(argv: Sequence[str] | None = None) -> int:
    """Run from the command line."""
    parser = argparse.ArgumentParser(description="Time rackrate.fit.")
    parser.add_argument("--docs", action="store_true", help="write docs/benchmarks.md")
    args = parser.parse_args(argv)
    text = report()
    if args.docs:
        write_section("fit-speed", f"{text}\n\n{machine('rackrate', 'numpy')}")
    print(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
