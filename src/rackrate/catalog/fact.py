"""What a fact is: a value with its source, or the reason why there is none.

Every number in the catalog is a `Fact`. Where sources disagree, the value in use comes first and
the others stay beside it in `also`, each with its own source and a word on why it was not chosen.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from rackrate.errors import CatalogInvalid

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Source:
    """Where a fact was read.

    Attributes:
        id: key used by facts.
        title: what it is, with version or commit.
        date: when the source was published or read, ISO 8601 (day or month).
        confidence: `read` (seen in the source), `measured`, `derived` (computed from read values),
            `memory` (recalled and not re-read), `weak` (derived from uncertain values).
        url: where to find it; empty for a package or a paper table named in the title.
    """

    id: str
    title: str
    date: str
    confidence: str
    url: str = ""


@dataclass(frozen=True, slots=True)
class Claim(Generic[T]):
    """A value that another source states and that we do not use.

    Attributes:
        value: what it says, in the unit of the fact it stands beside.
        source: id of the source.
        why: why it was not chosen.
    """

    value: T
    source: str
    why: str


@dataclass(frozen=True, slots=True)
class Fact(Generic[T]):
    """A value in the unit of its field's name, or the reason why it is not known.

    Attributes:
        value: the value in use; None when unknown.
        source: id of the source of the value; empty when unknown.
        unknown: why there is no value; empty when there is one. A reason that begins with "the part
            has no" says that there is nothing to know.
        also: what other sources say.
    """

    value: T | None
    source: str = ""
    unknown: str = ""
    also: tuple[Claim[T], ...] = ()

    def __post_init__(self) -> None:
        if (self.value is None) == (not self.unknown):
            raise CatalogInvalid(f"a fact has a value or a reason, not both or neither: {self!r}")
        if self.value is not None and not self.source:
            raise CatalogInvalid(f"the value {self.value!r} has no source")

    def __bool__(self) -> bool:
        """Tell whether the value is known (a known 0 is a fact too)."""
        return self.value is not None

    @property
    def is_settled(self) -> bool:
        """Tell whether the question has an answer: a value, or the knowledge that there is none."""
        return self.value is not None or self.unknown.startswith("the part has no")

    @classmethod
    def from_table(cls, table: Mapping[str, Any], default_source: str = "") -> Fact[T]:
        """Read a fact from its TOML table: `{value, source, also}` or `{unknown}`.

        Raises:
            CatalogInvalid: a key that is not of a fact, a value and a reason at once, or no source.
        """
        extra = table.keys() - {"value", "source", "unknown", "also"}
        if extra:
            raise CatalogInvalid(f"a fact does not have {sorted(extra)}: {dict(table)!r}")
        also = tuple(Claim(c["value"], c["source"], c["why"]) for c in table.get("also", ()))
        value = table.get("value")
        source = table.get("source", default_source) if value is not None else ""
        return cls(value, source, table.get("unknown", ""), also)

    def written(self) -> str:
        """Write the value for people, or `unknown` and the reason."""
        if self.value is None:
            return f"unknown: {self.unknown}"
        if isinstance(self.value, (list, tuple)):
            return ", ".join(map(str, self.value))
        return f"{self.value:,.10g}" if isinstance(self.value, (int, float)) else str(self.value)

    def to_dict(self) -> dict[str, Any]:
        """Return the fact as plain data, for `--json` and the API."""
        if self.value is None:
            return {"value": None, "unknown": self.unknown}
        out: dict[str, Any] = {"value": self.value, "source": self.source}
        if self.also:
            out["also"] = [{"value": c.value, "source": c.source, "why": c.why} for c in self.also]
        return out
