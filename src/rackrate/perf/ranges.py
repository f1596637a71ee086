"""How far off may a forecast of a language model's serving be?

The width is a factor: 4 cases of 5 lie between the expected value divided and multiplied by it. It was found
on cases that the fit had not seen (`bench/fit_perf.py`).
"""

from __future__ import annotations

from functools import cache

from rackrate.perf.factors import load_factors


@cache
def spread(kind: str) -> tuple[float, float]:
    """Return the factors of the low and the high end of an 80 % range.

    >>> low, high = spread("loaded_ttft")
    >>> low < 1 < high
    True

    Args:
        kind: `tpot`, `loaded_ttft` or `throughput` of a server, `decode` and `ttft` of a lone request.

    Raises:
        CatalogInvalid: the table of factors has no widths.
    """
    width = max(load_factors("llm").value("width", kind), 1.0)
    return 1 / width, width
