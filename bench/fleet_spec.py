"""Hold thousands of random exchanges with the emulated clouds against what the providers publish.

    python bench/fleet_spec.py ../shared/data/openapi --docs       # two minutes
    python bench/fleet_spec.py ../shared/data/openapi --n 400

Our own client asks for random things, while random faults are switched on: every request and every answer
must be as published. After each of its calls a request of before is sent again with a part of it spoiled:
that may be anything, and the answer must be as published all the same.
"""

from __future__ import annotations

import argparse
import copy
import json
import os
import random
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.error import HTTPError
from urllib.parse import urlencode

from measure import machine, table, write_section

from rackrate.errors import ProviderError
from rackrate.fleet.backends.base import NoNode, Order
from rackrate.fleet.backends.rented import RentedBackend
from rackrate.testing.clouds import Cloud
from rackrate.testing.clouds.cloud import Request
from rackrate.testing.clouds.documents import Document
from rackrate.testing.spending import CLOUDS, L40S, Names

FLEET = "f022"
GOAL_N = 10_000
FAULTS = (
    "n_create_500_but_makes",
    "n_create_500",
    "n_error",
    "n_no_capacity",
    "n_asks_gone",
    "n_deaf_deletes",
    "n_delete_500",
    "n_too_many",
)
_AT_ONCE = 150
_A_FAULT = 0.2
"""So often one is switched on before a call."""
_WRONG: tuple[Any, ...] = (None, "", -1, 0, 2**40, 0.5, "x" * 300, [], {}, [{}], True)

METHOD = """Random calls of our own client (seed {seed}) to emulated clouds with random faults, and after each
a request of before with a part of it spoiled or left out, sent raw. Held against the providers' documents by
openapi-core: requests of ours, and every answer. Not counted as violations are the answers that Vast.ai gives
and does not document, or not everywhere: 500, 401 and 429."""


@dataclass
class Found:
    """What came of the exchanges with one cloud.

    Attributes:
        statuses: how many answers had which.
        n_ours: exchanges that our client began; the rest was spoiled.
        troubles: what was not as published, and how often.
    """

    statuses: Counter[int] = field(default_factory=Counter)
    n_ours: int = 0
    troubles: Counter[str] = field(default_factory=Counter)

    @property
    def n(self) -> int:
        """All exchanges."""
        return sum(self.statuses.values())


