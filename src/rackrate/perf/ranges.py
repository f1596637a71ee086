"""How far off may a forecast of a language model's serving be?

The ends are factors on the expected value between which 4 cases of 5 lie. To be replaced by the widths that
`bench/fit_perf.py` finds on held-out cases (`[ranges]` of `data/llm.toml`).
"""

from __future__ import annotations

from collections.abc import Mapping

_RANGES: Mapping[str, tuple[float, float]] = {
    "decode": (0.85, 1.18),
    "ttft": (0.65, 1.5),
    "throughput": (0.75, 1.3),
}


def spread(kind: str) -> tuple[float, float]:
    """Return the factors of the low and the high end of an 80 % range.

    >>> spread("ttft")
    (0.65, 1.5)

    Args:
        kind: `decode` (time a token), `ttft` or `throughput`.
    """
    return _RANGES[kind]
