"""Errors: one tree, stable codes, the same after a pickle, the same as a problem object."""

from __future__ import annotations

import pickle
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rackrate import errors
from rackrate.errors import (
    AuthRejected,
    BadQuantity,
    BootFailed,
    CatalogInvalid,
    DataError,
    EngineMismatch,
    FleetClosed,
    FleetError,
    ImportRejected,
    InternalError,
    InvalidTransition,
    MissingCredential,
    NoAnswer,
    NothingFits,
    OverBudget,
    ProviderDown,
    ProviderError,
    RackrateError,
    RateLimited,
    Refused,
    StaleData,
    StoreBroken,
    TaskExited,
    UnknownName,
    UsageError,
    nearest,
)

TREE = [
    (UsageError, "usage", 2, 400),
    (BadQuantity, "bad-quantity", 2, 400),
    (NoAnswer, "no-answer", 3, 404),
    (DataError, "data", 4, 503),
    (CatalogInvalid, "catalog-invalid", 4, 503),
    (ImportRejected, "import-rejected", 4, 422),
    (StoreBroken, "store-broken", 4, 503),
    (StaleData, "stale-data", 4, 503),
    (NothingFits, "nothing-fits", 3, 404),
    (ProviderError, "provider", 5, 502),
    (MissingCredential, "missing-credential", 5, 401),
    (AuthRejected, "auth-rejected", 5, 401),
    (RateLimited, "rate-limited", 5, 429),
    (ProviderDown, "provider-down", 5, 502),
    (FleetError, "fleet", 5, 500),
    (BootFailed, "boot-failed", 5, 500),
    (EngineMismatch, "engine-mismatch", 5, 500),
    (FleetClosed, "fleet-closed", 5, 410),
    (TaskExited, "task-exited", 5, 500),
    (InvalidTransition, "invalid-transition", 5, 500),
    (Refused, "refused", 6, 403),
    (OverBudget, "over-budget", 6, 402),
    (InternalError, "internal", 1, 500),
]


def all_below(cls: type[RackrateError]) -> Iterator[type[RackrateError]]:
    for below in cls.__subclasses__():
        yield below
        yield from all_below(below)


@pytest.mark.parametrize(("cls", "code", "exit_code", "status"), TREE)
def test_each_class_has_its_code_exit_status_and_http_status(
    cls: type[RackrateError], code: str, exit_code: int, status: int
) -> None:
    error = cls("it broke")
    assert (error.code, error.exit_code, error.http_status) == (code, exit_code, status)
    assert str(error) == error.message == "it broke"


def test_every_class_of_the_module_is_in_the_table() -> None:
    ours = {cls for cls in all_below(RackrateError) if cls.__module__ == errors.__name__}
    assert ours == {cls for cls, *_ in TREE} | {UnknownName}


def test_the_docstring_states_every_class_with_its_statuses() -> None:
    lines = {line.split()[0]: line for line in (errors.__doc__ or "").splitlines() if line.strip()}
    for cls, _, exit_code, status in TREE:
        assert f"{exit_code} / {status}" in lines[cls.__name__]


@given(st.sampled_from([cls for cls, *_ in TREE]), st.text(), st.text(), st.text(min_size=1))
def test_errors_survive_a_pickle(cls: type[RackrateError], message: str, hint: str, code: str) -> None:
    error = cls(message, hint=hint, code=code)
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert type(again) is cls
    assert (again.message, again.hint, again.code, again.args) == (message, hint, code, (message,))
    assert again.to_problem() == error.to_problem()


@given(st.text(min_size=1), st.lists(st.text(), max_size=4))
def test_unknown_names_survive_a_pickle(name: str, near: list[str]) -> None:
    error = UnknownName("sort column", name, near, why="it fits two")
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert (again.kind, again.name, again.nearest) == ("sort column", name, tuple(near))
    assert again.code == "unknown-sort-column"
    assert repr(name) in again.message


def test_an_invalid_transition_brings_the_story_of_its_node_through_a_pickle() -> None:
    error = InvalidTransition("rr-1 cannot go from gone to ready", story=("0.0 s intent", "1.0 s gone"))
    again = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own bytes
    assert again.story == ("0.0 s intent", "1.0 s gone")
    assert again.hint == "0.0 s intent; 1.0 s gone"


def test_a_problem_has_the_members_of_rfc_9457() -> None:
    assert BadQuantity("context 0 is too small", hint="give 1 or more").to_problem() == {
        "type": "/errors/bad-quantity",
        "title": "bad quantity",
        "status": 400,
        "detail": "context 0 is too small",
        "hint": "give 1 or more",
        "code": "bad-quantity",
    }


@pytest.mark.parametrize(
    ("near", "hint"),
    [
        ((), ""),
        (("l40s",), "did you mean `l40s`?"),
        (("l40s", "l40"), "did you mean `l40s` or `l40`?"),
        (("a", "b", "c"), "did you mean `a`, `b` or `c`?"),
    ],
)
def test_the_hint_names_the_nearest(near: tuple[str, ...], hint: str) -> None:
    assert UnknownName("GPU", "l4os", near).hint == hint


def test_nearest_finds_typing_errors_whatever_the_case() -> None:
    assert nearest("L4OS", ["l40s", "h100-sxm", "l40"])[0] == "l40s"
    assert nearest("delimeter", ["format", "Delimiter"]) == ["Delimiter"]
    assert nearest("zzz", ["l40s"]) == []


@given(st.text(), st.lists(st.text()), st.integers(1, 5))
def test_nearest_returns_some_of_the_choices_and_the_name_itself_first(
    name: str, more: list[str], n: int
) -> None:
    found = nearest(name, more, n)
    assert len(found) <= n
    assert set(found) <= set(more)
    if name:
        assert nearest(name, [name, *more], n)[0].casefold() == name.casefold()


def test_a_base_error_is_caught_as_one() -> None:
    with pytest.raises(RackrateError):
        raise StoreBroken("gone")