class Fuzz:
    """Random exchanges with one cloud.

    Args:
        name: of the provider.
        folder: with the documents.
        home: a folder that is empty.
        seed: decides all that happens.
    """

    def __init__(self, name: str, folder: Path, home: Path, seed: str) -> None:
        kind, _, self.provider, open_rental = CLOUDS[name]
        self.found = Found()
        self._chance = random.Random(f"{name} {seed}")  # noqa: S311 - no secret
        self._cloud: Cloud = kind(Names())
        os.environ |= {
            self.provider.url_variable: self._cloud.url,
            self.provider.key_variable: self._cloud.key,
        }
        self._document = Document(folder, self.provider, self._cloud.json_type)
        rental = open_rental()
        rental.list_s = 0.0
        self._backend, self._rental = RentedBackend(rental, home), rental
        self._n_checked = self._n_ordered = 0
        self._asked: list[Request] = []

    def run(self, n: int) -> Found:
        """Make so many exchanges."""
        try:
            while self.found.n < n:
                self._once()
        finally:
            self._backend.close()
            self._cloud.close()
        return self.found

    def _once(self) -> None:
        """Have our client ask for something, and send something spoiled."""
        if self._chance.random() < _A_FAULT:
            setattr(self._cloud.faults, self._chance.choice(FAULTS), 1)
        call = self._chance.choice((self._order, self._order, self._list, self._end, self._quote, self._bill))
        with suppress(ProviderError, NoNode):
            call()
        self._forget_waits()
        self._check(is_ours=True)
        self._send(self._spoiled(self._chance.choice(self._asked)))
        self._check(is_ours=False)

    def _order(self) -> None:
        self._n_ordered += 1
        name = f"rr-{FLEET}-{self._n_ordered}"
        self._backend.create(Order(name, FLEET, "worker", "127.0.0.1:1", 30.0, 60.0, machine=L40S))

    def _list(self) -> None:
        self._backend.list(FLEET)

    def _quote(self) -> None:
        self._rental.quote(L40S, self._chance.randint(1, 3))

    def _bill(self) -> None:
        self._backend.billed(FLEET, time.time() - self._chance.uniform(0, 86400))

    def _end(self) -> None:
        names = sorted(one.name for one in self._cloud.machines) or ["rr-none"]
        self._backend.destroy(self._chance.choice(names))

    def _forget_waits(self) -> None:
        """Let a client that was told to wait ask at once."""
        self._rental._api._not_before_s.clear()  # noqa: SLF001 - who waits a second would wait an hour in all
        self._cloud.faults.n_too_many = 0

    def _check(self, *, is_ours: bool) -> None:
        """Hold what is new against the document."""
        new = self._cloud.exchanges[self._n_checked :]
        self._n_checked += len(new)
        for one in new:
            self.found.statuses[one.reply.status] += 1
            self.found.n_ours += is_ours
            if is_ours:
                self._asked = [*self._asked[-200:], one.request]
            if trouble := self._document.trouble(one, is_ours=is_ours):
                self.found.troubles[trouble[:300]] += 1

    def _spoiled(self, request: Request) -> Request:
        """Return a request with a part of it spoiled or left out."""
        body, query, path = copy.deepcopy(request.body), dict(request.query), request.path
        parts: list[Callable[[], object]] = []
        if body:
            key = self._chance.choice(sorted(body))
            parts += [lambda: body.pop(key), lambda: body.update({key: self._chance.choice(_WRONG)})]
        if query:
            name = self._chance.choice(sorted(query))
            parts += [lambda: query.pop(name), lambda: query.update({name: str(self._chance.choice(_WRONG))})]
        last = path.rpartition("/")[2]
        if last.isalnum() and any(letter.isdigit() for letter in last) and not last.startswith("v"):
            path = path.removesuffix(last) + self._chance.choice(("0", "999999", last))
        if parts:
            self._chance.choice(parts)()
        return Request(request.method, path, query, body, request.token)

    def _send(self, request: Request) -> None:
        data = None if request.body is None else json.dumps(request.body).encode()
        query = f"?{urlencode(request.query)}" if request.query else ""
        asked = urllib.request.Request(  # noqa: S310 - to the emulator
            f"{self._cloud.url}{request.path}{query}", data, method=request.method
        )
        asked.add_header("Authorization", f"Bearer {self._cloud.key}")
        asked.add_header("Content-Type", "application/json")
        with suppress(HTTPError), urllib.request.urlopen(asked, timeout=30) as answer:  # noqa: S310 - as above
            answer.read()


def fuzzed(name: str, folder: Path, n: int, seed: int) -> Found:
    """Make so many exchanges, each few of them with a cloud of their own: listings stay short."""
    found = Found()
    while found.n < n:
        with tempfile.TemporaryDirectory() as home:
            one = Fuzz(name, folder, Path(home), f"{seed} {found.n}").run(min(_AT_ONCE, n - found.n))
        found = Found(found.statuses + one.statuses, found.n_ours + one.n_ours, found.troubles + one.troubles)
        print(name, found.n, flush=True)
    return found


def section(found: dict[str, Found], method: str) -> str:
    """Write the section of the benchmarks."""
    header = ["provider", "exchanges", "of our client", "answers", "not as published"]
    rows = []
    for name, one in found.items():
        answers = ", ".join(f"{status}: {n:,}" for status, n in sorted(one.statuses.items()))
        n_troubles = sum(one.troubles.values())
        rows.append([name, f"{one.n:,}", f"{one.n_ours:,}", answers, f"{n_troubles:,}"])
    n, n_bad = sum(one.n for one in found.values()), sum(sum(one.troubles.values()) for one in found.values())
    verdict = "not measured" if n < GOAL_N else "met" if n_bad == 0 else "missed"
    says = f"Not as published: {n_bad:,} of {n:,} exchanges, goal 0 of {GOAL_N:,}: {verdict}."
    title = f"## Fleet: clouds as published\n\n{machine('rackrate', 'openapi-core')}"
    return "\n\n".join((title, method, table(header, rows), says))


def main() -> None:
    """Measure and write."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("documents", type=Path, help="folder with runpod_v2.json and vast.yaml")
    parser.add_argument("--n", type=int, default=GOAL_N)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--docs", action="store_true", help="write the section of docs/benchmarks.md")
    asked = parser.parse_args()
    found = {}
    for name in CLOUDS:
        found[name] = fuzzed(name, asked.documents, -(-asked.n // len(CLOUDS)), asked.seed)
        for trouble, n in found[name].troubles.most_common():
            print(f"{n} x {trouble}")
    text = section(found, METHOD.format(seed=asked.seed))
    print(text)
    if asked.docs:
        write_section("fleet-spec", text)


if __name__ == "__main__":
    main()
