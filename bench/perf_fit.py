"""Fit factors to measured cases: least squares in log space, few cases pulled towards what is known.

A prediction is a function of the factors' values, row by row; a factor's value is its base times multipliers
(`rackrate.perf.factors`). Each logarithm of a multiplier has a prior at 0 as wide as its kind usually varies,
so that a GPU of which three rows are known moves a little, one of which a hundred are known as far as these
say, and one of which none is known stays with its class. The loss is soft L1: a row far off pulls less.

Of a row only its own factors matter, so the Jacobian needs one evaluation a factor, not one a parameter.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from scipy.optimize import least_squares
from scipy.sparse import csr_matrix

from rackrate.perf.chip import CLASSES
from rackrate.perf.factors import BASE

Keys = Mapping[str, Sequence[str]]
Values = Mapping[str, Any]
Predict = Callable[[Values], Any]

SCALE = 0.2  # log error up to which a row counts in full
STEP = 1e-4  # of the logarithm, for the derivative
SEEN = 6  # rows without which a key gets no multiplier


@dataclass(frozen=True)
class Prior:
    """How wide multipliers vary, as standard deviations of their logarithm.

    Attributes:
        base: of a factor's base about its first guess.
        by_kind: of a key, by what it is: `class`, `class_us` (of a time), `gpu`, `engine`, `packing`,
            `pair` (engine with class or packing), `link`, `mode`.
    """

    base: float = 1.0
    by_kind: Mapping[str, float] = field(
        default_factory=lambda: {
            "class": 0.075, "class_us": 0.06, "gpu": 0.16, "engine": 0.1, "packing": 0.12, "pair": 0.1,
            "link": 0.1, "mode": 0.5,
        }
    )  # fmt: skip

    def of(self, factor: str, key: str) -> float:
        """Return the width of one multiplier."""
        if key == BASE:
            return self.base
        return self.by_kind[_kind(factor, key)]


_WORDS = {
    "engine": {"vllm", "sglang", "tensorrt-llm", "llama.cpp", "mlc", "exllama", "lmdeploy", "other"},
    "packing": {"wide", "fp8", "int8", "nvfp4", "mxfp4", "nf4", "int4", "gguf", "fp16", "fp4", "bf16"},
    "mode": {"steady", "closed", "nvlink", "bridge", "pcie"},
}
"""What a key that is no class, count or pair may be; anything else is a GPU."""


def _kind(factor: str, key: str) -> str:
    if factor in ("link", "link_us") and ":" in key:
        return "link"
    if key.endswith(":2024"):
        return "mode"
    if ":" in key:
        return "pair"
    if key in CLASSES:
        return "class_us" if factor.endswith("_us") or factor == "ramp" else "class"
    if re.fullmatch(r"x\d|20\d\d|stages\d", key):
        return "mode"
    return next((kind for kind, words in _WORDS.items() if key in words), "gpu")


@dataclass
class Problem:
    """What is to be fitted.

    Attributes:
        keys: of each row: the keys of each factor.
        truth: of each row, its logarithm.
        predict: the logarithm of the forecast of every row, from the values of the factors of every row.
        guesses: first guess of each factor's base.
        weights: of the rows.
        sharp: factors whose base is held near its guess, with the width.
        priors: known multipliers, by factor and key: the prior's middle where it is not 1.
    """

    keys: Sequence[Keys]
    truth: Any
    predict: Predict
    guesses: Mapping[str, float]
    weights: Any
    sharp: Mapping[str, float] = field(default_factory=dict)
    priors: Mapping[tuple[str, str], float] = field(default_factory=dict)


@dataclass
class Fitted:
    """Factors with their bases and multipliers, as logarithms.

    Attributes:
        names: (factor, key) of each parameter.
        logs: their logarithms: of a base, over its guess.
        guesses: of the bases.
    """

    names: list[tuple[str, str]]
    logs: Any
    guesses: Mapping[str, float]

    def values(self, keys: Sequence[Keys]) -> dict[str, Any]:
        """Return the value of every factor for every row."""
        designs = _designs(self.names, keys, self.guesses)
        return {name: self.guesses[name] * np.exp(designs[name] @ self.logs) for name in self.guesses}

    def table(self) -> dict[str, dict[str, float]]:
        """Return bases and multipliers by factor, as the TOML file has them."""
        found: dict[str, dict[str, float]] = {}
        for (name, key), log in zip(self.names, self.logs, strict=True):
            base = self.guesses[name] if key == BASE else 1.0
            found.setdefault(name, {})[key] = float(base * np.exp(log))
        return found


def fit(problem: Problem, rows: Any, prior: Prior | None = None, *, smallest: float = 0.0) -> Fitted:
    """Return the factors that explain some rows best.

    Args:
        problem: all rows.
        rows: which of them may be seen, as booleans.
        prior: widths.
        smallest: multipliers whose logarithm stays below are left out, and the rest is fitted again.
    """
    prior = prior or Prior()
    found = _solve(problem, rows, prior, _names(problem, rows))
    if smallest:
        kept = [
            name
            for name, log in zip(found.names, found.logs, strict=True)
            if name[1] == BASE or abs(log) >= smallest
        ]
        found = _solve(problem, rows, prior, kept)
    return found


def _names(problem: Problem, rows: Any) -> list[tuple[str, str]]:
    names = []
    for factor in problem.guesses:
        seen = Counter(
            key for i in map(int, np.flatnonzero(rows)) for key in set(problem.keys[i][factor]) if key
        )
        names.append((factor, BASE))
        names += sorted((factor, key) for key, n in seen.items() if n >= SEEN)
    return names


def _designs(
    names: Sequence[tuple[str, str]], keys: Sequence[Keys], factors: Mapping[str, float]
) -> dict[str, Any]:
    index = {name: i for i, name in enumerate(names)}
    found = {}
    for factor in factors:
        places = [
            (row, index[factor, key])
            for row, by_factor in enumerate(keys)
            for key in (BASE, *by_factor[factor])
            if (factor, key) in index
        ]
        at = tuple(np.array(places).T) if places else (np.array([], int), np.array([], int))
        found[factor] = csr_matrix((np.ones(len(places)), at), shape=(len(keys), len(names)))
    return found


def _solve(problem: Problem, rows: Any, prior: Prior, names: list[tuple[str, str]]) -> Fitted:
    guesses = problem.guesses
    designs = _designs(names, problem.keys, guesses)
    width = np.array([problem.sharp.get(f, prior.base) if k == BASE else prior.of(f, k) for f, k in names])
    middle = np.array([problem.priors.get(name, 0.0) for name in names])
    weights = (problem.weights / problem.weights[rows].mean())[rows] / SCALE

    def values(logs: Any) -> dict[str, Any]:
        return {name: guesses[name] * np.exp(designs[name] @ logs) for name in guesses}

    def errors(logs: Any) -> Any:
        return (problem.predict(values(logs)) - problem.truth)[rows] * weights

    def residuals(logs: Any) -> Any:
        return np.concatenate([_soft(errors(logs)), _PRIOR * (logs - middle) / width])

    def jacobian(logs: Any) -> Any:
        at, now = values(logs), problem.predict(values(logs))
        total = np.zeros((int(rows.sum()), len(names)))
        for name in guesses:
            moved = problem.predict({**at, name: at[name] * np.exp(STEP)})
            slope = (moved - now)[rows] / STEP
            total += designs[name][rows].multiply(slope[:, None]).toarray()
        total *= (weights * _soft_slope(errors(logs)))[:, None]
        return np.vstack([total, np.diag(_PRIOR / width)])

    found = least_squares(residuals, middle, jac=jacobian, max_nfev=40, ftol=1e-6, xtol=1e-6)
    return Fitted(list(names), found.x, guesses)


_PRIOR = 0.7  # weight of the priors beside the rows, found by cross-validation


def _soft(errors: Any) -> Any:
    """Return residuals whose squares are the soft L1 loss of `errors`."""
    return np.sign(errors) * np.sqrt(2 * (np.sqrt(1 + errors**2) - 1))


def _soft_slope(errors: Any) -> Any:
    root = np.sqrt(1 + errors**2)
    return np.where(np.abs(errors) < STEP, 1.0, np.abs(errors) / root / np.sqrt(2 * (root - 1) + 1e-30))


def folds(groups: Sequence[str], n: int = 5, seed: int = 0) -> Any:
    """Return for each row the fold that holds it out; rows of a group are in one."""
    names = sorted(set(groups))
    np.random.default_rng(seed).shuffle(names)
    place = {name: i % n for i, name in enumerate(names)}
    return np.array([place[group] for group in groups])


def held_out(
    problem: Problem, fold: Any, prior: Prior | None = None, *, smallest: float = 0.0
) -> tuple[Any, list[Fitted]]:
    """Return the log error of every row by factors that have not seen its fold, and those factors."""
    errors, all_fitted = np.full(len(problem.truth), np.nan), []
    for number in np.unique(fold):
        fitted = fit(problem, fold != number, prior, smallest=smallest)
        all_fitted.append(fitted)
        out = fold == number
        errors[out] = (problem.predict(fitted.values(problem.keys)) - problem.truth)[out]
    return errors, all_fitted
