"""The journal: what is written is read, a torn tail is dropped, damage is told."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate.errors import DataError
from rackrate.fleet import journal
from rackrate.fleet.journal import Journal

ENTRIES = [{"what": "opened", "n": 2}, {"what": "node", "why": "line\nbreak, ünï"}, {"what": "closed"}]
plain = st.dictionaries(st.text(), st.none() | st.integers() | st.text() | st.lists(st.booleans()))


@given(plain)
def test_an_entry_is_one_line_and_reads_back(entry: dict[str, Any]) -> None:
    line = journal.encode(entry)
    assert line.count(b"\n") == 1
    assert line.endswith(b"\n")
    assert journal.decode(line) == entry


@given(plain, st.floats(0, 1, exclude_max=True))
def test_no_part_of_a_line_passes_for_a_line(entry: dict[str, Any], part_frac: float) -> None:
    line = journal.encode(entry)
    assert journal.decode(line[: int(part_frac * len(line))]) is None


@pytest.mark.parametrize("n_lost", range(1, 60, 4))
def test_a_crash_in_the_last_line_loses_that_line_only(n_lost: int, tmp_path: Path) -> None:
    path = tmp_path / "journal"
    whole = b"".join(map(journal.encode, ENTRIES))
    last = len(journal.encode(ENTRIES[-1]))
    path.write_bytes(whole[: len(whole) - min(n_lost, last)])
    assert journal.read(path) == ENTRIES[:2]
    with Journal(path) as again:
        again.write([{"what": "reaped"}])
    assert journal.read(path) == [*ENTRIES[:2], {"what": "reaped"}]


def test_damage_before_the_last_line_is_told_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    path.write_bytes(b"".join(map(journal.encode, ENTRIES)).replace(b"break", b"brake"))
    with pytest.raises(DataError, match="line 2 is damaged") as caught:
        journal.read(path)
    assert caught.value.code == "journal-broken"
    with pytest.raises(DataError):
        Journal(path)


def test_there_must_be_a_journal_to_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="no such file"):
        journal.read(tmp_path / "none")


def test_entries_are_on_the_disk_when_the_call_returns(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Journal(tmp_path / "journal") as out:
        synced: list[list[Any]] = []
        monkeypatch.setattr(os, "fsync", lambda _: synced.append(journal.read(out.path)))
        out.write(ENTRIES[:2])
        out.write(ENTRIES[2:])
    assert synced == [ENTRIES[:2], ENTRIES]


def test_only_the_owner_may_read_it_and_nothing_inherits_it(tmp_path: Path) -> None:
    with Journal(tmp_path / "journal") as out:
        assert out.path.stat().st_mode & 0o777 == 0o600
        assert not os.get_inheritable(out._file)
