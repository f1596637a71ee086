"""Every error code with its class and meaning: one table, for the pages on errors and for the tests.

A class of `rackrate.errors` has a code of its own, explained by its docstring; the others stand in `SPECIAL`.
"""

from __future__ import annotations

from collections.abc import Mapping

from rackrate import errors
from rackrate.errors import RackrateError

SPECIAL: Mapping[str, tuple[type[RackrateError], str]] = {
    "unknown-field": (errors.UsageError, "The address has a field that the page does not have."),
    "too-long": (errors.UsageError, "A value is longer than any of ours, or there are too many."),
    "no-table": (errors.UsageError, "The page has no table that could be CSV or Parquet."),
    "no-chart": (errors.UsageError, "The page has no chart, or not so many."),
    "too-large": (errors.UsageError, "The body of the request is too large."),
    "bad-method": (errors.UsageError, "The page is read with GET."),
    "bad-body": (errors.UsageError, "The body of the request is not what the schema says."),
    "bad-argument": (
        errors.UsageError,
        "An argument of an agent's tool is missing or is none that it takes.",
    ),
    "bad-cursor": (errors.UsageError, "The cursor is none of ours, or of other data."),
    "too-many": (errors.Refused, "More new pages a minute than one client may ask for; try again later."),
    "busy": (errors.DataError, "Too many questions wait, or one took too long; try again in a moment."),
    "extra": (errors.UsageError, "A package of an extra is not installed."),
    "no-offers": (errors.NoAnswer, "No offer meets the conditions; the hint names the one in the way."),
    "does-not-fit": (errors.NoAnswer, "The model does not fit, so it has no speed."),
    "below-floor": (errors.NoAnswer, "The promise is below what the data sheet allows."),
    "too-much": (errors.NoAnswer, "More is asked than the machines can serve."),
    "no-price": (errors.UsageError, "The catalog has no price of the card: state one."),
    "disk": (errors.DataError, "The disk is full or fails; what was there is as it was."),
    "file": (errors.DataError, "A file cannot be read or written."),
    "network": (errors.DataError, "A server elsewhere is silent or broke off."),
    "gated": (errors.DataError, "A server elsewhere wants other rights."),
    "journal-broken": (errors.DataError, "The journal of a fleet cannot be read."),
    "no-node": (errors.FleetError, "The fleet has no node of that name."),
    "not-allowed": (errors.FleetError, "A node asked for what is not its own."),
    "no-metric": (errors.UsageError, "A trial of a sweep ended without reporting what is compared."),
    "sweep-taken": (errors.UsageError, "Another fleet runs the sweep of that name."),
    "not-picklable": (errors.UsageError, "The function or its arguments cannot be sent to another machine."),
    "no-money": (errors.FleetError, "The provider refused an order: the account cannot pay for it."),
    "not-now": (
        errors.FleetError,
        "The provider was asked too often and made nothing; it may be asked again.",
    ),
    "no-market-data": (errors.DataError, "The folder or the shared market holds no market data."),
}
"""Codes that are given where an error is raised, or by a class beside its part: class and meaning."""


def all_codes() -> dict[str, tuple[type[RackrateError], str]]:
    """Return each code with the class that carries it and what it means."""
    classes = [
        each for each in vars(errors).values() if isinstance(each, type) and issubclass(each, RackrateError)
    ]
    own = {cls.code: (cls, (cls.__doc__ or "").split("\n")[0]) for cls in classes}
    return own | dict(SPECIAL)
