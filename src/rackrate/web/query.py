"""What stands after the question mark of an address, read field by field; an error names the field."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from rackrate.errors import BadQuantity, UnknownName, UsageError, nearest

LONGEST = 200
"""Characters of a value: no name or number of ours is longer."""

MOST = 60
"""Values in a query."""

_OF_REFERRERS = re.compile(r"utm_\w+|fbclid|gclid|msclkid|igshid|mc_[ce]id")
"""Fields that other sites hang on a link which somebody shares there; they ask nothing."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True)
class Query:
    """The fields of an address that were given a value.

    Attributes:
        values: field to its values, in their order; empty values are as if they were not there.
    """

    values: Mapping[str, tuple[str, ...]]

    @classmethod
    def read(cls, pairs: Iterable[tuple[str, str]], known: Sequence[str]) -> Query:
        """Read the pairs of an address.

        Raises:
            UsageError: a field that the page does not have, or a value that none of ours can be.
        """
        found: dict[str, tuple[str, ...]] = {}
        for number, (name, value) in enumerate(pairs):
            if _OF_REFERRERS.fullmatch(name):
                continue
            if name not in known:
                raise unknown_field(name, known)
            if number >= MOST or len(value) > LONGEST:
                raise UsageError(f"{name}: more than {LONGEST} characters or {MOST} values", code="too-long")
            if _CONTROL.search(value):
                raise UsageError(f"{name}: control characters in {value!r}", hint="give plain text")
            if value.strip():
                found[name] = (*found.get(name, ()), value.strip())
        return cls(found)

    def __contains__(self, name: str) -> bool:
        """Tell whether a field was given a value."""
        return name in self.values

    def text(self, name: str, usual: str = "") -> str:
        """Return the value of a field, the last one where there are several."""
        return self.values.get(name, (usual,))[-1]

    def several(self, name: str) -> tuple[str, ...]:
        """Return all values of a field."""
        return self.values.get(name, ())

    def whole(self, name: str, usual: int, *, least: int = 0, most: int = 1_000_000) -> int:
        """Return the whole number of a field.

        Raises:
            BadQuantity: it is none, or out of bounds.
        """
        text = self.text(name, str(usual))
        if not re.fullmatch(r"\d{1,9}", text) or not least <= int(text) <= most:
            hint = f"give a whole number of {least} to {most:,}"
            raise BadQuantity(f"{name} {text!r} is no whole number of {least} to {most:,}", hint=hint)
        return int(text)

    def choice(self, name: str, choices: Sequence[str], usual: str) -> str:
        """Return the value of a field that has few.

        Raises:
            UnknownName: another value.
        """
        text = self.text(name, usual)
        if text not in choices:
            raise UnknownName(name, text, nearest(text, choices) or choices)
        return text


def unknown_field(name: str, known: Sequence[str]) -> UsageError:
    """Return the error of a field that a page does not have."""
    near = nearest(name[:LONGEST], known)
    has = ", ".join(known) or "none"
    hint = f"did you mean `{near[0]}`?" if near else f"fields here: {has}"
    return UsageError(f"unknown field {name[:LONGEST]!r}", hint=hint, code="unknown-field")
