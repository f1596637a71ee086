"""What a watch has told and still owes, in one file that is replaced whole: a restart repeats nothing."""

from __future__ import annotations

import fcntl
import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from rackrate.alerts.rule import News
from rackrate.durable import write_whole
from rackrate.errors import DataError, Refused

SCHEMA = 1
KEPT = 100
"""News that are kept after they were told: what a feed shows."""


@dataclass
class State:
    """What a watch knows from the looks before.

    Attributes:
        held: rule to the subjects that it held for.
        owed: way of telling to the news that it has not told yet, oldest first.
        told: the newest news, oldest first, for the feed.
    """

    held: dict[str, frozenset[str]] = field(default_factory=dict)
    owed: dict[str, list[News]] = field(default_factory=dict)
    told: list[News] = field(default_factory=list)

    def to_dict(self) -> dict[str, Any]:
        """Return it as plain data."""
        return {
            "schema": SCHEMA,
            "held": {rule: sorted(subjects) for rule, subjects in self.held.items()},
            "owed": {way: [news.to_dict() for news in of] for way, of in self.owed.items()},
            "told": [news.to_dict() for news in self.told],
        }


def load(path: Path) -> State:
    """Read a state; an empty one where there is no file.

    Raises:
        DataError: it cannot be read, or is damaged.
    """
    try:
        doc = json.loads(path.read_text(encoding="utf-8"))
        if doc["schema"] != SCHEMA:
            raise DataError(f"{path} has schema {doc['schema']}, not {SCHEMA}", hint=_HINT)
        return State(
            {rule: frozenset(subjects) for rule, subjects in doc["held"].items()},
            {way: [News(**news) for news in of] for way, of in doc["owed"].items()},
            [News(**news) for news in doc["told"]],
        )
    except FileNotFoundError:
        return State()
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise DataError(f"{path} is no state of a watch: {error}", hint=_HINT) from error


_HINT = "name another file with --state, or remove it: what holds now is then told again"


def save(path: Path, state: State) -> None:
    """Put a state in place, durably and at once."""
    write_whole(path, json.dumps(state.to_dict(), indent=1, ensure_ascii=False))


@contextmanager
def holding(path: Path) -> Iterator[None]:
    """Be the only watch of a state; the lock is the kernel's and goes with the process.

    Raises:
        Refused: another watch has it.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.with_name(path.name + ".lock").open("a") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            hint = "give each watch a file of its own with --state"
            raise Refused(f"another watch uses {path}", hint=hint) from error
        yield
