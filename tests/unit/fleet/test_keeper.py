"""The keeper with a backend that does its worst, and the lines that it answers on."""

from __future__ import annotations

import asyncio
import json
import resource
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from rackrate.errors import FleetError
from rackrate.fleet import journal
from rackrate.fleet.backends.base import NoNode, Order
from rackrate.fleet.folder import Folder, new_folder
from rackrate.fleet.keeper import Keeper
from rackrate.fleet.lines import Line
from rackrate.fleet.opening import settled
from rackrate.fleet.spec import Spec


@dataclass
class Place:
    """A backend in memory."""

    folder: Folder
    fails: list[Exception | None] = field(default_factory=list)
    nodes: set[str] = field(default_factory=set)
    intents_at_create: list[list[str]] = field(default_factory=list)
    n_broken_destroys: int = 0
    settle_s = 0.0
    list_s = 0.0
    destroy_s = 1.0
    n_calls = 1
    at = ""

    def create(self, order: Order) -> None:
        entries = journal.read(self.folder.journal)
        self.intents_at_create.append([entry["node"] for entry in entries if "node" in entry])
        fails = self.fails.pop(0) if self.fails and order.role == "worker" else None
        if fails and isinstance(fails, NoNode):
            raise fails
        self.nodes.add(order.name)
        if fails:
            raise fails

    def list(self, fleet: str) -> frozenset[str]:
        assert all(fleet in name for name in self.nodes)
        return frozenset(self.nodes)

    def destroy(self, name: str) -> bool:
        if self.n_broken_destroys:
            self.n_broken_destroys -= 1
            raise TimeoutError("504")
        was_there = name in self.nodes
        self.nodes.discard(name)
        return was_there

    def billed(self, fleet: str, since_at: float) -> None:
        """Nobody bills it."""

    def logs(self, name: str) -> Path:
        return self.folder.path / name

    def close(self) -> None:
        pass


@dataclass
class Kept:
    """A keeper at work in a thread, asked as a node, an owner or a program would."""

    place: Place
    line: Line
    fleet: str

    def name(self, number: int | str) -> str:
        return f"rr-{self.fleet}-{number}"

    def renew(self, number: int | str, **said: Any) -> dict[str, Any]:
        return self.line.ask("renew", 5, node=self.name(number), **said)

    def status(self) -> dict[str, Any]:
        return self.line.ask("status", 5)

    def until(self, is_so: Callable[[dict[str, Any]], bool]) -> dict[str, Any]:
        """Wait for changes until it is so."""
        after = -1
        for _ in range(50):
            found = self.line.ask("status", 5, after=after, wait_s=0.5)
            after = found["n_changes"]
            if is_so(found):
                return found
        raise AssertionError(found)

    def state(self, found: dict[str, Any], number: int) -> str:
        return next(node["state"] for node in found["nodes"] if node["node"] == self.name(number))


Keep = Callable[..., Kept]


@pytest.fixture
def keep() -> Iterator[Keep]:
    """Run keepers of fleets; each is over when the test is."""
    running: list[tuple[threading.Thread, Kept]] = []

    def start(fails: list[Exception | None] | None = None, n_broken: int = 0, **asked: Any) -> Kept:
        folder = new_folder()
        spec = Spec(folder.fleet, str(folder.path), **asked)
        spec.write(folder.spec)
        place = Place(folder, fails or [], n_broken_destroys=n_broken)

        async def keeping() -> None:
            await Keeper(folder, spec, place).run()

        thread = threading.Thread(target=asyncio.run, args=(keeping(),))
        thread.start()
        while folder.ask("status") is None and thread.is_alive():  # its socket is there before it listens
            thread.join(0.005)
        running.append((thread, Kept(place, Line(folder.keeper), folder.fleet)))
        return running[-1][1]

    yield start
    for thread, kept in running:
        if thread.is_alive():
            with suppress(OSError):  # it may be over by now
                kept.line.ask("close", 5, why="the test is over")
        kept.line.close()
        thread.join(10)
        assert not thread.is_alive()
        assert kept.place.nodes == set()
        assert not kept.place.folder.keeper.exists()


def head_up(kept: Kept) -> None:
    assert kept.renew("head", is_ready=True, address="tls://head")["ttl_s"] > 0


def test_nodes_are_ordered_when_the_head_works_and_are_told_where_it_is(keep: Keep) -> None:
    kept = keep(nodes=2)
    assert kept.status()["nodes"] == []
    head_up(kept)
    kept.until(lambda found: [node["state"] for node in found["nodes"]] == ["requested"] * 2)
    grant = kept.renew(1)
    assert (grant["address"], grant["is_draining"]) == ("tls://head", False)
    assert 9 < grant["ttl_s"] <= 10
    kept.renew(1, is_ready=True)
    assert kept.state(kept.status(), 1) == "ready"


def test_every_order_stands_in_the_journal_before_it_is_made(keep: Keep) -> None:
    kept = keep(nodes=3)
    head_up(kept)
    kept.until(
        lambda found: all(n["state"] == "requested" for n in found["nodes"]) and len(found["nodes"]) == 3
    )
    everyone = {kept.name(n) for n in ("head", 1, 2, 3)}
    assert kept.place.intents_at_create[0][0] == kept.name("head")
    assert all(set(intents) == everyone for intents in kept.place.intents_at_create[1:])


