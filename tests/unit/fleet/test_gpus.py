"""Which GPUs a node sees, by its place among the nodes of a machine."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate.errors import UsageError
from rackrate.fleet.backends import gpus
from rackrate.fleet.backends.base import NoNode
from rackrate.fleet.spec import Spec


def names(place: int, n_gpus: int | None, here: tuple[str, ...]) -> list[str]:
    said = gpus.visible_at(place, n_gpus, here)[gpus.VISIBLE]
    return said.split(",") if said else []


def test_those_of_the_machine_are_counted_by_their_devices(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv(gpus.VISIBLE, raising=False)
    for name in ("nvidia3", "nvidia5", "nvidiactl", "nvidia-uvm", "null"):
        (tmp_path / name).touch()
    assert gpus.here(tmp_path) == ("0", "1")  # CUDA numbers what it sees anew
    assert gpus.here(tmp_path / "empty") == ()


@pytest.mark.parametrize(
    ("said", "found"),
    [("", ()), ("2, 3", ("2", "3")), ("GPU-1,GPU-2", ("GPU-1", "GPU-2")), ("1,-1,0", ("1",)), ("-1", ())],
)
def test_who_starts_a_fleet_says_which_it_may_have(
    said: str, found: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(gpus.VISIBLE, said)
    assert gpus.here() == found


@given(n_here=st.integers(1, 8), n_nodes=st.integers(1, 40))
def test_nodes_share_evenly(n_here: int, n_nodes: int) -> None:
    here = tuple(map(str, range(n_here)))
    given_out = [name for place in range(n_nodes) for name in names(place, None, here)]
    counts = [given_out.count(name) for name in here]
    assert sum(counts) == n_nodes
    assert max(counts) - min(counts) <= 1


@given(n_here=st.integers(0, 8), n_gpus=st.integers(0, 8), n_nodes=st.integers(1, 20))
def test_what_a_node_has_to_itself_no_other_has(n_here: int, n_gpus: int, n_nodes: int) -> None:
    here = tuple(map(str, range(n_here)))
    if n_gpus * n_nodes > n_here:
        with pytest.raises(NoNode, match=f"of {n_here} here"):
            [names(place, n_gpus, here) for place in range(n_nodes)]
        return
    given_out = [name for place in range(n_nodes) for name in names(place, n_gpus, here)]
    assert len(given_out) == len(set(given_out)) == n_gpus * n_nodes


def test_a_machine_without_gpus_says_nothing_and_a_node_without_them_sees_none() -> None:
    assert gpus.visible_at(0, None, ()) == {}
    assert gpus.visible_at(0, 0, ("0",)) == {gpus.VISIBLE: ""}


@given(st.sets(st.integers(0, 9)))
def test_a_place_that_is_free_again_is_taken_first(taken: set[int]) -> None:
    place = gpus.lowest_free(taken)
    assert place not in taken
    assert set(range(place)) <= taken


def test_too_few_gpus_are_told_before_anything_is_made(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(gpus.VISIBLE, "0")
    Spec("x", ".", nodes=4).check_place()
    Spec("x", ".", nodes=1, gpus=1).check_place()
    with pytest.raises(UsageError, match="4 nodes with 1 GPUs each: this machine has 1"):
        Spec("x", ".", nodes=4, gpus=1).check_place()
    with pytest.raises(UsageError, match="its offer says"):
        Spec("x", ".", backend="vast", gpus=1).check_place()
