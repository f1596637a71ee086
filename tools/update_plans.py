"""Answer the questions of the golden plans anew; run it when factors or prices of the sample have changed.

    python tools/update_plans.py          # rewrites tests/unit/plan/golden/*.json; look at the difference

Each file holds a question and what the plan said: who, what and for how much, so that a change is seen and
judged, not what follows from it.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import rackrate
from rackrate.market.store import Store

GOLDEN = Path(__file__).resolve().parent.parent / "tests" / "unit" / "plan" / "golden"
DIGITS = 4


def answer(asked: dict[str, Any]) -> dict[str, Any]:
    """Return what a plan over the bundled sample says, in short."""
    fields = dict(asked)
    plan = rackrate.plan(fields.pop("what"), data=Store.sample(), **fields).plan
    best = plan.best
    return {
        "best": [best.what, best.where, best.precision, best.layout, best.limit],
        "usd_per_hour": rounded(best.usd_per_hour.value),
        "price": {name: rounded(price.value) for name, price in best.price.items()},
        "speed": {name: rounded(speed.value) for name, speed in best.speed.items()},
        "ranking": [[row.what, row.provider, rounded(row.usd_per_hour.value)] for row in plan.rows[:5]],
        "n_ways": plan.n_ways,
        "left_out": {each.rule: each.n for each in plan.excluded},
    }


def rounded(value: float) -> float:
    """Return a number with the digits that are kept."""
    return float(f"{value:.{DIGITS}g}")


def main() -> None:
    """Rewrite every file."""
    for path in sorted(GOLDEN.glob("*.json")):
        asked = json.loads(path.read_text(encoding="utf-8"))["asked"]
        text = json.dumps({"asked": asked, "answer": answer(asked)}, indent=2)
        path.write_text(text + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