def test_an_order_that_went_wrong_but_was_carried_out_is_destroyed_and_replaced(keep: Keep) -> None:
    kept = keep(fails=[TimeoutError("500")], nodes=1, boot_timeout_s=1.0)
    head_up(kept)
    found = kept.until(lambda found: len(found["nodes"]) == 2)
    assert "TimeoutError: 500" in " ".join(found["nodes"][0]["story"])
    assert "refused" in kept.renew(1)
    kept.until(lambda _: kept.place.nodes == {kept.name("head"), kept.name(2)})


def test_no_capacity_three_times_ends_the_fleet_with_the_providers_words(keep: Keep) -> None:
    kept = keep(fails=[NoNode("no L40S left")] * 3, nodes=1)
    folder = kept.place.folder
    head_up(kept)
    kept.line.close()
    while folder.keeper.exists():
        threading.Event().wait(0.02)
    found = settled(folder)
    assert (found.phase, found.why) == ("closed", "nodes do not come up")
    assert all("no L40S left" in " ".join(node["story"]) for node in found.nodes)
    assert [node["state"] for node in found.nodes] == ["gone"] * 3


def test_a_destroy_that_fails_is_asked_again_until_the_node_is_gone(keep: Keep) -> None:
    kept = keep(nodes=1)
    head_up(kept)
    kept.until(lambda found: len(found["nodes"]) == 1)
    kept.renew(1, is_ready=True)
    kept.place.n_broken_destroys = 2
    kept.line.ask("scale", 5, n=0)
    kept.line.ask("ended", 5, node=kept.name(1), why="its worker has finished")
    found = kept.until(lambda found: kept.state(found, 1) == "gone")
    assert "its worker has finished" in " ".join(found["nodes"][0]["story"])


def test_a_head_that_dies_ends_the_fleet(keep: Keep) -> None:
    kept = keep(nodes=1)
    head_up(kept)
    kept.line.ask("ended", 5, node=kept.name("head"), why="out of memory")
    kept.line.close()
    while kept.place.folder.keeper.exists():
        threading.Event().wait(0.02)
    assert settled(kept.place.folder).why == "its scheduler ended: out of memory"


def test_events_are_acknowledged_and_written_once(keep: Keep) -> None:
    kept = keep(nodes=0)
    points = [{"step": step, "loss": 0.5} for step in range(3)]
    assert kept.line.ask("events", 5, source="a", first=0, points=points) == {"n": 3, "stop": []}
    assert kept.line.ask("events", 5, source="a", first=2, points=points[2:]) == {"n": 3, "stop": []}
    assert kept.place.folder.events.read_text().count("\n") == 3


def test_events_that_find_no_room_are_told_and_written_when_there_is_some(keep: Keep) -> None:
    kept = keep(nodes=0)
    points = [{"step": step, "loss": 0.5} for step in range(4000)]
    asked = {"source": "a", "first": 0, "points": points}
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 16, hard))
    try:
        with Line(kept.place.folder.keeper) as line, pytest.raises((OSError, FleetError)):
            line.ask("events", 5, **asked)
        assert kept.status()["remark"] == "what tasks report finds no room here: File too large"
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert kept.line.ask("events", 5, **asked) == {"n": 4000, "stop": []}
    assert kept.status()["remark"] == ""
    steps = [json.loads(text)["step"] for text in kept.place.folder.events.read_text().splitlines()]
    assert steps == list(range(4000))


@pytest.mark.parametrize("question", [{"do": "dance"}, {"do": "renew"}, {"do": "status", "after": "x"}])
def test_a_question_that_makes_no_sense_is_answered_with_an_error(
    keep: Keep, question: dict[str, Any]
) -> None:
    kept = keep(nodes=0)
    with pytest.raises(FleetError) as caught:
        kept.line.ask(timeout_s=5, **question)
    assert caught.value.code == "internal"
    assert kept.status()["phase"] == "open"


def test_a_line_that_is_no_line_costs_the_connection_only(keep: Keep) -> None:
    kept = keep(nodes=0)
    with socket.socket(socket.AF_UNIX) as stranger:
        stranger.connect(str(kept.place.folder.keeper))
        stranger.sendall(b"GET / HTTP/1.1\n")
        assert b'"code":"internal"' in stranger.recv(1000)
    assert kept.status()["phase"] == "open"


def test_whoever_asks_is_not_kept_waiting_for_ever_and_gets_no_late_answer(tmp_path: Path) -> None:
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(str(path))
        server.listen()
        line = Line(path)
        with pytest.raises(TimeoutError):
            line.ask("status", 0.05)
        first, _ = server.accept()
        with first, suppress(BrokenPipeError):
            first.sendall(b'{"late":1}\n')
        thread = threading.Thread(target=_answer_once, args=(server,))
        thread.start()
        assert line.ask("status", 5) == {"fresh": 1}
        thread.join()
        line.close()


def _answer_once(server: socket.socket) -> None:
    connection, _ = server.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(b'{"fresh":1}\n')
